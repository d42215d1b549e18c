#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "runtime/engine.h"
#include "runtime/error.h"

namespace autoprog {

// The thread that all work of one engine goes through, in order: neither JavaScript's thread nor libuv's pool is ever
// occupied by a step. Whoever ends the process, or what the thread's results go to, calls `abandon` first.
class ComputeThread {
 public:
  // What is left to do once the device has finished a task: `Kernel()` where nothing is.
  using Task = std::function<Kernel()>;

  // Throws DEVICE where the system does not start a thread.
  explicit ComputeThread(std::shared_ptr<Engine> engine);
  ~ComputeThread() { abandon(); }
  ComputeThread(const ComputeThread&) = delete;
  ComputeThread& operator=(const ComputeThread&) = delete;

  // A task that leaves something to do lets the one after it begin, so that an asynchronous engine need not idle. Once
  // the thread is to end it takes none, and what that one holds is let go of here.
  void submit(Task task);
  // On the thread itself: throws the error that broke the device, if one did, so that it stays the answer to
  // everything.
  void refuseAfterFailure() const {
    if (failure_) throw *failure_;
  }
  void fail(const Error& error) {
    if (!failure_) failure_ = error;
  }
  // Lets the thread end once it has done what it was given.
  void finish();
  bool finished() const;
  // Drops the tasks that have not begun and waits for the rest of the others.
  void abandon();

 private:
  void work(Engine& engine);
  // The next task; null when there is none, or, with `wait`, none will come.
  Task take(bool wait);

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  bool finishing_ = false, finished_ = false;
  std::optional<Error> failure_;
  std::thread thread_;
};

// An engine and its compute thread, which goes on until it has done what it was given.
class Device {
 public:
  Device(std::shared_ptr<Engine> engine, int threads)
      : engine_(std::move(engine)), threads_(threads), thread_(std::make_shared<ComputeThread>(engine_)) {}
  // The thread lets go of the engine last, and so ends it.
  ~Device() {
    engine_.reset();
    thread_->finish();
  }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void submit(ComputeThread::Task task) { thread_->submit(std::move(task)); }
  Engine& engine() const { return *engine_; }
  int threads() const { return threads_; }
  // Has to be held until it has finished by another than itself.
  const std::shared_ptr<ComputeThread>& thread() const { return thread_; }

 private:
  std::shared_ptr<Engine> engine_;
  const int threads_;
  const std::shared_ptr<ComputeThread> thread_;
};

}  // namespace autoprog
