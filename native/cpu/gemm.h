#pragma once

#include <cstdint>

namespace autoprog::cpu {

// C (m, n) = op(A) op(B) + beta * C in f32, row-major; op(A) is (m, k), op(B) is (k, n), `ld*` are row strides as
// stored. Runs on the calling thread alone: callers split their work over threads, so that epilogues find C still in
// cache and the sums do not depend on the number of threads.
void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

// The same by our own plain tiles: the reference, and the only one where oneDNN is missing. beta is 0 or 1.
void plainGemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda,
               const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

// Seconds of one product on all threads, the best of several.
double measureGemm(int64_t m, int64_t n, int64_t k);

// "oneDNN 2.6.3" or "plain".
const char* gemmLibrary();

}  // namespace autoprog::cpu
