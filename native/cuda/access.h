#pragma once

#include <initializer_list>

#include "cuda/elements.h"

// Operands of one type, moved four neighbours at a time, or of any types, a value at a time: a kernel is written once,
// for a pointer P and a width.
namespace autoprog::cuda {

template <typename P, int w>
struct Access {
  using type = P;
  static constexpr int width = w;
};

// As many bytes, moved as one.
template <int width>
struct alignas(width) Bytes {
  uint8_t value[width];
};

template <typename P>
P access(const View& view) {
  if constexpr (std::is_same_v<P, AnyPointer>)
    return AnyPointer(view);
  else
    return reinterpret_cast<P>(view.address());
}

template <int width, typename P>
__device__ __forceinline__ void loadValues(P from, int64_t at, float (&values)[width]) {
  if constexpr (std::is_same_v<P, AnyPointer>) {
#pragma unroll
    for (int i = 0; i < width; i++) values[i] = from.load(at + i);
  } else if constexpr (width == 4) {
    loadFour(from + at, values);
  } else {
#pragma unroll
    for (int i = 0; i < width; i++) values[i] = toFloat(from[at + i]);
  }
}

template <int width, typename P>
__device__ __forceinline__ void storeValues(P to, int64_t at, const float (&values)[width]) {
  if constexpr (std::is_same_v<P, AnyPointer>) {
#pragma unroll
    for (int i = 0; i < width; i++) to.store(at + i, values[i]);
  } else if constexpr (width == 4) {
    storeFour(to + at, values);
  } else {
#pragma unroll
    for (int i = 0; i < width; i++) to[at + i] = fromFloat<std::remove_pointer_t<P>>(values[i]);
  }
}

// Calls body(Access<P, width>()) with what suits operands of these types whose rows are `channels` long.
template <typename Body>
auto withAccess(std::initializer_list<Type> types, int64_t channels, Body body) {
  for (Type type : types)
    if (type != *types.begin()) return body(Access<AnyPointer, 1>());
  return withType(*types.begin(), [&](auto typed) {
    using P = typename decltype(typed)::type*;
    return channels % 4 == 0 ? body(Access<P, 4>()) : body(Access<P, 1>());
  });
}

}  // namespace autoprog::cuda
