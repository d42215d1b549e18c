#pragma once

// What kernels are written in: CUDA or, for tests on machines without a GPU, the emulator's stand-ins of the same
// names.
#ifdef AUTOPROG_EMULATOR
#include "emulator/cuda.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif
