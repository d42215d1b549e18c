#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "emulator/runtime.h"

// Streams are queues: kernels, copies and records of events wait there, and are done when somebody waits for them, as
// late as possible. Under a seed they are done earlier too, at random: any order that events leave open may come about.
namespace emulator {

using Work = std::function<void()>;

// How often an event was recorded, and how many of its records have been reached.
struct EventState {
  uint64_t recorded = 0, reached = 0;
  cudaStream_t stream = nullptr;  // of the last record
  std::chrono::steady_clock::time_point at;
};

struct Task {
  Work work;
  std::shared_ptr<EventState> awaited;  // instead of work: until this record of the event, made on `source`, is reached
  uint64_t record = 0;
  cudaStream_t source = nullptr;

  bool blocked() const { return awaited && awaited->reached < record; }
};

// Held while queues change and work is done: one thing at a time, by whichever thread waits.
std::recursive_mutex& turn();

// Drawn by the seed where one is given: does some of the work that waits.
void proceed();

// Does work until nothing is left on the stream, or on all of them; or until the event's last record is reached.
cudaError_t finish(cudaStream_t stream);
cudaError_t finishAll();
cudaError_t finish(const EventState& event);

// Forgets all work that waits, as after a failure.
void forgetWork();

// What may not happen on a thread that captures a stream: spoils the capture, and is an error then.
cudaError_t refuseWhileCapturing();

}  // namespace emulator

struct CUgraph_st {
  std::shared_ptr<std::vector<emulator::Work>> nodes = std::make_shared<std::vector<emulator::Work>>();
};
struct CUgraphExec_st {
  std::shared_ptr<std::vector<emulator::Work>> nodes;
};
struct CUstream_st {
  std::deque<emulator::Task> queue;
  std::unique_ptr<CUgraph_st> capture;
  bool invalid = false;
};
struct CUevent_st {
  unsigned flags;
  std::shared_ptr<emulator::EventState> state = std::make_shared<emulator::EventState>();
};
