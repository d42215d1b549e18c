// What the emulator has to get right and to find. `self-test NAME` runs one of the tests below; it prints "ok" or what
// is wrong. test/native/emulator.test.ts runs them all, in an ordinary build and under AddressSanitizer.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cuda/elements.h"
#include "emulator/cublasLt.h"
#include "emulator/planted.h"

namespace {

using namespace autoprog::cuda;

cudaStream_t stream() {
  static cudaStream_t made = [] {
    cudaStream_t stream = nullptr;
    cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    return stream;
  }();
  return made;
}

template <typename T>
class Memory {
 public:
  explicit Memory(size_t count) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, count * sizeof(T)), "cudaMalloc");
    data_ = static_cast<T*>(memory);
  }
  ~Memory() { cudaFree(data_); }
  T* data() { return data_; }
  T& operator[](size_t i) {
    cudaStreamSynchronize(stream());
    return data_[i];
  }

 private:
  T* data_;
};

class Pinned {
 public:
  explicit Pinned(size_t count) : count_(count) {
    void* memory = nullptr;
    check(cudaMallocHost(&memory, count * sizeof(float)), "cudaMallocHost");
    data_ = static_cast<float*>(memory);
  }
  ~Pinned() { cudaFreeHost(data_); }
  float* data() { return data_; }
  void fill(float value) { std::fill(data_, data_ + count_, value); }

 private:
  size_t count_;
  float* data_;
};

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t on) {
  check(cudaMemcpyAsync(to, from, bytes, kind, on), "cudaMemcpyAsync");
}

// The message of what is thrown until the work is done, or "nothing".
std::string thrown(const std::function<void()>& work) {
  try {
    work();
    check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
    return "nothing";
  } catch (const std::exception& error) {
    emulator::reset();
    return error.what();
  }
}

template <bool barriers>
int wrongSums() {
  Memory<float> x(128), y(1);
  for (size_t i = 0; i < 128; i++) x[i] = static_cast<float>(i);
  int wrong = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    emulator::setSeed(seed);
    launch("sum", stream(), {1, 128, 128 * sizeof(float)}, planted::sumKernel<barriers>, x.data(), y.data());
    wrong += y[0] != 128 * 127 / 2;
  }
  return wrong;
}

// How many of 20 orders give wrong values where shared memory is filled again.
template <bool waits>
int wrongRefills() {
  Memory<Half> a(256), b(256), y(256);
  for (size_t i = 0; i < 256; i++) a[i] = fromFloat<Half>(1), b[i] = fromFloat<Half>(3);
  int wrong = 0;
  for (uint64_t seed = 0; seed < 20; seed++) {
    emulator::setSeed(seed);
    launch("refilled", stream(), {1, 32, 256 * sizeof(Half)}, planted::refilledKernel<waits>, a.data(), b.data(),
           y.data());
    bool right = true;
    for (size_t i = 0; i < 256; i++) right = right && toFloat(y[i]) == 2;
    wrong += !right;
  }
  return wrong;
}

template <typename T>
struct Matrices {
  Memory<T> a{256}, b{256};
  Memory<float> c{128};
  explicit Matrices() {
    for (int i = 0; i < 256; i++) {
      a[static_cast<size_t>(i)] = fromFloat<T>(static_cast<float>(i * 7 % 23 - 11));
      b[static_cast<size_t>(i)] = fromFloat<T>(static_cast<float>(i * 5 % 19 - 9));
    }
  }
  // How far c is from a b; b is (columns, k) where `transposed`, else (k, 16).
  float error(bool transposed) {
    float worst = 0;
    for (int row = 0; row < 16; row++)
      for (int column = 0; column < 8; column++) {
        float sum = 0;
        for (int k = 0; k < 16; k++)
          sum += toFloat(a[static_cast<size_t>(row * 16 + k)]) *
                 toFloat(b[static_cast<size_t>(transposed ? column * 16 + k : k * 16 + column)]);
        const float difference = std::fabs(sum - c[static_cast<size_t>(row * 8 + column)]);
        worst = difference <= worst ? worst : difference;  // NaN counts
      }
    return worst;
  }
};

