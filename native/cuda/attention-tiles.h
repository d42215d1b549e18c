#pragma once

// Softmax attention in 16-bit types on tensor cores, flash-style (Dao et al., 2022): scores exist in registers only,
// the forward pass keeps their log-sum-exp, the backward pass recomputes them. A warp owns 16 rows (queries, or keys in
// the kernel for dk and dv) and passes over all others in tiles of 64 that the block shares, copied to shared memory
// while the tile before is computed on. Rows are padded to 16, so that 197 tokens cost no more than 208. dq and dk, dv
// are computed by two kernels, without atomic additions: scores are computed twice, but sums have a fixed order.
#include "cuda/attention.h"
#include "cuda/reduce.h"
#include "cuda/tensor-core.h"

namespace autoprog::cuda {

inline constexpr int kTileRows = 64, kWarpRows = 16, kMostWarps = 8;
inline constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

// Two tiles of 64 rows, each twice: one is computed on while the other arrives. 16 bytes of padding a row keep the rows
// of a matrix load in different banks.
template <int size>
struct Tiles {
  static constexpr int kStride = size + 8;
  static constexpr int kTile = kTileRows * kStride;                                               // elements
  static constexpr size_t kBytes = 4 * kTile * sizeof(uint16_t) + 4 * kTileRows * sizeof(float);  // and statistics
};

// Begins to copy rows first … first + 63 of a head, zeros beyond `limit`.
template <int size, typename T>
__device__ __forceinline__ void copyTile(const T* from, int64_t stride, int first, int limit, T* to) {
  constexpr int kPieces = size / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kPieces; i += static_cast<int>(blockDim.x)) {
    const int row = i / kPieces, piece = i % kPieces * 8;
    const bool inside = first + row < limit;
    copyAsync(to + row * Tiles<size>::kStride + piece, from + (inside ? (first + row) * stride : 0) + piece, inside);
  }
}

// A warp's 16 rows as the first factor of a product: fragments for every 16 values of the row, zeros beyond `limit`.
template <int size, typename T>
__device__ __forceinline__ void loadFragments(const T* from, int64_t stride, int first, int limit,
                                              uint32_t (&fragments)[size / 16][4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, pair = 2 * (lane % 4);
#pragma unroll
  for (int step = 0; step < size / 16; step++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = first + group + (i % 2) * 8, column = 16 * step + pair + (i / 2) * 8;
      fragments[step][i] = row < limit ? *reinterpret_cast<const uint32_t*>(from + row * stride + column) : 0u;
    }
}

// c (16, 16) += rows (16, size) tile[16 index …]^T: both factors have their values along rows.
template <int size, typename T>
__device__ __forceinline__ void multiplyRows(float (&c)[2][4], const uint32_t (&rows)[size / 16][4], const T* tile,
                                             int index) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T* row = tile + (16 * index + lane / 16 * 8 + lane % 8) * Tiles<size>::kStride + lane / 8 % 2 * 8;
#pragma unroll
  for (int step = 0; step < size / 16; step++) {
    uint32_t b[4];
    loadMatrices(b, row + 16 * step);
    multiplyAccumulate<T>(c[0], rows[step], {b[0], b[1]});
    multiplyAccumulate<T>(c[1], rows[step], {b[2], b[3]});
  }
}

// c (16, size) += weights (16, 16) tile[16 index …] (16, size).
template <int size, typename T>
__device__ __forceinline__ void multiplyWeights(float (&c)[size / 8][4], const uint32_t (&weights)[4], const T* tile,
                                                int index) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const T* row = tile + (16 * index + lane / 8 % 2 * 8 + lane % 8) * Tiles<size>::kStride + lane / 16 * 8;
#pragma unroll
  for (int step = 0; step < size / 16; step++) {
    uint32_t b[4];
    loadMatricesTransposed(b, row + 16 * step);
    multiplyAccumulate<T>(c[2 * step], weights, {b[0], b[1]});
    multiplyAccumulate<T>(c[2 * step + 1], weights, {b[2], b[3]});
  }
}

