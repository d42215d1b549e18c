#include "runtime/pool.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>

#include "runtime/divide.h"
#include "runtime/error.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace autoprog {

namespace {

constexpr int64_t kMostBundles = 0xffff;
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

uint64_t stretch(uint32_t number, int64_t first, int64_t end) {
  return (uint64_t{number} << 32) | static_cast<uint64_t>(first << 16) | static_cast<uint64_t>(end);
}
int64_t firstOf(uint64_t left) { return static_cast<int64_t>(left >> 16 & 0xffff); }
int64_t endOf(uint64_t left) { return static_cast<int64_t>(left & 0xffff); }

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

Pool::Pool(int threads) : threads_(threads), shares_(std::make_unique<Share[]>(static_cast<size_t>(threads))) {
  helpers_.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; i++) helpers_.emplace_back([this, i] { help(i); });
  } catch (const std::system_error& error) {
    const size_t started = 1 + helpers_.size();
    stop();
    throw Error("DEVICE", "Only " + std::to_string(started) + " of " + std::to_string(threads) +
                              " threads could be started: " + error.code().message());
  } catch (...) {
    stop();
    throw;
  }
}

Pool::~Pool() { stop(); }

void Pool::enter() {
  keepOpenMPAlone();
  current() = this;
}

void Pool::stop() {
  stopping_ = true;
  loops_.fetch_add(1);
  loops_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void Pool::run(int64_t parts, Order order, void (*call)(const void*, int64_t), const void* context) {
  if (parts <= 1 || threads_ == 1 || inside) {
    runParts(0, parts, order, call, context);
    return;
  }
  const int64_t bundle = divideUp(parts, kMostBundles), bundles = divideUp(parts, bundle);
  parts_.store(parts, std::memory_order_relaxed);
  bundle_.store(bundle, std::memory_order_relaxed);
  order_.store(order, std::memory_order_relaxed);
  call_.store(call, std::memory_order_relaxed);
  context_.store(context, std::memory_order_relaxed);
  unfinished_.store(bundles, std::memory_order_relaxed);
  number_++;
  for (int64_t thread = 0; thread < threads_; thread++)
    shares_[static_cast<size_t>(thread)].left.store(
        stretch(number_, bundles * thread / threads_, bundles * (thread + 1) / threads_), std::memory_order_release);
  loops_.fetch_add(1, std::memory_order_release);
  loops_.notify_all();

  inside = true;
  takeAll();
  inside = false;
  for (int spin = 0; unfinished_.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < kSpins)
      relax();
    else
      std::this_thread::yield();  // a helper with a part was put to sleep: let it have this core
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Pool::runParts(int64_t first, int64_t end, Order order, void (*call)(const void*, int64_t), const void* context) {
  if (order == Order::forwards)
    for (int64_t part = first; part < end; part++) call(context, part);
  else
    for (int64_t part = end - 1; part >= first; part--) call(context, part);
}

// Takes bundles until none of the loop is left. No other loop begins before what was taken is said to be done.
void Pool::takeAll() {
  int64_t taken = 0;
  for (int i = 0; i < threads_; i++) {
    Share& share = shares_[static_cast<size_t>((index + i) % threads_)];
    while (takeFrom(share, i == 0)) taken++;
  }
  if (taken > 0) unfinished_.fetch_sub(taken, std::memory_order_acq_rel);
}

bool Pool::takeFrom(Share& share, bool own) {
  uint64_t left = share.left.load(std::memory_order_acquire);
  for (;;) {
    const int64_t first = firstOf(left), end = endOf(left);
    if (first == end) return false;
    const Order order = order_.load(std::memory_order_relaxed);
    const auto call = call_.load(std::memory_order_relaxed);
    const void* context = context_.load(std::memory_order_relaxed);
    const int64_t parts = parts_.load(std::memory_order_relaxed), bundle = bundle_.load(std::memory_order_relaxed);
    const bool front = own == (order == Order::forwards);
    const uint64_t rest = front ? left + (1 << 16) : left - 1;
    // Success means that the loop is still the one whose call was read.
    if (!share.left.compare_exchange_weak(left, rest, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    const int64_t begin = (front ? first : end - 1) * bundle;
    try {
      runParts(begin, std::min(parts, begin + bundle), order, call, context);
    } catch (...) {
      const std::lock_guard lock(failing_);
      if (!failure_) failure_ = std::current_exception();
    }
    return true;
  }
}

void Pool::help(int helperIndex) {
  index = helperIndex;
  inside = true;
  keepOpenMPAlone();
  while (!stopping_.load(std::memory_order_relaxed)) {
    const uint32_t seen = loops_.load(std::memory_order_acquire);
    takeAll();
    bool changed = false;
    for (int spin = 0; spin < kSpins && !changed; spin++) {
      relax();
      changed = loops_.load(std::memory_order_relaxed) != seen;
    }
    if (!changed) loops_.wait(seen, std::memory_order_acquire);
  }
}

}  // namespace autoprog