template <typename T>
std::string products() {
  Matrices<T> m;
  const Shape shape{1, 32, 512 * sizeof(T)};
  launch("product", stream(), shape, planted::productKernel<T, false>, m.a.data(), m.b.data(), m.c.data());
  if (m.error(true) != 0) return "the product is wrong";
  launch("product", stream(), shape, planted::productKernel<T, true>, m.a.data(), m.b.data(), m.c.data());
  if (m.error(true) == 0) return "the wrong fragment was not seen";
  launch("product", stream(), shape, planted::copiedProductKernel<T, true>, m.a.data(), m.b.data(), m.c.data());
  if (m.error(false) != 0) return "the product of copies is wrong";
  launch("product", stream(), shape, planted::copiedProductKernel<T, false>, m.a.data(), m.b.data(), m.c.data());
  if (m.error(false) == 0) return "the missing wait was not seen";
  return "ok";
}

// Against the compiler's own type for f16; for bf16 by looking for the nearer neighbour.
std::string rounding() {
  const auto same = [](float a, float b) { return std::memcmp(&a, &b, 4) == 0 || (std::isnan(a) && std::isnan(b)); };
  for (uint32_t bits = 0; bits < 65536; bits++) {
    _Float16 half;
    const auto word = static_cast<uint16_t>(bits);
    std::memcpy(&half, &word, 2);
    const float value = autoprog::fromFloat16(word);
    if (!same(value, static_cast<float>(half))) return "f16 " + std::to_string(bits) + " widens wrongly";
    if (!std::isnan(value) && autoprog::toFloat16(value) != word) return "f16 does not survive";
    if (std::isnan(value) && !std::isnan(autoprog::fromFloat16(autoprog::toFloat16(value)))) return "a NaN is lost";
    // Neighbours of every value, ties included.
    const float next = autoprog::fromFloat16(static_cast<uint16_t>(word + 1));
    if (std::isnan(value) || std::isnan(next) || std::isinf(value) || std::isinf(next)) continue;
    for (float at : {0.25f, 0.5f, 0.75f}) {
      const float between = value + (next - value) * at;
      const auto expected = static_cast<_Float16>(between);
      if (!same(autoprog::fromFloat16(autoprog::toFloat16(between)), static_cast<float>(expected)))
        return "f16 rounds " + std::to_string(between) + " wrongly";
    }
  }
  for (uint32_t bits = 0; bits < 65535; bits++) {
    const float value = autoprog::fromBfloat16(static_cast<uint16_t>(bits));
    const float next = autoprog::fromBfloat16(static_cast<uint16_t>(bits + 1));
    if (!std::isfinite(value) || !std::isfinite(next)) continue;
    if (autoprog::toBfloat16(value) != bits) return "bf16 does not survive";
    const double middle = (static_cast<double>(value) + next) / 2;
    const auto tie = static_cast<float>(middle);
    const auto even = static_cast<uint16_t>(bits % 2 == 0 ? bits : bits + 1);
    if (static_cast<double>(tie) == middle && autoprog::toBfloat16(tie) != even) return "a tie does not go to even";
    const float above = std::nextafterf(tie, next), below = std::nextafterf(tie, value);
    if (autoprog::toBfloat16(above) != bits + 1 || autoprog::toBfloat16(below) != bits) return "bf16 rounds wrongly";
  }
  if (!std::isinf(autoprog::fromFloat16(autoprog::toFloat16(65520.0f)))) return "f16 does not overflow";
  if (autoprog::fromFloat16(autoprog::toFloat16(65519.0f)) != 65504.0f) return "f16 overflows too soon";
  return "ok";
}

