#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

// What tests ask the stand-ins to do as the worst of drivers and libraries would, by two variables of the environment,
// read anew at each turn: AUTOPROG_EMULATED_FAULTS, names separated by commas, and AUTOPROG_EMULATED_ALGORITHMS, from
// which everything follows that differs from machine to machine.
namespace emulator {

inline bool faulty(std::string_view name) {
  const char* given = std::getenv("AUTOPROG_EMULATED_FAULTS");
  for (std::string_view rest = given == nullptr ? "" : given; !rest.empty();) {
    const size_t comma = rest.find(',');
    if (rest.substr(0, comma) == name) return true;
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  return false;
}

inline std::optional<uint64_t> algorithmSeed() {
  const char* given = std::getenv("AUTOPROG_EMULATED_ALGORITHMS");
  return given == nullptr || *given == '\0' ? std::nullopt : std::optional(std::strtoull(given, nullptr, 10));
}

// A well-mixed word that follows from two (the finalizer of SplitMix64; Steele et al., 2014).
inline uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t z = a + 0x9e3779b97f4a7c15u * (b + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace emulator
