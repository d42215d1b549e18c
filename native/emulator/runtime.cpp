#include "emulator/runtime.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

using Clock = std::chrono::steady_clock;

struct CUgraph_st {
  std::vector<std::function<void()>> nodes;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> nodes;
};
struct CUstream_st {
  std::unique_ptr<CUgraph_st> capture;
  bool invalid = false;
};
struct CUevent_st {
  Clock::time_point at;
};

namespace emulator {

namespace {

// AUTOPROG_EMULATED_MEMORY, or 8 GiB.
size_t memoryMegabytes() {
  const char* given = std::getenv("AUTOPROG_EMULATED_MEMORY");
  return given == nullptr ? 8192 : std::strtoul(given, nullptr, 10);
}

// One device for the process, as real ones are.
struct Device {
  std::mutex mutex;
  size_t total = memoryMegabytes() << 20, used = 0;
  std::map<const std::byte*, size_t> blocks, pinned;
  std::map<const void*, size_t> sharedLimits;
  std::string failure;
  std::vector<CUstream_st*> capturing;
  int graphs = 0, streams = 0, events = 0;

  // By the end of the process everything has to be released, graphs before the streams that they run on.
  ~Device() {
    if (graphs + streams + events + static_cast<int>(blocks.size() + pinned.size()) > 0)
      std::fprintf(stderr, "emulator: %d graphs, %d streams, %d events, %zu blocks and %zu pinned ones are left\n",
                   graphs, streams, events, blocks.size(), pinned.size());
  }
};

Device& device() {
  static Device instance;
  return instance;
}

thread_local std::string nextName = "a kernel";
thread_local std::vector<Region> allowed;
std::string lastLaunch = "none";

bool failed() { return !device().failure.empty(); }

int count(int& number, int change) {
  const std::lock_guard lock(device().mutex);
  return number += change;
}

// What may not happen while a stream is captured spoils the capture.
cudaError_t refuseWhileCapturing() {
  if (device().capturing.empty()) return cudaSuccess;
  for (CUstream_st* stream : device().capturing) stream->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

#if defined(__SANITIZE_ADDRESS__)
// The allocation that holds an address.
std::pair<const std::byte*, size_t> blockOf(const void* address) {
  const auto& blocks = device().blocks;
  auto after = blocks.upper_bound(static_cast<const std::byte*>(address));
  if (after == blocks.begin()) return {nullptr, 0};
  return *std::prev(after);
}
#endif

// Poisons the allocations that regions lie in, but for the regions; opens them again at the end.
class Fence {
 public:
  explicit Fence([[maybe_unused]] const std::vector<Region>& regions) {
#if defined(__SANITIZE_ADDRESS__)
    for (const Region& region : regions) {
      const auto block = blockOf(region.begin);
      if (block.first != nullptr) blocks_[block.first] = block.second;
    }
    for (const auto& [begin, bytes] : blocks_) __asan_poison_memory_region(begin, bytes);
    for (const Region& region : regions) __asan_unpoison_memory_region(region.begin, region.bytes);
#endif
  }
  ~Fence() {
#if defined(__SANITIZE_ADDRESS__)
    for (const auto& [begin, bytes] : blocks_) __asan_unpoison_memory_region(begin, bytes);
#endif
  }

 private:
  std::map<const std::byte*, size_t> blocks_;
};

// The first value of an output that is poison, where there is one. Arithmetic keeps a NaN's upper bits: results of
// poison have them all set, and ordinary NaNs have not.
std::optional<size_t> poisonedValue(const Output& output) {
  const auto find = [&]<typename T>(const T* values, unsigned shift) -> std::optional<size_t> {
    for (size_t i = 0; i < output.bytes / sizeof(T); i++)
      if (values[i] >> shift == 0xffffu) return i;
    return std::nullopt;
  };
  return output.wide ? find(static_cast<const uint32_t*>(output.begin), 16)
                     : find(static_cast<const uint16_t*>(output.begin), 0);
}

cudaError_t perform(const std::function<void()>& work) {
  if (failed()) return cudaErrorLaunchFailure;
  try {
    work();
    return cudaSuccess;
  } catch (const Failure& failure) {
    device().failure = failure.what();
    return cudaErrorLaunchFailure;
  }
}

}  // namespace

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  if (failed()) return cudaErrorLaunchFailure;
  if (stream == nullptr) return cudaErrorInvalidValue;  // the default stream would wait for all others
  if (stream->capture == nullptr) return perform(work);
  stream->capture->nodes.push_back(std::move(work));
  return cudaSuccess;
}

void nameNextLaunch(const char* name) { nextName = name; }
void allowOnly(std::vector<Region> regions) { allowed = std::move(regions); }

cudaError_t expectWritten(cudaStream_t stream, const std::string& operation, std::vector<Output> outputs) {
  return enqueue(stream, [operation, outputs = std::move(outputs)] {
    for (size_t i = 0; i < outputs.size(); i++)
      if (const auto value = poisonedValue(outputs[i]))
        fail("value " + std::to_string(*value) + " of output " + std::to_string(i) + " of " + operation +
             " holds the poison of unwritten memory: its last kernel was " + lastLaunch);
  });
}

cudaError_t launch(const cudaLaunchConfig_t& configuration, const void* kernel, std::function<void()> body) {
  const auto limit = device().sharedLimits.find(kernel);
  const size_t most = limit == device().sharedLimits.end() ? kPlainSharedBytes : limit->second;
  if (configuration.dynamicSmemBytes > most) return cudaErrorInvalidValue;
  Launch launch{
      nextName, configuration.gridDim, configuration.blockDim, configuration.dynamicSmemBytes, std::move(body),
      nullptr};
  return enqueue(configuration.stream, [launch, regions = allowed] {
    const Fence fence(regions);
    run(launch);
    lastLaunch = launch.name;
  });
}

void setDeviceMemory(size_t bytes) { device().total = bytes; }
void reset() { device().failure.clear(); }

}  // namespace emulator

