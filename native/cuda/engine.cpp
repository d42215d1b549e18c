#include "cuda/engine.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <utility>

#include "cuda/blas.h"
#include "cuda/check.h"
#include "cuda/operations.h"
#include "cuda/product.h"

namespace autoprog::cuda {

namespace {

// Page-locked memory of the host, which the device reads and writes by itself.
std::shared_ptr<HostBlocks> pinnedBlocks(int device) {
  return std::make_shared<HostBlocks>(
      [device](size_t bytes) {
        check(cudaSetDevice(device), "cudaSetDevice");
        void* memory = nullptr;
        const cudaError_t status = cudaMallocHost(&memory, bytes);
        if (status == cudaErrorMemoryAllocation) {
          cudaGetLastError();  // forgotten: the device is as good as before
          throw Error("MEMORY",
                      "Could not reserve " + std::to_string(bytes >> 20) + " MiB of page-locked memory on the host");
        }
        check(status, "cudaMallocHost");
        return static_cast<std::byte*>(memory);
      },
      [](std::byte* block, size_t) { cudaFreeHost(block); });
}

// Who waits for one leaves the core to others, such as those that load images.
class Event {
 public:
  explicit Event(unsigned flags = cudaEventDisableTiming) {
    check(cudaEventCreateWithFlags(&event_, flags | cudaEventBlockingSync), "cudaEventCreateWithFlags");
  }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  cudaEvent_t get() const { return event_; }
  void record(cudaStream_t stream) const { check(cudaEventRecord(event_, stream), "cudaEventRecord"); }
  void wait() const { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
  bool happened() const { return cudaEventQuery(event_) == cudaSuccess; }

 private:
  cudaEvent_t event_ = nullptr;
};

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
  ~Stream() { cudaStreamDestroy(stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// One upload under way: from the host to the device on the copy stream while kernels still run, then to its place on
// the compute stream, in its turn. The host's memory is free again once it has `arrived`, the device's once it is
// `placed`.
struct Upload {
  std::shared_ptr<const std::byte> host;
  std::byte* device = nullptr;
  size_t bytes;
  Event arrived, placed;
  explicit Upload(size_t size) : bytes(size) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes), "cudaMalloc");
    device = static_cast<std::byte*>(memory);
  }
  ~Upload() { cudaFree(device); }
};

// A pair of events about an op; what they have measured is added up before they are used again.
class EventPair : public Stopwatch {
 public:
  explicit EventPair(cudaStream_t stream) : stream_(stream) {}
  void begin() override {
    collect();
    start_.record(stream_);
  }
  void end() override {
    end_.record(stream_);
    open_ = true;
  }
  double seconds() override {
    collect();
    return seconds_;
  }

 private:
  void collect() {
    if (!open_) return;
    end_.wait();
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start_.get(), end_.get()), "cudaEventElapsedTime");
    seconds_ += milliseconds / 1000;
    open_ = false;
  }

  cudaStream_t stream_;
  Event start_{cudaEventDefault}, end_{cudaEventDefault};
  bool open_ = false;
  double seconds_ = 0;
};

// Whether steps run op by op, so that each can be timed, instead of as one graph.
bool profileAsked() {
  const char* value = std::getenv("AUTOPROG_PROFILE");
  return value != nullptr && *value != '\0';
}

class Recorded {
 public:
  Recorded(int device, cudaGraphExec_t graph) : device_(device), graph_(graph) {}
  ~Recorded() { destroy(); }
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;
  cudaGraphExec_t get() const { return graph_; }
  void destroy() noexcept {
    if (graph_ == nullptr) return;
    cudaSetDevice(device_);
    cudaGraphExecDestroy(graph_);
    graph_ = nullptr;
  }

 private:
  int device_;
  cudaGraphExec_t graph_;
};

constexpr size_t kSmallestBuffer = 4096;

// Buffers come in powers of two.
size_t roundUp(size_t bytes) {
  size_t size = kSmallestBuffer;
  while (size < bytes) size *= 2;
  return size;
}