std::string capture() {
  Memory<float> x(32), y(32);
  const auto twice = [&] { launch("twice", stream(), {1, 32}, planted::tileKernel<false>, x.data(), y.data(), 32); };
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  twice();
  for (size_t i = 0; i < 32; i++) x[i] = 1, y[i] = 0;
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  twice();
  check(cudaStreamEndCapture(stream(), &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&exec, graph, 0), "cudaGraphInstantiate");
  if (y[0] != 0) return "a captured kernel has run";
  for (float value : {3.0f, 4.0f}) {
    x[5] = value;
    check(cudaGraphLaunch(exec, stream()), "cudaGraphLaunch");
    if (y.data()[5] == 2 * value) return "a graph runs before anybody waits";
    if (y[5] != 2 * value) return "a replay does not see changed memory";
  }
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  // What would freeze a value of the host, or wait for what has not begun.
  float host = 1;
  void* memory = nullptr;
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  cudaLaunchConfig_t one{1, 32};
  one.stream = stream();
  const std::vector<std::pair<const char*, std::function<cudaError_t()>>> forbidden = {
      {"a copy from the host", [&] { return cudaMemcpyAsync(x.data(), &host, 4, cudaMemcpyHostToDevice, stream()); }},
      {"a copy to the host", [&] { return cudaMemcpyAsync(&host, x.data(), 4, cudaMemcpyDeviceToHost, stream()); }},
      {"another stream's event", [&] { return cudaStreamWaitEvent(stream(), event); }},
      {"waiting", [&] { return cudaStreamSynchronize(stream()); }},
      {"a kernel that has never run", [&] { return cudaLaunchKernelEx(&one, planted::mixedKernel, y.data()); }},
      {"memory", [&] { return cudaMalloc(&memory, 4); }}};
  for (const auto& [name, call] : forbidden) {
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    if (call() == cudaSuccess) return std::string(name) + " is allowed while capturing";
    if (cudaStreamEndCapture(stream(), &graph) == cudaSuccess) return std::string(name) + " does not spoil the capture";
  }
  cudaEventDestroy(event);
  return "ok";
}

// A stream of copies and one of kernels, which an event orders, or not.
template <bool ordered>
std::string uploads() {
  cudaStream_t copies = nullptr;
  cudaEvent_t arrived = nullptr, placed = nullptr;
  check(cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  for (cudaEvent_t* event : {&arrived, &placed})
    check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  Memory<float> x(32), y(32);
  Pinned host(32);
  int wrong = 0;
  for (int round = 1; round <= 20; round++) {
    host.fill(static_cast<float>(round));
    copy(x.data(), host.data(), 32 * sizeof(float), cudaMemcpyHostToDevice, copies);
    check(cudaEventRecord(arrived, copies), "cudaEventRecord");
    if (ordered) check(cudaStreamWaitEvent(stream(), arrived), "cudaStreamWaitEvent");
    launch("twice", stream(), {1, 32}, planted::tileKernel<false>, x.data(), y.data(), 32);
    check(cudaEventRecord(placed, stream()), "cudaEventRecord");
    check(cudaEventSynchronize(placed), "cudaEventSynchronize");
    wrong += y.data()[7] != static_cast<float>(2 * round);
    check(cudaEventSynchronize(arrived), "cudaEventSynchronize");
  }
  cudaEventDestroy(arrived);
  cudaEventDestroy(placed);
  cudaStreamDestroy(copies);
  return std::to_string(wrong) + " of 20 wrong";
}

std::string events() {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  if (cudaEventQuery(event) != cudaSuccess) return "an event that was never recorded is waited for";
  Memory<float> x(32), y(32);
  for (size_t i = 0; i < 32; i++) x[i] = 1;
  Pinned host(32);
  host.fill(5);
  launch("twice", stream(), {1, 32}, planted::tileKernel<false>, x.data(), y.data(), 32);
  copy(host.data(), y.data(), 32 * sizeof(float), cudaMemcpyDeviceToHost, stream());
  check(cudaEventRecord(event, stream()), "cudaEventRecord");
  if (cudaEventQuery(event) != cudaErrorNotReady) return "an event is reached before anybody waits";
  if (!std::isnan(host.data()[3])) return "what a copy will overwrite is still there";
  check(cudaEventSynchronize(event), "cudaEventSynchronize");
  if (cudaEventQuery(event) != cudaSuccess || host.data()[3] != 2) return "an event is not reached by waiting";
  cudaEventDestroy(event);
  return "ok";
}

// Callers who think that a copy has been made once it was asked for.
std::string hasty(const std::function<void(float*& host)>& next) {
  Memory<float> x(32);
  float* host = nullptr;
  check(cudaMallocHost(reinterpret_cast<void**>(&host), 32 * sizeof(float)), "cudaMallocHost");
  std::fill(host, host + 32, 1.0f);
  const std::string message = thrown([&] {
    copy(x.data(), host, 32 * sizeof(float), cudaMemcpyHostToDevice, stream());
    next(host);
  });
  cudaFreeHost(host);
  return message;
}

std::string memory() {
  emulator::setDeviceMemory(1 << 20);
  void* first = nullptr;
  void* second = nullptr;
  if (cudaMalloc(&first, 1 << 19) != cudaSuccess) return "memory is refused";
  if (cudaMalloc(&second, 1 << 20) != cudaErrorMemoryAllocation) return "memory has no end";
  if (!std::isnan(*static_cast<float*>(first))) return "fresh memory is not poisoned";
  cudaFree(first);
  if (cudaMalloc(&second, 1 << 20) != cudaSuccess) return "freed memory is not free";
  cudaFree(second);
  return "ok";
}

// A product d (4, 4) = a (4, 4) b (4, 4) of the stand-in for cuBLASLt, in f32.
struct Solver {
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t desc = nullptr;
  cublasLtMatrixLayout_t layout = nullptr, other = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  Memory<float> a{32}, b{32}, d{32}, workspace{1024};

  Solver() {
    cublasLtCreate(&handle);
    cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    cublasLtMatrixLayoutCreate(&layout, CUDA_R_32F, 4, 4, 4);
    cublasLtMatrixLayoutCreate(&other, CUDA_R_32F, 4, 4, 5);
    cublasLtMatmulPreferenceCreate(&preference);
    const uint64_t bytes = 4096;
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes));
    for (size_t i = 0; i < 32; i++) a[i] = b[i] = 1;
  }
  void declare(uint32_t alignment) {
    for (int operand = 0; operand < 4; operand++)
      cublasLtMatmulPreferenceSetAttribute(
          preference,
          static_cast<cublasLtMatmulPreferenceAttributes_t>(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES + operand),
          &alignment, sizeof(alignment));
  }
  std::vector<cublasLtMatmulHeuristicResult_t> propose() {
    std::vector<cublasLtMatmulHeuristicResult_t> results(8);
    int found = 0;
    cublasLtMatmulAlgoGetHeuristic(handle, desc, layout, layout, layout, layout, preference, 8, results.data(), &found);
    results.resize(static_cast<size_t>(found));
    return results;
  }
  cublasStatus_t run(const cublasLtMatmulAlgo_t& algorithm, float* from, cublasLtMatrixLayout_t with) {
    const float alpha = 1, beta = 0;
    const cublasStatus_t status =
        cublasLtMatmul(handle, desc, &alpha, from, with, b.data(), layout, &beta, d.data(), layout, d.data(), layout,
                       &algorithm, workspace.data(), 4096, stream());
    if (status != CUBLAS_STATUS_SUCCESS || emulator::capturing(stream())) return status;
    return cudaStreamSynchronize(stream()) == cudaSuccess ? status : CUBLAS_STATUS_EXECUTION_FAILED;
  }
};

