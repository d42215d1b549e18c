#pragma once

#include "cuda/elements.h"
#include "ops/attention.h"

namespace autoprog::cuda {

// What attention's kernels are given. Rows of a head are `size` values wide; those of consecutive tokens lie a stride
// apart, those of consecutive images as many strides as there are tokens. The blocks of a grid are (tokens, heads,
// images).
template <typename T>
struct AttentionArguments {
  const T *q, *k, *v, *y, *dy;  // y and dy are (batch, queries, width)
  T* out;                       // y, in the forward pass
  T *dq, *dk, *dv;
  float* logSumExp;  // (batch, heads, queries), of the scaled scores
  float* delta;      // (batch, heads, queries): the sum of dy * y over a head's values
  int queries, keys, heads;
  int64_t queryStride, keyStride, width;
  float scale;

  // Of a head's first row, in elements.
  __device__ __forceinline__ int64_t queryAt(int image, int head, int size) const {
    return static_cast<int64_t>(image) * queries * queryStride + head * size;
  }
  __device__ __forceinline__ int64_t keyAt(int image, int head, int size) const {
    return static_cast<int64_t>(image) * keys * keyStride + head * size;
  }
  __device__ __forceinline__ int64_t outputAt(int image, int head, int size) const {
    return static_cast<int64_t>(image) * queries * width + head * size;
  }
  __device__ __forceinline__ int64_t statisticAt(int image, int head) const {
    return (static_cast<int64_t>(image) * heads + head) * queries;
  }
};

}  // namespace autoprog::cuda