// Two neighbouring 16 x 8 results as the first factor (16, 16) of the next product.
template <typename T>
__device__ __forceinline__ void asFactor(const float (&c)[2][4], uint32_t (&fragment)[4]) {
  fragment[0] = pack<T>(c[0][0], c[0][1]);
  fragment[1] = pack<T>(c[0][2], c[0][3]);
  fragment[2] = pack<T>(c[1][0], c[1][1]);
  fragment[3] = pack<T>(c[1][2], c[1][3]);
}

// A warp's 16 rows of results, those below `limit`; row group takes factor0, row group + 8 factor1.
template <int size, typename T>
__device__ __forceinline__ void storeRows(const float (&c)[size / 8][4], float factor0, float factor1, T* to,
                                          int64_t stride, int first, int limit) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, pair = 2 * (lane % 4);
#pragma unroll
  for (int n = 0; n < size / 8; n++) {
    if (first + group < limit)
      *reinterpret_cast<uint32_t*>(to + (first + group) * stride + 8 * n + pair) =
          pack<T>(c[n][0] * factor0, c[n][1] * factor0);
    if (first + group + 8 < limit)
      *reinterpret_cast<uint32_t*>(to + (first + group + 8) * stride + 8 * n + pair) =
          pack<T>(c[n][2] * factor1, c[n][3] * factor1);
  }
}

// Over the four lanes that hold a row.
__device__ __forceinline__ float rowSum(float value) {
  value += __shfl_xor_sync(kFullWarp, value, 1);
  return value + __shfl_xor_sync(kFullWarp, value, 2);
}
__device__ __forceinline__ float rowMaximum(float value) {
  value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, 1));
  return fmaxf(value, __shfl_xor_sync(kFullWarp, value, 2));
}

// Calls body(tile0, tile1, first row, which of the two buffers) for all tiles of two matrices of `count` rows, each
// arriving while the one before is computed on.
template <int size, typename T, typename Arrive, typename Body>
__device__ __forceinline__ void forTiles(const T* from0, int64_t stride0, const T* from1, int64_t stride1, int count,
                                         T* shared, Arrive arrive, Body body) {
  constexpr int kTile = Tiles<size>::kTile;
  const int tiles = (count + kTileRows - 1) / kTileRows;
  const auto begin = [&](int tile) {
    const int buffer = tile % 2;
    copyTile<size>(from0, stride0, tile * kTileRows, count, shared + 2 * buffer * kTile);
    copyTile<size>(from1, stride1, tile * kTileRows, count, shared + (2 * buffer + 1) * kTile);
    commitCopies();
    arrive(tile * kTileRows, buffer);
  };
  begin(0);
  for (int tile = 0; tile < tiles; tile++) {
    if (tile + 1 < tiles) {
      begin(tile + 1);
      waitForCopies<1>();
    } else {
      waitForCopies<0>();
    }
    __syncthreads();
    const int buffer = tile % 2;
    body(shared + 2 * buffer * kTile, shared + (2 * buffer + 1) * kTile, tile * kTileRows, buffer);
    __syncthreads();  // before the buffer is filled again
  }
}