class Cuda : public CudaEngine {
 public:
  Cuda(int index, bool tf32, bool deterministic)
      : index_(index),
        tf32_(tf32),
        deterministic_(deterministic),
        profile_(profileAsked()),
        hostBlocks_(pinnedBlocks(index)) {
    check(cudaSetDevice(index), "cudaSetDevice", "cuda:" + std::to_string(index));
    check(cudaGetDeviceProperties(&properties_, index), "cudaGetDeviceProperties");
    require(properties_.major >= 8, "DEVICE",
            std::string(properties_.name) + " has compute capability " + std::to_string(properties_.major) + "." +
                std::to_string(properties_.minor) + ", but 8.0 (Ampere) or later is needed");
    compute_ = std::make_unique<Stream>();
    copies_ = std::make_unique<Stream>();
    probe(*this);
    blas_ = openBlas(*this);
  }
  ~Cuda() override {
    cudaSetDevice(index_);
    cudaStreamSynchronize(compute_->get());
    hostBlocks_->close();
  }

#ifdef AUTOPROG_EMULATOR
  const char* kind() const override { return "cuda-emulated"; }
#else
  const char* kind() const override { return "cuda"; }
#endif
  std::vector<std::pair<std::string, std::string>> features() const override {
    return {{"name", properties_.name},
            {"gemm", blas_->version()},
            {"capability", std::to_string(properties_.major) + "." + std::to_string(properties_.minor)},
            {"memory", std::to_string(properties_.totalGlobalMem >> 20) + " MiB"}};
  }
  const std::vector<Implementation>& operations() const override;
  Kernel prepare(const Implementation& operation, const Operands& operands) override;
  bool asynchronous() const override { return true; }
  std::vector<std::string> takeNotices() override {
    const std::lock_guard lock(noticeMutex_);
    return std::exchange(notices_, {});
  }
  bool broken() override {
    cudaGetLastError();  // forgets what does not last
    return cudaStreamSynchronize(stream()) != cudaSuccess;
  }
  void enterThread() override { check(cudaSetDevice(index_), "cudaSetDevice"); }
  // Graphs go first, whoever still holds a program.
  void leaveThread() noexcept override {
    cudaStreamSynchronize(stream());
    for (const auto& graph : graphs_)
      if (const auto held = graph.lock()) held->destroy();
    graphs_.clear();
  }

  std::byte* allocate(size_t bytes) override {
    check(cudaSetDevice(index_), "cudaSetDevice");
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();  // forgotten: the device is as good as before
      size_t free = 0, total = 0;
      cudaMemGetInfo(&free, &total);
      throw Error("MEMORY", "Could not reserve " + std::to_string(bytes >> 20) + " MiB of device memory: " +
                                std::to_string(free >> 20) + " of " + std::to_string(total >> 20) + " MiB are free");
    }
    check(status, "cudaMalloc");
    return static_cast<std::byte*>(memory);
  }
  std::optional<size_t> freeMemory() const override {
    size_t free = 0, total = 0;
    cudaSetDevice(index_);
    return cudaMemGetInfo(&free, &total) == cudaSuccess ? std::optional(free) : std::nullopt;
  }
  void release(std::byte* block, size_t) noexcept override {
    cudaSetDevice(index_);
    cudaFree(block);  // waits for the kernels that may still use it
  }

  HostBlocks& hostBlocks() override { return *hostBlocks_; }
  // Parameters and tables, not a step's inputs: waited for, since hundreds of them would hold as many buffers.
  void upload(std::byte* device, const void* host, size_t bytes) override {
    if (bytes == 0) return;
    const auto block = hostBlocks_->take(bytes);
    std::memcpy(block.get(), host, bytes);
    upload(device, block, bytes);
    uploads_.back()->placed.wait();
  }
  void upload(std::byte* device, std::shared_ptr<const std::byte> host, size_t bytes) override;
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
  }
  Kernel download(std::vector<Download> downloads) override;
  Kernel record(std::function<void()> work) override;
  std::unique_ptr<Stopwatch> stopwatch() override { return profile_ ? std::make_unique<EventPair>(stream()) : nullptr; }
  double measureGemm(int64_t m, int64_t n, int64_t k) override;
  double measure(const std::function<void()>& work) override {
    const Event start(cudaEventDefault), end(cudaEventDefault);
    start.record(stream());
    work();
    end.record(stream());
    end.wait();
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, start.get(), end.get()), "cudaEventElapsedTime");
    return milliseconds;
  }

  cudaStream_t stream() const override { return compute_->get(); }
  Blas& blas() override { return *blas_; }
  const cudaDeviceProp& properties() const override { return properties_; }
  bool tf32() const override { return tf32_; }
  bool deterministic() const override { return deterministic_; }
  void notify(const std::string& notice) override {
    const std::lock_guard lock(noticeMutex_);
    notices_.push_back(notice);
  }

 private:
  void refuseWhileRecording(const char* what) const;

  const int index_;
  const bool tf32_, deterministic_, profile_;
  bool recording_ = false;
  cudaDeviceProp properties_{};
  std::unique_ptr<Stream> compute_, copies_;
  std::unique_ptr<Blas> blas_;
  const std::shared_ptr<HostBlocks> hostBlocks_;
  std::deque<std::unique_ptr<Upload>> uploads_;  // the one used longest ago first
  std::vector<std::weak_ptr<Recorded>> graphs_;
  std::mutex noticeMutex_;
  std::vector<std::string> notices_;
};

// A recording would repeat what the host had when it was made.
void Cuda::refuseWhileRecording(const char* what) const {
  require(!recording_, "DEVICE", std::string("A recorded program would freeze ") + what + " by the host");
}

const std::vector<Implementation>& Cuda::operations() const {
  static const std::vector<Implementation> all = allOperations();
  return all;
}

