#pragma once

// Softmax attention for any type and head size up to 128: flash-style (Dao et al., 2022), products in f32 by ordinary
// multiply-adds. A warp keeps kRows rows; its lanes take one row each of a tile of 32 others in shared memory, and pass
// on what they found there with shuffles. `perLane` values of a row lie in each lane: values lane, lane + 32, …
#include "cuda/attention.h"
#include "cuda/reduce.h"

namespace autoprog::cuda {

inline constexpr int kPlainWarps = 4, kPlainRows = 4;
inline constexpr int kPlainBlock = kPlainWarps * kPlainRows;  // rows of a block
inline constexpr int kPlainLargest = 128;

// Shared memory of a block: two matrices of kPlainBlock rows, two tiles of 32, two statistics of a tile.
inline size_t plainSharedBytes(int size) {
  return (2 * static_cast<size_t>(kPlainBlock) * size + 2 * static_cast<size_t>(kWarp) * (size + 1) + 2 * kWarp) *
         sizeof(float);
}

struct PlainShared {
  float *rows0, *rows1;   // (kPlainBlock, size)
  float *tile0, *tile1;   // (32, size + 1): another bank for each row
  float *first, *second;  // (32)

  __device__ explicit PlainShared(int size) {
    rows0 = sharedMemory<float>();
    rows1 = rows0 + kPlainBlock * size;
    tile0 = rows1 + kPlainBlock * size;
    tile1 = tile0 + kWarp * (size + 1);
    first = tile1 + kWarp * (size + 1);
    second = first + kWarp;
  }
};

// Rows first, first + 1, … of a head into shared memory, zeros beyond `limit`.
template <typename T>
__device__ __forceinline__ void loadRows(const T* from, int64_t stride, int first, int count, int limit, int size,
                                         float* to, int toStride) {
  for (int i = static_cast<int>(threadIdx.x); i < count * size; i += kPlainWarps * kWarp) {
    const int row = i / size, column = i % size;
    to[row * toStride + column] = first + row < limit ? toFloat(from[(first + row) * stride + column]) : 0.0f;
  }
}

__device__ __forceinline__ float dotProduct(const float* a, const float* b, int size) {
  float sum = 0;
  for (int e = 0; e < size; e++) sum = fmaf(a[e], b[e], sum);
  return sum;
}

// sum (perLane) += sum_j weight_j * tile_j, where lane j holds weight_j.
template <int perLane>
__device__ __forceinline__ void addWeighted(float (&sum)[perLane], float weight, const float* tile, int size) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int j = 0; j < kWarp; j++) {
    const float factor = __shfl_sync(kFullWarp, weight, j);
#pragma unroll
    for (int c = 0; c < perLane; c++)
      if (lane + c * kWarp < size) sum[c] = fmaf(factor, tile[j * (size + 1) + lane + c * kWarp], sum[c]);
  }
}

template <int perLane, typename T>
__device__ __forceinline__ void storeRow(const float (&values)[perLane], float factor, T* row, int size) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int c = 0; c < perLane; c++)
    if (lane + c * kWarp < size) row[lane + c * kWarp] = fromFloat<T>(values[c] * factor);
}

template <typename T, int perLane>
__global__ void __launch_bounds__(kPlainWarps* kWarp) plainAttentionKernel(AttentionArguments<T> o, int size) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int head = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x) * kPlainBlock;
  const T* k = o.k + o.keyAt(image, head, size);
  const T* v = o.v + o.keyAt(image, head, size);
  const PlainShared shared(size);
  loadRows(o.q + o.queryAt(image, head, size), o.queryStride, first, kPlainBlock, o.queries, size, shared.rows0, size);
  float largest[kPlainRows], sum[kPlainRows], out[kPlainRows][perLane] = {};
  for (int r = 0; r < kPlainRows; r++) largest[r] = -INFINITY, sum[r] = 0;
  for (int start = 0; start < o.keys; start += kWarp) {
    __syncthreads();
    loadRows(k, o.keyStride, start, kWarp, o.keys, size, shared.tile0, size + 1);
    loadRows(v, o.keyStride, start, kWarp, o.keys, size, shared.tile1, size + 1);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kPlainRows; r++) {
      const float* q = shared.rows0 + (warp * kPlainRows + r) * size;
      const float dot = dotProduct(q, shared.tile0 + lane * (size + 1), size);
      const float score = start + lane < o.keys ? dot * o.scale : -INFINITY;
      const float next = fmaxf(largest[r], warpMaximum(score));
      const float probability = expf(score - next), shrink = expf(largest[r] - next);
      largest[r] = next;
      sum[r] = sum[r] * shrink + warpSum(probability);
#pragma unroll
      for (int c = 0; c < perLane; c++) out[r][c] *= shrink;
      addWeighted(out[r], probability, shared.tile1, size);
    }
  }
#pragma unroll
  for (int r = 0; r < kPlainRows; r++) {
    const int query = first + warp * kPlainRows + r;
    if (query >= o.queries) continue;
    storeRow(out[r], 1.0f / sum[r], o.out + o.outputAt(image, head, size) + query * o.width, size);
    if (lane == 0) o.logSumExp[o.statisticAt(image, head) + query] = largest[r] + logf(sum[r]);
  }
}

// Blocks that a multiprocessor has to hold, 0 for as many as nvcc sees fit: of narrow heads in 16 bits it wants more
// for Blackwell, and spills.
template <typename T, int perLane>
inline constexpr int kQueryGradientBlocks = sizeof(T) == 2 && perLane == 1 ? 4 : 0;

// dq, and delta for the kernel after it.
template <typename T, int perLane>
__global__ void __launch_bounds__(kPlainWarps* kWarp, kQueryGradientBlocks<T, perLane>)
    plainQueryGradientKernel(AttentionArguments<T> o, int size) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int head = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x) * kPlainBlock;
  const T* k = o.k + o.keyAt(image, head, size);
  const T* v = o.v + o.keyAt(image, head, size);
  const T* y = o.y + o.outputAt(image, head, size);
  const PlainShared shared(size);
  loadRows(o.q + o.queryAt(image, head, size), o.queryStride, first, kPlainBlock, o.queries, size, shared.rows0, size);
  loadRows(o.dy + o.outputAt(image, head, size), o.width, first, kPlainBlock, o.queries, size, shared.rows1, size);
  __syncthreads();
  float delta[kPlainRows], logSumExp[kPlainRows], dq[kPlainRows][perLane] = {};
#pragma unroll
  for (int r = 0; r < kPlainRows; r++) {
    const int row = warp * kPlainRows + r, query = first + row;
    float sum = 0;
    if (query < o.queries)
      for (int e = lane; e < size; e += kWarp) sum += shared.rows1[row * size + e] * toFloat(y[query * o.width + e]);
    delta[r] = warpSum(sum);
    logSumExp[r] = query < o.queries ? o.logSumExp[o.statisticAt(image, head) + query] : 0.0f;
    if (lane == 0 && query < o.queries) o.delta[o.statisticAt(image, head) + query] = delta[r];
  }
  for (int start = 0; start < o.keys; start += kWarp) {
    __syncthreads();
    loadRows(k, o.keyStride, start, kWarp, o.keys, size, shared.tile0, size + 1);
    loadRows(v, o.keyStride, start, kWarp, o.keys, size, shared.tile1, size + 1);
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kPlainRows; r++) {
      const int row = (warp * kPlainRows + r) * size;
      const float score = dotProduct(shared.rows0 + row, shared.tile0 + lane * (size + 1), size) * o.scale;
      const float slope = dotProduct(shared.rows1 + row, shared.tile1 + lane * (size + 1), size);
      const float probability = start + lane < o.keys ? expf(score - logSumExp[r]) : 0.0f;
      addWeighted(dq[r], probability * (slope - delta[r]) * o.scale, shared.tile0, size);
    }
  }
#pragma unroll
  for (int r = 0; r < kPlainRows; r++) {
    const int query = first + warp * kPlainRows + r;
    if (query < o.queries) storeRow(dq[r], 1.0f, o.dq + o.queryAt(image, head, size) + query * o.queryStride, size);
  }
}

// dk and dv: a warp's rows are keys, a tile's are queries.
template <typename T, int perLane>
__global__ void __launch_bounds__(kPlainWarps* kWarp) plainKeyGradientKernel(AttentionArguments<T> o, int size) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int head = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x) * kPlainBlock;
  const T* q = o.q + o.queryAt(image, head, size);
  const T* dy = o.dy + o.outputAt(image, head, size);
  const int64_t keyAt = o.keyAt(image, head, size), statisticAt = o.statisticAt(image, head);
  const PlainShared shared(size);
  loadRows(o.k + keyAt, o.keyStride, first, kPlainBlock, o.keys, size, shared.rows0, size);
  loadRows(o.v + keyAt, o.keyStride, first, kPlainBlock, o.keys, size, shared.rows1, size);
  float dk[kPlainRows][perLane] = {}, dv[kPlainRows][perLane] = {};
  for (int start = 0; start < o.queries; start += kWarp) {
    __syncthreads();
    loadRows(q, o.queryStride, start, kWarp, o.queries, size, shared.tile0, size + 1);
    loadRows(dy, o.width, start, kWarp, o.queries, size, shared.tile1, size + 1);
    if (warp == 0) {
      const bool inside = start + lane < o.queries;
      shared.first[lane] = inside ? o.logSumExp[statisticAt + start + lane] : 0.0f;
      shared.second[lane] = inside ? o.delta[statisticAt + start + lane] : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < kPlainRows; r++) {
      const int row = (warp * kPlainRows + r) * size;
      const float score = dotProduct(shared.rows0 + row, shared.tile0 + lane * (size + 1), size) * o.scale;
      const float slope = dotProduct(shared.rows1 + row, shared.tile1 + lane * (size + 1), size);
      const float probability = start + lane < o.queries ? expf(score - shared.first[lane]) : 0.0f;
      addWeighted(dv[r], probability, shared.tile1, size);
      addWeighted(dk[r], probability * (slope - shared.second[lane]) * o.scale, shared.tile0, size);
    }
  }
#pragma unroll
  for (int r = 0; r < kPlainRows; r++) {
    const int key = first + warp * kPlainRows + r;
    if (key >= o.keys) continue;
    storeRow(dk[r], 1.0f, o.dk + keyAt + key * o.keyStride, size);
    storeRow(dv[r], 1.0f, o.dv + keyAt + key * o.keyStride, size);
  }
}

}  // namespace autoprog::cuda
