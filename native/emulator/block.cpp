#include "emulator/block.h"

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "emulator/device.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

constinit thread_local uint3 threadIdx, blockIdx;
constinit thread_local dim3 blockDim, gridDim;

namespace emulator {

namespace context = boost::context::detail;

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 * 1024;
#else
constexpr size_t kStackBytes = 64 * 1024;
#endif
constexpr size_t kBroughtBytes = 48;

// The lanes that have come together so far, and what they have brought.
struct MeetingPlace {
  const char* operation = nullptr;
  unsigned mask = 0, arrived = 0;
  int inside = 0;
  bool filled = false;
  alignas(16) std::byte brought[kWarpSize][kBroughtBytes];
  alignas(16) float result[256];
};

struct Warp {
  std::vector<MeetingPlace*> open;  // where lanes wait
};

namespace {

struct Copy {
  void* shared;
  const void* global;
  bool valid;

  void arrive() const {
    if (valid)
      std::memcpy(shared, global, 16);
    else
      std::memset(shared, 0, 16);
  }
};

enum class State { ready, atBarrier, atMeeting, abandoned, done };

struct Fiber {
  context::fcontext_t fiber = nullptr;
  std::unique_ptr<std::byte[]> stack;
  uint3 index{};
  int linear = 0;
  State state = State::done;
  const char* waitsFor = nullptr;
  std::vector<Copy> begun;
  std::deque<std::vector<Copy>> groups;
  void* asanStack = nullptr;
};

std::string text(const uint3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

// A block's shared memory: 16 bytes are what kernels may count on, so no more are given.
class SharedMemory {
 public:
  // Filled anew with poison.
  void reserve(size_t bytes) {
    memory_.reset(static_cast<std::byte*>(::operator new(kBefore + bytes, std::align_val_t(2 * kBefore))));
    std::memset(memory_.get(), 0xff, kBefore + bytes);
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(memory_.get(), kBefore);
#endif
  }
  std::byte* data() const { return memory_.get() + kBefore; }

 private:
  static constexpr size_t kBefore = 16;
  struct Delete {
    void operator()(std::byte* memory) const {
#if defined(__SANITIZE_ADDRESS__)
      __asan_unpoison_memory_region(memory, kBefore);
#endif
      ::operator delete(memory, std::align_val_t(2 * kBefore));
    }
  };
  std::unique_ptr<std::byte, Delete> memory_;
};

// One host thread's machinery; the stacks are kept from launch to launch.
class Executor {
 public:
  void run(const Launch& launch, size_t most);
  std::string place() const {
    return (launch_ ? launch_->name : std::string("no kernel")) + ", block " + text(blockIdx) +
           (current_ ? ", thread " + text(current_->index) : "");
  }
  void wait(State state, const char* what);
  [[noreturn]] void abandon(const std::string& reason);
  void resume(int linear) {
    fibers_[static_cast<size_t>(linear)].state = State::ready;
    ready_.push_back(linear);
  }
  Fiber& current() { return *current_; }
  bool running() const { return current_ != nullptr; }
  Warp& warp() { return warps_[static_cast<size_t>(current_->linear / kWarpSize)]; }
  std::byte* shared() { return shared_.data(); }
  MeetingPlace* takePlace();
  void giveBack(MeetingPlace* place) { spare_.push_back(place); }

  std::mt19937_64 random{settings().seed.value_or(0)};

 private:
  static void enter(context::transfer_t transfer);
  std::vector<uint64_t> drawBlocks(uint64_t count, size_t most);
  void runBlock();
  void switchTo(Fiber& fiber);
  void passOn(bool last);
  [[noreturn]] void reportStuck();

  const Launch* launch_ = nullptr;
  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<int> ready_;
  Fiber* current_ = nullptr;
  context::fcontext_t scheduler_ = nullptr;
  SharedMemory shared_;
  std::vector<std::unique_ptr<MeetingPlace>> places_;
  std::vector<MeetingPlace*> spare_;
  size_t count_ = 0, done_ = 0, atBarrier_ = 0;
  std::string failure_;
  const void* mainStack_ = nullptr;
  size_t mainStackBytes_ = 0;
};

// Its own allocation, since little room is left for the variables of threads where a library is loaded late.
thread_local std::unique_ptr<Executor> owned;
constinit thread_local Executor* executor = nullptr;

Executor& ofThread() {
  if (!executor) {
    owned = std::make_unique<Executor>();
    executor = owned.get();
  }
  return *executor;
}

MeetingPlace* Executor::takePlace() {
  if (spare_.empty()) {
    places_.push_back(std::make_unique<MeetingPlace>());
    spare_.push_back(places_.back().get());
  }
  MeetingPlace* place = spare_.back();
  spare_.pop_back();
  place->arrived = 0, place->inside = 0, place->filled = false;
  return place;
}

// A fiber's first and only function. It never returns: the scheduler drops the fiber once it is done.
void Executor::enter(context::transfer_t transfer) {
  auto& self = *executor;
  self.scheduler_ = transfer.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &self.mainStack_, &self.mainStackBytes_);
#endif
  try {
    self.launch_->body();
  } catch (const std::exception& error) {
    if (self.failure_.empty()) self.failure_ = error.what() + std::string(" in ") + self.place();
  }
  self.current_->state = State::done;
  self.done_++;
  self.passOn(true);
}

void Executor::switchTo(Fiber& fiber) {
  current_ = &fiber;
  threadIdx = fiber.index;
#if defined(__SANITIZE_ADDRESS__)
  void* own = nullptr;
  __sanitizer_start_switch_fiber(&own, fiber.stack.get(), kStackBytes);
#endif
  fiber.fiber = context::jump_fcontext(fiber.fiber, nullptr).fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own, nullptr, nullptr);
#endif
  current_ = nullptr;
}

void Executor::passOn([[maybe_unused]] bool last) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(last ? nullptr : &current_->asanStack, mainStack_, mainStackBytes_);
#endif
  const auto transfer = context::jump_fcontext(scheduler_, nullptr);
  scheduler_ = transfer.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(current_->asanStack, &mainStack_, &mainStackBytes_);
#endif
}

