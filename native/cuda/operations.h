#pragma once

#include <vector>

#include "ops/ops.h"

// Every op on the GPU.
namespace autoprog::cuda {

#include "ops/groups.inc"

}  // namespace autoprog::cuda
