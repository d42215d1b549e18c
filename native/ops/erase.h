#pragma once

#include "ops/ops.h"

namespace autoprog {

// eraseImages: images (B, H, W, C), boxes i32 (B, 4: top, left, height, width), random i32 (4: seed low, high, step
// low, high), index i32 (B: place in the whole batch) -> y (B, H, W, C), standard normal draws inside of the boxes and
// the images elsewhere. Boxes may reach anywhere: only their part within the image counts. Draw k of an image is value
// k % 4 of its block k / 4, and every image has `blocks` of its own.
struct EraseOperands {
  View images, boxes, random, index, y;
  int64_t batch, height, width, channels;
  int64_t size, blocks;  // values of one image, and their blocks of four draws

  explicit EraseOperands(const Operands& operands) {
    operands.count(4, 1);
    images = operands.inputs[0], boxes = operands.inputs[1], random = operands.inputs[2], index = operands.inputs[3];
    y = operands.outputs[0];
    require(images.shape.size() == 4 && images.size() > 0, "SHAPE",
            "Expected images [B, H, W, C] but received " + images.describe());
    batch = images.shape[0], height = images.shape[1], width = images.shape[2], channels = images.shape[3];
    size = height * width * channels, blocks = (size + 3) / 4;
    require(size < int64_t{1} << 31, "SHAPE", "Expected images of less than 2^31 values");
    Operands::expectFloats(images, batch * size, "images");
    Operands::expect(boxes, Type::i32, 4 * batch, "boxes");
    Operands::expect(random, Type::i32, 4, "random");
    Operands::expect(index, Type::i32, batch, "index");
    Operands::expectFloats(y, batch * size, "y");
    Operands::expectShape(y, images.shape, "y");
  }
};

}  // namespace autoprog