using emulator::count;
using emulator::device;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) { return index == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->totalGlobalMem = device().total;
  properties->major = 9;
  properties->multiProcessorCount = 4;  // few, so that sums over blocks have several rows each in small tests
  properties->sharedMemPerBlockOptin = emulator::kSharedBytes;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = device().total;
  *free = device().total - device().used;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (emulator::failed()) return cudaErrorLaunchFailure;
  const std::lock_guard lock(device().mutex);
  if (const auto refused = emulator::refuseWhileCapturing(); refused != cudaSuccess) return refused;
  if (bytes > device().total - device().used) return cudaErrorMemoryAllocation;
  void* block = nullptr;
  if (posix_memalign(&block, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(block, 0xff, bytes);
  device().used += bytes;
  device().blocks[static_cast<std::byte*>(block)] = bytes;
  *memory = block;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const std::lock_guard lock(device().mutex);
  const auto found = device().blocks.find(static_cast<std::byte*>(memory));
  if (memory == nullptr) return cudaSuccess;
  if (found == device().blocks.end()) return cudaErrorInvalidValue;
  device().used -= found->second;
  device().blocks.erase(found);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const std::lock_guard lock(device().mutex);
  *memory = std::malloc(bytes);
  device().pinned[static_cast<std::byte*>(*memory)] = bytes;
  return *memory == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}

cudaError_t cudaFreeHost(void* memory) {
  const std::lock_guard lock(device().mutex);
  device().pinned.erase(static_cast<std::byte*>(memory));
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  // A host's address in a graph would be read at each replay: a value of now, frozen, or memory that is gone.
  if (stream != nullptr && stream->capture && kind != cudaMemcpyDeviceToDevice) {
    stream->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  return emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  return emulator::enqueue(stream, [=] { std::memset(memory, value, bytes); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  count(device().streams, 1);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  if (count(device().streams, -1) == 0 && device().graphs > 0)
    std::fprintf(stderr, "emulator: %d graphs outlive the last stream\n", device().graphs);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  if (const auto refused = emulator::refuseWhileCapturing(); refused != cudaSuccess) return refused;
  return cudaGetLastError();
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
  // No stream but one is ever captured here, so that the event lies outside of the graph.
  if (stream->capture) {
    stream->invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  return cudaGetLastError();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  count(device().events, 1);
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  count(device().events, -1);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) {
  event->at = Clock::now();
  return cudaGetLastError();
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  if (const auto refused = emulator::refuseWhileCapturing(); refused != cudaSuccess) return refused;
  return cudaGetLastError();
}
cudaError_t cudaEventQuery(cudaEvent_t) { return cudaGetLastError(); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
  return cudaGetLastError();
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (static_cast<size_t>(value) > emulator::kSharedBytes) return cudaErrorInvalidValue;
  const std::lock_guard lock(device().mutex);
  device().sharedLimits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  stream->capture = std::make_unique<CUgraph_st>();
  stream->invalid = false;
  device().capturing.push_back(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!stream->capture) return cudaErrorInvalidValue;
  std::erase(device().capturing, stream);
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
  *graph = new CUgraph_st(*captured);
  count(device().graphs, 1);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->nodes};
  count(device().graphs, 1);
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  for (const auto& node : exec->nodes)
    if (const auto status = emulator::enqueue(stream, node); status != cudaSuccess) return status;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  count(device().graphs, -1);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  count(device().graphs, -1);
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return emulator::failed() ? cudaErrorLaunchFailure : cudaSuccess; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorLaunchFailure:
      return device().failure.c_str();
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureIsolation:
      return "dependency created on uncaptured work in another stream";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorInvalidValue:
      return "invalid argument";
  }
  return "unknown error";
}
