// y = x W^T + b. Rows are split over threads and, within a thread, into blocks small enough that bias and GELU find the
// product still in the second-level cache.
#include <algorithm>

#include "cpu/backend.h"
#include "cpu/gemm.h"
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

struct Sizes {
  int64_t rows, in, out;
};

Sizes sizesOf(const View& x, const View& weight) {
  require(!weight.shape.empty() && weight.shape[0] > 0 && x.last() > 0, "SHAPE",
          "Expected a weight [out, in] but received " + weight.describe());
  const Sizes sizes{x.rows(), x.last(), weight.shape[0]};
  Operands::expect(x, Type::f32, sizes.rows * sizes.in, "x");
  Operands::expect(weight, Type::f32, sizes.out * sizes.in, "weight");
  return sizes;
}

// linear: x (…, in), weight (out, in), bias (out)? -> y (…, out).
Kernel product(const Operands& operands) {
  operands.count(2, 3, 1, 1);
  const View x = operands.inputs[0], weight = operands.inputs[1], y = operands.outputs[0];
  const bool biased = operands.inputs.size() == 3;
  const View bias = operands.inputs.back();
  const Sizes s = sizesOf(x, weight);
  Operands::expect(y, Type::f32, s.rows * s.out, "y");
  if (biased) Operands::expect(bias, Type::f32, s.out, "bias");
  return [=] {
    forBlocks(s.rows, blockRows(s.in, s.out), [&](int64_t row, int64_t count) {
      float* target = y.f32() + row * s.out;
      gemm(false, true, count, s.out, s.in, x.f32() + row * s.in, s.in, weight.f32(), s.in, 0.0f, target, s.out);
      if (biased)
        for (int64_t i = 0; i < count; i++) addBias(target + i * s.out, bias.f32(), s.out);
    });
  };
}

// linearGelu: x, weight, bias -> h = x W^T + b (kept for the gradient), y = GELU(h).
Kernel productGelu(const Operands& operands) {
  operands.count(3, 2);
  const View x = operands.inputs[0], weight = operands.inputs[1], bias = operands.inputs[2];
  const View h = operands.outputs[0], y = operands.outputs[1];
  const Sizes s = sizesOf(x, weight);
  Operands::expect(h, Type::f32, s.rows * s.out, "h");
  Operands::expect(y, Type::f32, s.rows * s.out, "y");
  Operands::expect(bias, Type::f32, s.out, "bias");
  return [=] {
    forBlocks(s.rows, blockRows(s.in, 2 * s.out), [&](int64_t row, int64_t count) {
      float* target = h.f32() + row * s.out;
      gemm(false, true, count, s.out, s.in, x.f32() + row * s.in, s.in, weight.f32(), s.in, 0.0f, target, s.out);
      for (int64_t i = 0; i < count; i++)
        addBiasGelu(target + i * s.out, bias.f32(), y.f32() + (row + i) * s.out, s.out);
    });
  };
}

// linearGradientInput: dy (…, out), weight (out, in) -> dx (…, in) (=); with h given, dx *= GELU'(h) at once.
Kernel gradientInput(const Operands& operands) {
  operands.count(2, 3, 1, 1);
  const View dy = operands.inputs[0], weight = operands.inputs[1], dx = operands.outputs[0];
  const bool activated = operands.inputs.size() == 3;
  const View h = operands.inputs.back();
  const Sizes s = sizesOf(dx, weight);
  Operands::expect(dy, Type::f32, s.rows * s.out, "dy");
  if (activated) Operands::expect(h, Type::f32, s.rows * s.in, "h");
  return [=] {
    forBlocks(s.rows, blockRows(2 * s.in, s.out), [&](int64_t row, int64_t count) {
      float* target = dx.f32() + row * s.in;
      gemm(false, false, count, s.in, s.out, dy.f32() + row * s.out, s.out, weight.f32(), s.in, 0.0f, target, s.in);
      if (activated) geluGradient(target, h.f32() + row * s.in, target, count * s.in);
    });
  };
}

// geluGradient: dy, h -> dh (=).
Kernel gradientGelu(const Operands& operands) {
  operands.count(2, 1);
  const View dy = operands.inputs[0], h = operands.inputs[1], dh = operands.outputs[0];
  for (const View* view : {&dy, &h, &dh}) Operands::expect(*view, Type::f32, h.size(), "an operand");
  return [=] {
    parallelRanges(h.size(), kGrain, [&](int64_t begin, int64_t end) {
      geluGradient(dy.f32() + begin, h.f32() + begin, dh.f32() + begin, end - begin);
    });
  };
}

// linearGradientWeight: dy (…, out), x (…, in) -> dW (out, in) (+=), db (out)? (+=).
Kernel gradientWeight(const Operands& operands) {
  const bool biased = operands.attributes.integer("biased", 0, 1) == 1;
  operands.count(2, biased ? 2 : 1);
  const View dy = operands.inputs[0], x = operands.inputs[1], dweight = operands.outputs[0];
  const View dbias = operands.outputs.back();
  const Sizes s = sizesOf(x, dweight);
  Operands::expect(dy, Type::f32, s.rows * s.out, "dy");
  if (biased) Operands::expect(dbias, Type::f32, s.out, "dbias");
  return [=] {
    // Threads share the output's rows, so that nobody's sum needs another's. Every part packs all of x: not too narrow.
    parallelRanges(s.out, std::clamp<int64_t>(s.out / 4, 32, 96), [&](int64_t begin, int64_t end) {
      gemm(true, false, end - begin, s.in, s.rows, dy.f32() + begin, s.out, x.f32(), s.in, 1.0f,
           dweight.f32() + begin * s.in, s.in);
      if (biased)
        for (int64_t row = 0; row < s.rows; row++)
          accumulate(dy.f32() + row * s.out + begin, dbias.f32() + begin, end - begin);
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
