#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace autoprog {

// Threads that share the parts of one loop after another. Whoever is free takes the next part, and the caller takes
// parts too: it never waits for a helper that the system has not woken yet, only for parts already begun. OpenMP's
// barriers do wait, which on a shared machine made short loops ten times slower.
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Calls call(context, part) for every part in [0, parts), in any order, and returns when all are done. The first
  // exception is thrown again here, after the other parts. Loops do not nest: an inner one runs on its own thread.
  void run(int64_t parts, void (*call)(const void* context, int64_t part), const void* context);

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // The pool of the calling thread: set on a device's compute thread, null elsewhere.
  static Pool*& current();
  // 0 on the compute thread, then 1, 2, … on its helpers.
  static int threadIndex();

 private:
  void help(int index);
  bool takePart();

  // The loop at work. `ticket_` holds its number (high half) and its next part (low half, kClosed between loops); a
  // part is taken by one compare-and-swap, which fails when the loop has changed meanwhile.
  std::atomic<uint64_t> ticket_;
  std::atomic<uint32_t> parts_{0};
  std::atomic<void (*)(const void*, int64_t)> call_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::atomic<int64_t> unfinished_{0};
  std::atomic<uint32_t> loops_{0};  // what sleeping helpers wait on
  std::atomic<bool> stopping_{false};
  std::mutex failing_;
  std::exception_ptr failure_;
  std::vector<std::thread> helpers_;
};

}  // namespace autoprog
