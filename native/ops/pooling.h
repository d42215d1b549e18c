#pragma once

#include "ops/ops.h"
#include "runtime/divide.h"

// Checked operands of pooling over images (B, H, W, C), and of its gradients.
namespace autoprog {

// Output positions along one axis, from `begin` to before `end`.
struct Span {
  int64_t begin, end;
};

// Windows along one axis: output i covers inputs i * stride - padding … + kernel - 1, as far as there are any.
struct WindowAxis {
  int64_t in, out, kernel, stride, padding;

  // The inputs of an output.
  constexpr Span inputs(int64_t i) const {
    const int64_t begin = i * stride - padding, end = begin + kernel;
    return {begin < 0 ? 0 : begin, end < in ? end : in};
  }
  // The outputs whose windows an input lies in.
  constexpr Span outputs(int64_t i) const {
    const int64_t reach = i + padding - kernel, last = (i + padding) / stride + 1;
    return {reach < 0 ? 0 : reach / stride + 1, last < out ? last : out};
  }
  // Where in the window of output o input i lies.
  constexpr int64_t within(int64_t i, int64_t o) const { return i + padding - o * stride; }
};

// What all share: x (B, H, W, C), y (B, h, w, C) or their gradients.
struct PoolOperands {
  View x, y;
  WindowAxis down, across;
  int64_t batch, channels;

 protected:
  void place(const Operands& operands, bool gradient) {
    x = gradient ? operands.outputs[0] : operands.inputs[0];
    y = gradient ? operands.inputs[0] : operands.outputs[0];
    require(x.shape.size() == 4 && x.size() > 0, "SHAPE",
            "Expected images [batch, height, width, channels] but received " + x.describe());
    batch = x.shape[0], channels = x.shape[3];
    if (!gradient) return;
    require(operands.attributes.integer("height") == x.shape[1] && operands.attributes.integer("width") == x.shape[2],
            "SHAPE", "Expected images of the given height and width but received " + x.describe());
  }
  void expectSizes() const {
    Operands::expectFloats(x, x.size(), "x");
    Operands::expectFloats(y, batch * down.out * across.out * channels, "y");
  }
};

// maxPool: x -> y, index u8 (B, h, w, C), the place of the maximum in its window, by rows.
// maxPoolGradient: dy, index -> dx (=).
struct MaxPoolOperands : PoolOperands {
  View index;

  MaxPoolOperands(const Operands& operands, bool gradient) {
    gradient ? operands.count(2, 1) : operands.count(1, 2);
    place(operands, gradient);
    index = gradient ? operands.inputs[1] : operands.outputs[1];
    // Up to 16 x 16 values have numbers that fit a byte; at most half of a window is padding, so that none is empty.
    const int64_t kernel = operands.attributes.integer("kernel", 1, 16);
    const int64_t stride = operands.attributes.integer("stride", 1);
    const int64_t padding = operands.attributes.integer("padding", 0, kernel / 2);
    const auto axis = [&](int64_t extent) {
      require(extent + 2 * padding >= kernel, "SHAPE",
              "Expected images as large as a window but received " + x.describe());
      return WindowAxis{extent, (extent + 2 * padding - kernel) / stride + 1, kernel, stride, padding};
    };
    down = axis(x.shape[1]), across = axis(x.shape[2]);
    expectSizes();
    Operands::expect(index, Type::u8, y.size(), "index");
  }
};

// averagePool: x -> y; averagePoolGradient: dy -> dx (=); windows of size x size side by side, the last ones cut off.
// globalAveragePool: x -> y (B, C); globalAveragePoolGradient: dy (B, C) -> dx (=); the window is the image.
struct AveragePoolOperands : PoolOperands {
  AveragePoolOperands(const Operands& operands, bool global, bool gradient) {
    operands.count(1, 1);
    place(operands, gradient);
    const auto axis = [&](int64_t extent) {
      const int64_t size = global ? extent : std::min(extent, operands.attributes.integer("size", 1));
      return WindowAxis{extent, divideUp(extent, size), size, size, 0};
    };
    down = axis(x.shape[1]), across = axis(x.shape[2]);
    expectSizes();
  }
};

}  // namespace autoprog
