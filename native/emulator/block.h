#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "emulator/types.h"

// How kernels run on the host: the blocks of a grid one after another, the threads of a block as fibers that pass on at
// barriers and at operations of a whole warp, both in an order drawn anew from a seed. What CUDA leaves undefined is a
// failure that names kernel, block and thread.
namespace emulator {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr int kWarpSize = 32;
inline constexpr size_t kPlainSharedBytes = 48 * 1024;

struct Launch {
  std::string name;
  dim3 grid, block;
  size_t sharedBytes = 0;
  std::function<void()> body;  // of one thread
};

// Runs a kernel to its end, or of its blocks the first, the last and others that are drawn, `most` in all unless that
// is 0. Throws Failure.
void run(const Launch& launch, size_t most = 0);

// Of the orders of blocks and threads.
void setSeed(uint64_t seed);

// Nanoseconds for one fiber to pass on to another and back, measured.
double switchNanoseconds();

// --- Called by kernels, on a thread's fiber ---

std::byte* sharedMemory();
[[noreturn]] void fail(const std::string& message);
bool inKernel();
// The same where nothing may be thrown; ends the process where no kernel runs.
[[noreturn]] void abandon(const std::string& message);
void barrier();

struct MeetingPlace;

// The lanes of a warp meet: each brings up to 48 bytes, and may read what the others brought until it leaves.
class Meeting {
 public:
  Meeting(unsigned mask, const char* operation, const void* brought, size_t bytes);
  ~Meeting();
  Meeting(const Meeting&) = delete;
  Meeting& operator=(const Meeting&) = delete;

  // What `lane` has brought; a failure where it does not take part.
  const std::byte* of(int lane) const;
  unsigned mask() const;
  // 1 KiB that the lanes share; `first` is true for one of them only, which has to fill it before it passes on.
  float* result(bool* first) const;

 private:
  MeetingPlace* place_;
};

int laneIndex();

// Copies to shared memory: each arrives at once or not before it is waited for, which is drawn.
void beginCopy(void* shared, const void* global, bool valid);
void commitCopies();
void waitForCopies(int newer);

}  // namespace emulator
