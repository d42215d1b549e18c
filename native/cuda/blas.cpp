#include "cuda/blas.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "cuda/check.h"
#include "cuda/libraries.h"

namespace autoprog::cuda {

namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr int kCandidates = 8, kRepeats = 3;

cudaDataType dataTypeOf(Type type) {
  return type == Type::f32 ? CUDA_R_32F : type == Type::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}

// A handle of the library, destroyed by it.
template <typename T>
using Owned = std::unique_ptr<std::remove_pointer_t<T>, cublasStatus_t (*)(T)>;

class CublasLt : public Blas {
 public:
  explicit CublasLt(CudaEngine& engine)
      : engine_(engine), library_(openCublasLt()), workspace_(engine, kWorkspaceBytes) {
    check(library_.create(&handle_), "cublasLtCreate", "");
    cache_ = cacheFile(std::string(engine.properties().name) + " " + version());
    readCache();
  }
  ~CublasLt() override { library_.destroy(handle_); }

  std::string version() const override {
    const size_t number = library_.getVersion();
    return "cuBLASLt " + std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
           std::to_string(number % 100);
  }

  Kernel prepare(const Operands& operands, const Product& product, bool optional) override;

 private:
  // Column-major, as the library thinks: a row-major matrix is its own transpose there, so the factors change places.
  struct Plan {
    Owned<cublasLtMatmulDesc_t> operation;
    Owned<cublasLtMatrixLayout_t> first, second, result;
    cublasLtMatmulAlgo_t algorithm{};
  };

  void check(cublasStatus_t status, const char* call, const std::string& subject) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw Error("DEVICE", std::string(call) + (subject.empty() ? "" : " of " + subject) +
                              " failed: " + library_.getStatusString(status));
  }
  template <typename T>
  void set(const Plan& plan, cublasLtMatmulDescAttributes_t attribute, const T& value) const {
    check(library_.descSetAttribute(plan.operation.get(), attribute, &value, sizeof(value)),
          "cublasLtMatmulDescSetAttribute", "");
  }
  Owned<cublasLtMatrixLayout_t> layout(Type type, int64_t rows, int64_t columns) const {
    cublasLtMatrixLayout_t made = nullptr;
    check(library_.layoutCreate(&made, dataTypeOf(type), static_cast<uint64_t>(rows), static_cast<uint64_t>(columns),
                                rows),
          "cublasLtMatrixLayoutCreate", "");
    return {made, library_.layoutDestroy};
  }
  std::shared_ptr<Plan> plan(const Product& product) const;
  std::vector<cublasLtMatmulHeuristicResult_t> propose(const Plan& plan) const;
  cublasStatus_t run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const Product& product) const;
  cublasLtMatmulAlgo_t fastest(const Plan& plan, const Product& product,
                               const std::vector<cublasLtMatmulHeuristicResult_t>& candidates) const;
  void readCache();
  void writeCache() const;

  CudaEngine& engine_;
  const CublasLtLibrary library_;
  cublasLtHandle_t handle_ = nullptr;
  Arena workspace_;
  std::string cache_;
  std::map<std::string, cublasLtMatmulAlgo_t> algorithms_;
};

bool given(const View& view) { return view.arena != nullptr; }

std::string describe(const Product& p) {
  std::ostringstream text;
  text << "(" << p.m << ", " << p.k << ") x (" << p.k << ", " << p.n << ") " << nameOf(p.a.type) << " to "
       << nameOf(p.c.type) << (p.transposeA ? " a^T" : "") << (p.transposeB ? " b^T" : "") << (p.beta != 0 ? " +=" : "")
       << (given(p.bias) ? " bias" : "") << (given(p.columnSumsOfA) ? " sums" : "");
  return text.str();
}

std::shared_ptr<CublasLt::Plan> CublasLt::plan(const Product& p) const {
  cublasLtMatmulDesc_t operation = nullptr;
  const bool tf32 = p.a.type == Type::f32 && engine_.tf32();
  check(library_.descCreate(&operation, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
        "cublasLtMatmulDescCreate", "");
  auto made = std::make_shared<Plan>(Plan{{operation, library_.descDestroy},
                                          p.transposeB ? layout(p.b.type, p.k, p.n) : layout(p.b.type, p.n, p.k),
                                          p.transposeA ? layout(p.a.type, p.m, p.k) : layout(p.a.type, p.k, p.m),
                                          layout(p.c.type, p.n, p.m)});
  const cublasOperation_t yes = CUBLAS_OP_T, no = CUBLAS_OP_N;
  set(*made, CUBLASLT_MATMUL_DESC_TRANSA, p.transposeB ? yes : no);
  set(*made, CUBLASLT_MATMUL_DESC_TRANSB, p.transposeA ? yes : no);
  // Row i of our result is column i of theirs: a bias along our rows is one along their columns' rows, and sums of our
  // a over k are those of their second factor.
  const cublasLtEpilogue_t epilogue = given(p.bias)            ? CUBLASLT_EPILOGUE_BIAS
                                      : given(p.columnSumsOfA) ? CUBLASLT_EPILOGUE_BGRADB
                                                               : CUBLASLT_EPILOGUE_DEFAULT;
  set(*made, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
  if (epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
    const View& vector = given(p.bias) ? p.bias : p.columnSumsOfA;
    set(*made, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, dataTypeOf(vector.type));
  }
  return made;
}

std::vector<cublasLtMatmulHeuristicResult_t> CublasLt::propose(const Plan& plan) const {
  cublasLtMatmulPreference_t made = nullptr;
  check(library_.preferenceCreate(&made), "cublasLtMatmulPreferenceCreate", "");
  const Owned<cublasLtMatmulPreference_t> preference(made, library_.preferenceDestroy);
  const uint64_t bytes = kWorkspaceBytes;
  check(library_.preferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes)),
        "cublasLtMatmulPreferenceSetAttribute", "");
  std::vector<cublasLtMatmulHeuristicResult_t> results(kCandidates);
  int found = 0;
  const cublasStatus_t status =
      library_.getHeuristic(handle_, plan.operation.get(), plan.first.get(), plan.second.get(), plan.result.get(),
                            plan.result.get(), made, kCandidates, results.data(), &found);
  results.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(found) : 0);
  std::erase_if(results, [](const auto& result) { return result.state != CUBLAS_STATUS_SUCCESS; });
  return results;
}

