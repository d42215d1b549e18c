#pragma once

#include "runtime/engine.h"

namespace autoprog {

// Bytes that a tensor takes up in a block: the next one begins where every kind of load and copy may begin.
constexpr size_t alignedBytes(size_t bytes) { return (bytes + 255) / 256 * 256; }

// A block of a device's memory, in which tensors have offsets.
class Arena {
 public:
  Arena(Engine& engine, size_t bytes) : engine_(engine) { allocate(bytes); }
  ~Arena() { release(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Replaces the block by one of `bytes`, of undefined contents. Throws MEMORY; the size is then what it was before.
  void allocate(size_t bytes) {
    engine_.checkRoom(bytes, bytes_);
    const size_t before = bytes_;
    release();  // first: there may not be room for both
    try {
      reserve(bytes);
    } catch (...) {
      reserve(before);
      throw;
    }
  }

  Engine& engine() const { return engine_; }
  size_t bytes() const { return bytes_; }
  std::byte* base() const { return block_; }

 private:
  void reserve(size_t bytes) {
    if (bytes == 0) return;
    block_ = engine_.allocate(bytes);
    bytes_ = bytes;
  }
  void release() noexcept {
    if (block_ != nullptr) engine_.release(block_, bytes_);
    block_ = nullptr;
    bytes_ = 0;
  }

  Engine& engine_;
  std::byte* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace autoprog
