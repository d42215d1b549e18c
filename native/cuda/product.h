#pragma once

#include "cuda/blas.h"

namespace autoprog::cuda {

// The product by a kernel of our own, without bias and sums: for any floating-point types at any place in memory, and
// far slower than a library's. A null kernel where c has more columns than a grid covers.
Kernel preparePlainProduct(const CudaEngine& engine, const Product& product);

// Runs a kernel that does nothing, and waits for it. Throws DEVICE where this build has no code for the device.
void probe(const CudaEngine& engine);

}  // namespace autoprog::cuda
