#pragma once

#include <cstddef>

namespace autoprog::cpu {

// A page-aligned block of zeros; pages that are never touched cost nothing. Throws MEMORY when the system refuses.
std::byte* allocateMemory(size_t bytes);
void releaseMemory(std::byte* block, size_t bytes) noexcept;
// Bytes of a block that nobody has touched yet, which the system still counts as free.
size_t untouchedBytes(const std::byte* block, size_t bytes);

}  // namespace autoprog::cpu
