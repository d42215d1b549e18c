#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "emulator/runtime.h"

// What the emulated device is and has. One for the process, as real ones are.
namespace emulator {

// From the environment, read once.
struct Settings {
  std::optional<uint64_t> seed;  // AUTOPROG_EMULATED_SEED: of every order left open; work is done early too, at random
  size_t megabytes = 8192;       // AUTOPROG_EMULATED_MEMORY
  int major = 9, minor = 0;      // AUTOPROG_EMULATED_CAPABILITY
  size_t sharedBytes = 0;        // that a block can have: follows from the capability
  // AUTOPROG_EMULATED_BLOCKS: of each launch so many blocks are run at most, the first and the last among them; copies
  // of much memory on the device and the library's products are only checked. For programs too large to be run.
  size_t blocks = 0;
  std::string log;  // AUTOPROG_EMULATED_LOG: a file to which a line is added for all work done

  bool sampled() const { return blocks > 0; }
};
const Settings& settings();

struct Pinned {
  size_t bytes;
  int copies;  // that wait to read or write it
};

struct Device {
  std::mutex mutex;  // of memory and counts
  size_t total = settings().megabytes << 20, used = 0;
  std::map<const std::byte*, size_t> blocks;
  std::map<const std::byte*, Pinned> pinned;
  std::map<const void*, size_t> sharedLimits;
  std::set<const void*> loaded;  // kernels that have run
  int graphs = 0, events = 0;

  // By whoever has its turn.
  std::vector<cudaStream_t> streams;
  std::vector<std::pair<cudaStream_t, std::thread::id>> capturing;
  std::atomic<bool> failed = false;
  std::string failure;

  Device();
  ~Device();
};
Device& device();

// What breaks the device: every call fails from now on.
void breakDown(const std::string& reason);

// For tests: no copy waits any more.
void forgetCopies();

// The allocation that holds all of a region; none where there is no such.
std::optional<Region> blockOf(const Region& region);

// For as long as it lives, kernels may touch of the allocations that regions lie in these regions alone.
class Fence {
 public:
  explicit Fence(const std::vector<Region>& regions);
  ~Fence();
  Fence(const Fence&) = delete;
  Fence& operator=(const Fence&) = delete;

 private:
  std::vector<Region> closed_;
};

}  // namespace emulator
