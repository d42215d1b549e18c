#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/arena.h"

namespace autoprog {

enum class Type : uint8_t { f32 = 0, i32 = 1, u8 = 2, bf16 = 3, f16 = 4 };

inline size_t bytesOf(Type type) {
  constexpr size_t bytes[] = {4, 4, 1, 2, 2};
  return bytes[static_cast<size_t>(type)];
}
inline const char* nameOf(Type type) {
  constexpr const char* names[] = {"f32", "i32", "u8", "bf16", "f16"};
  return names[static_cast<size_t>(type)];
}

// A tensor at a place in an arena. Arenas may move when they grow, so the address is found anew at each run.
struct View {
  const Arena* arena = nullptr;
  size_t offset = 0;  // bytes
  Type type = Type::f32;
  std::vector<int64_t> shape;

  int64_t size() const {
    int64_t count = 1;
    for (int64_t extent : shape) count *= extent;
    return count;
  }
  int64_t extent(size_t axis) const { return axis < shape.size() ? shape[axis] : 1; }
  int64_t last() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return last() == 0 ? 0 : size() / last(); }  // all axes but the last
  size_t bytes() const { return static_cast<size_t>(size()) * bytesOf(type); }
  bool isFloat() const { return type == Type::f32 || type == Type::bf16 || type == Type::f16; }
  std::byte* address() const { return arena->base() + offset; }
  float* f32() const { return reinterpret_cast<float*>(address()); }
  int32_t* i32() const { return reinterpret_cast<int32_t*>(address()); }
  uint16_t* u16() const { return reinterpret_cast<uint16_t*>(address()); }
  uint8_t* u8() const { return reinterpret_cast<uint8_t*>(address()); }

  std::string describe() const {
    std::string text = std::string(nameOf(type)) + "[";
    for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
    return text + "]";
  }
};

}  // namespace autoprog
