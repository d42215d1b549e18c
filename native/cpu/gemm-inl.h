// Register-tiled matrix product for one thread, included once per SIMD target (Highway's -inl convention).
#if defined(AUTOPROG_CPU_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef AUTOPROG_CPU_GEMM_INL_H_
#undef AUTOPROG_CPU_GEMM_INL_H_
#else
#define AUTOPROG_CPU_GEMM_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "runtime/divide.h"

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;

// The length of a row of n floats that is padded to whole vectors.
inline int64_t paddedTo(int64_t n) { return roundUp(n, static_cast<int64_t>(hn::Lanes(Floats()))); }

// A (m, k) with any strides, so that a transposed operand needs no copy: element (i, p) is data[i * row + p * column].
struct Strided {
  const float* data;
  int64_t row;
  int64_t column;
};

// The tile: rows x vectors accumulators, which the 16 (AVX2) or 32 (AVX-512) registers hold beside B's vectors.
inline constexpr int kTileRows = 6;
inline constexpr int kTileVectors = HWY_TARGET <= HWY_AVX3 ? 4 : 2;

// One tile of C (rows, columns) = A B, or += when `accumulate`. The last vector may be partial: `tail` lanes of it.
template <int rows, int vectors, bool partial>
HWY_INLINE void tile(int64_t k, Strided a, const float* HWY_RESTRICT b, int64_t ldb, bool accumulate,
                     float* HWY_RESTRICT c, int64_t ldc, size_t tail) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto mask = hn::FirstN(d, tail);
  hn::Vec<Floats> sum[rows][vectors];
  for (int i = 0; i < rows; i++)
    for (int j = 0; j < vectors; j++) sum[i][j] = hn::Zero(d);
  for (int64_t p = 0; p < k; p++) {
    hn::Vec<Floats> right[vectors];
    for (int j = 0; j < vectors; j++) {
      const float* source = b + p * ldb + j * lanes;
      right[j] = partial && j == vectors - 1 ? hn::MaskedLoad(mask, d, source) : hn::LoadU(d, source);
    }
    for (int i = 0; i < rows; i++) {
      const auto left = hn::Set(d, a.data[i * a.row + p * a.column]);
      for (int j = 0; j < vectors; j++) sum[i][j] = hn::MulAdd(left, right[j], sum[i][j]);
    }
  }
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < vectors; j++) {
      float* target = c + i * ldc + j * lanes;
      if (partial && j == vectors - 1) {
        const auto value = accumulate ? hn::Add(sum[i][j], hn::MaskedLoad(mask, d, target)) : sum[i][j];
        hn::BlendedStore(value, mask, d, target);
      } else {
        hn::StoreU(accumulate ? hn::Add(sum[i][j], hn::LoadU(d, target)) : sum[i][j], d, target);
      }
    }
  }
}

template <int vectors, bool partial>
HWY_INLINE void columns(int64_t m, int64_t k, Strided a, const float* b, int64_t ldb, bool accumulate, float* c,
                        int64_t ldc, size_t tail) {
  int64_t i = 0;
  for (; i + kTileRows <= m; i += kTileRows)
    tile<kTileRows, vectors, partial>(k, {a.data + i * a.row, a.row, a.column}, b, ldb, accumulate, c + i * ldc, ldc,
                                      tail);
  const Strided rest{a.data + i * a.row, a.row, a.column};
  float* target = c + i * ldc;
  switch (m - i) {
    case 5:
      tile<5, vectors, partial>(k, rest, b, ldb, accumulate, target, ldc, tail);
      break;
    case 4:
      tile<4, vectors, partial>(k, rest, b, ldb, accumulate, target, ldc, tail);
      break;
    case 3:
      tile<3, vectors, partial>(k, rest, b, ldb, accumulate, target, ldc, tail);
      break;
    case 2:
      tile<2, vectors, partial>(k, rest, b, ldb, accumulate, target, ldc, tail);
      break;
    case 1:
      tile<1, vectors, partial>(k, rest, b, ldb, accumulate, target, ldc, tail);
      break;
    default:
      break;
  }
}

template <bool partial>
HWY_INLINE void columnsOf(int64_t vectors, int64_t m, int64_t k, Strided a, const float* b, int64_t ldb,
                          bool accumulate, float* c, int64_t ldc, size_t tail) {
  switch (vectors) {
    case 1:
      columns<1, partial>(m, k, a, b, ldb, accumulate, c, ldc, tail);
      break;
    case 2:
      columns<2, partial>(m, k, a, b, ldb, accumulate, c, ldc, tail);
      break;
    case 3:
      columns<HWY_MIN(3, kTileVectors), partial>(m, k, a, b, ldb, accumulate, c, ldc, tail);
      break;
    default:
      columns<kTileVectors, partial>(m, k, a, b, ldb, accumulate, c, ldc, tail);
      break;
  }
}

// C (m, n) = A (m, k) B (k, n), or += when `accumulate`; B's and C's rows are contiguous.
HWY_INLINE void multiply(int64_t m, int64_t n, int64_t k, Strided a, const float* b, int64_t ldb, bool accumulate,
                         float* c, int64_t ldc) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t j = 0; j < n; j += kTileVectors * lanes) {
    const int64_t width = HWY_MIN(n - j, kTileVectors * lanes);
    const int64_t vectors = divideUp(width, lanes);
    const size_t tail = static_cast<size_t>(width % lanes);
    if (tail == 0)
      columnsOf<false>(vectors, m, k, a, b + j, ldb, accumulate, c + j, ldc, tail);
    else
      columnsOf<true>(vectors, m, k, a, b + j, ldb, accumulate, c + j, ldc, tail);
  }
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
