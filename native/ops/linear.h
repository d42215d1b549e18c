#pragma once

#include "ops/ops.h"

// Checked operands of y = x W^T + b and of its gradients. `rows` are all axes of x but the last.
namespace autoprog {

struct LinearSizes {
  int64_t rows = 0, in = 0, out = 0;

  LinearSizes() = default;
  LinearSizes(const View& x, const View& weight) {
    require(!weight.shape.empty() && weight.shape[0] > 0 && x.last() > 0, "SHAPE",
            "Expected a weight [out, in] but received " + weight.describe());
    rows = x.rows(), in = x.last(), out = weight.shape[0];
    Operands::expectFloats(x, rows * in, "x");
    Operands::expectFloats(weight, out * in, "weight");
  }
};

// Weights and biases may be rows of larger ones, such as queries of qkv.
inline Anywhere linearAnywhere() { return {{1, 2}, {}}; }
inline Anywhere linearGradientWeightAnywhere() { return {{}, {0, 1}}; }

// linear: x (…, in), weight (out, in), bias (out)? -> y (…, out).
// linearGelu: x, weight, bias -> h = x W^T + b (kept for the gradient), y = GELU(h).
struct LinearOperands {
  View x, weight, bias, h, y;  // h is y without GELU
  bool biased;
  LinearSizes sizes;

  LinearOperands(const Operands& operands, bool activated) {
    operands.count(activated ? 3 : 2, 3, activated ? 2 : 1, activated ? 2 : 1);
    x = operands.inputs[0], weight = operands.inputs[1], bias = operands.inputs.back();
    h = operands.outputs.front(), y = operands.outputs.back();
    biased = operands.inputs.size() == 3;
    sizes = LinearSizes(x, weight);
    Operands::expectFloats(h, sizes.rows * sizes.out, "h");
    Operands::expectFloats(y, sizes.rows * sizes.out, "y");
    if (biased) Operands::expectFloats(bias, sizes.out, "bias");
  }
};

// linearGradientInput: dy (…, out), weight (out, in) -> dx (…, in) (=).
struct LinearGradientInputOperands {
  View dy, weight, dx;
  LinearSizes sizes;

  explicit LinearGradientInputOperands(const Operands& operands) {
    operands.count(2, 1);
    dy = operands.inputs[0], weight = operands.inputs[1], dx = operands.outputs[0];
    sizes = LinearSizes(dx, weight);
    Operands::expectFloats(dy, sizes.rows * sizes.out, "dy");
  }
};

// linearGradientWeight: dy (…, out), x (…, in) -> dW (out, in) (+=), db (out)? (+=).
struct LinearGradientWeightOperands {
  View dy, x, dweight, dbias;
  bool biased;
  LinearSizes sizes;

  explicit LinearGradientWeightOperands(const Operands& operands) {
    biased = operands.attributes.integer("biased", 0, 1) == 1;
    operands.count(2, biased ? 2 : 1);
    dy = operands.inputs[0], x = operands.inputs[1], dweight = operands.outputs[0], dbias = operands.outputs.back();
    sizes = LinearSizes(x, dweight);
    Operands::expect(dweight, Type::f32, sizes.out * sizes.in, "dweight");
    Operands::expectFloats(dy, sizes.rows * sizes.out, "dy");
    if (biased) Operands::expect(dbias, Type::f32, sizes.out, "dbias");
  }
};

// geluGradient: dy, h -> dh = dy * GELU'(h) (=).
struct GeluGradientOperands {
  View dy, h, dh;

  explicit GeluGradientOperands(const Operands& operands) {
    operands.count(2, 1);
    dy = operands.inputs[0], h = operands.inputs[1], dh = operands.outputs[0];
    for (const View* view : {&dy, &h, &dh}) Operands::expectFloats(*view, h.size(), "an operand");
  }
};

}  // namespace autoprog
