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

// Bicubic weights with a = -0.75, half-pixel centres, edges repeated, no antialias: those of PyTorch's interpolate.
struct CubicTaps {
  int32_t at[4];
  float weights[4];
};

// resizePosition: position (1 + from^2, D) -> resized (1 + to^2, D): the grid's rows, the class token's as it is.
// resizePositionGradient: dresized -> dposition (+=).
struct ResizePositionOperands {
  View position, resized;  // or their gradients
  int64_t from, to, width;
  std::vector<CubicTaps> taps;  // (to)

  ResizePositionOperands(const Operands& operands, bool gradient) {
    operands.count(1, 1);
    position = gradient ? operands.outputs[0] : operands.inputs[0];
    resized = gradient ? operands.inputs[0] : operands.outputs[0];
    from = operands.attributes.integer("from", 1, 1 << 12);
    to = operands.attributes.integer("to", 1, 1 << 12);
    width = position.last();
    Operands::expect(position, Type::f32, (from * from + 1) * width, "position");
    Operands::expect(resized, Type::f32, (to * to + 1) * width, "resized position");
    fillTaps();
  }

 private:
  void fillTaps() {
    constexpr double a = -0.75;
    const auto near = [](double x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };       // |x| <= 1
    const auto far = [](double x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };  // 1 < |x| < 2
    for (int64_t i = 0; i < to; i++) {
      const double source = (static_cast<double>(i) + 0.5) * static_cast<double>(from) / static_cast<double>(to) - 0.5;
      const double floor = std::floor(source), t = source - floor;
      CubicTaps tap{};
      const double weights[4] = {far(t + 1), near(t), near(1 - t), far(2 - t)};
      for (int64_t k = 0; k < 4; k++) {
        tap.at[k] = static_cast<int32_t>(std::clamp<int64_t>(static_cast<int64_t>(floor) - 1 + k, 0, from - 1));
        tap.weights[k] = static_cast<float>(weights[k]);
      }
      taps.push_back(tap);
    }
  }
};

}  // namespace autoprog
