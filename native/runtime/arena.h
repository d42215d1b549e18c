#pragma once

#include <cstddef>

namespace autoprog {

// A block of zeroed, page-aligned memory in which tensors have offsets. Pages that are never touched cost nothing.
class Arena {
 public:
  explicit Arena(size_t bytes) { allocate(bytes); }
  ~Arena() { release(); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Replaces the block by one of `bytes`, all zero. Throws MEMORY when the system refuses.
  void allocate(size_t bytes);

  size_t bytes() const { return bytes_; }
  std::byte* base() const { return block_; }

 private:
  void release();

  std::byte* block_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace autoprog
