#include "cuda/bias.h"
#include "cuda/elements.h"
#include "cuda/launch.h"
#include "cuda/reduce.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

__global__ void addBiasKernel(AnyPointer y, AnyPointer bias, int64_t count, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) y.store(i, y.load(i) + bias.load(i % n));
}

}  // namespace

Kernel prepareBiased(const char* name, const Operands& operands, Product product, const View& bias) {
  Blas& blas = engineOf(operands).blas();
  product.bias = bias;
  if (const Kernel whole = blas.prepare(operands, product)) return whole;
  product.bias = View{};
  return [=, plain = blas.prepare(operands, product), stream = streamOf(operands), y = product.c] {
    plain();
    launch(name, stream, {blocksFor(y.size(), kThreads), kThreads}, addBiasKernel, AnyPointer(y), AnyPointer(bias),
           y.size(), bias.size());
  };
}

}  // namespace autoprog::cuda
