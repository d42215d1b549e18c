#include <cstdint>
#include <cstdio>
#include <string>

#include "emulator/block.h"

// What code compiled with -fsanitize=alignment,signed-integer-overflow calls: failures that name kernel, block and
// thread, in place of libubsan's messages. The structures are those that the compilers emit.
#if defined(__SANITIZE_ADDRESS__)

namespace {

struct Location {
  const char* file;
  uint32_t line, column;
};

struct TypeMismatch {
  Location location;
  const void* type;
  uint8_t alignment;  // its logarithm
  uint8_t kind;
};

std::string text(const Location& at) { return std::string(at.file) + ":" + std::to_string(at.line); }

}  // namespace

extern "C" {

void __ubsan_handle_type_mismatch_v1(const TypeMismatch* data, uintptr_t address) {
  char place[32];
  std::snprintf(place, sizeof(place), "0x%zx", static_cast<size_t>(address));
  emulator::abandon("a value that is to be a multiple of " + std::to_string(1u << data->alignment) + " lies at " +
                    place + ", " + text(data->location));
}

// Negation has one value, the others two.
#define OVERFLOW(operation)                                                              \
  void __ubsan_handle_##operation##_overflow(const Location* at, uintptr_t, uintptr_t) { \
    emulator::abandon("a whole number overflows, " + text(*at));                         \
  }
OVERFLOW(add)
OVERFLOW(sub)
OVERFLOW(mul)
OVERFLOW(negate)
OVERFLOW(divrem)
#undef OVERFLOW
}

#endif
