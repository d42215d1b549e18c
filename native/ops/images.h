#pragma once

#include "ops/ops.h"

namespace autoprog {

// Checked operands of the op that makes f32 (B, h, w, C) of 8-bit images (B, H, W, C): crops i32 (B, 3: top, left,
// flip) are taken from the image padded by `pad`, resized, and normalised.
struct ImagesOperands {
  View images, crops, y;
  int64_t batch, height, width, channels, outHeight, outWidth, pad;
  std::vector<double> mean, deviation;  // (C), of values in [0, 1]

  explicit ImagesOperands(const Operands& operands) {
    operands.count(2, 1);
    images = operands.inputs[0], crops = operands.inputs[1], y = operands.outputs[0];
    require(images.shape.size() == 4 && y.shape.size() == 4 && images.size() > 0 && y.size() > 0, "SHAPE",
            "Expected images [B, H, W, C] but received " + images.describe());
    batch = images.shape[0], height = images.shape[1], width = images.shape[2], channels = images.shape[3];
    outHeight = y.shape[1], outWidth = y.shape[2];
    pad = operands.attributes.integer("pad", 0, 1 << 16);
    Operands::expect(images, Type::u8, images.size(), "images");
    Operands::expect(crops, Type::i32, 3 * batch, "crops");
    Operands::expectFloats(y, y.size(), "y");
    Operands::expectShape(y, {batch, outHeight, outWidth, channels}, "y");
    mean = operands.attributes.list("mean"), deviation = operands.attributes.list("deviation");
    require(static_cast<int64_t>(mean.size()) == channels && mean.size() == deviation.size(), "SHAPE",
            "Expected one mean and deviation per channel");
  }

  // What a byte of channel c becomes; the padding is black.
  float value(size_t c, int byte) const { return static_cast<float>((byte / 255.0 - mean[c]) / deviation[c]); }
};

// The source samples of one output coordinate: weights of `from`, `from + 1`, …
struct BilinearTaps {
  int64_t from = 0;
  std::vector<float> weights;
};

// Bilinear with half-pixel centres; the triangle widens when it shrinks an image, so that no source pixel is skipped.
inline std::vector<BilinearTaps> bilinearTaps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), radius = std::max(1.0, scale);
  std::vector<BilinearTaps> list;
  for (int64_t i = 0; i < out; i++) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto from = std::max<int64_t>(0, static_cast<int64_t>(std::floor(center - radius + 0.5)));
    const auto to = std::min<int64_t>(in, static_cast<int64_t>(std::floor(center + radius + 0.5)));
    BilinearTaps taps{from, {}};
    double sum = 0;
    for (int64_t j = from; j < to; j++) {
      const double weight = std::max(0.0, 1.0 - std::abs((static_cast<double>(j) + 0.5 - center) / radius));
      taps.weights.push_back(static_cast<float>(weight));
      sum += weight;
    }
    for (float& weight : taps.weights) weight = static_cast<float>(weight / sum);
    list.push_back(std::move(taps));
  }
  return list;
}

}  // namespace autoprog
