// 8-bit images to normalised f32: padded crop, flip and resize to the sub-network's resolution, one pass per image.
#include "ops/images.h"

#include <algorithm>
#include <memory>

#include "cpu/lots.h"
#include "cpu/operations.h"

namespace autoprog::cpu {

namespace {

struct Plan : ImagesOperands {
  std::vector<float> table;  // (channels, 257): the value of each byte, then that of the padding
  std::vector<BilinearTaps> rows, columns;

  explicit Plan(const Operands& operands) : ImagesOperands(operands) {
    for (size_t c = 0; c < mean.size(); c++)
      for (int byte = 0; byte < 257; byte++) table.push_back(value(c, byte == 256 ? 0 : byte));
    rows = bilinearTaps(height, outHeight);
    columns = bilinearTaps(width, outWidth);
  }

  bool resizes() const { return height != outHeight || width != outWidth; }

  int64_t scratch() const { return (height + outHeight) * width * channels; }

  // window (height, width, channels) = the crop of one image.
  void crop(const uint8_t* image, int64_t top, int64_t left, bool flip, float* window) const {
    for (int64_t y = 0; y < height; y++) {
      for (int64_t x = 0; x < width; x++) {
        const int64_t sourceY = top + y, sourceX = left + (flip ? width - 1 - x : x);
        const bool inside = sourceY >= 0 && sourceY < height && sourceX >= 0 && sourceX < width;
        for (int64_t c = 0; c < channels; c++) {
          const size_t byte = inside ? image[(sourceY * width + sourceX) * channels + c] : 256u;
          *window++ = table[static_cast<size_t>(c) * 257 + byte];
        }
      }
    }
  }

  void resize(const float* window, float* half, float* out) const {
    const int64_t line = width * channels;
    for (int64_t y = 0; y < outHeight; y++) {
      float* target = half + y * line;
      std::fill_n(target, line, 0.0f);
      const BilinearTaps& taps = rows[static_cast<size_t>(y)];
      for (size_t t = 0; t < taps.weights.size(); t++) {
        const float* source = window + (taps.from + static_cast<int64_t>(t)) * line;
        for (int64_t i = 0; i < line; i++) target[i] += taps.weights[t] * source[i];
      }
    }
    for (int64_t y = 0; y < outHeight; y++) {
      for (const BilinearTaps& taps : columns) {
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

Kernel normalizeImages(const Operands& operands) {
  const auto plan = std::make_shared<Plan>(operands);
  const View scratch = takeLotPerThread(*operands.scratch, plan->resizes() ? plan->scratch() : 0);
  return [=] {
    const int64_t in = plan->height * plan->width * plan->channels;
    const int64_t size = plan->outHeight * plan->outWidth * plan->channels;
    parallelFor(plan->batch, 1, [&](int64_t i) {
      float* target = plan->y.f32() + i * size;
      float* window = plan->resizes() ? lotOfThread(scratch) : target;
      const int32_t* crop = plan->crops.i32() + 3 * i;
      plan->crop(plan->images.u8() + i * in, int64_t{crop[0]} - plan->pad, int64_t{crop[1]} - plan->pad, crop[2] != 0,
                 window);
      if (plan->resizes()) plan->resize(window, window + in, target);
    });
  };
}

}  // namespace

std::vector<Implementation> images() {
  return {{"images", {"height", "width", "pad", "mean", "deviation"}, normalizeImages}};
}

}  // namespace autoprog::cpu
