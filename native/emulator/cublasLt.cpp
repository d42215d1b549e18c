#include "emulator/cublasLt.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <vector>

#include "runtime/half.h"

struct cublasLtContext {};
struct cublasLtMatmulDescOpaque_t {
  int transposeA = CUBLAS_OP_N, transposeB = CUBLAS_OP_N, epilogue = CUBLASLT_EPILOGUE_DEFAULT, biasType = -1;
  void* bias = nullptr;
  bool tf32 = false;
};
struct cublasLtMatrixLayoutOpaque_t {
  cudaDataType type;
  int64_t rows, columns, ld;
};
struct cublasLtMatmulPreferenceOpaque_t {};

namespace {

using Layout = cublasLtMatrixLayoutOpaque_t;

float load(const void* data, int type, int64_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return type == CUDA_R_16F ? autoprog::fromFloat16(bits) : autoprog::fromBfloat16(bits);
}

void store(void* data, int type, int64_t i, float value) {
  if (type == CUDA_R_32F)
    static_cast<float*>(data)[i] = value;
  else
    static_cast<uint16_t*>(data)[i] = type == CUDA_R_16F ? autoprog::toFloat16(value) : autoprog::toBfloat16(value);
}

// To 10 bits of mantissa, the nearest, halves away from zero.
float roundToTf32(float value) { return std::bit_cast<float>((std::bit_cast<uint32_t>(value) + 0x1000u) & ~0x1fffu); }

// op(matrix) as columns of values, (columns, rows) in memory: what lies along the inner sum is contiguous if `inner`.
std::vector<float> gather(const void* data, const Layout& layout, bool transpose, bool innerFirst) {
  const int64_t rows = transpose ? layout.columns : layout.rows, columns = transpose ? layout.rows : layout.columns;
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t row = 0; row < rows; row++)
    for (int64_t column = 0; column < columns; column++) {
      const int64_t at = transpose ? row * layout.ld + column : column * layout.ld + row;
      values[static_cast<size_t>(innerFirst ? row * columns + column : column * rows + row)] =
          load(data, layout.type, at);
    }
  return values;
}

struct Problem {
  cublasLtMatmulDescOpaque_t desc;
  Layout a, b, c, d;
  float alpha, beta;
  const void *aData, *bData, *cData;
  void* dData;

  bool transposed(int operation) const { return operation == CUBLAS_OP_T; }
  int64_t m() const { return transposed(desc.transposeA) ? a.columns : a.rows; }
  int64_t k() const { return transposed(desc.transposeA) ? a.rows : a.columns; }
  int64_t n() const { return transposed(desc.transposeB) ? b.rows : b.columns; }

  bool supported() const {
    const int64_t bk = transposed(desc.transposeB) ? b.columns : b.rows;
    const bool fits = bk == k() && d.rows == m() && d.columns == n() && c.rows == m() && c.columns == n();
    const bool types = a.type == b.type && c.type == d.type && (d.type == a.type || d.type == CUDA_R_32F);
    // As the library has it: a bias has the result's type.
    const bool bias = desc.epilogue == CUBLASLT_EPILOGUE_DEFAULT || desc.biasType == d.type;
    return fits && types && bias;
  }

  std::vector<emulator::Region> regions() const {
    std::vector<emulator::Region> touched;
    const auto add = [&](const void* data, const Layout& layout) {
      const int64_t values = layout.columns == 0 ? 0 : (layout.columns - 1) * layout.ld + layout.rows;
      touched.push_back({data, static_cast<size_t>(values) * (layout.type == CUDA_R_32F ? 4 : 2)});
    };
    add(aData, a), add(bData, b), add(dData, d);
    if (beta != 0) add(cData, c);
    return touched;
  }

