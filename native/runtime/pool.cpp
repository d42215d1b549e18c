#include "runtime/pool.h"

#include <utility>

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace autoprog {

namespace {

constexpr uint32_t kClosed = 0xffffffff;
// Loops follow each other within microseconds during a step: helpers look out for the next one for some 50 of them
// before they sleep.
constexpr int kSpins = 2000;

thread_local int index = 0;
thread_local bool inside = false;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

uint32_t numberOf(uint64_t ticket) { return static_cast<uint32_t>(ticket >> 32); }
uint32_t partOf(uint64_t ticket) { return static_cast<uint32_t>(ticket); }
uint64_t ticketOf(uint32_t number, uint32_t part) { return (uint64_t{number} << 32) | part; }

// oneDNN's own loops would open an OpenMP team in each of our threads.
void keepOpenMPAlone() {
#ifdef _OPENMP
  omp_set_num_threads(1);
#endif
}

}  // namespace

Pool*& Pool::current() {
  thread_local Pool* pool = nullptr;
  return pool;
}

int Pool::threadIndex() { return index; }

Pool::Pool(int threads) : ticket_(ticketOf(0, kClosed)) {
  keepOpenMPAlone();
  for (int i = 1; i < threads; i++) helpers_.emplace_back([this, i] { help(i); });
}

Pool::~Pool() {
  stopping_ = true;
  loops_.fetch_add(1);
  loops_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void Pool::run(int64_t parts, void (*call)(const void*, int64_t), const void* context) {
  if (parts <= 0) return;
  if (parts == 1 || helpers_.empty() || inside || parts >= kClosed) {
    for (int64_t part = 0; part < parts; part++) call(context, part);
    return;
  }
  // Between loops the ticket is closed, so nobody reads these while they change.
  parts_.store(static_cast<uint32_t>(parts), std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  unfinished_.store(parts, std::memory_order_relaxed);
  ticket_.store(ticketOf(numberOf(ticket_.load(std::memory_order_relaxed)) + 1, 0), std::memory_order_release);
  loops_.fetch_add(1, std::memory_order_release);
  loops_.notify_all();

  inside = true;
  while (takePart()) continue;
  inside = false;
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < kSpins)
      relax();
    else
      std::this_thread::yield();  // a helper with a part was put to sleep: let it have this core
  }
  ticket_.store(ticketOf(numberOf(ticket_.load(std::memory_order_relaxed)), kClosed), std::memory_order_release);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

bool Pool::takePart() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t part = partOf(ticket);
    if (part == kClosed || part >= parts_.load(std::memory_order_relaxed)) return false;
    const auto call = call_.load(std::memory_order_relaxed);
    const void* context = context_.load(std::memory_order_relaxed);
    // Success means that the loop is still the one whose call was read.
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire))
      continue;
    try {
      call(context, part);
    } catch (...) {
      const std::lock_guard lock(failing_);
      if (!failure_) failure_ = std::current_exception();
    }
    unfinished_.fetch_sub(1, std::memory_order_acq_rel);
    return true;
  }
}

void Pool::help(int helperIndex) {
  index = helperIndex;
  inside = true;
  keepOpenMPAlone();
  while (!stopping_.load(std::memory_order_relaxed)) {
    const uint32_t seen = loops_.load(std::memory_order_acquire);
    while (takePart()) continue;
    bool changed = false;
    for (int spin = 0; spin < kSpins && !changed; spin++) {
      relax();
      changed = loops_.load(std::memory_order_relaxed) != seen;
    }
    if (!changed) loops_.wait(seen, std::memory_order_acquire);
  }
}

}  // namespace autoprog
