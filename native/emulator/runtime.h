#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "emulator/block.h"

// The part of CUDA's runtime API that the backend uses, under its names. Work on a stream waits until somebody waits
// for it, as emulator/stream.h has it; that on a stream which is being captured is recorded, arguments by value, and
// put on a stream by cudaGraphLaunch. What CUDA forbids while capturing is refused, and that a kernel first runs so:
// drivers load its code then. After a failure of a kernel every call fails, as after a real one.
// AUTOPROG_EMULATED_FAULTS:
//   no-image     there is no code for this device
//   spin         waiting for an event that would not block the thread but keep it busy is refused
//   main-thread  freeing memory on the process's main thread, JavaScript's, is told on stderr
enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNoDevice = 100,
  cudaErrorInvalidDevice = 101,
  cudaErrorNoKernelImageForDevice = 209,
  cudaErrorNotReady = 600,
  cudaErrorLaunchFailure = 719,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureIsolation = 905,
};

struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
using cudaStream_t = CUstream_st*;
using cudaEvent_t = CUevent_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
inline constexpr unsigned cudaStreamNonBlocking = 1, cudaEventDefault = 0, cudaEventBlockingSync = 1,
                          cudaEventDisableTiming = 2;

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
  int major, minor, multiProcessorCount;
  size_t sharedMemPerBlockOptin;
};

struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes = 0;
  cudaStream_t stream = nullptr;
};

cudaError_t cudaGetDeviceCount(int* count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaDriverGetVersion(int* version);
cudaError_t cudaMemGetInfo(size_t* free, size_t* total);
cudaError_t cudaMalloc(void** memory, size_t bytes);
cudaError_t cudaFree(void* memory);
cudaError_t cudaMallocHost(void** memory, size_t bytes);
cudaError_t cudaFreeHost(void* memory);
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGetLastError();
const char* cudaGetErrorString(cudaError_t error);

namespace emulator {

// Puts work on a stream, or records it. A Failure that it throws is what all later calls return.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

// Whether a stream is being captured: that one, or any of the process.
bool capturing(cudaStream_t stream = nullptr);

// Name of the next kernel launched, for messages.
void nameNextLaunch(const char* name);

// Part of the memory that the kernels launched from now on may touch within the allocations it lies in; all of it where
// none is given. AddressSanitizer watches it.
struct Region {
  const void* begin;
  size_t bytes;
};
void allowOnly(std::vector<Region> regions);
// The same for what a library does with the device's memory, which has to be in allocations: it may touch what kernels
// may. Where launches are sampled only that is checked.
cudaError_t enqueueCall(cudaStream_t stream, const std::string& name, std::vector<Region> touched,
                        std::function<void()> work);
// f32 or 16-bit values that an operation has to fill.
struct Output {
  const void* begin;
  size_t bytes;
  bool wide;  // f32
};
// After all work on the stream so far: fails where an output holds the poison of fresh memory, since the operation has
// then left out a value or has read what nobody had written.
cudaError_t expectWritten(cudaStream_t stream, const std::string& operation, std::vector<Output> outputs);

cudaError_t launch(const cudaLaunchConfig_t& configuration, const void* kernel, std::function<void()> body);

// For tests: memory of the device, and the end of a failure.
void setDeviceMemory(size_t bytes);
void reset();

}  // namespace emulator

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* configuration, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return emulator::launch(*configuration, reinterpret_cast<const void*>(kernel),
                          [kernel, values = std::move(values)] { std::apply(kernel, values); });
}
