#pragma once

#include "cuda/elements.h"
#include "cuda/reduce.h"
#include "cuda/tensor-core.h"

// Kernels with a mistake in them, beside the same without: the emulator has to tell them apart.
namespace planted {

using namespace autoprog::cuda;

// y = the sum of x over the block's 128 threads, by halves in shared memory.
template <bool barriers>
__global__ void sumKernel(const float* x, float* y) {
  float* shared = sharedMemory<float>();
  const int thread = static_cast<int>(threadIdx.x);
  shared[thread] = x[thread];
  __syncthreads();
  for (int half = 64; half > 0; half /= 2) {
    if (thread < half) shared[thread] += shared[thread + half];
    if (barriers) __syncthreads();
  }
  if (thread == 0) y[0] = shared[0];
}

// y = 2 x over `count` values in tiles of 32: with `edge` the last tile's end is one too far.
template <bool edge>
__global__ void tileKernel(const float* x, float* y, int count) {
  const int i = static_cast<int>(blockIdx.x * 32 + threadIdx.x);
  if (edge ? i <= count : i < count) y[i] = 2 * x[i];
}

// A barrier that only some threads reach.
__global__ inline void divergentKernel(float* y) {
  if (threadIdx.x % 2 == 0) __syncthreads();
  y[threadIdx.x] = 1;
}

// Lanes that meet at different operations.
__global__ inline void mixedKernel(float* y) {
  const float value = threadIdx.x < 16 ? __shfl_xor_sync(kFullWarp, 1.0f, 1) : __shfl_down_sync(kFullWarp, 1.0f, 1);
  y[threadIdx.x] = value;
}

// y copies x, of which nothing has been written.
__global__ inline void unwrittenKernel(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x] + 1; }

// c (16, 8) = a (16, 16) b (16, 8) by one matrix instruction, with a and b (transposed: (8, 16), twice) from shared
// memory; with `wrong` two registers of a change places.
template <typename T, bool wrong>
__global__ void productKernel(const T* a, const T* b, float* c) {
  T* shared = sharedMemory<T>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) shared[i] = a[i];
  for (int i = lane; i < 256; i += 32) shared[256 + i] = b[i];  // (16 columns, 16), the last 8 of them unused
  __syncwarp();
  uint32_t left[4], right[4];
  loadMatrices(left, shared + (lane % 16) * 16 + lane / 16 * 8);
  loadMatrices(right, shared + 256 + (lane / 16 * 8 + lane % 8) * 16 + lane / 8 % 2 * 8);
  float sums[4] = {};
  if (wrong)
    multiplyAccumulate<T>(sums, {left[0], left[2], left[1], left[3]}, {right[0], right[1]});
  else
    multiplyAccumulate<T>(sums, left, {right[0], right[1]});
  for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + 2 * (lane % 4) + i % 2] = sums[i];
}

// The same with b (16, 8 of 16 columns) as it is, loaded transposed, and copied asynchronously; without `waits` the
// copies are not waited for.
template <typename T, bool waits>
__global__ void copiedProductKernel(const T* a, const T* b, float* c) {
  T* shared = sharedMemory<T>();
  const int lane = static_cast<int>(threadIdx.x);
  copyAsync(shared + 8 * lane, a + 8 * lane, true);
  copyAsync(shared + 256 + 8 * lane, b + 8 * lane, true);
  commitCopies();
  if (waits) waitForCopies<0>();
  __syncwarp();
  uint32_t left[4], right[4];
  loadMatrices(left, shared + (lane % 16) * 16 + lane / 16 * 8);
  loadMatricesTransposed(right, shared + 256 + (lane / 8 % 2 * 8 + lane % 8) * 16 + lane / 16 * 8);
  float sums[4] = {};
  multiplyAccumulate<T>(sums, left, {right[0], right[1]});
  for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + 2 * (lane % 4) + i % 2] = sums[i];
}

// y (32, 8) = 2 a, of values in shared memory into which those of b are copied; without `waits` while others still
// read.
template <bool waits>
__global__ void refilledKernel(const Half* a, const Half* b, Half* y) {
  Half* shared = sharedMemory<Half>();
  const int lane = static_cast<int>(threadIdx.x), other = 31 - lane;
  for (int i = 0; i < 8; i++) shared[8 * lane + i] = a[8 * lane + i];
  __syncwarp();
  float values[8];
  if (waits)
    for (int i = 0; i < 8; i++) values[i] = toFloat(shared[8 * other + i]);
  if (waits) __syncwarp();
  copyAsync(shared + 8 * lane, b + 8 * lane, true);
  commitCopies();
  if (!waits)
    for (int i = 0; i < 8; i++) values[i] = toFloat(shared[8 * other + i]);
  waitForCopies<0>();
  for (int i = 0; i < 8; i++) y[8 * other + i] = fromFloat<Half>(2 * values[i]);
}

// y = 2 x, four neighbours at a time, from value `first` on.
__global__ inline void fourKernel(const float* x, float* y, int first) {
  const int at = first + 4 * static_cast<int>(threadIdx.x);
  float values[4];
  loadFour(x + at, values);
  for (float& value : values) value *= 2;
  storeFour(y + at, values);
}

// y = x + 1 at every `stride`-th value; 32 bits are too few to count the place of one in a large matrix.
template <typename Integer>
__global__ void stridedKernel(const float* x, float* y, int stride) {
  const Integer at = static_cast<Integer>(blockIdx.x * blockDim.x + threadIdx.x) * stride;
  y[at] = x[at] + 1;
}

}  // namespace planted
