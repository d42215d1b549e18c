#pragma once

#include "ops/ops.h"

// Checked operands of the ops on position embeddings.
namespace autoprog {

// addPosition: x (B, …, D) of N rows an image, position (N, D) -> y (B, …, D).
struct AddPositionOperands {
  View x, position, y;
  int64_t image;  // values of one: N D

  explicit AddPositionOperands(const Operands& operands) {
    operands.count(2, 1);
    x = operands.inputs[0], position = operands.inputs[1], y = operands.outputs[0];
    image = position.size();
    require(
        image > 0 && x.size() > 0 && x.extent(0) * image == x.size() && position.last() == x.last(), "SHAPE",
        "Expected a position for each row of an image but received " + x.describe() + " and " + position.describe());
    Operands::expectFloats(x, x.size(), "x");
    Operands::expect(position, Type::f32, image, "position");
    Operands::expect(y, Type::f32, x.size(), "y");
  }
};

// sumImages: x (B, …) -> y, of the size of one image (=): the sum over the images in their order.
struct SumImagesOperands {
  View x, y;
  int64_t batch, image;

  explicit SumImagesOperands(const Operands& operands) {
    operands.count(1, 1);
    x = operands.inputs[0], y = operands.outputs[0];
    batch = x.extent(0), image = y.size();
    require(x.size() > 0 && batch * image == x.size(), "SHAPE",
            "Expected one image of " + x.describe() + " but received " + y.describe());
    Operands::expectFloats(x, x.size(), "x");
    Operands::expect(y, Type::f32, image, "the sum");
  }
};

// repeatImages: x (1, …) -> y (B, …), the same for every image.
struct RepeatImagesOperands {
  View x, y;
  int64_t batch, image;

  explicit RepeatImagesOperands(const Operands& operands) {
    operands.count(1, 1);
    x = operands.inputs[0], y = operands.outputs[0];
    batch = operands.attributes.integer("batch", 1), image = x.size();
    Operands::expect(x, Type::f32, image, "x");
    Operands::expectFloats(y, batch * image, "y");
  }
};

// Bicubic weights with a = -0.75, half-pixel centres, edges repeated, no antialias: those of PyTorch's interpolate.
struct CubicTaps {
  int32_t at[4];
  float weights[4];
};

// resizePosition: position (prefix + from^2, D) -> resized (prefix + to^2, D): the grid's rows, those before as they
// are. resizePositionGradient: dresized -> dposition (+=).
struct ResizePositionOperands {
  View position, resized;  // or their gradients
  int64_t from, to, prefix, width;
  std::vector<CubicTaps> taps;  // (to)

  ResizePositionOperands(const Operands& operands, bool gradient) {
    operands.count(1, 1);
    position = gradient ? operands.outputs[0] : operands.inputs[0];
    resized = gradient ? operands.inputs[0] : operands.outputs[0];
    from = operands.attributes.integer("from", 1, 1 << 12);
    to = operands.attributes.integer("to", 1, 1 << 12);
    prefix = operands.attributes.integer("prefix", 0, 1);
    width = position.last();
    Operands::expect(position, Type::f32, (from * from + prefix) * width, "position");
    Operands::expect(resized, Type::f32, (to * to + prefix) * width, "resized position");
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
