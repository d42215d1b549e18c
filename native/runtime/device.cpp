#include "runtime/device.h"

#include <condition_variable>
#include <deque>
#include <mutex>

#include "runtime/pool.h"

namespace autoprog {

struct Device::Queue {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> tasks;
  bool stopping = false;
};

Device::Device(const Backend& backend, int threads)
    : backend_(backend), threads_(threads), queue_(std::make_shared<Queue>()), thread_(work, queue_, threads) {}

Device::~Device() {
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->stopping = true;
  }
  queue_->wake.notify_one();
  if (thread_.get_id() == std::this_thread::get_id())
    thread_.detach();
  else
    thread_.join();
}

void Device::submit(std::function<void()> task) {
  {
    const std::lock_guard lock(queue_->mutex);
    queue_->tasks.push_back(std::move(task));
  }
  queue_->wake.notify_one();
}

void Device::work(std::shared_ptr<Queue> queue, int threads) {
  Pool pool(threads);
  Pool::current() = &pool;
  for (;;) {
    std::function<void()> task;
    {
      std::unique_lock lock(queue->mutex);
      queue->wake.wait(lock, [&] { return queue->stopping || !queue->tasks.empty(); });
      if (queue->tasks.empty()) return;
      task = std::move(queue->tasks.front());
      queue->tasks.pop_front();
    }
    task();
  }
}

}  // namespace autoprog
