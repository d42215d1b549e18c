#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/divide.h"
#include "runtime/pool.h"

namespace autoprog::cpu {

inline int threadCount() { return Pool::current() == nullptr ? 1 : Pool::current()->threads(); }
inline int threadIndex() { return Pool::threadIndex(); }

// About this many values make a part worth handing out: some tens of microseconds.
inline constexpr int64_t kGrain = 16 * 1024;

// How many rows of `width` values make one part.
inline int64_t rowsPerPart(int64_t width) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)); }

// Calls body(begin, end) for the parts of [0, count), `grain` long. Threads begin with a stretch each and take parts of
// others when they are through, so that one that another program holds up does not hold up all; the parts, and so all
// sums, are the same for any number of threads.
template <typename Body>
void parallelRanges(int64_t count, int64_t grain, const Body& body, Order order = Order::forwards) {
  struct Loop {
    const Body& body;
    int64_t count, grain;
  };
  const Loop loop{body, count, grain};
  const auto call = [](const void* context, int64_t part) {
    const auto& at = *static_cast<const Loop*>(context);
    at.body(part * at.grain, std::min(at.count, (part + 1) * at.grain));
  };
  const int64_t parts = divideUp(count, grain);
  if (Pool* pool = Pool::current())
    pool->run(parts, order, call, &loop);
  else
    for (int64_t part = 0; part < parts; part++) call(&loop, part);
}

// Calls body(i) for each i in [0, count), `grain` of them at a time.
template <typename Body>
void parallelFor(int64_t count, int64_t grain, const Body& body, Order order = Order::forwards) {
  parallelRanges(
      count, grain,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) body(i);
      },
      order);
}

}  // namespace autoprog::cpu