std::string refusals() {
  Solver solver;
  const auto any = solver.propose();
  if (any.size() < 2) return "there is no choice of algorithms";
  solver.workspace[0] = 1;
  if (solver.run(any[0].algo, solver.a.data(), solver.layout) != CUBLAS_STATUS_SUCCESS || solver.d[0] != 4)
    return "what is right is refused";
  if (!std::isnan(solver.workspace[0])) return "the workspace is not overwritten";
  if (solver.run(any[0].algo, solver.a.data(), solver.other) == CUBLAS_STATUS_SUCCESS)
    return "an algorithm runs with another leading dimension";
  if (solver.run(any[0].algo, solver.a.data() + 4, solver.layout) == CUBLAS_STATUS_SUCCESS)
    return "256 bytes are not counted on where nothing was declared";
  emulator::reset();
  solver.declare(16);
  const auto loose = solver.propose();
  if (solver.run(loose[1].algo, solver.a.data() + 4, solver.layout) != CUBLAS_STATUS_SUCCESS)
    return "a declared alignment is refused";
  if (solver.run(loose[1].algo, solver.a.data() + 1, solver.layout) == CUBLAS_STATUS_SUCCESS)
    return "less than the declared alignment is taken";
  emulator::reset();
  cublasLtMatmulHeuristicResult_t checked{};
  auto damaged = loose[0].algo;
  damaged.data[1]++;
  const auto isGood = [&](const cublasLtMatmulAlgo_t& algorithm) {
    return cublasLtMatmulAlgoCheck(solver.handle, solver.desc, solver.layout, solver.layout, solver.layout,
                                   solver.layout, &algorithm, &checked) == CUBLAS_STATUS_SUCCESS;
  };
  if (!isGood(loose[0].algo) || isGood(damaged)) return "a damaged algorithm is taken for a good one";
  cudaGraph_t graph = nullptr;
  cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal);
  const bool proposes = !solver.propose().empty();
  const cublasStatus_t known = solver.run(any[0].algo, solver.a.data(), solver.layout);
  cudaStreamEndCapture(stream(), &graph);
  cudaGraphDestroy(graph);
  if (proposes) return "algorithms are proposed while a stream is captured";
  if (known != CUBLAS_STATUS_SUCCESS) return "a known algorithm cannot be captured";
  const int transposed = CUBLAS_OP_T;  // another product, of which nothing has run
  cublasLtMatmulDescSetAttribute(solver.desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed));
  const auto fresh = solver.propose()[0].algo;
  cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal);
  const cublasStatus_t first = solver.run(fresh, solver.a.data(), solver.layout);
  cudaStreamEndCapture(stream(), &graph);
  cudaGraphDestroy(graph);
  return first == CUBLAS_STATUS_SUCCESS ? "an algorithm first runs in a capture" : "ok";
}

