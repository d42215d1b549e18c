#pragma once

#include "ops/ops.h"

// Checked operands of the ops on tokens. Widths of the residual stream, N patches and one class token before them.
namespace autoprog {

// tokens: patches (B, N, D), class token (D), position (N + 1, D) -> y (B, N + 1, D).
// tokensGradient: dy (B, N + 1, D) -> dpatches (=), dclass (+=), dposition (=).
struct TokensOperands {
  View patches, classToken, position, y;  // or their gradients
  int64_t batch, count, width;

  TokensOperands(const Operands& operands, bool gradient) {
    operands.count(gradient ? 1 : 3, gradient ? 3 : 1);
    const auto& parts = gradient ? operands.outputs : operands.inputs;
    patches = parts[0], classToken = parts[1], position = parts[2];
    y = gradient ? operands.inputs[0] : operands.outputs[0];
    require(patches.shape.size() == 3, "SHAPE", "Expected patches [B, N, D] but received " + patches.describe());
    batch = patches.shape[0], count = patches.shape[1], width = patches.shape[2];
    Operands::expectFloats(patches, batch * count * width, "patches");
    Operands::expect(y, Type::f32, batch * (count + 1) * width, "tokens");
    Operands::expectShape(y, {batch, count + 1, width}, "tokens");
    Operands::expect(classToken, Type::f32, width, "class token");
    Operands::expect(position, Type::f32, (count + 1) * width, "position");
  }
};

// selectToken: x (B, N, D) -> y (B, 1, D), its first token. selectTokenGradient: dy (B, 1, D) -> dx (B, N, D) (=), zero
// but for the first token.
struct SelectTokenOperands {
  View x, y;  // or their gradients
  int64_t batch, count, width;

  SelectTokenOperands(const Operands& operands, bool gradient) {
    operands.count(1, 1);
    x = gradient ? operands.outputs[0] : operands.inputs[0];
    y = gradient ? operands.inputs[0] : operands.outputs[0];
    require(x.shape.size() == 3 && x.shape[1] > 0, "SHAPE", "Expected tokens [B, N, D] but received " + x.describe());
    batch = x.shape[0], count = x.shape[1], width = x.shape[2];
    Operands::expectFloats(x, x.size(), "x");
    Operands::expectFloats(y, batch * width, "y");
    Operands::expectShape(y, {batch, 1, width}, "y");
  }
};

// prependToken: x (B, N, D), token (D) or (B, 1, D) -> y (B, N + 1, D), the token before those of x.
// dropToken: y (B, N + 1, D) -> x (B, N, D) (=), all tokens but the first. dropTokenGradient: dx (B, N, D) -> dy (B, N
// + 1, D) (=), zero for the first token.
struct PrependTokenOperands {
  View x, token, y;  // the token is empty where one is dropped
  int64_t batch, count, width;

  PrependTokenOperands(const Operands& operands, bool drop, bool zero = false) {
    operands.count(drop || zero ? 1 : 2, 1);
    x = drop ? operands.outputs[0] : operands.inputs[0];
    y = drop ? operands.inputs[0] : operands.outputs[0];
    require(y.shape.size() == 3 && y.size() > 0, "SHAPE", "Expected tokens [B, N + 1, D] but received " + y.describe());
    batch = y.shape[0], count = y.shape[1] - 1, width = y.shape[2];
    Operands::expectFloats(y, y.size(), "y");
    Operands::expectFloats(x, batch * count * width, "x");
    Operands::expectShape(x, {batch, count, width}, "x");
    if (drop || zero) return;
    token = operands.inputs[1];
    Operands::expectFloats(token, shared() ? width : batch * width, "the token");
  }

  // Whether all images have the same token.
  bool shared() const { return token.size() == width; }
};

// addTokenMax: y (B, C), x (B, N, C) -> sum (B, C) = y + scale * maximum over the tokens, at i32 (B, C), the first
// token that has it. A value that is no number counts as the largest.
struct AddTokenMaxOperands {
  View y, x, sum, at;
  int64_t batch, count, classes;
  float scale;

  explicit AddTokenMaxOperands(const Operands& operands) {
    operands.count(2, 2);
    y = operands.inputs[0], x = operands.inputs[1];
    sum = operands.outputs[0], at = operands.outputs[1];
    scale = static_cast<float>(operands.attributes.number("scale"));
    require(x.shape.size() == 3 && x.size() > 0 && x.shape[1] < int64_t{1} << 31, "SHAPE",
            "Expected tokens [B, N, C] but received " + x.describe());
    batch = x.shape[0], count = x.shape[1], classes = x.shape[2];
    Operands::expect(x, Type::f32, x.size(), "tokens");
    Operands::expect(y, Type::f32, batch * classes, "y");
    Operands::expect(sum, Type::f32, batch * classes, "the sum");
    Operands::expect(at, Type::i32, batch * classes, "the places of the maxima");
  }
};

// addTokenMaxGradient: dy (B, C), at (B, C) -> dx (B, N, C) (=): scale dy at the maxima, 0 elsewhere.
struct AddTokenMaxGradientOperands {
  View dy, at, dx;
  int64_t batch, count, classes;
  float scale;

  explicit AddTokenMaxGradientOperands(const Operands& operands) {
    operands.count(2, 1);
    dy = operands.inputs[0], at = operands.inputs[1], dx = operands.outputs[0];
    scale = static_cast<float>(operands.attributes.number("scale"));
    count = operands.attributes.integer("tokens", 1);
    require(dx.shape.size() == 3 && dx.size() > 0 && dx.shape[1] == count, "SHAPE",
            "Expected tokens [B, " + std::to_string(count) + ", C] but received " + dx.describe());
    batch = dx.shape[0], classes = dx.shape[2];
    Operands::expectFloats(dx, dx.size(), "the gradient of the tokens");
    Operands::expect(dy, Type::f32, batch * classes, "dy");
    Operands::expect(at, Type::i32, batch * classes, "the places of the maxima");
  }
};

}  // namespace autoprog
