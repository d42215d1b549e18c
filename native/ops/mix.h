#pragma once

#include "ops/ops.h"

namespace autoprog {

// What is mixed in a step, f32 (6): blend of the images, share of the targets, and the box's top, bottom, left, right.
// Whole numbers, held as floats; compared as such, so that no value is out of range.
inline constexpr int64_t kMixSize = 6;

// mixImages: images (B, H, W, C), mix (6) -> y (B, H, W, C): the partner, image B - 1 - i, inside of the box, and
// blend x + (1 - blend) partner elsewhere.
struct MixImagesOperands {
  View images, mix, y;
  int64_t batch, height, width, channels;

  explicit MixImagesOperands(const Operands& operands) {
    operands.count(2, 1);
    images = operands.inputs[0], mix = operands.inputs[1], y = operands.outputs[0];
    require(images.shape.size() == 4 && images.size() > 0, "SHAPE",
            "Expected images [B, H, W, C] but received " + images.describe());
    batch = images.shape[0], height = images.shape[1], width = images.shape[2], channels = images.shape[3];
    require(width * channels < int64_t{1} << 31, "SHAPE", "Expected rows of less than 2^31 values");
    Operands::expectFloats(images, images.size(), "images");
    Operands::expect(mix, Type::f32, kMixSize, "mix");
    Operands::expectFloats(y, images.size(), "y");
    Operands::expectShape(y, images.shape, "y");
  }

  // Images that are computed together: i and B - 1 - i, of which one is enough in the middle.
  int64_t pairs() const { return (batch + 1) / 2; }
};

// mixTargets: targets (B, C), mix (6) -> y (B, C) = share t + (1 - share) of the partner's.
struct MixTargetsOperands {
  View targets, mix, y;
  int64_t rows, classes;

  explicit MixTargetsOperands(const Operands& operands) {
    operands.count(2, 1);
    targets = operands.inputs[0], mix = operands.inputs[1], y = operands.outputs[0];
    rows = targets.rows(), classes = targets.last();
    require(targets.shape.size() == 2 && targets.size() > 0, "SHAPE",
            "Expected targets [B, C] but received " + targets.describe());
    Operands::expect(targets, Type::f32, rows * classes, "targets");
    Operands::expect(mix, Type::f32, kMixSize, "mix");
    Operands::expect(y, Type::f32, rows * classes, "y");
    Operands::expectShape(y, targets.shape, "y");
  }
};

// mixTokens: x (B, H, W, C), box i32 (4: top, left, bottom, right) -> y (B, H, W, C): inside of the box, times scale,
// the partner, image B - 1 - i; elsewhere x.
struct MixTokensOperands {
  View x, box, y;
  int64_t batch, height, width, channels, scale;

  explicit MixTokensOperands(const Operands& operands) {
    operands.count(2, 1);
    x = operands.inputs[0], box = operands.inputs[1], y = operands.outputs[0];
    const bool tokens = x.shape.size() == 3;
    require((tokens || x.shape.size() == 4) && x.size() > 0, "SHAPE",
            "Expected a map [B, H, W, C] or [B, N, C] but received " + x.describe());
    batch = x.shape[0], channels = x.last();
    height = tokens ? std::llround(std::sqrt(static_cast<double>(x.shape[1]))) : x.shape[1];
    width = tokens ? height : x.shape[2];
    require(batch * height * width * channels == x.size(), "SHAPE", "Expected a square but received " + x.describe());
    require(width * channels < int64_t{1} << 31, "SHAPE", "Expected rows of less than 2^31 values");
    scale = operands.attributes.integer("scale", 1, 1 << 12);
    Operands::expectFloats(x, x.size(), "x");
    Operands::expect(box, Type::i32, 4, "box");
    Operands::expectFloats(y, x.size(), "y");
    Operands::expectShape(y, x.shape, "y");
  }
};

}  // namespace autoprog
