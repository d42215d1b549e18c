// Mixup and CutMix: a thread takes four neighbours of a row in both images of a pair, so that each is read once. Rows
// that are no multiple of four long are moved value by value. What is mixed is read from memory: it changes every step.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/mix.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

struct MixSizes {
  int height, line, channels, parts;  // rows, values of a row and of a pixel, parts of a row
  int64_t batch, count;               // images, parts of all pairs
  bool byFour;
};

template <typename X, typename Y>
__global__ void mixImagesKernel(const X* images, const float* mix, Y* y, MixSizes s) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const int column = 4 * static_cast<int>(i % s.parts), rest = s.line - column, present = rest < 4 ? rest : 4;
  const int64_t lineOfPair = i / s.parts, pair = lineOfPair / s.height;
  const int row = static_cast<int>(lineOfPair % s.height);
  const int64_t first = (pair * s.height + row) * s.line + column;
  const int64_t second = ((s.batch - 1 - pair) * s.height + row) * s.line + column;
  float a[4] = {}, b[4] = {}, mixedA[4], mixedB[4];
  if (s.byFour) {
    loadFour(images + first, a);
    loadFour(images + second, b);
  } else {
    for (int k = 0; k < present; k++) a[k] = toFloat(images[first + k]), b[k] = toFloat(images[second + k]);
  }
  const float blend = mix[0], other = 1.0f - blend;
  const bool rowInside = static_cast<float>(row) >= mix[2] && static_cast<float>(row) < mix[3];
#pragma unroll
  for (int k = 0; k < 4; k++) {
    const auto pixel = static_cast<float>((column + k) / s.channels);
    const bool inside = rowInside && pixel >= mix[4] && pixel < mix[5];
    mixedA[k] = inside ? b[k] : blend * a[k] + other * b[k];
    mixedB[k] = inside ? a[k] : blend * b[k] + other * a[k];
  }
  if (s.byFour) {
    storeFour(y + first, mixedA);
    storeFour(y + second, mixedB);
  } else {
    for (int k = 0; k < present; k++) y[first + k] = fromFloat<Y>(mixedA[k]), y[second + k] = fromFloat<Y>(mixedB[k]);
  }
}

Kernel mixImages(const Operands& operands) {
  const MixImagesOperands o(operands);
  const int64_t line = o.width * o.channels, parts = (line + 3) / 4;
  const bool aligned = o.images.offset % 16 == 0 && o.y.offset % 16 == 0;
  const MixSizes sizes{static_cast<int>(o.height),
                       static_cast<int>(line),
                       static_cast<int>(o.channels),
                       static_cast<int>(parts),
                       o.batch,
                       o.pairs() * o.height * parts,
                       aligned && line % 4 == 0};
  return withType(o.images.type, [&](auto from) {
    return withType(o.y.type, [&](auto to) -> Kernel {
      using X = typename decltype(from)::type;
      using Y = typename decltype(to)::type;
      return [=, stream = streamOf(operands)] {
        launch("mixImages", stream, {blocksFor(sizes.count, kThreads), kThreads}, mixImagesKernel<X, Y>,
               pointer<X>(o.images), o.mix.f32(), pointer<Y>(o.y), sizes);
      };
    });
  });
}

__global__ void mixTargetsKernel(const float* targets, const float* mix, float* y, int64_t rows, int64_t classes) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= rows * classes) return;
  const int64_t row = i / classes, partner = (rows - 1 - row) * classes + i % classes;
  y[i] = mix[1] * targets[i] + (1.0f - mix[1]) * targets[partner];
}

Kernel mixTargets(const Operands& operands) {
  return [o = MixTargetsOperands(operands), stream = streamOf(operands)] {
    launch("mixTargets", stream, {blocksFor(o.y.size(), kThreads), kThreads}, mixTargetsKernel, o.targets.f32(),
           o.mix.f32(), o.y.f32(), o.rows, o.classes);
  };
}

// A thread takes four neighbours of a row, in one image.
template <typename X, typename Y>
__global__ void mixTokensKernel(const X* x, const int32_t* box, Y* y, MixSizes s, int64_t scale) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= s.count) return;
  const int column = 4 * static_cast<int>(i % s.parts), rest = s.line - column, present = rest < 4 ? rest : 4;
  const int64_t line = i / s.parts, image = line / s.height, row = line % s.height;
  const int64_t own = line * s.line + column, other = ((s.batch - 1 - image) * s.height + row) * s.line + column;
  const bool rowInside = row >= box[0] * scale && row < box[2] * scale;
  const auto inside = [&](int k) {
    const int pixel = (column + k) / s.channels;
    return rowInside && pixel >= box[1] * scale && pixel < box[3] * scale;
  };
  if (s.byFour && s.channels % 4 == 0) {  // all four belong to one pixel
    float values[4];
    loadFour(x + (inside(0) ? other : own), values);
    storeFour(y + own, values);
  } else {
    for (int k = 0; k < present; k++) y[own + k] = fromFloat<Y>(toFloat(x[(inside(k) ? other : own) + k]));
  }
}

Kernel mixTokens(const Operands& operands) {
  const MixTokensOperands o(operands);
  const int64_t line = o.width * o.channels, parts = (line + 3) / 4;
  const MixSizes sizes{static_cast<int>(o.height),
                       static_cast<int>(line),
                       static_cast<int>(o.channels),
                       static_cast<int>(parts),
                       o.batch,
                       o.batch * o.height * parts,
                       o.x.offset % 16 == 0 && o.y.offset % 16 == 0 && line % 4 == 0};
  return withType(o.x.type, [&](auto from) {
    return withType(o.y.type, [&](auto to) -> Kernel {
      using X = typename decltype(from)::type;
      using Y = typename decltype(to)::type;
      return [=, stream = streamOf(operands)] {
        launch("mixTokens", stream, {blocksFor(sizes.count, kThreads), kThreads}, mixTokensKernel<X, Y>,
               pointer<X>(o.x), o.box.i32(), pointer<Y>(o.y), sizes, o.scale);
      };
    });
  });
}

}  // namespace

std::vector<Implementation> mix() {
  return {{"mixImages", {}, mixImages}, {"mixTargets", {}, mixTargets}, {"mixTokens", {"scale"}, mixTokens}};
}

}  // namespace autoprog::cuda