#ifdef AUTOPROG_EMULATOR
// The emulator is told what an op may touch, and which outputs it has to fill; by addresses of now, since arenas move.
Kernel Cuda::prepare(const Implementation& operation, const Operands& operands) {
  return [this, name = std::string(operation.name), kernel = operation.prepare(operands), inputs = operands.inputs,
          outputs = operands.outputs] {
    std::vector<emulator::Region> regions;
    std::vector<emulator::Output> filled;
    for (const auto* views : {&inputs, &outputs})
      for (const View& view : *views) regions.push_back({view.address(), view.bytes()});
    for (const View& view : outputs)
      if (view.isFloat()) filled.push_back({view.address(), view.bytes(), view.type == Type::f32});
    emulator::allowOnly(regions);
    kernel();
    emulator::allowOnly({});
    check(emulator::expectWritten(stream(), name, filled), name.c_str());
  };
}
#else
Kernel Cuda::prepare(const Implementation& operation, const Operands& operands) { return operation.prepare(operands); }
#endif

void Cuda::upload(std::byte* device, std::shared_ptr<const std::byte> host, size_t bytes) {
  if (bytes == 0) return;
  refuseWhileRecording("bytes sent");
  for (const auto& upload : uploads_)
    if (upload->host && upload->arrived.happened()) upload->host = nullptr;
  const size_t size = roundUp(bytes);
  // A buffer that is through is used again; as long as the step before computes, none of its own are.
  const auto free = std::find_if(uploads_.begin(), uploads_.end(), [&](const auto& upload) {
    return upload->bytes == size && upload->placed.happened();
  });
  std::unique_ptr<Upload> upload = free == uploads_.end() ? std::make_unique<Upload>(size) : std::move(*free);
  if (free != uploads_.end()) uploads_.erase(free);
  upload->host = std::move(host);
  check(cudaMemcpyAsync(upload->device, upload->host.get(), bytes, cudaMemcpyHostToDevice, copies_->get()),
        "cudaMemcpyAsync");
  upload->arrived.record(copies_->get());
  check(cudaStreamWaitEvent(stream(), upload->arrived.get()), "cudaStreamWaitEvent");
  copy(device, upload->device, bytes);
  upload->placed.record(stream());
  uploads_.push_back(std::move(upload));
}

Kernel Cuda::download(std::vector<Download> downloads) {
  refuseWhileRecording("bytes fetched");
  size_t bytes = 0;
  for (const auto& download : downloads) bytes += download.bytes;
  const auto pinned = hostBlocks_->take(bytes);
  size_t at = 0;
  for (const auto& download : downloads) {
    check(cudaMemcpyAsync(pinned.get() + at, download.device, download.bytes, cudaMemcpyDeviceToHost, stream()),
          "cudaMemcpyAsync");
    at += download.bytes;
  }
  const auto done = std::make_shared<Event>();
  done->record(stream());
  return [pinned, done, downloads = std::move(downloads)] {
    done->wait();
    size_t at = 0;
    for (const auto& download : downloads) {
      std::memcpy(download.host, pinned.get() + at, download.bytes);
      at += download.bytes;
    }
  };
}

Kernel Cuda::record(std::function<void()> work) {
  if (profile_) return work;
  std::unique_lock capturing(captureMutex());
  check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  cudaGraph_t graph = nullptr;
  recording_ = true;
  try {
    work();
  } catch (...) {
    recording_ = false;
    if (cudaStreamEndCapture(stream(), &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  recording_ = false;
  check(cudaStreamEndCapture(stream(), &graph), "cudaStreamEndCapture");
  capturing.unlock();
  cudaGraphExec_t exec = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "cudaGraphInstantiate");
  const auto owned = std::make_shared<Recorded>(index_, exec);
  std::erase_if(graphs_, [](const auto& graph) { return graph.expired(); });
  graphs_.push_back(owned);
  return [this, owned] { check(cudaGraphLaunch(owned->get(), stream()), "cudaGraphLaunch"); };
}

double Cuda::measureGemm(int64_t m, int64_t n, int64_t k) {
  Scratch scratch(*this);
  const Product product{scratch.take(Type::f32, {m, k}),
                        scratch.take(Type::f32, {k, n}),
                        scratch.take(Type::f32, {m, n}),
                        false,
                        false,
                        m,
                        n,
                        k};
  scratch.reserve();
  const Kernel kernel = blas_->prepare({{}, {}, {}, &scratch, this}, product);
  double best = 1e9;
  for (int repeat = 0; repeat < 5; repeat++) best = std::min(best, measure(kernel) / 1000);
  return best;
}

}  // namespace

std::mutex& captureMutex() {
  static std::mutex mutex;
  return mutex;
}

std::unique_ptr<Engine> createEngine(int index, bool tf32, bool deterministic) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess)
    throw Error("DEVICE", std::string("No GPU can be used: ") + cudaGetErrorString(status) +
                              ". Is NVIDIA's driver installed (nvidia-smi shows it)?");
  require(index < count, "DEVICE",
          "There is no cuda:" + std::to_string(index) + ": this machine has " + std::to_string(count) +
              (count == 1 ? " GPU, cuda:0" : " GPUs, from cuda:0"));
  return std::make_unique<Cuda>(index, tf32, deterministic);
}

}  // namespace autoprog::cuda
