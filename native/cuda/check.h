#pragma once

#include <string>

#include "cuda/platform.h"
#include "runtime/error.h"

namespace autoprog::cuda {

// Throws DEVICE (MEMORY when memory ran out) with the call's name and CUDA's words where `status` is an error.
inline void check(cudaError_t status, const char* call, const std::string& subject = {}) {
  if (status == cudaSuccess) return;
  throw Error(status == cudaErrorMemoryAllocation ? "MEMORY" : "DEVICE",
              std::string(call) + (subject.empty() ? "" : " of " + subject) + " failed: " + cudaGetErrorString(status));
}

}  // namespace autoprog::cuda
