#pragma once

#include <cstring>
#include <type_traits>

#include "emulator/block.h"
#include "emulator/half.h"

// The matrix instructions of cuda/tensor-core.h, with the fragment layouts of the PTX manual.
namespace autoprog::cuda {

namespace fragments {

struct Factors {
  uint32_t a[4], b[2];
};

template <typename T>
float value(uint32_t packed, int half) {
  const auto bits = static_cast<uint16_t>(packed >> (16 * half));
  if constexpr (std::is_same_v<T, __half>)
    return fromFloat16(bits);
  else
    return fromBfloat16(bits);
}

// a (16, 16) and b (16, 8), found in the lanes' registers, multiplied to c (16, 8).
template <typename T>
void multiply(const emulator::Meeting& meeting, float* c) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < emulator::kWarpSize; lane++) {
    Factors factors;
    std::memcpy(&factors, meeting.of(lane), sizeof(factors));
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 4; i++)
      for (int half = 0; half < 2; half++) a[group + i % 2 * 8][pair + i / 2 * 8 + half] = value<T>(factors.a[i], half);
    for (int i = 0; i < 2; i++)
      for (int half = 0; half < 2; half++) b[pair + i * 8 + half][group] = value<T>(factors.b[i], half);
  }
  for (int row = 0; row < 16; row++) {
    float sums[8] = {};
    for (int k = 0; k < 16; k++)
      for (int column = 0; column < 8; column++) sums[column] += a[row][k] * b[k][column];
    std::memcpy(c + row * 8, sums, sizeof(sums));
  }
}

template <bool transposed>
void load(uint32_t (&r)[4], const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) emulator::fail("ldmatrix at an address that is no multiple of 16");
  const emulator::Meeting meeting(0xffffffffu, transposed ? "ldmatrix.trans" : "ldmatrix", &row, sizeof(row));
  const int lane = emulator::laneIndex(), group = lane / 4, pair = 2 * (lane % 4);
  const auto rowOf = [&](int from) {
    const uint16_t* address;
    std::memcpy(&address, meeting.of(from), sizeof(address));
    return address;
  };
  for (int i = 0; i < 4; i++) {
    const uint16_t low = transposed ? rowOf(8 * i + pair)[group] : rowOf(8 * i + group)[pair];
    const uint16_t high = transposed ? rowOf(8 * i + pair + 1)[group] : rowOf(8 * i + group)[pair + 1];
    r[i] = static_cast<uint32_t>(high) << 16 | low;
  }
}

}  // namespace fragments

template <typename T>
void multiplyAccumulate(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  fragments::Factors factors{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  const emulator::Meeting meeting(0xffffffffu, "mma.m16n8k16", &factors, sizeof(factors));
  bool first = false;
  float* product = meeting.result(&first);
  if (first) fragments::multiply<T>(meeting, product);
  const int lane = emulator::laneIndex(), group = lane / 4, pair = 2 * (lane % 4);
  for (int i = 0; i < 4; i++) c[i] += product[(group + i / 2 * 8) * 8 + pair + i % 2];
}

inline void loadMatrices(uint32_t (&r)[4], const void* row) { fragments::load<false>(r, row); }
inline void loadMatricesTransposed(uint32_t (&r)[4], const void* row) { fragments::load<true>(r, row); }
inline void copyAsync(void* shared, const void* global, bool valid) { emulator::beginCopy(shared, global, valid); }
inline void commitCopies() { emulator::commitCopies(); }
template <int newer>
void waitForCopies() {
  emulator::waitForCopies(newer);
}

}  // namespace autoprog::cuda
