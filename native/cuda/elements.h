#pragma once

#include <type_traits>

#include "cuda/platform.h"
#include "runtime/error.h"
#include "runtime/view.h"

// Values of any floating-point type; kernels compute in f32.
namespace autoprog::cuda {

using Half = __half;
using Bfloat = __nv_bfloat16;

__device__ __forceinline__ float toFloat(float value) { return value; }
__device__ __forceinline__ float toFloat(Half value) { return __half2float(value); }
__device__ __forceinline__ float toFloat(Bfloat value) { return __bfloat162float(value); }

template <typename T>
__device__ __forceinline__ T fromFloat(float value) {
  if constexpr (std::is_same_v<T, Half>)
    return __float2half_rn(value);
  else if constexpr (std::is_same_v<T, Bfloat>)
    return __float2bfloat16_rn(value);
  else
    return value;
}

// Two values in a register of a matrix instruction, the first in the lower half.
template <typename T>
__device__ __forceinline__ uint32_t pack(float first, float second) {
  static_assert(sizeof(T) == 2);
  const T low = fromFloat<T>(first), high = fromFloat<T>(second);
  uint16_t bits[2];
  __builtin_memcpy(&bits[0], &low, 2);
  __builtin_memcpy(&bits[1], &high, 2);
  return static_cast<uint32_t>(bits[1]) << 16 | bits[0];
}

// Four neighbours, moved as one; their address has to be a multiple of their size.
template <typename T>
struct alignas(4 * sizeof(T)) Four {
  T value[4];
};

template <typename T>
__device__ __forceinline__ void loadFour(const T* from, float (&values)[4]) {
  const auto four = *reinterpret_cast<const Four<T>*>(from);
#pragma unroll
  for (int i = 0; i < 4; i++) values[i] = toFloat(four.value[i]);
}

template <typename T>
__device__ __forceinline__ void storeFour(T* to, const float (&values)[4]) {
  Four<T> four;
#pragma unroll
  for (int i = 0; i < 4; i++) four.value[i] = fromFloat<T>(values[i]);
  *reinterpret_cast<Four<T>*>(to) = four;
}

// Where kernels take their operands from.
template <typename T>
T* pointer(const View& view) {
  return reinterpret_cast<T*>(view.address());
}

template <typename T>
struct Typed {
  using type = T;
};

// Calls body(Typed<T>()) with the view's floating-point type.
template <typename Body>
auto withType(Type type, Body body) {
  switch (type) {
    case Type::f32:
      return body(Typed<float>());
    case Type::bf16:
      return body(Typed<Bfloat>());
    case Type::f16:
      return body(Typed<Half>());
    default:
      throw Error("SHAPE", std::string("Expected a floating-point type but received ") + nameOf(type));
  }
}

// The same where f32 makes no sense.
template <typename Body>
auto withLowType(Type type, Body body) {
  require(type == Type::bf16 || type == Type::f16, "SHAPE", "Expected a 16-bit type");
  return type == Type::bf16 ? body(Typed<Bfloat>()) : body(Typed<Half>());
}

// A pointer to values of a type known at run time only, for ops that move little.
struct AnyPointer {
  void* data = nullptr;
  Type type = Type::f32;

  AnyPointer() = default;
  explicit AnyPointer(const View& view) : data(view.address()), type(view.type) {}

  __device__ __forceinline__ float load(int64_t i) const {
    if (type == Type::f32) return static_cast<const float*>(data)[i];
    if (type == Type::bf16) return toFloat(static_cast<const Bfloat*>(data)[i]);
    return toFloat(static_cast<const Half*>(data)[i]);
  }
  __device__ __forceinline__ void store(int64_t i, float value) const {
    if (type == Type::f32)
      static_cast<float*>(data)[i] = value;
    else if (type == Type::bf16)
      static_cast<Bfloat*>(data)[i] = fromFloat<Bfloat>(value);
    else
      static_cast<Half*>(data)[i] = fromFloat<Half>(value);
  }
};

}  // namespace autoprog::cuda
