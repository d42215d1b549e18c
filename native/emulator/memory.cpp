// Memory of the device and of the host, and copies between them.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "emulator/device.h"
#include "emulator/faults.h"
#include "emulator/stream.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace emulator {

namespace {

// What cudaMalloc promises; memory begins at odd multiples of that, so that no kernel finds more.
constexpr size_t kAlignment = 256;
constexpr size_t kPage = 4096;
// Copies and fills on the device of more than this are only checked where launches are sampled.
constexpr size_t kSmall = 1 << 20;

size_t wholePages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

// Memory of a sampled device takes up no room until it is touched, and reads as zeros.
std::byte* reserve(size_t bytes) {
  void* raw = nullptr;
  if (settings().sampled()) {
    raw = mmap(nullptr, wholePages(kAlignment + bytes), PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return nullptr;
  } else {
    if (posix_memalign(&raw, 2 * kAlignment, kAlignment + bytes) != 0) return nullptr;
    std::memset(raw, 0xff, kAlignment + bytes);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(raw, kAlignment);
#endif
  }
  return static_cast<std::byte*>(raw) + kAlignment;
}

void release(std::byte* block, size_t bytes) {
  std::byte* raw = block - kAlignment;
  if (settings().sampled()) {
    munmap(raw, wholePages(kAlignment + bytes));
    return;
  }
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(raw, kAlignment);
#endif
  std::free(raw);
}

// The pages that a region touches, closed to all or open.
void protect(const Region& region, int protection) {
  const auto begin = reinterpret_cast<uintptr_t>(region.begin) / kPage * kPage;
  const auto end = wholePages(reinterpret_cast<uintptr_t>(region.begin) + region.bytes);
  mprotect(reinterpret_cast<void*>(begin), end - begin, protection);
}

void close(const Region& region) {
  if (settings().sampled()) return protect(region, PROT_NONE);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(region.begin, region.bytes);
#endif
}

void open(const Region& region) {
  if (settings().sampled()) return protect(region, PROT_READ | PROT_WRITE);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(region.begin, region.bytes);
#endif
}

uint64_t checksum(const std::byte* data, size_t bytes) {
  uint64_t sum = bytes, word = 0;
  for (size_t at = 0; at < bytes; at += sizeof(word)) {
    std::memcpy(&word, data + at, std::min(sizeof(word), bytes - at));
    sum = sum * 0x9e3779b97f4a7c15u + word;
  }
  return sum;
}

// The pinned memory that holds all of a region.
Pinned* pinnedOf(const Region& region) {
  const auto* begin = static_cast<const std::byte*>(region.begin);
  auto after = device().pinned.upper_bound(begin);
  if (after == device().pinned.begin()) return nullptr;
  auto& [block, pinned] = *std::prev(after);
  return begin + region.bytes <= block + pinned.bytes ? &pinned : nullptr;
}

// Counts a copy that begins or ends at pinned memory; false where it is none.
bool countCopy(const Region& host, int change) {
  const std::lock_guard lock(device().mutex);
  Pinned* pinned = pinnedOf(host);
  if (pinned != nullptr) pinned->copies += change;
  return pinned != nullptr;
}

cudaError_t refuse(const std::string& reason) {
  breakDown(reason);
  return cudaErrorLaunchFailure;
}

}  // namespace

std::optional<Region> blockOf(const Region& region) {
  const std::lock_guard lock(device().mutex);
  const auto* begin = static_cast<const std::byte*>(region.begin);
  const auto after = device().blocks.upper_bound(begin);
  if (after == device().blocks.begin()) return std::nullopt;
  const auto& [block, bytes] = *std::prev(after);
  if (begin + region.bytes > block + bytes) return std::nullopt;
  return Region{block, bytes};
}

Fence::Fence(const std::vector<Region>& regions) {
#if !defined(__SANITIZE_ADDRESS__)
  if (!settings().sampled()) return;
#endif
  std::map<const void*, Region> blocks;
  for (const Region& region : regions)
    if (const auto block = blockOf(region)) blocks.insert({block->begin, *block});
  for (const auto& [begin, block] : blocks) {
    closed_.push_back(block);
    close(block);
  }
  for (const Region& region : regions) open(region);
}

Fence::~Fence() {
  for (const Region& block : closed_) open(block);
}

void setDeviceMemory(size_t bytes) { device().total = bytes; }

void forgetCopies() {
  const std::lock_guard lock(device().mutex);
  for (auto& [block, pinned] : device().pinned) pinned.copies = 0;
}

}  // namespace emulator

