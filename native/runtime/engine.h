#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/host-blocks.h"

namespace autoprog {

struct Implementation;
struct Operands;

// What a prepared op is: run once per micro-batch, or once per batch. Allocates nothing.
using Kernel = std::function<void()>;

// Bytes on their way from the device to the host.
struct Download {
  void* host;
  const std::byte* device;
  size_t bytes;
};

// Adds up the seconds that a device spends between `begin` and `end`, called in turn.
class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  virtual void begin() = 0;
  virtual void end() = 0;
  // Waits for what has begun.
  virtual double seconds() = 0;
};

// What differs from one kind of device to another: its memory, its ops, and the order of its work. Everything but
// construction and destruction happens on the device's compute thread. Work on memory happens in the order asked for;
// an asynchronous engine is then still busy when a call returns.
class Engine {
 public:
  virtual ~Engine() = default;

  // "cpu", "cuda", …
  virtual const char* kind() const = 0;
  // Name and value of what `doctor` prints.
  virtual std::vector<std::pair<std::string, std::string>> features() const = 0;
  virtual const std::vector<Implementation>& operations() const = 0;
  // Checks the operands once; the kernel that it returns runs the op, or adds it to the device's queue.
  virtual Kernel prepare(const Implementation& operation, const Operands& operands) = 0;
  virtual bool asynchronous() const { return false; }

  // What a user may want to know although nothing has failed, such as that something slow had to do. Each is told once;
  // from any thread.
  virtual std::vector<std::string> takeNotices() { return {}; }

  // After an error: whether the device will do nothing more, as after a kernel's failure.
  virtual bool broken() { return false; }

  // Called once on the compute thread, before anything else there.
  virtual void enterThread() {}
  // Called there after everything else: nothing will be run any more, although memory is still to be released.
  virtual void leaveThread() noexcept {}
  // A block of undefined contents. Throws MEMORY, saying how much was asked for and how much is free.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* block, size_t bytes) noexcept = 0;
  // Bytes that could still be reserved, where that is known.
  virtual std::optional<size_t> freeMemory() const { return std::nullopt; }
  // Throws MEMORY where it is known that a block of `bytes` could not be had or filled, with `freed` given back before.
  virtual void checkRoom([[maybe_unused]] size_t bytes, [[maybe_unused]] size_t freed) const {}

  // The host's memory from which values come here fastest.
  virtual HostBlocks& hostBlocks() = 0;
  // From the host, whose memory is free again when it returns.
  virtual void upload(std::byte* device, const void* host, size_t bytes) = 0;
  // From memory of the host that nobody writes to any more, held for as long as it is read.
  virtual void upload(std::byte* device, std::shared_ptr<const std::byte> host, size_t bytes) = 0;
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;
  // Begins to bring bytes to the host. What it returns waits until all of them are there, and throws what went wrong in
  // them or in any work before.
  virtual Kernel download(std::vector<Download> downloads) = 0;

  // A kernel that repeats the work, which has to be the same each time: addresses included, until an arena moves.
  virtual Kernel record(std::function<void()> work) { return work; }
  // For one op of a program; null where ops are not timed one by one.
  virtual std::unique_ptr<Stopwatch> stopwatch() = 0;
  // Seconds of a product (m, k) x (k, n) in f32, the best of several.
  virtual double measureGemm(int64_t m, int64_t n, int64_t k) = 0;
};

}  // namespace autoprog