template <typename T, int size>
__global__ void __launch_bounds__(kMostWarps* kWarp) tiledAttentionKernel(AttentionArguments<T> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, pair = 2 * (lane % 4);
  const int head = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / kWarp * kWarpRows;
  const bool active = first < o.queries;
  const float scale = o.scale * kLog2E;  // scores in units of log 2: exp2 is the processor's own
  uint32_t q[size / 16][4];
  loadFragments<size>(o.q + o.queryAt(image, head, size), o.queryStride, first, o.queries, q);
  float out[size / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  const int64_t keyAt = o.keyAt(image, head, size);
  const auto nothing = [](int, int) {};
  forTiles<size>(o.k + keyAt, o.keyStride, o.v + keyAt, o.keyStride, o.keys, sharedMemory<T>(), nothing,
                 [&](const T* k, const T* v, int start, int) {
                   if (!active) return;
                   float scores[kTileRows / 16][2][4] = {};
                   float next[2] = {largest[0], largest[1]};
#pragma unroll
                   for (int i = 0; i < kTileRows / 16; i++) {
                     if (start + 16 * i >= o.keys) continue;
                     multiplyRows<size>(scores[i], q, k, i);
#pragma unroll
                     for (int n = 0; n < 2; n++)
#pragma unroll
                       for (int e = 0; e < 4; e++) {
                         const bool inside = start + 16 * i + 8 * n + pair + e % 2 < o.keys;
                         scores[i][n][e] = inside ? scores[i][n][e] * scale : -INFINITY;
                         next[e / 2] = fmaxf(next[e / 2], scores[i][n][e]);
                       }
                   }
#pragma unroll
                   for (int row = 0; row < 2; row++) {
                     next[row] = rowMaximum(next[row]);
                     const float shrink = exp2f(largest[row] - next[row]);
                     largest[row] = next[row];
                     sum[row] *= shrink;
#pragma unroll
                     for (int n = 0; n < size / 8; n++) {
                       out[n][2 * row] *= shrink;
                       out[n][2 * row + 1] *= shrink;
                     }
                   }
#pragma unroll
                   for (int i = 0; i < kTileRows / 16; i++) {
                     if (start + 16 * i >= o.keys) continue;
#pragma unroll
                     for (int n = 0; n < 2; n++)
#pragma unroll
                       for (int e = 0; e < 4; e++) {
                         scores[i][n][e] = exp2f(scores[i][n][e] - largest[e / 2]);
                         sum[e / 2] += scores[i][n][e];
                       }
                     uint32_t weights[4];
                     asFactor<T>(scores[i], weights);
                     multiplyWeights<size>(out, weights, v, i);
                   }
                 });
  if (!active) return;
  const float total[2] = {rowSum(sum[0]), rowSum(sum[1])};
  storeRows<size>(out, 1.0f / total[0], 1.0f / total[1], o.out + o.outputAt(image, head, size), o.width, first,
                  o.queries);
  if (lane % 4 != 0) return;
  float* logSumExp = o.logSumExp + o.statisticAt(image, head) + first + group;
  if (first + group < o.queries) logSumExp[0] = (largest[0] + log2f(total[0])) * kLn2;
  if (first + group + 8 < o.queries) logSumExp[8] = (largest[1] + log2f(total[1])) * kLn2;
}

// dq, and delta for the kernel after it.
template <typename T, int size>
__global__ void __launch_bounds__(kMostWarps* kWarp) tiledQueryGradientKernel(AttentionArguments<T> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, group = lane / 4, pair = 2 * (lane % 4);
  const int head = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / kWarp * kWarpRows;
  const bool active = first < o.queries;
  const float scale = o.scale * kLog2E;
  const int64_t outputAt = o.outputAt(image, head, size), statisticAt = o.statisticAt(image, head);
  uint32_t q[size / 16][4], dy[size / 16][4];
  loadFragments<size>(o.q + o.queryAt(image, head, size), o.queryStride, first, o.queries, q);
  loadFragments<size>(o.dy + outputAt, o.width, first, o.queries, dy);
  float delta[2], logSumExp[2];
#pragma unroll
  for (int row = 0; row < 2; row++) {
    const int query = first + group + 8 * row;
    float dot = 0;
    if (query < o.queries)
#pragma unroll
      for (int n = 0; n < size / 8; n++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          const int64_t at = outputAt + query * o.width + 8 * n + pair + e;
          dot += toFloat(o.y[at]) * toFloat(o.dy[at]);
        }
    delta[row] = rowSum(dot);
    logSumExp[row] = query < o.queries ? o.logSumExp[statisticAt + query] * kLog2E : 0.0f;
    if (lane % 4 == 0 && query < o.queries) o.delta[statisticAt + query] = delta[row];
  }
  float dq[size / 8][4] = {};
  const int64_t keyAt = o.keyAt(image, head, size);
  const auto nothing = [](int, int) {};
  forTiles<size>(o.k + keyAt, o.keyStride, o.v + keyAt, o.keyStride, o.keys, sharedMemory<T>(), nothing,
                 [&](const T* k, const T* v, int start, int) {
                   if (!active) return;
#pragma unroll
                   for (int i = 0; i < kTileRows / 16; i++) {
                     if (start + 16 * i >= o.keys) continue;
                     float scores[2][4] = {}, slopes[2][4] = {};
                     multiplyRows<size>(scores, q, k, i);
                     multiplyRows<size>(slopes, dy, v, i);
#pragma unroll
                     for (int n = 0; n < 2; n++)
#pragma unroll
                       for (int e = 0; e < 4; e++) {
                         const bool inside = start + 16 * i + 8 * n + pair + e % 2 < o.keys;
                         const float probability = inside ? exp2f(scores[n][e] * scale - logSumExp[e / 2]) : 0.0f;
                         slopes[n][e] = probability * (slopes[n][e] - delta[e / 2]) * o.scale;
                       }
                     uint32_t weights[4];
                     asFactor<T>(slopes, weights);
                     multiplyWeights<size>(dq, weights, k, i);
                   }
                 });
  if (active) storeRows<size>(dq, 1.0f, 1.0f, o.dq + o.queryAt(image, head, size), o.queryStride, first, o.queries);
}

// dk and dv: a warp's rows are keys, a tile's are queries.
template <typename T, int size>
__global__ void __launch_bounds__(kMostWarps* kWarp) tiledKeyGradientKernel(AttentionArguments<T> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, pair = 2 * (lane % 4);
  const int head = static_cast<int>(blockIdx.y), image = static_cast<int>(blockIdx.z);
  const int first = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / kWarp * kWarpRows;
  const bool active = first < o.keys;
  const float scale = o.scale * kLog2E;
  const int64_t keyAt = o.keyAt(image, head, size), statisticAt = o.statisticAt(image, head);
  T* tiles = sharedMemory<T>();
  float* statistics = reinterpret_cast<float*>(tiles + 4 * Tiles<size>::kTile);  // (2, 2, 64): log-sum-exp and delta
  uint32_t k[size / 16][4], v[size / 16][4];
  loadFragments<size>(o.k + keyAt, o.keyStride, first, o.keys, k);
  loadFragments<size>(o.v + keyAt, o.keyStride, first, o.keys, v);
  float dk[size / 8][4] = {}, dv[size / 8][4] = {};
  const auto loadStatistics = [&](int start, int buffer) {
    for (int i = static_cast<int>(threadIdx.x); i < kTileRows; i += static_cast<int>(blockDim.x)) {
      const bool inside = start + i < o.queries;
      statistics[2 * buffer * kTileRows + i] = inside ? o.logSumExp[statisticAt + start + i] * kLog2E : 0.0f;
      statistics[(2 * buffer + 1) * kTileRows + i] = inside ? o.delta[statisticAt + start + i] : 0.0f;
    }
  };
  forTiles<size>(o.q + o.queryAt(image, head, size), o.queryStride, o.dy + o.outputAt(image, head, size), o.width,
                 o.queries, tiles, loadStatistics, [&](const T* q, const T* dy, int start, int buffer) {
                   if (!active) return;
                   const float *logSumExp = statistics + 2 * buffer * kTileRows, *delta = logSumExp + kTileRows;
#pragma unroll
                   for (int i = 0; i < kTileRows / 16; i++) {
                     if (start + 16 * i >= o.queries) continue;
                     float scores[2][4] = {}, slopes[2][4] = {};
                     multiplyRows<size>(scores, k, q, i);
                     multiplyRows<size>(slopes, v, dy, i);
#pragma unroll
                     for (int n = 0; n < 2; n++)
#pragma unroll
                       for (int e = 0; e < 4; e++) {
                         const int query = 16 * i + 8 * n + pair + e % 2;
                         const bool inside = start + query < o.queries;
                         scores[n][e] = inside ? exp2f(scores[n][e] * scale - logSumExp[query]) : 0.0f;
                         slopes[n][e] = scores[n][e] * (slopes[n][e] - delta[query]) * o.scale;
                       }
                     uint32_t weights[4];
                     asFactor<T>(scores, weights);
                     multiplyWeights<size>(dv, weights, dy, i);
                     asFactor<T>(slopes, weights);
                     multiplyWeights<size>(dk, weights, q, i);
                   }
                 });
  if (!active) return;
  storeRows<size>(dk, 1.0f, 1.0f, o.dk + keyAt, o.keyStride, first, o.keys);
  storeRows<size>(dv, 1.0f, 1.0f, o.dv + keyAt, o.keyStride, first, o.keys);
}

}  // namespace autoprog::cuda