using emulator::device;
using emulator::Region;

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const std::lock_guard lock(device().mutex);
  *total = device().total;
  *free = device().total - device().used;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (const auto refused = emulator::refuseWhileCapturing(); refused != cudaSuccess) return refused;
  if (device().failed) return cudaErrorLaunchFailure;
  const std::lock_guard lock(device().mutex);
  if (bytes > device().total - device().used) return cudaErrorMemoryAllocation;
  std::byte* block = emulator::reserve(bytes);
  if (block == nullptr) return cudaErrorMemoryAllocation;
  device().used += bytes;
  device().blocks[block] = bytes;
  *memory = block;
  return cudaSuccess;
}

// Waits for all work, as CUDA has it.
cudaError_t cudaFree(void* memory) {
  if (memory != nullptr && emulator::faulty("main-thread") && gettid() == getpid())
    std::fprintf(stderr, "emulator: memory is freed on the main thread\n");
  if (memory == nullptr) return cudaSuccess;
  emulator::finishAll();
  const std::lock_guard lock(device().mutex);
  const auto found = device().blocks.find(static_cast<std::byte*>(memory));
  if (found == device().blocks.end()) return cudaErrorInvalidValue;
  device().used -= found->second;
  emulator::release(static_cast<std::byte*>(memory), found->second);
  device().blocks.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return cudaErrorMemoryAllocation;
  const std::lock_guard lock(device().mutex);
  device().pinned[static_cast<std::byte*>(*memory)] = {bytes, 0};
  return cudaSuccess;
}

// Nothing promises that it waits.
cudaError_t cudaFreeHost(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  const std::lock_guard turn(emulator::turn());
  {
    const std::lock_guard lock(device().mutex);
    const auto found = device().pinned.find(static_cast<std::byte*>(memory));
    if (found == device().pinned.end()) return cudaErrorInvalidValue;
    const bool used = found->second.copies > 0 && !device().failed;
    device().pinned.erase(found);
    std::free(memory);
    if (!used) return cudaSuccess;
  }
  return emulator::refuse("Pinned memory was freed while a copy from or to it was still to be made");
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const std::lock_guard turn(emulator::turn());
  if (device().failed) return cudaErrorLaunchFailure;
  // A host's address in a graph would be read at each replay: a value of now, frozen, or memory that is gone.
  if (stream != nullptr && stream->capture && kind != cudaMemcpyDeviceToDevice) {
    stream->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  if (bytes == 0) return cudaSuccess;
  const std::string name = "a copy of " + std::to_string(bytes) + " bytes";
  if ((kind != cudaMemcpyHostToDevice && !emulator::blockOf({from, bytes})) ||
      (kind != cudaMemcpyDeviceToHost && !emulator::blockOf({to, bytes})))
    return emulator::refuse(name + " reaches beyond the device's memory");
  if (kind == cudaMemcpyDeviceToDevice)
    return emulator::enqueue(stream, [=] {
      if (!emulator::settings().sampled() || bytes <= emulator::kSmall) std::memcpy(to, from, bytes);
    });
  const Region host{kind == cudaMemcpyHostToDevice ? from : to, bytes};
  if (!emulator::countCopy(host, 1)) {  // not pinned: the call waits until the host's memory is free
    if (kind == cudaMemcpyDeviceToHost) {
      emulator::enqueue(stream, [=] { std::memcpy(to, from, bytes); });
      return emulator::finish(stream);
    }
    const auto* begin = static_cast<const std::byte*>(from);
    return emulator::enqueue(stream, [to, staged = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, staged.data(), staged.size());
    });
  }
  if (kind == cudaMemcpyDeviceToHost) {
    std::memset(to, 0xff, bytes);  // nobody may count on what is there before it has come
    return emulator::enqueue(stream, [=] {
      std::memcpy(to, from, bytes);
      emulator::countCopy(host, -1);
    });
  }
  return emulator::enqueue(stream, [=, sum = emulator::checksum(static_cast<const std::byte*>(from), bytes)] {
    if (emulator::checksum(static_cast<const std::byte*>(from), bytes) != sum)
      emulator::fail("The host changed its memory while " + name + " from it was still to be made");
    std::memcpy(to, from, bytes);
    emulator::countCopy(host, -1);
  });
}

cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  if (device().failed) return cudaErrorLaunchFailure;
  if (bytes == 0) return cudaSuccess;
  if (!emulator::blockOf({memory, bytes}))
    return emulator::refuse("a fill of " + std::to_string(bytes) + " bytes reaches beyond the device's memory");
  return emulator::enqueue(stream, [=] {
    if (!emulator::settings().sampled() || bytes <= emulator::kSmall) std::memset(memory, value, bytes);
  });
}
