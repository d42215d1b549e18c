// y = x W^T + b. Rows are split over threads and, within a thread, into blocks small enough that bias and GELU find the
// product still in the second-level cache.
#include "ops/linear.h"

#include <algorithm>

#include "cpu/gemm.h"
#include "cpu/lots.h"
#include "cpu/operations.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

constexpr int64_t kCachedFloats = 128 * 1024;
// So many multiply-adds make a part worth handing out: some ten microseconds.
constexpr int64_t kGrainProducts = 512 * 1024;
// Parts that leave no thread waiting for long; short products have fewer.
constexpr int64_t kParts = 8;

// Rows of a part: what the cache holds or, where that makes too few parts to share, fewer; all parts about alike.
int64_t blockRows(int64_t rows, int64_t in, int64_t out, int64_t floatsPerRow) {
  const int64_t cached = std::max<int64_t>(48, kCachedFloats / std::max<int64_t>(1, floatsPerRow));
  const int64_t worth = std::max<int64_t>(48, kGrainProducts / std::max<int64_t>(1, in * out));
  const int64_t block = std::min(cached, std::max(worth, divideUp(rows, kParts)));
  return divideUp(rows, std::max<int64_t>(1, divideUp(rows, block)));
}

// Calls body(first row, rows) for blocks of rows.
template <typename Body>
void forBlocks(int64_t rows, int64_t block, Body body) {
  parallelRanges(rows, block, [&](int64_t begin, int64_t end) { body(begin, end - begin); });
}

Kernel product(const Operands& operands) {
  return [o = LinearOperands(operands, false)] {
    const auto [rows, in, out] = o.sizes;
    forBlocks(rows, blockRows(rows, in, out, in + out), [&, in = in, out = out](int64_t row, int64_t count) {
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
    forBlocks(rows, blockRows(rows, in, out, in + 2 * out), [&, in = in, out = out](int64_t row, int64_t count) {
      float* target = o.h.f32() + row * out;
      gemm(false, true, count, out, in, o.x.f32() + row * in, in, o.weight.f32(), in, 0.0f, target, out);
      for (int64_t i = 0; i < count; i++) addBiasGelu(target + i * out, o.bias.f32(), o.y.f32() + (row + i) * out, out);
    });
  };
}

Kernel gradientInput(const Operands& operands) {
  return [o = LinearGradientInputOperands(operands)] {
    const auto [rows, in, out] = o.sizes;
    forBlocks(rows, blockRows(rows, in, out, in + out), [&, in = in, out = out](int64_t row, int64_t count) {
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

// Threads share the output's rows, so that nobody's sum needs another's. Every part packs all of x: not too narrow.
Kernel gradientByOutputs(const LinearGradientWeightOperands& operands) {
  return [o = operands] {
    const auto [rows, in, out] = o.sizes;
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

// Threads share the rows, which they have in their caches. Each stretch of them has sums of its own, added up in order.
Kernel gradientByRows(const LinearGradientWeightOperands& operands, Scratch& scratch, int64_t stretches) {
  const auto [rows, in, out] = operands.sizes;
  const View lots = takeLots(scratch, stretches, (in + 1) * out);
  return [o = operands, lots, stretch = divideUp(rows, stretches)] {
    const auto [rows, in, out] = o.sizes;
    const int64_t weights = in * out;
    parallelRanges(rows, stretch, [&, in = in, out = out](int64_t begin, int64_t end) {
      float* sums = lots.f32() + begin / stretch * lots.last();
      gemm(true, false, out, in, end - begin, o.dy.f32() + begin * out, out, o.x.f32() + begin * in, in, 0.0f, sums,
           in);
      if (!o.biased) return;
      std::fill_n(sums + weights, out, 0.0f);
      for (int64_t row = begin; row < end; row++) accumulate(o.dy.f32() + row * out, sums + weights, out);
    });
    const int64_t count = divideUp(rows, stretch);
    parallelRanges(weights, kGrain / count, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < count; i++)
        accumulate(lots.f32() + i * lots.last() + begin, o.dweight.f32() + begin, end - begin);
    });
    if (o.biased)
      for (int64_t i = 0; i < count; i++) accumulate(lots.f32() + i * lots.last() + weights, o.dbias.f32(), out);
  };
}

Kernel gradientWeight(const Operands& operands) {
  const LinearGradientWeightOperands checked(operands);
  const auto [rows, in, out] = checked.sizes;
  // Of a small matrix there would be too few parts of its outputs, and each would read all of x and dy.
  constexpr int64_t kSmall = 64 * 1024, kRows = 256;
  const int64_t stretches = in * out <= kSmall ? std::min(rows / kRows, kParts) : 1;
  return stretches > 1 ? gradientByRows(checked, *operands.scratch, stretches) : gradientByOutputs(checked);
}

}  // namespace

std::vector<Implementation> linear() {
  return {{"linear", {}, product, false, linearAnywhere()},
          {"linearGelu", {}, productGelu, false, linearAnywhere()},
          {"linearGradientInput", {}, gradientInput, false, linearAnywhere()},
          {"geluGradient", {}, gradientGelu},
          {"linearGradientWeight", {"biased"}, gradientWeight, false, linearGradientWeightAnywhere()}};
}

}  // namespace autoprog::cpu