// The same launch twice: a block's results must not depend on the order, which the seed draws.
std::string warps() {
  Memory<float> y(64);
  const auto kernel = +[](float* y) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const float sum = warpSum(static_cast<float>(lane)), largest = warpMaximum(static_cast<float>(lane % 7));
    const float down = __shfl_down_sync(kFullWarp, static_cast<float>(lane), 3);
    const unsigned votes = __ballot_sync(kFullWarp, lane % 3 == 0);
    const bool right = sum == 496 && largest == 6 && down == static_cast<float>(lane < 29 ? lane + 3 : lane) &&
                       votes == 0x49249249u && __any_sync(kFullWarp, lane == 9) && !__all_sync(kFullWarp, lane == 9);
    y[threadIdx.x] = right ? 1 : 0;
  };
  launch("warps", stream(), {1, 64}, kernel, y.data());
  for (size_t i = 0; i < 64; i++)
    if (y[i] != 1) return "thread " + std::to_string(i) + " has a wrong result";
  return "ok";
}

const std::map<std::string, std::function<std::string()>> tests = {
    {"barrier",
     [] {
       return "with barriers " + std::to_string(wrongSums<true>()) + " of 20 wrong, without " +
              std::to_string(wrongSums<false>());
     }},
    {"refilled",
     [] {
       return "with barriers " + std::to_string(wrongRefills<true>()) + " of 20 wrong, without " +
              std::to_string(wrongRefills<false>());
     }},
    {"f16", products<Half>},
    {"bf16", products<Bfloat>},
    {"rounding", rounding},
    {"capture", capture},
    {"refusals", refusals},
    {"memory", memory},
    {"warps", warps},
    {"edge",
     [] {
       Memory<float> x(100), y(100);
       for (size_t i = 0; i < 100; i++) x[i] = 1;
       launch("right edge", stream(), {4, 32}, planted::tileKernel<false>, x.data(), y.data(), 100);
       launch("wrong edge", stream(), {4, 32}, planted::tileKernel<true>, x.data(), y.data(), 100);
       return std::string("ok");
     }},
    {"aligned",
     [] {
       Memory<float> x(64), y(64);
       for (size_t i = 0; i < 64; i++) x[i] = 1;
       launch("four", stream(), {1, 8}, planted::fourKernel, x.data(), y.data(), 4);
       return thrown([&] { launch("four", stream(), {1, 8}, planted::fourKernel, x.data(), y.data(), 2); });
     }},
    {"generous",
     [] {
       const auto most = [](const void* memory) {
         return reinterpret_cast<uintptr_t>(memory) & -reinterpret_cast<uintptr_t>(memory);
       };
       Memory<float> first(3), second(1000);
       return std::to_string(most(first.data())) + " " + std::to_string(most(second.data()));
     }},
    {"overflow",
     [] {
       Memory<float> x(64), y(64);
       return thrown([&] {
         launch("strided", stream(), {4, 32}, planted::stridedKernel<int>, x.data(), y.data(), 1 << 30);
       });
     }},
    {"ordered", uploads<true>},
    {"unordered", uploads<false>},
    {"events", events},
    {"changed", [] { return hasty([](float* host) { host[31] = 2; }); }},
    {"patient",
     [] {
       return hasty([](float* host) {
         check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
         host[31] = 2;
       });
     }},
    {"freed",
     [] {
       return hasty([](float*& host) {
         check(cudaFreeHost(host), "cudaFreeHost");
         host = nullptr;
       });
     }},
    {"pageable",
     [] {
       Memory<float> x(1);
       float host = 1;
       copy(x.data(), &host, sizeof(host), cudaMemcpyHostToDevice, stream());
       host = 2;
       if (x[0] != 1) return std::string("the host's memory is read after the call");
       copy(&host, x.data(), sizeof(host), cudaMemcpyDeviceToHost, stream());
       return std::string(host == 1 ? "ok" : "the host's memory is written after the call");
     }},
    {"beyond",
     [] {
       Memory<float> x(32), y(16);
       return thrown([&] { copy(y.data(), x.data(), 32 * sizeof(float), cudaMemcpyDeviceToDevice, stream()); });
     }},
    {"grids",
     [] {
       Memory<float> x(32), y(32);
       std::string said;
       for (const Shape& shape : {Shape{dim3(1, 65536), 32}, Shape{1, 1025}, Shape{0, 32}, Shape{1, dim3(1, 1, 65)}})
         said += thrown([&] { launch("twice", stream(), shape, planted::tileKernel<false>, x.data(), y.data(), 32); }) +
                 "\n";
       return said;
     }},
    {"capability",
     [] {
       cudaDeviceProp properties;
       check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
       Memory<float> x(32), y(32);
       const Shape shape{1, 32, 100 * 1024};
       return std::to_string(properties.major) + "." + std::to_string(properties.minor) + ": " +
              thrown([&] { launch("greedy", stream(), shape, planted::tileKernel<false>, x.data(), y.data(), 32); });
     }},
    {"sampled",
     [] {
       // 12 GB, of which the last value of a block lies beyond what 32 bits count.
       constexpr int64_t count = int64_t{3} << 30;
       Memory<float> x(count), y(count);
       const auto run = [&](auto kernel) {
         return thrown([&] {
           emulator::allowOnly({{x.data(), count * sizeof(float)}, {y.data(), count * sizeof(float)}});
           launch("strided", stream(), {count / 32 / 1024, 32}, kernel, x.data(), y.data(), 1024);
         });
       };
       const std::string right = run(planted::stridedKernel<int64_t>), wrong = run(planted::stridedKernel<int>);
       return right + "; " + wrong;
     }},
    {"divergent",
     [] {
       Memory<float> y(64);
       return thrown([&] { launch("divergent", stream(), {1, 64}, planted::divergentKernel, y.data()); });
     }},
    {"mixed",
     [] {
       Memory<float> y(32);
       return thrown([&] { launch("mixed", stream(), {1, 32}, planted::mixedKernel, y.data()); });
     }},
    {"unwritten",
     [] {
       Memory<float> x(32), y(32);
       return thrown([&] {
         launch("unwritten", stream(), {1, 32}, planted::unwrittenKernel, x.data(), y.data());
         check(emulator::expectWritten(stream(), "copy", {{y.data(), 32 * sizeof(float), true}}), "copy");
       });
     }},
    {"shared",
     [] {
       Memory<float> y(32);
       return thrown([&] { launch("greedy", stream(), {1, 32, 300 * 1024}, planted::mixedKernel, y.data()); });
     }},
    {"cost",
     [] {
       char text[64];
       std::snprintf(text, sizeof(text), "%.1f ns for a fiber to pass on", emulator::switchNanoseconds());
       return std::string(text);
     }},
};

}  // namespace

int main(int count, char** arguments) {
  const auto test = count == 2 ? tests.find(arguments[1]) : tests.end();
  if (test == tests.end()) {
    for (const auto& [name, run] : tests) std::puts(name.c_str());
    return 2;
  }
  std::puts(test->second().c_str());
  cudaStreamDestroy(stream());
  return 0;
}
