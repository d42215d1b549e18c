#pragma once

#include "runtime/half.h"

// CUDA's 16-bit types, as far as kernels use them: storage and conversion.
struct __half {
  uint16_t bits;
};
struct __nv_bfloat16 {
  uint16_t bits;
};

inline __half __float2half_rn(float value) { return {autoprog::toFloat16(value)}; }
inline float __half2float(__half value) { return autoprog::fromFloat16(value.bits); }
inline __nv_bfloat16 __float2bfloat16_rn(float value) { return {autoprog::toBfloat16(value)}; }
inline float __bfloat162float(__nv_bfloat16 value) { return autoprog::fromBfloat16(value.bits); }
