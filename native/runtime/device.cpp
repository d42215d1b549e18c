#include "runtime/device.h"

#include <system_error>

namespace autoprog {

namespace {

// Tasks begun before the one whose rest is waited for: one that computes while the next is prepared.
constexpr size_t kAhead = 2;

}  // namespace

ComputeThread::ComputeThread(std::shared_ptr<Engine> engine) {
  try {
    thread_ = std::thread([this, engine = std::move(engine)] { work(*engine); });
  } catch (const std::system_error& error) {
    throw Error("DEVICE", "The device's thread could not be started: " + error.code().message());
  }
}

void ComputeThread::submit(Task task) {
  {
    const std::lock_guard lock(mutex_);
    if (finishing_) return;
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void ComputeThread::finish() {
  {
    const std::lock_guard lock(mutex_);
    finishing_ = true;
  }
  wake_.notify_one();
}

bool ComputeThread::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

void ComputeThread::abandon() {
  std::deque<Task> dropped;  // destroyed without the lock: what they hold may end a device
  {
    const std::lock_guard lock(mutex_);
    dropped.swap(tasks_);
  }
  finish();
  if (thread_.joinable()) thread_.join();
}

ComputeThread::Task ComputeThread::take(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) wake_.wait(lock, [&] { return finishing_ || !tasks_.empty(); });
  if (tasks_.empty()) return nullptr;
  Task task = std::move(tasks_.front());
  tasks_.pop_front();
  return task;
}

void ComputeThread::work(Engine& engine) {
  try {
    engine.enterThread();
  } catch (const Error& error) {
    fail(error);
  }
  std::deque<Kernel> rests;
  for (;;) {
    if (Task task = take(rests.empty())) {
      if (Kernel rest = task()) rests.push_back(std::move(rest));
      if (rests.size() < kAhead) continue;
    } else if (rests.empty()) {
      break;
    }
    if (rests.empty()) continue;
    const Kernel rest = std::move(rests.front());
    rests.pop_front();
    rest();
  }
  engine.leaveThread();
  const std::lock_guard lock(mutex_);
  finished_ = true;
}

}  // namespace autoprog
