// 8-bit images to normalised values: padded crop, flip and resize, one thread per output value. Weights of the resize
// come from tables; rows are summed within columns, in the order of the CPU's two passes the other way round, so that
// the two agree to rounding.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/images.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

// The samples of one output coordinate: weights at `first` of the list, `count` of them, from source `from` on.
struct Taps {
  int from, first, count;
};

struct ImageSizes {
  int height, width, channels, outHeight, outWidth, pad;
  int64_t count;
};

struct Weights {
  const Taps *rows, *columns;
  const float *rowWeights, *columnWeights;
};

template <typename T>
__global__ void imagesKernel(const uint8_t* images, const int32_t* crops, const float* table, Weights weights, T* y,
                             ImageSizes s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const int channel = static_cast<int>(i % s.channels), column = static_cast<int>(i / s.channels % s.outWidth);
  const int64_t line = i / s.channels / s.outWidth;
  const int row = static_cast<int>(line % s.outHeight);
  const int64_t image = line / s.outHeight;
  const int top = crops[3 * image] - s.pad, left = crops[3 * image + 1] - s.pad;
  const bool flip = crops[3 * image + 2] != 0;
  const uint8_t* pixels = images + image * s.height * s.width * s.channels;
  const float* values = table + channel * 256;
  const Taps down = weights.rows[row], across = weights.columns[column];
  float sum = 0;
  for (int k = 0; k < across.count; k++) {
    const int windowX = across.from + k, x = left + (flip ? s.width - 1 - windowX : windowX);
    float vertical = 0;
    for (int j = 0; j < down.count; j++) {
      const int sourceY = top + down.from + j;
      const bool inside = sourceY >= 0 && sourceY < s.height && x >= 0 && x < s.width;
      const int byte = inside ? pixels[(static_cast<int64_t>(sourceY) * s.width + x) * s.channels + channel] : 0;
      vertical = fmaf(weights.rowWeights[down.first + j], values[byte], vertical);
    }
    sum = fmaf(weights.columnWeights[across.first + k], vertical, sum);
  }
  y[i] = fromFloat<T>(sum);
}

// The taps of one axis on the device.
struct Axis {
  Table<Taps> taps;
  Table<float> weights;

  static Axis of(const Operands& operands, int64_t in, int64_t out) {
    std::vector<Taps> taps;
    std::vector<float> weights;
    for (const BilinearTaps& tap : bilinearTaps(in, out)) {
      taps.push_back(
          {static_cast<int>(tap.from), static_cast<int>(weights.size()), static_cast<int>(tap.weights.size())});
      weights.insert(weights.end(), tap.weights.begin(), tap.weights.end());
    }
    return {Table<Taps>(operands, taps), Table<float>(operands, weights)};
  }
};

Kernel normalizeImages(const Operands& operands) {
  const ImagesOperands o(operands);
  std::vector<float> values;  // (channels, 256)
  for (size_t channel = 0; channel < o.mean.size(); channel++)
    for (int byte = 0; byte < 256; byte++) values.push_back(o.value(channel, byte));
  const Table<float> table(operands, values);
  const Axis rows = Axis::of(operands, o.height, o.outHeight), columns = Axis::of(operands, o.width, o.outWidth);
  const ImageSizes sizes{static_cast<int>(o.height),
                         static_cast<int>(o.width),
                         static_cast<int>(o.channels),
                         static_cast<int>(o.outHeight),
                         static_cast<int>(o.outWidth),
                         static_cast<int>(o.pad),
                         o.y.size()};
  return withType(o.y.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, images = o.images, crops = o.crops, y = o.y, stream = streamOf(operands)] {
      const Weights weights{rows.taps.data(), columns.taps.data(), rows.weights.data(), columns.weights.data()};
      launch("images", stream, {blocksFor(sizes.count, kThreads), kThreads}, imagesKernel<T>, images.u8(), crops.i32(),
             table.data(), weights, pointer<T>(y), sizes);
    };
  });
}

}  // namespace

std::vector<Implementation> images() {
  return {{"images", {"height", "width", "pad", "mean", "deviation"}, normalizeImages}};
}

}  // namespace autoprog::cuda
