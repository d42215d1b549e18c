#pragma once

#include "ops/ops.h"

namespace autoprog {

// keepScale: random i32 (4: seed low, high, step low, high), index i32 (B: place in the whole batch) -> y (B, paths), 0
// with the path's rate, else 1 / (1 - rate).
struct KeepScaleOperands {
  View random, index, y;
  std::vector<float> rates;  // (paths)
  int64_t images;

  explicit KeepScaleOperands(const Operands& operands) {
    operands.count(2, 1);
    random = operands.inputs[0], index = operands.inputs[1], y = operands.outputs[0];
    for (double rate : operands.attributes.list("rates")) {
      require(rate >= 0 && rate < 1, "SHAPE", "Expected rates in [0, 1)");
      rates.push_back(static_cast<float>(rate));
    }
    images = index.size();
    Operands::expect(random, Type::i32, 4, "random");
    Operands::expect(index, Type::i32, images, "index");
    Operands::expect(y, Type::f32, images * static_cast<int64_t>(rates.size()), "y");
    Operands::expectShape(y, {images, static_cast<int64_t>(rates.size())}, "y");
  }
};

}  // namespace autoprog
