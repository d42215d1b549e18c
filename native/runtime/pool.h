#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace autoprog {

// Which of its parts a thread takes first.
enum class Order { forwards, backwards };

// Threads that share the parts of one loop after another. Each begins with a stretch of its own, so that what one loop
// leaves in a core's cache is where the next one looks for it; whoever is through takes parts from the far ends of
// others. The caller takes parts too: it never waits for a helper that the system has not woken yet, only for parts
// already begun. OpenMP's barriers do wait, which on a shared machine made short loops ten times slower.
class Pool {
 public:
  // Throws DEVICE where the system does not start that many threads.
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Calls call(context, part) for every part in [0, parts), in any order, and returns when all are done. The first
  // exception is thrown again here, after the other parts. Loops do not nest: an inner one runs on its own thread.
  void run(int64_t parts, Order order, void (*call)(const void* context, int64_t part), const void* context);

  int threads() const { return threads_; }

  // Makes this the pool of the calling thread.
  void enter();

  // The pool of the calling thread: set on a device's compute thread, null elsewhere.
  static Pool*& current();
  // 0 on the compute thread, then 1, 2, … on its helpers.
  static int threadIndex();

 private:
  static constexpr size_t kLines = 128;  // bytes: no two threads write to the same pair of cache lines

  // A thread's stretch of the loop at work, as far as nobody has taken it yet: the loop's number (32 bits), the first
  // bundle and the end (16 bits each). A bundle is taken by one compare-and-swap, which fails when the loop has
  // changed.
  struct alignas(kLines) Share {
    std::atomic<uint64_t> left{0};
  };

  void stop();
  void help(int index);
  void takeAll();
  bool takeFrom(Share& share, bool own);
  void runParts(int64_t first, int64_t end, Order order, void (*call)(const void*, int64_t), const void* context);

  const int threads_;  // helpers count it while they are still being made
  // The loop at work; written before the shares are, read before something is taken from one.
  std::atomic<int64_t> parts_{0}, bundle_{1};  // parts of a bundle: 1, but in loops of very many
  std::atomic<Order> order_{Order::forwards};
  std::atomic<void (*)(const void*, int64_t)> call_{nullptr};
  std::atomic<const void*> context_{nullptr};
  std::unique_ptr<Share[]> shares_;
  uint32_t number_ = 0;
  alignas(kLines) std::atomic<int64_t> unfinished_{0};  // bundles
  alignas(kLines) std::atomic<uint32_t> loops_{0};      // what sleeping helpers wait on
  std::atomic<bool> stopping_{false};
  std::mutex failing_;
  std::exception_ptr failure_;
  std::vector<std::thread> helpers_;
};

}  // namespace autoprog
