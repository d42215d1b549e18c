#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/gemm.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include "cpu/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

void multiplyStrided(int64_t m, int64_t n, int64_t k, const float* a, int64_t row, int64_t column, const float* b,
                     int64_t ldb, bool accumulate, float* c, int64_t ldc) {
  multiply(m, n, k, {a, row, column}, b, ldb, accumulate, c, ldc);
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "cpu/gemm.h"
#include "cpu/parallel.h"
#include "runtime/error.h"

#ifdef AUTOPROG_ONEDNN
#include <oneapi/dnnl/dnnl.h>
#endif

namespace autoprog::cpu {

HWY_EXPORT(multiplyStrided);

namespace {

// Panels of B that stay in the second-level cache.
constexpr int64_t kDepth = 256, kWidth = 256;

}  // namespace

void plainGemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
               const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  static thread_local std::vector<float> panel(static_cast<size_t>(kDepth * kWidth));
  const int64_t row = transposeA ? 1 : lda, column = transposeA ? lda : 1;
  if (k == 0 && beta == 0.0f)
    for (int64_t i = 0; i < m; i++) std::fill_n(c + i * ldc, n, 0.0f);
  for (int64_t p = 0; p < k; p += kDepth) {
    const int64_t depth = std::min(kDepth, k - p);
    for (int64_t j = 0; j < n; j += kWidth) {
      const int64_t width = std::min(kWidth, n - j);
      for (int64_t q = 0; q < depth; q++)
        for (int64_t x = 0; x < width; x++)
          panel[static_cast<size_t>(q * width + x)] = transposeB ? b[(j + x) * ldb + p + q] : b[(p + q) * ldb + j + x];
      HWY_DYNAMIC_DISPATCH(multiplyStrided)
      (m, width, depth, a + p * column, row, column, panel.data(), width, beta != 0.0f || p > 0, c + j, ldc);
    }
  }
}

void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
#ifdef AUTOPROG_ONEDNN
  const dnnl_status_t status =
      dnnl_sgemm(transposeA ? 'T' : 'N', transposeB ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c, ldc);
  if (status != dnnl_success)
    throw Error("DEVICE", "oneDNN refused a product of " + std::to_string(m) + " x " + std::to_string(n) + " x " +
                              std::to_string(k) + " (status " + std::to_string(status) + ")");
#else
  plainGemm(transposeA, transposeB, m, n, k, a, lda, b, ldb, beta, c, ldc);
#endif
}

double measureGemm(int64_t m, int64_t n, int64_t k) {
  const std::vector<float> a(static_cast<size_t>(m * k), 0.5f), b(static_cast<size_t>(k * n), 0.25f);
  std::vector<float> c(static_cast<size_t>(m * n));
  double best = 1e9;
  for (int repeat = 0; repeat < 5; repeat++) {
    const auto start = std::chrono::steady_clock::now();
    parallelRanges(m, 128, [&](int64_t begin, int64_t end) {
      gemm(false, false, end - begin, n, k, a.data() + begin * k, k, b.data(), n, 0.0f, c.data() + begin * n, n);
    });
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

const char* gemmLibrary() {
#ifdef AUTOPROG_ONEDNN
  static const std::string name = [] {
    const dnnl_version_t* version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch);
  }();
  return name.c_str();
#else
  return "plain";
#endif
}

}  // namespace autoprog::cpu

#endif  // HWY_ONCE
