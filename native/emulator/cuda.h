#pragma once

#include <cmath>
#include <cstring>

#include "emulator/block.h"
#include "emulator/half.h"
#include "emulator/runtime.h"

// What kernels call by CUDA's names.
inline void __syncthreads() { emulator::barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { emulator::Meeting(mask, "__syncwarp", "", 0); }

namespace emulator {

template <typename T>
T exchange(unsigned mask, const char* operation, T value, int lane) {
  const Meeting meeting(mask, operation, &value, sizeof(value));
  T result;
  std::memcpy(&result, meeting.of(lane), sizeof(result));
  return result;
}

inline unsigned ballot(unsigned mask, const char* operation, bool vote) {
  const Meeting meeting(mask, operation, &vote, sizeof(vote));
  unsigned votes = 0;
  for (int lane = 0; lane < kWarpSize; lane++)
    if ((mask >> lane & 1) != 0 && static_cast<bool>(*meeting.of(lane))) votes |= 1u << lane;
  return votes;
}

}  // namespace emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
  return emulator::exchange(mask, "__shfl_sync", value, lane % emulator::kWarpSize);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance) {
  return emulator::exchange(mask, "__shfl_xor_sync", value, emulator::laneIndex() ^ distance);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int distance) {
  const int lane = emulator::laneIndex() + distance;
  return emulator::exchange(mask, "__shfl_down_sync", value, lane < emulator::kWarpSize ? lane : emulator::laneIndex());
}
inline unsigned __ballot_sync(unsigned mask, bool vote) { return emulator::ballot(mask, "__ballot_sync", vote); }
inline bool __any_sync(unsigned mask, bool vote) { return emulator::ballot(mask, "__any_sync", vote) != 0; }
inline bool __all_sync(unsigned mask, bool vote) { return emulator::ballot(mask, "__all_sync", vote) == mask; }

using std::isfinite;
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }
