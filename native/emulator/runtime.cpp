#include "emulator/runtime.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/device.h"
#include "emulator/faults.h"
#include "emulator/stream.h"

namespace emulator {

namespace {

// What a block can have, by compute capability.
size_t sharedKilobytes(int major, int minor) {
  if (major == 8) return minor == 6 || minor == 9 ? 99 : 163;
  if (major < 8) return 64;
  return major >= 12 ? 99 : 227;
}

Settings readSettings() {
  Settings read;
  if (const char* seed = std::getenv("AUTOPROG_EMULATED_SEED"); seed != nullptr && *seed != 0)
    read.seed = std::strtoull(seed, nullptr, 10);
  if (const char* megabytes = std::getenv("AUTOPROG_EMULATED_MEMORY"))
    read.megabytes = std::strtoull(megabytes, nullptr, 10);
  if (const char* capability = std::getenv("AUTOPROG_EMULATED_CAPABILITY"))
    std::sscanf(capability, "%d.%d", &read.major, &read.minor);
  if (const char* blocks = std::getenv("AUTOPROG_EMULATED_BLOCKS")) read.blocks = std::strtoull(blocks, nullptr, 10);
  if (const char* log = std::getenv("AUTOPROG_EMULATED_LOG")) read.log = log;
  read.sharedBytes = sharedKilobytes(read.major, read.minor) * 1024;
  return read;
}

thread_local std::string nextName = "a kernel";
thread_local std::vector<Region> allowed;
std::string lastLaunch = "none";

// A line for what is done: its name and, of a kernel, grid, block and bytes of shared memory.
void log(const std::string& line) {
  if (settings().log.empty()) return;
  static std::FILE* file = std::fopen(settings().log.c_str(), "a");
  if (file == nullptr) return;
  std::fprintf(file, "%s\n", line.c_str());
  std::fflush(file);
}

std::string text(const dim3& size) {
  return std::to_string(size.x) + "," + std::to_string(size.y) + "," + std::to_string(size.z);
}

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

// What closed memory, or none at all, answers to a kernel of a sampled device.
void onClosedMemory(int signal, siginfo_t* information, void*) {
  if (inKernel()) {
    char message[64];
    std::snprintf(message, sizeof(message), "an access beyond the operands at %p", information->si_addr);
    abandon(message);
  }
  std::signal(signal, SIG_DFL);  // another's fault, which is met again
}

}  // namespace

const Settings& settings() {
  static const Settings read = readSettings();
  return read;
}

Device::Device() {
  if (!settings().sampled()) return;
  struct sigaction action {};
  action.sa_sigaction = onClosedMemory;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;  // a kernel is left by a jump
  sigaction(SIGSEGV, &action, nullptr);
}

// By the end of the process everything has to be released, graphs before the streams that they run on.
Device::~Device() {
  if (graphs + events + static_cast<int>(streams.size() + blocks.size() + pinned.size()) > 0)
    std::fprintf(stderr, "emulator: %d graphs, %zu streams, %d events, %zu blocks and %zu pinned ones are left\n",
                 graphs, streams.size(), events, blocks.size(), pinned.size());
}

Device& device() {
  static Device instance;
  return instance;
}

void breakDown(const std::string& reason) {
  const std::lock_guard lock(turn());
  if (device().failed) return;
  device().failure = reason;
  device().failed = true;
  forgetWork();
}

void reset() {
  const std::lock_guard lock(turn());
  device().failed = false;
  forgetCopies();
}

void nameNextLaunch(const char* name) { nextName = name; }
void allowOnly(std::vector<Region> regions) { allowed = std::move(regions); }

cudaError_t expectWritten(cudaStream_t stream, const std::string& operation, std::vector<Output> outputs) {
  if (settings().sampled()) return cudaSuccess;
  return enqueue(stream, [operation, outputs = std::move(outputs)] {
    for (size_t i = 0; i < outputs.size(); i++)
      if (const auto value = poisonedValue(outputs[i]))
        fail("value " + std::to_string(*value) + " of output " + std::to_string(i) + " of " + operation +
             " holds the poison of unwritten memory: its last kernel was " + lastLaunch);
  });
}

cudaError_t launch(const cudaLaunchConfig_t& configuration, const void* kernel, std::function<void()> body) {
  if (faulty("no-image")) return cudaErrorNoKernelImageForDevice;
  const dim3 &grid = configuration.gridDim, &block = configuration.blockDim;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024 || block.z > 64) return cudaErrorInvalidConfiguration;
  {
    const std::lock_guard lock(device().mutex);
    const auto limit = device().sharedLimits.find(kernel);
    const size_t most = limit == device().sharedLimits.end() ? kPlainSharedBytes : limit->second;
    if (configuration.dynamicSmemBytes > most) return cudaErrorInvalidValue;
    if (configuration.stream != nullptr) {
      if (!configuration.stream->capture) device().loaded.insert(kernel);
      if (!device().loaded.contains(kernel)) {
        configuration.stream->invalid = true;
        return cudaErrorStreamCaptureUnsupported;
      }
    }
  }
  const Launch launch{nextName, grid, block, configuration.dynamicSmemBytes, std::move(body)};
  return enqueue(configuration.stream, [launch, regions = allowed] {
    const Fence fence(regions);
    log(launch.name + "\t" + text(launch.grid) + "\t" + text(launch.block) + "\t" + std::to_string(launch.sharedBytes));
    run(launch, settings().blocks);
    lastLaunch = launch.name;
  });
}

cudaError_t enqueueCall(cudaStream_t stream, const std::string& name, std::vector<Region> touched,
                        std::function<void()> work) {
  for (const Region& region : touched)
    if (region.bytes > 0 && !blockOf(region)) {
      breakDown(name + " reaches beyond the device's memory");
      return cudaErrorLaunchFailure;
    }
  return enqueue(stream, [name, work = std::move(work), regions = allowed] {
    log(name);
    if (settings().sampled()) return;
    const Fence fence(regions);
    work();
  });
}

}  // namespace emulator

using emulator::device;
using emulator::settings;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) { return index == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated");
  properties->totalGlobalMem = device().total;
  properties->major = settings().major;
  properties->minor = settings().minor;
  // Few, so that sums over blocks have several rows each in small tests; those of a large GPU for large programs.
  properties->multiProcessorCount = settings().sampled() ? 132 : 4;
  properties->sharedMemPerBlockOptin = settings().sharedBytes;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  if (static_cast<size_t>(value) > settings().sharedBytes) return cudaErrorInvalidValue;
  const std::lock_guard lock(device().mutex);
  device().sharedLimits[kernel] = static_cast<size_t>(value);
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return device().failed ? cudaErrorLaunchFailure : cudaSuccess; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
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
