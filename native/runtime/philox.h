#pragma once

#include <array>
#include <cstdint>

namespace autoprog {

// Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): the same draws as
// lib/random.ts.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; round++) {
    const uint64_t product0 = uint64_t{0xd2511f53} * c[0];
    const uint64_t product1 = uint64_t{0xcd9e8d57} * c[2];
    c = {static_cast<uint32_t>(product1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(product1),
         static_cast<uint32_t>(product0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(product0)};
    k = {k[0] + 0x9e3779b9u, k[1] + 0xbb67ae85u};
  }
  return c;
}

enum class Purpose : uint32_t { stochasticDepth = 4 };

// The address of a step's draws: seed and step in 32-bit halves, as the program's `random` input carries them.
struct RandomAddress {
  uint32_t seed[2];
  uint32_t step[2];
};

inline std::array<uint32_t, 4> draw(const RandomAddress& address, Purpose purpose, uint64_t index) {
  return philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), address.step[0],
                 (address.step[1] & 0xffff) | (static_cast<uint32_t>(purpose) << 16)},
                {address.seed[0], address.seed[1]});
}

inline float toUnit(uint32_t word) { return static_cast<float>(word >> 8) * (1.0f / 16777216.0f); }

}  // namespace autoprog
