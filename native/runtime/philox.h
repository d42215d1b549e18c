#pragma once

#include <cmath>
#include <cstdint>

// Devices draw too.
#if defined(__CUDACC__)
#define AUTOPROG_EVERYWHERE __host__ __device__
#else
#define AUTOPROG_EVERYWHERE
#endif

namespace autoprog {

struct Words {
  uint32_t word[4];
};

// Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): the same draws as
// lib/random.ts.
AUTOPROG_EVERYWHERE inline Words philox(Words counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; round++) {
    const auto& [c0, c1, c2, c3] = counter.word;
    const uint64_t product0 = uint64_t{0xd2511f53} * c0;
    const uint64_t product1 = uint64_t{0xcd9e8d57} * c2;
    counter = {{static_cast<uint32_t>(product1 >> 32) ^ c1 ^ key0, static_cast<uint32_t>(product1),
                static_cast<uint32_t>(product0 >> 32) ^ c3 ^ key1, static_cast<uint32_t>(product0)}};
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
  return counter;
}

enum class Purpose : uint32_t { stochasticDepth = 4, erasing = 10 };

// The address of a step's draws: seed and step in 32-bit halves, as the program's `random` input carries them.
struct RandomAddress {
  uint32_t seed[2];
  uint32_t step[2];
};

AUTOPROG_EVERYWHERE inline Words draw(const RandomAddress& address, Purpose purpose, uint64_t index) {
  return philox({{static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), address.step[0],
                  (address.step[1] & 0xffff) | (static_cast<uint32_t>(purpose) << 16)}},
                address.seed[0], address.seed[1]);
}

AUTOPROG_EVERYWHERE inline float toUnit(uint32_t word) { return static_cast<float>(word >> 8) * (1.0f / 16777216.0f); }

// Four standard normal draws of one block (Box and Muller, 1958); the radius takes a unit in (0, 1], so that its
// logarithm is finite.
AUTOPROG_EVERYWHERE inline void normals(const Words& words, float (&values)[4]) {
  constexpr float kTurn = 6.28318530717958647692f;
  for (int pair = 0; pair < 2; pair++) {
    const float radius = sqrtf(-2.0f * logf(toUnit(words.word[2 * pair]) + 1.0f / 16777216.0f));
    const float angle = kTurn * toUnit(words.word[2 * pair + 1]);
    values[2 * pair] = radius * cosf(angle);
    values[2 * pair + 1] = radius * sinf(angle);
  }
}

// Stochastic depth's factor: 0 with probability `rate`, else 1 / (1 - rate).
AUTOPROG_EVERYWHERE inline float keepFactor(const RandomAddress& address, uint64_t index, float rate) {
  const bool kept = rate == 0.0f || toUnit(draw(address, Purpose::stochasticDepth, index).word[0]) >= rate;
  return kept ? 1.0f / (1.0f - rate) : 0.0f;
}

}  // namespace autoprog
