#pragma once

#include <vector>

#include "ops/ops.h"

// Every op on the processor.
namespace autoprog::cpu {

#include "ops/groups.inc"

}  // namespace autoprog::cpu
