#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/platform.h"

#ifdef AUTOPROG_EMULATOR
#include "emulator/tensor-core.h"
#else

// Warp-wide matrix instructions (sm_80 and later) and asynchronous copies to shared memory. Registers hold two 16-bit
// values each, the lower index in the lower half; fragment layouts are those of the PTX manual, mma.m16n8k16.
namespace autoprog::cuda {

// c (16, 8) += a (16, 16) b (16, 8), sums in f32. T is __half or __nv_bfloat16. With g = lane / 4 and t = lane % 4:
// a holds rows g, g + 8, g, g + 8 at columns 2t, 2t, 2t + 8, 2t + 8 (and the next one); b rows 2t and 2t + 8 (and the
// next one) of column g; c rows g, g, g + 8, g + 8 at columns 2t, 2t + 1, 2t, 2t + 1.
template <typename T>
__device__ __forceinline__ void multiplyAccumulate(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  if constexpr (sizeof(T) == 2 && std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// Four 8 x 8 matrices of 16-bit values from shared memory: lane l gives the address of row l % 8 of matrix l / 8 (16
// aligned bytes); r[i] then holds row lane / 4, columns 2 (lane % 4) and the next, of matrix i.
__device__ __forceinline__ void loadMatrices(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// The same with each matrix transposed: r[i] holds column lane / 4, rows 2 (lane % 4) and the next.
__device__ __forceinline__ void loadMatricesTransposed(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// Begins to copy 16 bytes from global to shared memory, both aligned; zeros instead where not `valid`.
__device__ __forceinline__ void copyAsync(void* shared, const void* global, bool valid) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}

// Ends a group of copies begun by this thread.
__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until all but the newest `newer` groups of this thread have arrived; other threads see them after a barrier.
template <int newer>
__device__ __forceinline__ void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newer) : "memory");
}

}  // namespace autoprog::cuda

#endif
