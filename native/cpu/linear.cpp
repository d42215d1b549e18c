// y = x W^T + b. Rows are split over threads and, within a thread, into blocks small enough that bias and GELU find the
// product still in the second-level cache.
#include "ops/linear.h"

#include <algorithm>

#include "cpu/gemm.h"
#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

constexpr int64_t kCachedFloats = 128 * 1024;

int64_t blockRows(int64_t in, int64_t out) {
  return std::max<int64_t>(48, kCachedFloats / std::max<int64_t>(1, in + out));
}

// Calls body(first row, rows) for blocks of rows.
template <typename Body>
void forBlocks(int64_t rows, int64_t block, Body body) {
  parallelRanges(rows, block, [&](int64_t begin, int64_t end) { body(begin, end - begin); });
}

Kernel product(const Operands& operands) {
  return [o = LinearOperands(operands, false)] {
    const auto [rows, in, out] = o.sizes;
    forBlocks(rows, blockRows(in, out), [&, in = in, out = out](int64_t row, int64_t count) {
      float* target = o.y.f32() + row * out;
      gemm(false, true, count, out, in, o.x.f32() + row * in, in, o.weight.f32(), in, 0.0f, target, out);
      if (o.biased)
        for (int64_t i = 0; i < count; i++) addBias(target + i * out, o.bias.f32(), out);
    });
  };
}

Kernel productGelu(const Operands& operands) {
  return [o = LinearOperands(operands, true)] {
    const auto [rows, in, out] = o.sizes;
    forBlocks(rows, blockRows(in, 2 * out), [&, in = in, out = out](int64_t row, int64_t count) {
      float* target = o.h.f32() + row * out;
      gemm(false, true, count, out, in, o.x.f32() + row * in, in, o.weight.f32(), in, 0.0f, target, out);
      for (int64_t i = 0; i < count; i++) addBiasGelu(target + i * out, o.bias.f32(), o.y.f32() + (row + i) * out, out);
    });
  };
}

Kernel gradientInput(const Operands& operands) {
  return [o = LinearGradientInputOperands(operands)] {
    const auto [rows, in, out] = o.sizes;
    forBlocks(rows, blockRows(in, out), [&, in = in, out = out](int64_t row, int64_t count) {
      gemm(false, false, count, in, out, o.dy.f32() + row * out, out, o.weight.f32(), in, 0.0f, o.dx.f32() + row * in,
           in);
    });
  };
}

Kernel gradientGelu(const Operands& operands) {
  return [o = GeluGradientOperands(operands)] {
    parallelRanges(o.h.size(), kGrain, [&](int64_t begin, int64_t end) {
      geluGradient(o.dy.f32() + begin, o.h.f32() + begin, o.dh.f32() + begin, end - begin);
    });
  };
}

Kernel gradientWeight(const Operands& operands) {
  return [o = LinearGradientWeightOperands(operands)] {
    const auto [rows, in, out] = o.sizes;
    // Threads share the output's rows, so that nobody's sum needs another's. Every part packs all of x: not too narrow.
    parallelRanges(out, std::clamp<int64_t>(out / 4, 32, 96),
                   [&, rows = rows, in = in, out = out](int64_t begin, int64_t end) {
                     gemm(true, false, end - begin, in, rows, o.dy.f32() + begin, out, o.x.f32(), in, 1.0f,
                          o.dweight.f32() + begin * in, in);
                     if (o.biased)
                       for (int64_t row = 0; row < rows; row++)
                         accumulate(o.dy.f32() + row * out + begin, o.dbias.f32() + begin, end - begin);
                   });
  };
}

}  // namespace

std::vector<Implementation> linear() {
  return {{"linear", {}, product},
          {"linearGelu", {}, productGelu},
          {"linearGradientInput", {}, gradientInput},
          {"geluGradient", {}, gradientGelu},
          {"linearGradientWeight", {"biased"}, gradientWeight}};
}

}  // namespace autoprog::cpu
