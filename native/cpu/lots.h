#pragma once

#include "cpu/parallel.h"
#include "ops/ops.h"

namespace autoprog::cpu {

// Scratch memory (count, at least `floats`) that threads write at the same time, a lot each: every lot begins at a pair
// of cache lines of its own, or the processor would carry the line between two lots from core to core.
inline View takeLots(Scratch& scratch, int64_t count, int64_t floats) {
  constexpr int64_t kLines = 32;
  return scratch.take(Type::f32, {count, roundUp(floats, kLines)});
}

inline View takeLotPerThread(Scratch& scratch, int64_t floats) { return takeLots(scratch, threadCount(), floats); }

inline float* lotOfThread(const View& lots) { return lots.f32() + threadIndex() * lots.last(); }

}  // namespace autoprog::cpu
