// 8-bit images to normalised f32: padded crop, flip and resize to the sub-network's resolution, one pass per image.
#include <algorithm>
#include <cmath>
#include <memory>

#include "cpu/backend.h"
#include "cpu/parallel.h"

namespace autoprog::cpu {

namespace {

// The source samples of one output coordinate: weights of `from`, `from + 1`, …
struct Taps {
  int64_t from = 0;
  std::vector<float> weights;
};

// Bilinear with half-pixel centres; the triangle widens when it shrinks an image, so that no source pixel is skipped.
std::vector<Taps> bilinearTaps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), radius = std::max(1.0, scale);
  std::vector<Taps> list;
  for (int64_t i = 0; i < out; i++) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto from = std::max<int64_t>(0, static_cast<int64_t>(std::floor(center - radius + 0.5)));
    const auto to = std::min<int64_t>(in, static_cast<int64_t>(std::floor(center + radius + 0.5)));
    Taps taps{from, {}};
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

struct Plan {
  int64_t height, width, channels, outHeight, outWidth, pad;
  std::vector<float> table;  // (channels, 257): the value of each byte, then that of the padding
  std::vector<Taps> rows, columns;

  size_t scratch() const { return static_cast<size_t>((height + outHeight) * width * channels); }

  // window (height, width, channels) = the crop of one image.
  void crop(const uint8_t* image, int64_t top, int64_t left, bool flip, float* window) const {
    for (int64_t y = 0; y < height; y++) {
      for (int64_t x = 0; x < width; x++) {
        const int64_t sourceY = top + y, sourceX = left + (flip ? width - 1 - x : x);
        const bool inside = sourceY >= 0 && sourceY < height && sourceX >= 0 && sourceX < width;
        for (int64_t c = 0; c < channels; c++) {
          const size_t value = inside ? image[(sourceY * width + sourceX) * channels + c] : 256u;
          *window++ = table[static_cast<size_t>(c) * 257 + value];
        }
      }
    }
  }

  void resize(const float* window, float* half, float* out) const {
    const int64_t line = width * channels;
    for (int64_t y = 0; y < outHeight; y++) {
      float* target = half + y * line;
      std::fill_n(target, line, 0.0f);
      const Taps& taps = rows[static_cast<size_t>(y)];
      for (size_t t = 0; t < taps.weights.size(); t++) {
        const float* source = window + (taps.from + static_cast<int64_t>(t)) * line;
        for (int64_t i = 0; i < line; i++) target[i] += taps.weights[t] * source[i];
      }
    }
    for (int64_t y = 0; y < outHeight; y++) {
      for (const Taps& taps : columns) {
        for (int64_t c = 0; c < channels; c++) {
          float sum = 0;
          const float* source = half + y * line + taps.from * channels + c;
          for (size_t t = 0; t < taps.weights.size(); t++)
            sum += taps.weights[t] * source[static_cast<int64_t>(t) * channels];
          *out++ = sum;
        }
      }
    }
  }
};

// images: u8 (B, H, W, C), crops i32 (B, 3: top, left, flip; in the image padded by `pad`) -> f32 (B, h, w, C).
Kernel normalizeImages(const Operands& operands) {
  operands.count(2, 1);
  const View images = operands.inputs[0], crops = operands.inputs[1], out = operands.outputs[0];
  require(images.shape.size() == 4 && out.shape.size() == 4 && images.size() > 0 && out.size() > 0, "SHAPE",
          "Expected images [B, H, W, C] but received " + images.describe());
  auto plan = std::make_shared<Plan>();
  plan->height = images.shape[1];
  plan->width = images.shape[2];
  plan->channels = images.shape[3];
  plan->outHeight = out.shape[1];
  plan->outWidth = out.shape[2];
  plan->pad = operands.attributes.integer("pad", 0, 1 << 16);
  Operands::expect(images, Type::u8, images.size(), "images");
  Operands::expectShape(crops, Type::i32, {images.shape[0], 3}, "crops");
  Operands::expectShape(out, Type::f32, {images.shape[0], plan->outHeight, plan->outWidth, plan->channels}, "y");
  const auto &mean = operands.attributes.list("mean"), &deviation = operands.attributes.list("deviation");
  require(static_cast<int64_t>(mean.size()) == plan->channels && mean.size() == deviation.size(), "SHAPE",
          "Expected one mean and deviation per channel");
  for (size_t c = 0; c < mean.size(); c++)
    for (int value = 0; value < 257; value++)  // the padding is black
      plan->table.push_back(static_cast<float>(((value == 256 ? 0 : value) / 255.0 - mean[c]) / deviation[c]));
  plan->rows = bilinearTaps(plan->height, plan->outHeight);
  plan->columns = bilinearTaps(plan->width, plan->outWidth);
  const bool same = plan->height == plan->outHeight && plan->width == plan->outWidth;
  const auto scratch = std::make_shared<std::vector<float>>(plan->scratch() * static_cast<size_t>(threadCount()));
  return [=] {
    const int64_t in = plan->height * plan->width * plan->channels;
    const int64_t size = plan->outHeight * plan->outWidth * plan->channels;
    parallelFor(images.shape[0], 1, [&](int64_t i) {
      float* window =
          same ? out.f32() + i * size : scratch->data() + static_cast<size_t>(threadIndex()) * plan->scratch();
      const int32_t* crop = crops.i32() + 3 * i;
      plan->crop(images.u8() + i * in, int64_t{crop[0]} - plan->pad, int64_t{crop[1]} - plan->pad, crop[2] != 0,
                 window);
      if (!same) plan->resize(window, window + in, out.f32() + i * size);
    });
  };
}

}  // namespace

std::vector<Implementation> images() {
  return {{"images", {"height", "width", "pad", "mean", "deviation"}, normalizeImages}};
}

}  // namespace autoprog::cpu
