#pragma once

#include "cuda/blas.h"

namespace autoprog::cuda {

// A product with `bias` (n) added to every row: by the library's product itself, or by a kernel after it where it
// cannot, as with a bias of another type than the result's.
Kernel prepareBiased(const char* name, const Operands& operands, Product product, const View& bias);

}  // namespace autoprog::cuda
