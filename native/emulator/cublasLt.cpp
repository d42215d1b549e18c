#include "emulator/cublasLt.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "emulator/faults.h"
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
struct cublasLtMatmulPreferenceOpaque_t {
  uint64_t workspace = 0;
  uint32_t alignments[4] = {256, 256, 256, 256};  // what the library takes for granted
};

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
    return fits && types && bias && !refused();
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

  // What tests ask to be refused.
  bool refused() const {
    if (emulator::faulty("no-algorithm")) return true;
    if (desc.epilogue == CUBLASLT_EPILOGUE_BIAS && emulator::faulty("no-bias")) return true;
    if (desc.epilogue == CUBLASLT_EPILOGUE_BGRADB && emulator::faulty("no-bgradb")) return true;
    if (desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT && emulator::faulty("random-epilogues") &&
        emulator::mix(emulator::algorithmSeed().value_or(0), hash()) % 2 == 0)
      return true;
    const bool odd = a.type != CUDA_R_32F && (a.ld | b.ld | d.ld) % 2 != 0;
    return odd && emulator::faulty("no-odd");
  }

  // Of all that an algorithm is proposed for.
  uint64_t hash() const {
    uint64_t value = desc.tf32 ? 1 : 0;
    const auto add = [&](int64_t part) { value = emulator::mix(value, static_cast<uint64_t>(part)); };
    for (int part : {desc.transposeA, desc.transposeB, desc.epilogue, desc.biasType}) add(part);
    for (const Layout* layout : {&a, &b, &c, &d})
      for (int64_t part : {static_cast<int64_t>(layout->type), layout->rows, layout->columns, layout->ld}) add(part);
    return value;
  }

  // By turns, that algorithms may differ: from the first to the last, from the last to the first, every other one
  // first.
  static int64_t turn(uint64_t algorithm, int64_t i, int64_t count) {
    if (!emulator::algorithmSeed() || algorithm == 1) return i;
    if (algorithm == 2) return count - 1 - i;
    return 2 * i < count ? 2 * i : 2 * (i - (count + 1) / 2) + 1;
  }

  void solve(uint64_t algorithm) const {
    std::vector<float> left = gather(aData, a, transposed(desc.transposeA), true);    // (m, k)
    std::vector<float> right = gather(bData, b, transposed(desc.transposeB), false);  // (n, k)
    if (desc.tf32) {
      std::transform(left.begin(), left.end(), left.begin(), roundToTf32);
      std::transform(right.begin(), right.end(), right.begin(), roundToTf32);
    }
    const int64_t inner = k();
    std::vector<int64_t> turns(static_cast<size_t>(inner));
    for (int64_t i = 0; i < inner; i++) turns[static_cast<size_t>(i)] = turn(algorithm, i, inner);
    const auto sumOf = [&](const std::vector<float>& values, int64_t row) {
      float sum = 0;
      for (int64_t i = 0; i < inner; i++) sum += values[static_cast<size_t>(row * inner + i)];
      return sum;
    };
    for (int64_t column = 0; column < n(); column++) {
      for (int64_t row = 0; row < m(); row++) {
        const float *x = left.data() + row * inner, *y = right.data() + column * inner;
        float sum = 0;
        for (int64_t i = 0; i < inner; i++) {
          const int64_t at = turns[static_cast<size_t>(i)];
          sum += x[at] * y[at];
        }
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

// An algorithm's words: its number from 1 on, the product that it was proposed for, the alignments it counts on (their
// logarithms, a byte each), its workspace.
constexpr uint64_t kAlgorithms = 2, kSeededAlgorithms = 3;
constexpr size_t kWorkspace = 4096;

uint64_t algorithms() { return emulator::algorithmSeed() ? kSeededAlgorithms : kAlgorithms; }

bool fits(const cublasLtMatmulAlgo_t& algorithm, const Problem& problem) {
  return algorithm.data[0] >= 1 && algorithm.data[0] <= algorithms() && algorithm.data[1] == problem.hash() &&
         algorithm.data[3] == kWorkspace && algorithm.data[4] == 0;
}

void expectAligned(const void* address, uint64_t bytes, const char* operand) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    throw emulator::Failure("misaligned address: cublasLtMatmul counts on multiples of " + std::to_string(bytes) +
                            " bytes for " + operand);
}

// Algorithms that have run, each for its product: code is loaded then, which a capture forbids.
bool hasRun(const cublasLtMatmulAlgo_t& algorithm, bool now) {
  static std::mutex mutex;
  static std::set<std::pair<uint64_t, uint64_t>> known;
  const std::lock_guard lock(mutex);
  const std::pair key(algorithm.data[0], algorithm.data[1]);
  if (now) known.insert(key);
  return known.contains(key);
}

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
         : status == CUBLAS_STATUS_EXECUTION_FAILED ? "the product failed to execute"
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
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  const bool isWorkspace = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
  if (bytes != (isWorkspace ? sizeof(uint64_t) : sizeof(uint32_t))) return CUBLAS_STATUS_INVALID_VALUE;
  void* target = isWorkspace ? static_cast<void*>(&preference->workspace)
                             : &preference->alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES];
  std::memcpy(target, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t preference,
                                              int asked, cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  if (emulator::capturing()) return CUBLAS_STATUS_NOT_SUPPORTED;
  const Problem problem{*desc, *a, *b, *c, *d, 1, 0, nullptr, nullptr, nullptr, nullptr};
  if (!problem.supported() || preference->workspace < kWorkspace) return CUBLAS_STATUS_NOT_SUPPORTED;
  uint64_t alignments = 0;
  for (int i = 0; i < 4; i++) {
    if (!std::has_single_bit(preference->alignments[i])) return CUBLAS_STATUS_INVALID_VALUE;
    alignments |= static_cast<uint64_t>(std::countr_zero(preference->alignments[i])) << (8 * i);
  }
  for (; *found < asked && static_cast<uint64_t>(*found) < algorithms(); ++*found) {
    results[*found] = {};
    results[*found].algo = {{static_cast<uint64_t>(*found) + 1, problem.hash(), alignments, kWorkspace}};
    results[*found].workspaceSize = kWorkspace;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result) {
  *result = {};
  if (!fits(*algo, {*desc, *a, *b, *c, *d, 1, 0, nullptr, nullptr, nullptr, nullptr}))
    return CUBLAS_STATUS_INVALID_VALUE;
  result->workspaceSize = kWorkspace;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t aLayout, const void* b, cublasLtMatrixLayout_t bLayout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t cLayout, void* d,
                              cublasLtMatrixLayout_t dLayout, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              size_t workspaceBytes, cudaStream_t stream) {
  float scales[2];
  std::memcpy(&scales[0], alpha, sizeof(float));
  std::memcpy(&scales[1], beta, sizeof(float));
  const auto problem = std::make_shared<Problem>(
      Problem{*desc, *aLayout, *bLayout, *cLayout, *dLayout, scales[0], scales[1], a, b, c, d});
  if (algo == nullptr || !fits(*algo, *problem) || workspace == nullptr || workspaceBytes < kWorkspace)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!problem->supported()) return CUBLAS_STATUS_NOT_SUPPORTED;
  const uint64_t number = algo->data[0], alignments = algo->data[2];
  if (number == 1 && emulator::faulty("refuse-algorithm")) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (emulator::faulty("fail-run")) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (emulator::capturing(stream)) {
    if (!hasRun(*algo, false)) return CUBLAS_STATUS_EXECUTION_FAILED;
    if (emulator::faulty("slow-capture")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  } else {
    hasRun(*algo, true);
  }
  const auto seed = emulator::algorithmSeed();
  const bool slow = seed && emulator::mix(*seed, problem->hash()) % algorithms() + 1 != number;
  const cudaError_t status = emulator::enqueueCall(stream, "cublasLtMatmul", problem->regions(), [=] {
    const void* operands[] = {problem->aData, problem->bData, problem->cData, problem->dData};
    const char* names[] = {"A", "B", "C", "D"};
    for (int i = 0; i < 4; i++) expectAligned(operands[i], uint64_t{1} << (alignments >> (8 * i) & 0xff), names[i]);
    if (problem->desc.epilogue != CUBLASLT_EPILOGUE_DEFAULT) expectAligned(problem->desc.bias, 16, "the bias");
    expectAligned(workspace, 256, "the workspace");
    std::memset(workspace, 0xff, kWorkspace);
    if (slow) std::this_thread::sleep_for(std::chrono::microseconds(500));
    problem->solve(number);
  });
  return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
