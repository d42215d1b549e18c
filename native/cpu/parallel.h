#pragma once

#include <cstdint>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace autoprog::cpu {

inline int threadCount() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

inline int threadIndex() {
#ifdef _OPENMP
  return omp_get_thread_num();
#else
  return 0;
#endif
}

// Calls body(begin, end) for contiguous, evenly sized parts of [0, count), one a thread: the same parts at every call.
template <typename Body>
void parallelRanges(int64_t count, Body body) {
  if (count <= 0) return;
#ifdef _OPENMP
#pragma omp parallel
  {
    const int64_t threads = omp_get_num_threads(), index = omp_get_thread_num();
    const int64_t begin = count * index / threads, end = count * (index + 1) / threads;
    if (begin < end) body(begin, end);
  }
#else
  body(int64_t{0}, count);
#endif
}

// Calls body(i) for each i in [0, count), in contiguous parts.
template <typename Body>
void parallelFor(int64_t count, Body body) {
  parallelRanges(count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) body(i);
  });
}

}  // namespace autoprog::cpu
