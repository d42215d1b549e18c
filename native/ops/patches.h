#pragma once

#include "ops/ops.h"

namespace autoprog {

// Checked operands of patches: images (B, H, W, C) -> (B, N, C * patch * patch), and of its gradient, the way back (=).
struct PatchesOperands {
  View images, patches;  // or their gradients
  int64_t batch, height, width, channels, patch;

  PatchesOperands(const Operands& operands, bool gradient) {
    operands.count(1, 1);
    images = gradient ? operands.outputs[0] : operands.inputs[0];
    patches = gradient ? operands.inputs[0] : operands.outputs[0];
    require(images.shape.size() == 4, "SHAPE", "Expected images [B, H, W, C] but received " + images.describe());
    batch = images.shape[0], height = images.shape[1], width = images.shape[2], channels = images.shape[3];
    patch = operands.attributes.integer("patch", 1, 1 << 16);
    require(height % patch == 0 && width % patch == 0, "SHAPE",
            "Expected sides that the patch " + std::to_string(patch) + " divides but received " + images.describe());
    Operands::expectFloats(images, images.size(), "images");
    Operands::expectFloats(patches, images.size(), "patches");
  }

  int64_t rows() const { return height / patch; }
  int64_t columns() const { return width / patch; }
  int64_t values() const { return channels * patch * patch; }
};

}  // namespace autoprog
