#pragma once

#include <utility>

#include "cuda/check.h"

namespace autoprog::cuda {

// The block's dynamic shared memory.
template <typename T>
__device__ __forceinline__ T* sharedMemory() {
#ifdef AUTOPROG_EMULATOR
  return reinterpret_cast<T*>(emulator::sharedMemory());
#else
  extern __shared__ __align__(16) unsigned char bytes[];
  return reinterpret_cast<T*>(bytes);
#endif
}

struct Shape {
  dim3 grid, block;
  size_t sharedBytes = 0;
};

// Starts a kernel on a stream; the only way that kernels start.
template <typename... Parameters, typename... Arguments>
void launch(const char* name, cudaStream_t stream, const Shape& shape, void (*kernel)(Parameters...),
            Arguments&&... arguments) {
  if (shape.sharedBytes > 48 * 1024)  // beyond this a kernel has to ask
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.sharedBytes)),
          "cudaFuncSetAttribute", name);
  cudaLaunchConfig_t configuration{};
  configuration.gridDim = shape.grid;
  configuration.blockDim = shape.block;
  configuration.dynamicSmemBytes = shape.sharedBytes;
  configuration.stream = stream;
#ifdef AUTOPROG_EMULATOR
  emulator::nameNextLaunch(name);
#endif
  check(cudaLaunchKernelEx(&configuration, kernel, std::forward<Arguments>(arguments)...), "launch", name);
}

}  // namespace autoprog::cuda
