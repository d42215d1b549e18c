// Convolution and its gradients, channels last: by oneDNN where it has a fast kernel for the shape, else by products.
#include "cpu/convolution.h"

#include <algorithm>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

constexpr int64_t kCachedSums = 32 * 1024;

Kernel convolve(const Operands& operands) {
  const ConvolutionOperands o(operands);
  const Kernel fast = onednn::convolve(operands, o);
  return fast ? fast : plain::convolve(operands, o);
}

// The library leaves its vectors half empty where an image has few channels.
Kernel gradientInput(const Operands& operands) {
  const ConvolutionGradientInputOperands o(operands);
  const Kernel fast = o.sizes.pointwise() || o.sizes.in < 16 ? nullptr : onednn::gradientInput(operands, o);
  return fast ? fast : plain::gradientInput(operands, o);
}

// dbias += the sums of dy over all positions; threads share the channels.
void addSums(const ConvolutionGradientWeightOperands& o) {
  const int64_t out = o.sizes.out;
  parallelRanges(out, std::clamp<int64_t>(out / 4, 32, 96), [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < o.sizes.positions(); i++)
      accumulate(o.dy.f32() + i * out + begin, o.dbias.f32() + begin, end - begin);
  });
}

// The library's kernels are the faster ones as long as the sums stay in the first-level cache.
Kernel gradientWeight(const Operands& operands) {
  const ConvolutionGradientWeightOperands o(operands);
  const bool small = o.sizes.kernel > 1 && o.sizes.out * o.sizes.depth() <= kCachedSums;
  const Kernel fast = small ? onednn::gradientWeight(operands, o) : nullptr;
  const Kernel weight = fast ? fast : plain::gradientWeight(operands, o);
  if (!o.biased) return weight;
  return [=] {
    weight();
    addSums(o);
  };
}

}  // namespace

std::vector<Implementation> convolution() {
  return {{"convolution", {"stride", "padding"}, convolve},
          {"convolutionGradientInput", {"stride", "padding", "height", "width"}, gradientInput},
          {"convolutionGradientWeight", {"stride", "padding", "kernel", "biased"}, gradientWeight}};
}

}  // namespace autoprog::cpu
