// Position embeddings, added to every image and resized: one thread per element.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/position.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t element() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
}

__global__ void addPositionKernel(AnyPointer x, const float* position, float* y, int64_t count, int64_t image) {
  const int64_t i = element();
  if (i < count) y[i] = x.load(i) + position[i % image];
}

__global__ void sumImagesKernel(AnyPointer x, float* y, int64_t batch, int64_t image) {
  const int64_t i = element();
  if (i >= image) return;
  float sum = 0;
  for (int64_t b = 0; b < batch; b++) sum += x.load(b * image + i);
  y[i] = sum;
}

__global__ void repeatImagesKernel(const float* x, AnyPointer y, int64_t count, int64_t image) {
  const int64_t i = element();
  if (i < count) y.store(i, x[i % image]);
}

struct Grids {
  int from, to, prefix, width;
};

// y (prefix + to^2, D): one thread per element gathers its 16 samples.
__global__ void resizeKernel(const float* x, float* y, const CubicTaps* taps, Grids g) {
  const int64_t i = element();
  if (i >= (static_cast<int64_t>(g.to) * g.to + g.prefix) * g.width) return;
  const int row = static_cast<int>(i / g.width) - g.prefix, column = static_cast<int>(i % g.width);
  if (row < 0) {
    y[i] = x[i];
    return;
  }
  const CubicTaps &down = taps[row / g.to], &across = taps[row % g.to];
  float sum = 0;
  for (int j = 0; j < 4; j++)
    for (int k = 0; k < 4; k++)
      sum += down.weights[j] * across.weights[k] *
             x[(g.prefix + static_cast<int64_t>(down.at[j]) * g.from + across.at[k]) * g.width + column];
  y[i] = sum;
}

// dx (prefix + from^2, D) += …: one thread per element looks for the targets that it was a sample of, so that nothing
// has to be added atomically.
__global__ void resizeGradientKernel(const float* dy, float* dx, const CubicTaps* taps, Grids g) {
  const int64_t i = element();
  if (i >= (static_cast<int64_t>(g.from) * g.from + g.prefix) * g.width) return;
  const int row = static_cast<int>(i / g.width) - g.prefix, column = static_cast<int>(i % g.width);
  if (row < 0) {
    dx[i] += dy[i];
    return;
  }
  const int down = row / g.from, across = row % g.from;
  float sum = 0;
  for (int y = 0; y < g.to; y++) {
    float vertical = 0;
    for (int j = 0; j < 4; j++)
      if (taps[y].at[j] == down) vertical += taps[y].weights[j];
    if (vertical == 0.0f) continue;
    for (int x = 0; x < g.to; x++) {
      float horizontal = 0;
      for (int k = 0; k < 4; k++)
        if (taps[x].at[k] == across) horizontal += taps[x].weights[k];
      if (horizontal != 0.0f)
        sum += vertical * horizontal * dy[(g.prefix + static_cast<int64_t>(y) * g.to + x) * g.width + column];
    }
  }
  dx[i] += sum;
}

Kernel addPosition(const Operands& operands) {
  return [o = AddPositionOperands(operands), stream = streamOf(operands)] {
    launch("addPosition", stream, {blocksFor(o.x.size(), kThreads), kThreads}, addPositionKernel, AnyPointer(o.x),
           o.position.f32(), o.y.f32(), o.x.size(), o.image);
  };
}

Kernel repeatImages(const Operands& operands) {
  return [o = RepeatImagesOperands(operands), stream = streamOf(operands)] {
    launch("repeatImages", stream, {blocksFor(o.y.size(), kThreads), kThreads}, repeatImagesKernel, o.x.f32(),
           AnyPointer(o.y), o.y.size(), o.image);
  };
}

Kernel sumImages(const Operands& operands) {
  return [o = SumImagesOperands(operands), stream = streamOf(operands)] {
    launch("sumImages", stream, {blocksFor(o.image, kThreads), kThreads}, sumImagesKernel, AnyPointer(o.x), o.y.f32(),
           o.batch, o.image);
  };
}

template <bool gradient>
Kernel resize(const Operands& operands) {
  const ResizePositionOperands o(operands, gradient);
  return [position = o.position, resized = o.resized, taps = Table<CubicTaps>(operands, o.taps),
          grids = Grids{static_cast<int>(o.from), static_cast<int>(o.to), static_cast<int>(o.prefix),
                        static_cast<int>(o.width)},
          stream = streamOf(operands)] {
    if constexpr (gradient)
      launch("resizePositionGradient", stream, {blocksFor(position.size(), kThreads), kThreads}, resizeGradientKernel,
             resized.f32(), position.f32(), taps.data(), grids);
    else
      launch("resizePosition", stream, {blocksFor(resized.size(), kThreads), kThreads}, resizeKernel, position.f32(),
             resized.f32(), taps.data(), grids);
  };
}

}  // namespace

std::vector<Implementation> position() {
  return {{"addPosition", {}, addPosition},
          {"sumImages", {}, sumImages},
          {"repeatImages", {"batch"}, repeatImages},
          {"resizePosition", {"from", "to", "prefix"}, resize<false>},
          {"resizePositionGradient", {"from", "to", "prefix"}, resize<true>}};
}

}  // namespace autoprog::cuda
