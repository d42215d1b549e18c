#include "cpu/memory.h"

#include <cstdlib>
#include <string>

#include "runtime/error.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#define AUTOPROG_MMAP 1
#endif

namespace autoprog::cpu {

namespace {

#ifdef AUTOPROG_MMAP

void* reserve(size_t bytes) {
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
#ifdef MADV_HUGEPAGE
  // Activations are streamed: large pages spare most of the address-translation misses.
  if (bytes >= (size_t{4} << 20)) madvise(block, bytes, MADV_HUGEPAGE);
#endif
  return block;
}

void give(void* block, size_t bytes) { munmap(block, bytes); }

#else

void* reserve(size_t bytes) { return std::calloc(1, bytes); }
void give(void* block, size_t) { std::free(block); }

#endif

}  // namespace

std::byte* allocateMemory(size_t bytes) {
  void* block = reserve(bytes);
  require(block != nullptr, "MEMORY", "Could not reserve " + std::to_string(bytes >> 20) + " MiB of memory");
  return static_cast<std::byte*>(block);
}

void releaseMemory(std::byte* block, size_t bytes) noexcept { give(block, bytes); }

}  // namespace autoprog::cpu