cublasStatus_t CublasLt::run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const Product& p) const {
  // Arenas may have moved since the last run.
  const View& vector = given(p.bias) ? p.bias : p.columnSumsOfA;
  if (given(vector)) {
    void* address = vector.address();
    set(plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, address);
  }
  const float alpha = 1;
  return library_.matmul(handle_, plan.operation.get(), &alpha, p.b.address(), plan.first.get(), p.a.address(),
                         plan.second.get(), &p.beta, p.c.address(), plan.result.get(), p.c.address(), plan.result.get(),
                         &algorithm, workspace_.base(), kWorkspaceBytes, engine_.stream());
}

cublasLtMatmulAlgo_t CublasLt::fastest(const Plan& plan, const Product& product,
                                       const std::vector<cublasLtMatmulHeuristicResult_t>& candidates) const {
  if (candidates.size() == 1) return candidates[0].algo;
  // Measured on memory of its own: the real one may hold values that count.
  Product trial = product;
  Arena memory(engine_, 0);
  size_t bytes = 0;
  std::vector<View*> views{&trial.a, &trial.b, &trial.c};
  for (View* vector : {&trial.bias, &trial.columnSumsOfA})
    if (given(*vector)) views.push_back(vector);
  for (View* view : views) {
    view->arena = &memory;
    view->offset = bytes;
    bytes += alignedBytes(view->bytes());
  }
  memory.allocate(bytes);
  cuda::check(cudaMemsetAsync(memory.base(), 0, bytes, engine_.stream()), "cudaMemsetAsync");
  const cublasLtMatmulAlgo_t* best = &candidates[0].algo;
  double least = 1e30;
  for (const auto& candidate : candidates) {
    if (run(plan, candidate.algo, trial) != CUBLAS_STATUS_SUCCESS) continue;
    const double milliseconds = engine_.measure([&] {
      for (int i = 0; i < kRepeats; i++) run(plan, candidate.algo, trial);
    });
    if (milliseconds < least) least = milliseconds, best = &candidate.algo;
  }
  return *best;
}

Kernel CublasLt::prepare(const Operands&, const Product& product, bool optional) {
  const auto made = plan(product);
  const std::string key = describe(product) + (engine_.tf32() && product.a.type == Type::f32 ? " tf32" : "");
  const auto known = algorithms_.find(key);
  if (known != algorithms_.end()) {
    made->algorithm = known->second;
  } else {
    const auto candidates = propose(*made);
    if (candidates.empty() && optional) return nullptr;
    require(!candidates.empty(), "DEVICE", version() + " has no algorithm for " + key);
    made->algorithm = fastest(*made, product, candidates);
    algorithms_[key] = made->algorithm;
    writeCache();
  }
  return [this, made, product, key] { check(run(*made, made->algorithm, product), "cublasLtMatmul", key); };
}

// One line a product: its description, a tab, and the algorithm's 64 bytes in hexadecimal.
void CublasLt::readCache() {
  std::ifstream file(cache_);
  for (std::string line; std::getline(file, line);) {
    const size_t tab = line.find('\t');
    cublasLtMatmulAlgo_t algorithm{};
    std::istringstream words(tab == std::string::npos ? "" : line.substr(tab + 1));
    words >> std::hex;
    for (uint64_t& word : algorithm.data) words >> word;
    if (words) algorithms_[line.substr(0, tab)] = algorithm;
  }
}

// A cache that cannot be written is measured anew next time.
void CublasLt::writeCache() const {
  if (cache_.empty()) return;
  std::ofstream file(cache_ + ".part", std::ios::trunc);
  for (const auto& [key, algorithm] : algorithms_) {
    file << key << '\t' << std::hex;
    for (uint64_t word : algorithm.data) file << word << ' ';
    file << '\n';
  }
  file.close();
  if (file) std::rename((cache_ + ".part").c_str(), cache_.c_str());
}

}  // namespace

std::unique_ptr<Blas> openBlas(CudaEngine& engine) { return std::make_unique<CublasLt>(engine); }

}  // namespace autoprog::cuda
