#pragma once

#include "cuda/launch.h"
#include "runtime/divide.h"

namespace autoprog::cuda {

inline constexpr unsigned kFullWarp = 0xffffffffu;
inline constexpr int kWarp = 32;

// The sum over the warp's lanes, in all of them, in a fixed order.
template <typename T>
__device__ __forceinline__ T warpSum(T value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(kFullWarp, value, distance);
  return value;
}

__device__ __forceinline__ float warpMaximum(float value) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, distance));
  return value;
}

// The sum over the block's threads, in all of them. `shared` holds 32 values and is free again afterwards; the block
// has whole warps.
template <typename T>
__device__ __forceinline__ T blockSum(T value, T* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  value = warpSum(value);
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  value = warpSum(lane < warps ? shared[lane] : T{});
  __syncthreads();
  return value;
}

// How many blocks of `size` cover `count`.
inline unsigned blocksFor(int64_t count, int64_t size) { return static_cast<unsigned>(divideUp(count, size)); }

}  // namespace autoprog::cuda
