// Tokens joined, taken apart and searched: moves of memory, one thread per element.
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

// y (B, N + 1, D) from the tokens' own (B, 1, D), or one that all images share, and x (B, N, D).
__global__ void prependKernel(AnyPointer x, AnyPointer token, AnyPointer y, TokenSizes s, bool shared) {
  const int64_t i = element(), image = s.count * s.width, whole = image + s.width;
  if (i >= s.batch * whole) return;
  const int64_t index = i / whole, at = i % whole;
  y.store(i, at < s.width ? token.load(shared ? at : index * s.width + at) : x.load(index * image + at - s.width));
}

__global__ void dropKernel(AnyPointer y, AnyPointer x, TokenSizes s) {
  const int64_t i = element(), image = s.count * s.width;
  if (i < s.batch * image) x.store(i, y.load(i / image * (image + s.width) + s.width + i % image));
}

__global__ void putBackKernel(AnyPointer x, AnyPointer y, TokenSizes s) {
  const int64_t i = element(), image = s.count * s.width, whole = image + s.width;
  if (i >= s.batch * whole) return;
  const int64_t at = i % whole;
  y.store(i, at < s.width ? 0.0f : x.load(i / whole * image + at - s.width));
}

// A thread searches one class of one image: its neighbours read the classes beside it.
__global__ void addMaximumKernel(const float* y, const float* x, float* sum, int32_t* at, TokenSizes s, float scale) {
  const int64_t i = element();
  if (i >= s.batch * s.width) return;
  const float* column = x + i / s.width * s.count * s.width + i % s.width;
  float best = column[0];
  int32_t place = 0;
  for (int64_t token = 1; token < s.count; token++) {
    const float value = column[token * s.width];
    if (!(value > best) && value == value) continue;
    best = value;
    place = static_cast<int32_t>(token);
  }
  sum[i] = fmaf(scale, best, y[i]);
  at[i] = place;
}

__global__ void addMaximumGradientKernel(const float* dy, const int32_t* at, AnyPointer dx, TokenSizes s, float scale) {
  const int64_t i = element(), image = s.count * s.width;
  if (i >= s.batch * image) return;
  const int64_t from = i / image * s.width + i % s.width;
  dx.store(i, at[from] == i % image / s.width ? scale * dy[from] : 0.0f);
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

Kernel prepend(const Operands& operands) {
  return [o = PrependTokenOperands(operands, false), stream = streamOf(operands)] {
    launch("prependToken", stream, {blocksFor(o.y.size(), kThreads), kThreads}, prependKernel, AnyPointer(o.x),
           AnyPointer(o.token), AnyPointer(o.y), TokenSizes{o.batch, o.count, o.width}, o.shared());
  };
}

Kernel drop(const Operands& operands) {
  return [o = PrependTokenOperands(operands, true), stream = streamOf(operands)] {
    if (o.count == 0) return;
    launch("dropToken", stream, {blocksFor(o.x.size(), kThreads), kThreads}, dropKernel, AnyPointer(o.y),
           AnyPointer(o.x), TokenSizes{o.batch, o.count, o.width});
  };
}

Kernel putBack(const Operands& operands) {
  return [o = PrependTokenOperands(operands, false, true), stream = streamOf(operands)] {
    launch("dropTokenGradient", stream, {blocksFor(o.y.size(), kThreads), kThreads}, putBackKernel, AnyPointer(o.x),
           AnyPointer(o.y), TokenSizes{o.batch, o.count, o.width});
  };
}

Kernel addMaximum(const Operands& operands) {
  return [o = AddTokenMaxOperands(operands), stream = streamOf(operands)] {
    launch("addTokenMax", stream, {blocksFor(o.sum.size(), kThreads), kThreads}, addMaximumKernel, o.y.f32(), o.x.f32(),
           o.sum.f32(), o.at.i32(), TokenSizes{o.batch, o.count, o.classes}, o.scale);
  };
}

Kernel addMaximumGradient(const Operands& operands) {
  return [o = AddTokenMaxGradientOperands(operands), stream = streamOf(operands)] {
    launch("addTokenMaxGradient", stream, {blocksFor(o.dx.size(), kThreads), kThreads}, addMaximumGradientKernel,
           o.dy.f32(), o.at.i32(), AnyPointer(o.dx), TokenSizes{o.batch, o.count, o.classes}, o.scale);
  };
}

}  // namespace

std::vector<Implementation> tokens() {
  return {{"tokens", {}, join},
          {"tokensGradient", {}, split},
          {"selectToken", {"tokens"}, select},
          {"selectTokenGradient", {"tokens"}, place},
          {"prependToken", {}, prepend},
          {"dropToken", {}, drop},
          {"dropTokenGradient", {}, putBack},
          {"addTokenMax", {"scale"}, addMaximum},
          {"addTokenMaxGradient", {"scale", "tokens"}, addMaximumGradient}};
}

}  // namespace autoprog::cuda