void Executor::wait(State state, const char* what) {
  current_->state = state;
  current_->waitsFor = what;
  if (state == State::atBarrier) atBarrier_++;
  passOn(false);
}

// Fails without unwinding: the stack is left as it is.
void Executor::abandon(const std::string& reason) {
  if (failure_.empty()) failure_ = reason + " in " + place();
  wait(State::abandoned, "nothing");
  std::abort();  // never resumed
}

void Executor::reportStuck() {
  std::string message = "Threads wait for ever in " + launch_->name + ", block " + text(blockIdx) + ": ";
  if (done_ > 0) message += std::to_string(done_) + " have returned";
  int shown = 0;
  for (const Fiber& fiber : fibers_)
    if (static_cast<size_t>(fiber.linear) < count_ && fiber.state != State::done && shown++ < 3)
      message += (done_ > 0 || shown > 1 ? ", " : "") + std::string("thread ") + text(fiber.index) + " is at " +
                 fiber.waitsFor;
  throw Failure(message);
}

void Executor::runBlock() {
  done_ = atBarrier_ = 0;
  ready_.clear();
  for (Warp& warp : warps_) warp.open.clear();
  spare_.clear();
  for (auto& place : places_) spare_.push_back(place.get());
  shared_.reserve(launch_->sharedBytes);
  const dim3& block = launch_->block;
  for (size_t i = 0; i < count_; i++) {
    Fiber& fiber = fibers_[i];
    const auto linear = static_cast<unsigned>(i);
    fiber.linear = static_cast<int>(i);
    fiber.index = {linear % block.x, linear / block.x % block.y, linear / block.x / block.y};
    fiber.begun.clear();
    fiber.groups.clear();
    if (!fiber.stack) fiber.stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
#if defined(__SANITIZE_ADDRESS__)
    // What a fiber that was dropped has left: the frame of `enter` alone where it had come to its end.
    const size_t left = fiber.state == State::done ? kStackBytes / 64 : kStackBytes;
    __asan_unpoison_memory_region(fiber.stack.get() + kStackBytes - left, left);
#endif
    fiber.fiber = context::make_fcontext(fiber.stack.get() + kStackBytes, kStackBytes, enter);
    resume(static_cast<int>(i));
  }
  while (done_ < count_) {
    if (ready_.empty()) {
      if (atBarrier_ < count_) reportStuck();
      atBarrier_ = 0;
      for (size_t i = 0; i < count_; i++) resume(static_cast<int>(i));
    }
    const size_t pick = random() % ready_.size();
    std::swap(ready_[pick], ready_.back());
    Fiber& fiber = fibers_[static_cast<size_t>(ready_.back())];
    ready_.pop_back();
    switchTo(fiber);
    if (!failure_.empty()) throw Failure(failure_);
  }
}

// All blocks of a grid in an order that is drawn, or `most` of them, first and last included.
std::vector<uint64_t> Executor::drawBlocks(uint64_t count, size_t most) {
  std::vector<uint64_t> order;
  if (most == 0 || count <= most) {
    for (uint64_t i = 0; i < count; i++) order.push_back(i);
  } else {
    order = {count - 1};
    if (most > 1) order.push_back(0);
    while (order.size() < most) order.push_back(random() % count);
  }
  std::shuffle(order.begin(), order.end(), random);
  return order;
}

