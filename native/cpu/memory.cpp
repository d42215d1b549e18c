#include "cpu/memory.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "runtime/error.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
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

#ifdef __linux__
constexpr size_t kPagesAtOnce = size_t{1} << 20;

size_t untouched(const std::byte* block, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t pages = (bytes + page - 1) / page;
  std::vector<unsigned char> resident(std::min(pages, kPagesAtOnce));
  size_t missing = 0;
  for (size_t first = 0; first < pages; first += resident.size()) {
    const size_t count = std::min(resident.size(), pages - first);
    // The call takes no const, but only asks.
    void* begin = const_cast<std::byte*>(block) + first * page;  // NOLINT
    if (mincore(begin, count * page, resident.data()) != 0) continue;
    for (size_t i = 0; i < count; i++) missing += resident[i] & 1 ? 0 : page;
  }
  return std::min(missing, bytes);
}
#else
size_t untouched(const std::byte*, size_t) { return 0; }
#endif

#else

void* reserve(size_t bytes) { return std::calloc(1, bytes); }
void give(void* block, size_t) { std::free(block); }
size_t untouched(const std::byte*, size_t) { return 0; }

#endif

}  // namespace

std::byte* allocateMemory(size_t bytes) {
  void* block = reserve(bytes);
  require(block != nullptr, "MEMORY", "Could not reserve " + std::to_string(bytes >> 20) + " MiB of memory");
  return static_cast<std::byte*>(block);
}

void releaseMemory(std::byte* block, size_t bytes) noexcept { give(block, bytes); }

size_t untouchedBytes(const std::byte* block, size_t bytes) { return untouched(block, bytes); }

}  // namespace autoprog::cpu
