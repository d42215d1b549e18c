#pragma once

#include <concepts>
#include <stdexcept>
#include <string>

namespace autoprog {

// The one exception of native code. `code` is one of lib/errors.ts; `op` names the kernel at work, if any, and
// `hint` says what to do, where that is known.
// It is thrown where the fault is seen and caught once, where a task leaves the compute thread.
struct Error : std::runtime_error {
  std::string code;
  std::string op;
  std::string hint;

  Error(std::string code, const std::string& message, std::string op = {}, std::string hint = {})
      : std::runtime_error(message), code(std::move(code)), op(std::move(op)), hint(std::move(hint)) {}
};

inline void require(bool condition, const char* code, const std::string& message) {
  if (!condition) throw Error(code, message);
}

// For checks that are made often: the message is written only where it is needed.
template <std::invocable Describe>
void require(bool condition, const char* code, const Describe& describe) {
  if (!condition) throw Error(code, describe());
}

}  // namespace autoprog