void Executor::run(const Launch& launch, size_t most) {
  const dim3 &grid = launch.grid, &block = launch.block;
  count_ = static_cast<size_t>(block.x) * block.y * block.z;
  launch_ = &launch;
  gridDim = grid;
  blockDim = block;
  failure_.clear();
  if (fibers_.size() < count_) fibers_.resize(count_);
  if (warps_.size() * kWarpSize < count_) warps_.resize((count_ + kWarpSize - 1) / kWarpSize);
  for (uint64_t at : drawBlocks(uint64_t{grid.x} * grid.y * grid.z, most)) {
    blockIdx = {static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                static_cast<unsigned>(at / grid.x / grid.y)};
    runBlock();
  }
  launch_ = nullptr;
}

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer knows the address; where the kernel stood is for us to say.
void report(const char*) {
  if (!executor) return;
  std::fprintf(stderr, "emulator: the access above is that of %s\n", executor->place().c_str());
}
const int registered = [] {
  __asan_set_error_report_callback(report);
  return 0;
}();
#endif

}  // namespace

void run(const Launch& launch, size_t most) { ofThread().run(launch, most); }

void setSeed(uint64_t seed) { ofThread().random.seed(seed); }

std::byte* sharedMemory() { return executor->shared(); }

void fail(const std::string& message) { throw Failure(message); }

bool inKernel() { return executor != nullptr && executor->running(); }

void abandon(const std::string& message) {
  if (inKernel()) executor->abandon(message);
  std::fprintf(stderr, "emulator: %s\n", message.c_str());
  std::abort();
}

void barrier() { executor->wait(State::atBarrier, "__syncthreads"); }

int laneIndex() { return executor->current().linear % kWarpSize; }

Meeting::Meeting(unsigned mask, const char* operation, const void* brought, size_t bytes) {
  const int lane = laneIndex();
  if ((mask >> lane & 1) == 0) fail(std::string(operation) + " by a lane that is not in its mask");
  if (bytes > kBroughtBytes) fail("a lane brings too much");
  auto& open = executor->warp().open;
  const auto found =
      std::find_if(open.begin(), open.end(), [&](const MeetingPlace* place) { return (place->mask & mask) != 0; });
  if (found == open.end()) {
    place_ = executor->takePlace();
    place_->operation = operation;
    place_->mask = mask;
    open.push_back(place_);
  } else {
    place_ = *found;
    if (place_->mask != mask || (place_->operation != operation && std::strcmp(place_->operation, operation) != 0))
      fail("lanes of a warp meet at different operations: " + std::string(place_->operation) + " and " + operation);
  }
  std::memcpy(place_->brought[lane], brought, bytes);
  place_->arrived |= 1u << lane;
  place_->inside++;
  if (place_->arrived != mask) {
    executor->wait(State::atMeeting, operation);
    return;
  }
  open.erase(std::find(open.begin(), open.end(), place_));
  const int first = executor->current().linear / kWarpSize * kWarpSize;
  for (int other = 0; other < kWarpSize; other++)
    if (other != lane && (mask >> other & 1) != 0) executor->resume(first + other);
}

Meeting::~Meeting() {
  if (--place_->inside == 0) executor->giveBack(place_);
}

const std::byte* Meeting::of(int lane) const {
  if ((place_->mask >> lane & 1) == 0) fail(std::string(place_->operation) + " reads a lane that is not in its mask");
  return place_->brought[lane];
}

unsigned Meeting::mask() const { return place_->mask; }

float* Meeting::result(bool* first) const {
  *first = !place_->filled;
  place_->filled = true;
  return place_->result;
}

void beginCopy(void* shared, const void* global, bool valid) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 || (valid && reinterpret_cast<uintptr_t>(global) % 16 != 0))
    fail("cp.async of 16 bytes from or to an address that is no multiple of 16");
  const Copy copy{shared, global, valid};
  if (executor->random() % 2 == 0)
    copy.arrive();
  else
    executor->current().begun.push_back(copy);
}

void commitCopies() {
  Fiber& fiber = executor->current();
  fiber.groups.push_back(std::move(fiber.begun));
  fiber.begun.clear();
}

void waitForCopies(int newer) {
  auto& groups = executor->current().groups;
  while (groups.size() > static_cast<size_t>(newer)) {
    for (const Copy& copy : groups.front()) copy.arrive();
    groups.pop_front();
  }
}

double switchNanoseconds() {
  constexpr int kSwitches = 1000, kThreads = 256;
  const auto start = std::chrono::steady_clock::now();
  run({"switches", dim3(1), dim3(kThreads), 0, [] {
         for (int i = 0; i < kSwitches; i++) barrier();
       }});
  const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / kSwitches / kThreads;
}

}  // namespace emulator
