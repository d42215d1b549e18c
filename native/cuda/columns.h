#pragma once

#include "cuda/engine.h"

namespace autoprog::cuda {

// target (width) += the sum of partials (parts, width) over the parts, in a fixed order; `stride` values lie between
// the rows of two parts.
void addPartials(const char* name, cudaStream_t stream, const float* partials, int64_t parts, int64_t stride,
                 int64_t width, float* target);

// target (width) += the sum of x (rows, width) over the rows. The sums of parts of the rows wait in scratch memory.
Kernel prepareColumnSums(const char* name, const Operands& operands, const View& x, int64_t rows, int64_t width,
                         const View& target);

}  // namespace autoprog::cuda
