#include "cuda/blas.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "cuda/check.h"
#include "cuda/libraries.h"
#include "cuda/product.h"

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
    if (!library_.passedOver.empty()) engine.notify(library_.passedOver);
    if (engine.deterministic()) return;  // what is kept was chosen by its time
    cache_ = cacheFile(std::string(engine.properties().name) + " " + version());
    kept_ = readCache();
  }
  ~CublasLt() override { library_.destroy(handle_); }

  std::string version() const override {
    const size_t number = library_.getVersion();
    return "cuBLASLt " + std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." +
           std::to_string(number % 100);
  }

  Kernel prepare(const Operands& operands, const Product& product) override;

 private:
  // Column-major, as the library thinks: a row-major matrix is its own transpose there, so the factors change places.
  struct Plan {
    Owned<cublasLtMatmulDesc_t> operation;
    Owned<cublasLtMatrixLayout_t> first, second, result;
    cublasLtMatmulAlgo_t algorithm{};
  };
  using Algorithms = std::map<std::string, cublasLtMatmulAlgo_t>;

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
  std::vector<cublasLtMatmulAlgo_t> propose(const Plan& plan, const Product& product) const;
  bool fits(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm) const;
  cublasStatus_t run(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm, const Product& product) const;
  std::optional<cublasLtMatmulAlgo_t> choose(const Plan& plan, const Product& product, const std::string& key);
  std::optional<cublasLtMatmulAlgo_t> best(const Plan& plan, const Product& product,
                                           const std::vector<cublasLtMatmulAlgo_t>& candidates) const;
  void tell(const std::string& what, const std::string& key, const std::string& instead);
  std::string keyOf(const Product& product) const;
  Algorithms readCache() const;
  void writeCache();

  CudaEngine& engine_;
  const CublasLtLibrary library_;
  cublasLtHandle_t handle_ = nullptr;
  Arena workspace_;
  std::string cache_;
  Algorithms kept_;  // by earlier devices and this one
  std::map<std::string, std::optional<cublasLtMatmulAlgo_t>> chosen_;
  std::set<std::string> told_;
};

bool given(const View& view) { return view.arena != nullptr; }

// The greatest power of two, up to what blocks of device memory begin at, that divides a view's address.
uint32_t alignmentOf(const View& view) {
  const size_t bits = view.offset | 256;
  return static_cast<uint32_t>(bits & (~bits + 1));
}

std::string describe(const Product& p) {
  std::ostringstream text;
  text << "(" << p.m << ", " << p.k << ") x (" << p.k << ", " << p.n << ") " << nameOf(p.a.type) << " to "
       << nameOf(p.c.type) << (p.transposeA ? " a^T" : "") << (p.transposeB ? " b^T" : "") << (p.beta != 0 ? " +=" : "")
       << (given(p.bias) ? " bias" : "") << (given(p.columnSumsOfA) ? " sums" : "");
  return text.str();
}

// All that an algorithm is chosen for.
std::string CublasLt::keyOf(const Product& p) const {
  std::ostringstream text;
  text << describe(p) << (engine_.tf32() && p.a.type == Type::f32 ? " tf32" : "") << " aligned " << alignmentOf(p.a)
       << " " << alignmentOf(p.b) << " " << alignmentOf(p.c);
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

// The library takes 256 bytes for granted unless it is told what addresses are multiples of.
std::vector<cublasLtMatmulAlgo_t> CublasLt::propose(const Plan& plan, const Product& product) const {
  cublasLtMatmulPreference_t made = nullptr;
  check(library_.preferenceCreate(&made), "cublasLtMatmulPreferenceCreate", "");
  const Owned<cublasLtMatmulPreference_t> preference(made, library_.preferenceDestroy);
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check(library_.preferenceSetAttribute(made, attribute, &value, sizeof(value)),
          "cublasLtMatmulPreferenceSetAttribute", "");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{kWorkspaceBytes});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignmentOf(product.b));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignmentOf(product.a));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignmentOf(product.c));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignmentOf(product.c));
  std::vector<cublasLtMatmulHeuristicResult_t> results(kCandidates);
  int found = 0;
  const std::lock_guard lock(captureMutex());
  const cublasStatus_t status =
      library_.getHeuristic(handle_, plan.operation.get(), plan.first.get(), plan.second.get(), plan.result.get(),
                            plan.result.get(), made, kCandidates, results.data(), &found);
  results.resize(status == CUBLAS_STATUS_SUCCESS ? static_cast<size_t>(found) : 0);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (const auto& result : results)
    if (result.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(result.algo);
  return algorithms;
}

// Whether an algorithm that was read may be run.
bool CublasLt::fits(const Plan& plan, const cublasLtMatmulAlgo_t& algorithm) const {
  cublasLtMatmulHeuristicResult_t result{};
  const std::lock_guard lock(captureMutex());
  const cublasStatus_t status =
      library_.checkAlgorithm(handle_, plan.operation.get(), plan.first.get(), plan.second.get(), plan.result.get(),
                              plan.result.get(), &algorithm, &result);
  return status == CUBLAS_STATUS_SUCCESS && result.workspaceSize <= kWorkspaceBytes;
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

// Runs candidates on memory of their own, since the real one may hold values that count, and which is no better
// aligned. The fastest of those that run; on a deterministic engine the first. So every algorithm has run before a
// capture.
std::optional<cublasLtMatmulAlgo_t> CublasLt::best(const Plan& plan, const Product& product,
                                                   const std::vector<cublasLtMatmulAlgo_t>& candidates) const {
  Product trial = product;
  Arena memory(engine_, 0);
  size_t bytes = 0;
  std::vector<View*> views{&trial.a, &trial.b, &trial.c};
  for (View* vector : {&trial.bias, &trial.columnSumsOfA})
    if (given(*vector)) views.push_back(vector);
  for (View* view : views) {
    const size_t beyond = alignmentOf(*view) % 256;
    view->arena = &memory;
    view->offset = bytes + beyond;
    bytes += alignedBytes(view->bytes() + beyond);
  }
  try {
    memory.allocate(bytes);
  } catch (const Error& error) {
    if (error.code != "MEMORY" || candidates.empty()) throw;
    return candidates[0];  // there is no room to try: the program's first run is not captured either
  }
  cuda::check(cudaMemsetAsync(memory.base(), 0, bytes, engine_.stream()), "cudaMemsetAsync");
  std::optional<cublasLtMatmulAlgo_t> found;
  double least = 1e30;
  for (const auto& candidate : candidates) {
    if (run(plan, candidate, trial) != CUBLAS_STATUS_SUCCESS) continue;
    const bool timed = candidates.size() > 1 && !engine_.deterministic();
    const double milliseconds = engine_.measure([&] {
      for (int i = 0; timed && i < kRepeats; i++) run(plan, candidate, trial);
    });
    if (!timed) return candidate;
    if (milliseconds < least) least = milliseconds, found = candidate;
  }
  return found;
}

std::optional<cublasLtMatmulAlgo_t> CublasLt::choose(const Plan& plan, const Product& product, const std::string& key) {
  const auto known = chosen_.find(key);
  if (known != chosen_.end()) return known->second;
  std::optional<cublasLtMatmulAlgo_t> algorithm;
  const auto kept = kept_.find(key);
  if (kept != kept_.end() && fits(plan, kept->second)) algorithm = best(plan, product, {kept->second});
  if (!algorithm) {
    const auto candidates = propose(plan, product);
    if (!candidates.empty()) algorithm = best(plan, product, candidates);
    if (algorithm) {
      kept_[key] = *algorithm;
      writeCache();
    }
    const std::string what = candidates.empty() ? " has no algorithm for" : " fails at every algorithm for";
    if (!algorithm && !given(product.bias) && !given(product.columnSumsOfA))
      tell(what, describe(product), "a kernel of our own makes them, slowly");
  }
  return chosen_[key] = algorithm;
}

// Once for each thing, by the first product that it happens to.
void CublasLt::tell(const std::string& what, const std::string& key, const std::string& instead) {
  if (told_.insert(what).second) engine_.notify(version() + what + " products such as " + key + ": " + instead);
}

Kernel CublasLt::prepare(const Operands&, const Product& product) {
  const bool biased = given(product.bias), summed = given(product.columnSumsOfA);
  const std::string key = keyOf(product);
  const auto made = plan(product);
  // Epilogues move 16 bytes as one, whatever the product does.
  const bool reachable = !biased || alignmentOf(product.bias) >= 16;
  if (const auto algorithm = reachable ? choose(*made, product, key) : std::nullopt) {
    made->algorithm = *algorithm;
    return [this, made, product, key] { check(run(*made, made->algorithm, product), "cublasLtMatmul", key); };
  }
  if (biased || summed) {
    Product rest = product;
    rest.bias = rest.columnSumsOfA = View{};
    if (reachable && choose(*plan(rest), rest, keyOf(rest)))
      tell(biased ? " does not add biases to" : " does not sum up gradients of biases with", describe(product),
           "a kernel of our own does, after the product");
    return nullptr;
  }
  Kernel plain = preparePlainProduct(engine_, product);
  require(plain != nullptr, "DEVICE",
          "Neither " + version() + " nor a kernel of our own can make the product " + describe(product));
  return plain;
}

// FNV-1a, by which a damaged line is known.
uint64_t checksumOf(const std::string& text) {
  uint64_t sum = 0xcbf29ce484222325u;
  for (unsigned char character : text) sum = (sum ^ character) * 0x100000001b3u;
  return sum;
}

// One line a product: its key, the algorithm's 64 bytes as words, and a checksum of all that; hexadecimal, with tabs
// between the three. Lines that are anything else are passed over.
std::string lineOf(const std::string& key, const cublasLtMatmulAlgo_t& algorithm) {
  std::ostringstream line;
  line << key << '\t' << std::hex;
  for (uint64_t word : algorithm.data) line << word << ' ';
  line << '\t';
  return line.str();
}

CublasLt::Algorithms CublasLt::readCache() const {
  Algorithms algorithms;
  std::ifstream file(cache_);
  for (std::string line; std::getline(file, line);) {
    const size_t tab = line.find('\t');
    cublasLtMatmulAlgo_t algorithm{};
    uint64_t sum = 0;
    std::istringstream words(tab == std::string::npos ? "" : line.substr(tab + 1));
    words >> std::hex;
    for (uint64_t& word : algorithm.data) words >> word;
    words >> sum;
    const std::string key = line.substr(0, tab);
    if (words && sum == checksumOf(lineOf(key, algorithm))) algorithms[key] = algorithm;
  }
  return algorithms;
}

// With what other processes have found meanwhile. A file of its own takes the cache's place in one step; a cache that
// cannot be written is measured anew next time.
void CublasLt::writeCache() {
  if (cache_.empty()) return;
  kept_.merge(readCache());
  static std::atomic<int> files{0};
  const std::string part = cache_ + "." + std::to_string(getpid()) + "." + std::to_string(files++) + ".part";
  std::ofstream file(part, std::ios::trunc);
  for (const auto& [key, algorithm] : kept_) {
    const std::string line = lineOf(key, algorithm);
    file << line << std::hex << checksumOf(line) << '\n';
  }
  file.close();
  if (!file || std::rename(part.c_str(), cache_.c_str()) != 0) std::remove(part.c_str());
}

}  // namespace

std::unique_ptr<Blas> openBlas(CudaEngine& engine) { return std::make_unique<CublasLt>(engine); }

}  // namespace autoprog::cuda
