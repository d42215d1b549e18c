#pragma once

#include <cstdint>

namespace autoprog {

// How many of `by` hold `count`.
constexpr int64_t divideUp(int64_t count, int64_t by) { return (count + by - 1) / by; }

// The least multiple of `by` that holds `count`.
constexpr int64_t roundUp(int64_t count, int64_t by) { return divideUp(count, by) * by; }

}  // namespace autoprog
