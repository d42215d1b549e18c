#pragma once

#include "ops/ops.h"

namespace autoprog::cpu {

// The op for operands of 16-bit types too: they are widened to f32 before the kernel and rounded after it. A processor
// gains nothing by that, but its numbers are those of a device that computes in f32 and stores in 16 bits.
Kernel prepareRounded(Prepare prepare, const Operands& operands);

}  // namespace autoprog::cpu
