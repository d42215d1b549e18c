// Class token and position embedding: moves of memory, one thread per element.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/tokens.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ int64_t element() {
  return static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x);
}

struct TokenSizes {
  int64_t batch, count, width;
};

__global__ void joinKernel(AnyPointer patches, const float* classToken, const float* position, float* y, TokenSizes s) {
  const int64_t i = element(), image = (s.count + 1) * s.width;
  if (i >= s.batch * image) return;
  const int64_t at = i % image;
  const float value = at < s.width ? classToken[at] : patches.load(i / image * s.count * s.width + at - s.width);
  y[i] = value + position[at];
}

__global__ void splitPatchesKernel(const float* dy, AnyPointer dpatches, TokenSizes s) {
  const int64_t i = element(), image = s.count * s.width;
  if (i < s.batch * image) dpatches.store(i, dy[i / image * (image + s.width) + s.width + i % image]);
}

// dposition = the sum over images; for the class token's row it is added to dclass too. One thread sums one element.
__global__ void splitPositionKernel(const float* dy, float* dclass, float* dposition, TokenSizes s) {
  const int64_t i = element(), image = (s.count + 1) * s.width;
  if (i >= image) return;
  float sum = 0;
  for (int64_t b = 0; b < s.batch; b++) sum += dy[b * image + i];
  dposition[i] = sum;
  if (i < s.width) dclass[i] += sum;
}

__global__ void selectKernel(AnyPointer x, AnyPointer y, TokenSizes s) {
  const int64_t i = element();
  if (i < s.batch * s.width) y.store(i, x.load(i / s.width * s.count * s.width + i % s.width));
}

__global__ void placeKernel(AnyPointer dy, AnyPointer dx, TokenSizes s) {
  const int64_t i = element(), image = s.count * s.width;
  if (i >= s.batch * image) return;
  const int64_t at = i % image;
  dx.store(i, at < s.width ? dy.load(i / image * s.width + at) : 0.0f);
}

struct Grids {
  int from, to, width;
};

// y (1 + to^2, D): one thread per element gathers its 16 samples.
__global__ void resizeKernel(const float* x, float* y, const CubicTaps* taps, Grids g) {
  const int64_t i = element();
  if (i >= (static_cast<int64_t>(g.to) * g.to + 1) * g.width) return;
  const int row = static_cast<int>(i / g.width), column = static_cast<int>(i % g.width);
  if (row == 0) {
    y[i] = x[i];
    return;
  }
  const CubicTaps &down = taps[(row - 1) / g.to], &across = taps[(row - 1) % g.to];
  float sum = 0;
  for (int j = 0; j < 4; j++)
    for (int k = 0; k < 4; k++)
      sum += down.weights[j] * across.weights[k] *
             x[(1 + static_cast<int64_t>(down.at[j]) * g.from + across.at[k]) * g.width + column];
  y[i] = sum;
}

// dx (1 + from^2, D) += …: one thread per element looks for the targets that it was a sample of, so that nothing has to
// be added atomically.
__global__ void resizeGradientKernel(const float* dy, float* dx, const CubicTaps* taps, Grids g) {
  const int64_t i = element();
  if (i >= (static_cast<int64_t>(g.from) * g.from + 1) * g.width) return;
  const int row = static_cast<int>(i / g.width), column = static_cast<int>(i % g.width);
  if (row == 0) {
    dx[i] += dy[i];
    return;
  }
  const int down = (row - 1) / g.from, across = (row - 1) % g.from;
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
        sum += vertical * horizontal * dy[(1 + static_cast<int64_t>(y) * g.to + x) * g.width + column];
    }
  }
  dx[i] += sum;
}

Kernel join(const Operands& operands) {
  return [o = TokensOperands(operands, false), stream = streamOf(operands)] {
    launch("tokens", stream, {blocksFor(o.y.size(), kThreads), kThreads}, joinKernel, AnyPointer(o.patches),
           o.classToken.f32(), o.position.f32(), o.y.f32(), TokenSizes{o.batch, o.count, o.width});
  };
}

Kernel split(const Operands& operands) {
  return [o = TokensOperands(operands, true), stream = streamOf(operands)] {
    const TokenSizes sizes{o.batch, o.count, o.width};
    launch("tokensGradient patches", stream, {blocksFor(o.patches.size(), kThreads), kThreads}, splitPatchesKernel,
           o.y.f32(), AnyPointer(o.patches), sizes);
    launch("tokensGradient position", stream, {blocksFor(o.position.size(), kThreads), kThreads}, splitPositionKernel,
           o.y.f32(), o.classToken.f32(), o.position.f32(), sizes);
  };
}

Kernel select(const Operands& operands) {
  return [o = SelectTokenOperands(operands, false), stream = streamOf(operands)] {
    launch("selectToken", stream, {blocksFor(o.y.size(), kThreads), kThreads}, selectKernel, AnyPointer(o.x),
           AnyPointer(o.y), TokenSizes{o.batch, o.count, o.width});
  };
}

Kernel place(const Operands& operands) {
  return [o = SelectTokenOperands(operands, true), stream = streamOf(operands)] {
    launch("selectTokenGradient", stream, {blocksFor(o.x.size(), kThreads), kThreads}, placeKernel, AnyPointer(o.y),
           AnyPointer(o.x), TokenSizes{o.batch, o.count, o.width});
  };
}

template <bool gradient>
Kernel resize(const Operands& operands) {
  const ResizePositionOperands o(operands, gradient);
  return [position = o.position, resized = o.resized, taps = Table<CubicTaps>(operands, o.taps),
          grids = Grids{static_cast<int>(o.from), static_cast<int>(o.to), static_cast<int>(o.width)},
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

std::vector<Implementation> tokens() {
  return {{"tokens", {}, join},
          {"tokensGradient", {}, split},
          {"selectToken", {"tokens"}, select},
          {"selectTokenGradient", {"tokens"}, place},
          {"resizePosition", {"from", "to"}, resize<false>},
          {"resizePositionGradient", {"from", "to"}, resize<true>}};
}

}  // namespace autoprog::cuda
