#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "ops/ops.h"

namespace autoprog {

// One compute thread that runs tasks in order. Kernels share their loops with the helpers of its pool, so
// neither JavaScript's thread nor libuv's pool is ever occupied by a step.
class Device {
 public:
  Device(const Backend& backend, int threads);
  // Waits for the tasks that were accepted, unless the last of them is what destroys the device.
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void submit(std::function<void()> task);
  const Backend& backend() const { return backend_; }
  int threads() const { return threads_; }

 private:
  struct Queue;
  static void work(std::shared_ptr<Queue> queue, int threads);

  const Backend& backend_;
  const int threads_;
  const std::shared_ptr<Queue> queue_;  // shared with the thread, which may outlive the device
  std::thread thread_;
};

}  // namespace autoprog
