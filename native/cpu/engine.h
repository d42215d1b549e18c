#pragma once

#include <memory>

#include "runtime/engine.h"

namespace autoprog::cpu {

// The processor: SIMD through Highway, chosen at run time, loops shared by the threads of the device's pool.
std::unique_ptr<Engine> createEngine(int threads);

}  // namespace autoprog::cpu