  void solve() const {
    std::vector<float> left = gather(aData, a, transposed(desc.transposeA), true);    // (m, k)
    std::vector<float> right = gather(bData, b, transposed(desc.transposeB), false);  // (n, k)
    if (desc.tf32) {
      std::transform(left.begin(), left.end(), left.begin(), roundToTf32);
      std::transform(right.begin(), right.end(), right.begin(), roundToTf32);
    }
    const int64_t inner = k();
    const auto sumOf = [&](const std::vector<float>& values, int64_t row) {
      float sum = 0;
      for (int64_t i = 0; i < inner; i++) sum += values[static_cast<size_t>(row * inner + i)];
      return sum;
    };
    for (int64_t column = 0; column < n(); column++) {
      for (int64_t row = 0; row < m(); row++) {
        const float *x = left.data() + row * inner, *y = right.data() + column * inner;
        float sum = 0;
        for (int64_t i = 0; i < inner; i++) sum += x[i] * y[i];
        sum *= alpha;
        if (beta != 0) sum += beta * load(cData, c.type, column * c.ld + row);
        if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += load(desc.bias, desc.biasType, row);
        store(dData, d.type, column * d.ld + row, sum);
      }
      if (desc.epilogue == CUBLASLT_EPILOGUE_BGRADB) store(desc.bias, desc.biasType, column, sumOf(right, column));
    }
    if (desc.epilogue == CUBLASLT_EPILOGUE_BGRADA)
      for (int64_t row = 0; row < m(); row++) store(desc.bias, desc.biasType, row, sumOf(left, row));
  }
};

}  // namespace

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion() { return 0; }
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS            ? "success"
         : status == CUBLAS_STATUS_NOT_SUPPORTED    ? "the operation is not supported"
         : status == CUBLAS_STATUS_EXECUTION_FAILED ? cudaGetErrorString(cudaErrorLaunchFailure)
                                                    : "an invalid value";
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType) {
  *desc = new cublasLtMatmulDescOpaque_t;
  (*desc)->tf32 = compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  if (attribute == CUBLASLT_MATMUL_DESC_BIAS_POINTER) {
    if (bytes != sizeof(void*)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&desc->bias, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
  }
  if (bytes != sizeof(int)) return CUBLAS_STATUS_INVALID_VALUE;
  int* target = attribute == CUBLASLT_MATMUL_DESC_TRANSA     ? &desc->transposeA
                : attribute == CUBLASLT_MATMUL_DESC_TRANSB   ? &desc->transposeB
                : attribute == CUBLASLT_MATMUL_DESC_EPILOGUE ? &desc->epilogue
                                                             : &desc->biasType;
  std::memcpy(target, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
  if (ld < static_cast<int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  *layout = new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t,
                                                    const void*, size_t bytes) {
  return bytes == sizeof(uint64_t) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int asked,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  const Problem problem{*desc, *a, *b, *c, *d, 1, 0, nullptr, nullptr, nullptr, nullptr};
  if (!problem.supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  for (; *found < 2 && *found < asked; ++*found) {
    results[*found] = {};
    results[*found].algo.data[0] = static_cast<uint64_t>(*found) + 1;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t aLayout, const void* b, cublasLtMatrixLayout_t bLayout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t cLayout, void* d,
                              cublasLtMatrixLayout_t dLayout, const cublasLtMatmulAlgo_t* algo, void*, size_t,
                              cudaStream_t stream) {
  if (algo == nullptr || algo->data[0] < 1 || algo->data[0] > 2) return CUBLAS_STATUS_INVALID_VALUE;
  float scales[2];
  std::memcpy(&scales[0], alpha, sizeof(float));
  std::memcpy(&scales[1], beta, sizeof(float));
  const auto problem = std::make_shared<Problem>(
      Problem{*desc, *aLayout, *bLayout, *cLayout, *dLayout, scales[0], scales[1], a, b, c, d});
  if (!problem->supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  const cudaError_t status =
      emulator::enqueueCall(stream, "cublasLtMatmul", problem->regions(), [problem] { problem->solve(); });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
