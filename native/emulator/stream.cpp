#include "emulator/stream.h"

#include <cstdio>
#include <random>
#include <thread>

#include "emulator/device.h"
#include "emulator/faults.h"

namespace emulator {

namespace {

std::mt19937_64& draw() {
  static std::mt19937_64 instance(settings().seed.value_or(0));
  return instance;
}

// Does the first task of a stream, or of the one that this waits for.
void advance(cudaStream_t stream) {
  while (stream->queue.front().blocked()) stream = stream->queue.front().source;
  const Task task = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (!task.work) return;
  try {
    task.work();
  } catch (const Failure& failure) {
    breakDown(failure.what());
  }
}

// One of the streams that have something to do.
cudaStream_t drawStream() {
  std::vector<cudaStream_t> ready;
  for (const cudaStream_t stream : device().streams)
    if (!stream->queue.empty() && !stream->queue.front().blocked()) ready.push_back(stream);
  return ready.empty() ? nullptr : ready[draw()() % ready.size()];
}

// `lazy` is the stream to go on with where nothing is drawn.
template <typename Reached, typename Lazy>
cudaError_t finishUntil(Reached reached, Lazy lazy) {
  for (;;) {
    const std::lock_guard lock(turn());
    if (device().failed) return cudaErrorLaunchFailure;
    if (reached()) return cudaSuccess;
    advance(settings().seed ? drawStream() : lazy());
  }
}

}  // namespace

std::recursive_mutex& turn() {
  static std::recursive_mutex instance;
  return instance;
}

void proceed() {
  if (!settings().seed) return;
  const std::lock_guard lock(turn());
  while (!device().failed && draw()() % 2 == 0)
    if (const cudaStream_t stream = drawStream())
      advance(stream);
    else
      return;
}

cudaError_t finish(cudaStream_t stream) {
  return finishUntil([&] { return stream->queue.empty(); }, [&] { return stream; });
}

cudaError_t finishAll() {
  const auto busy = [] {
    for (const cudaStream_t stream : device().streams)
      if (!stream->queue.empty()) return stream;
    return cudaStream_t{};
  };
  return finishUntil([&] { return busy() == nullptr; }, busy);
}

cudaError_t finish(const EventState& event) {
  return finishUntil([&] { return event.reached >= event.recorded; }, [&] { return event.stream; });
}

void forgetWork() {
  for (const cudaStream_t stream : device().streams) stream->queue.clear();
}

cudaError_t refuseWhileCapturing() {
  const std::lock_guard lock(turn());
  bool refused = false;
  for (const auto& [stream, thread] : device().capturing)
    if (thread == std::this_thread::get_id()) stream->invalid = refused = true;
  return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

bool capturing(cudaStream_t stream) {
  const std::lock_guard lock(turn());
  return stream == nullptr ? !device().capturing.empty() : stream->capture != nullptr;
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const std::lock_guard lock(turn());
  if (device().failed) return cudaErrorLaunchFailure;
  if (stream == nullptr) return cudaErrorInvalidValue;  // the default stream would wait for all others
  if (stream->capture) {
    stream->capture->nodes->push_back(std::move(work));
    return cudaSuccess;
  }
  stream->queue.push_back({std::move(work), nullptr, 0, nullptr});
  proceed();
  return cudaGetLastError();
}

}  // namespace emulator

using emulator::device;
using emulator::turn;
using Lock = std::lock_guard<std::recursive_mutex>;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Lock lock(turn());
  *stream = new CUstream_st;
  device().streams.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  emulator::finish(stream);
  const Lock lock(turn());
  std::erase(device().streams, stream);
  delete stream;
  if (device().streams.empty() && device().graphs > 0)
    std::fprintf(stderr, "emulator: %d graphs outlive the last stream\n", device().graphs);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const auto refused = emulator::refuseWhileCapturing(); refused != cudaSuccess) return refused;
  return emulator::finish(stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(turn());
  // No stream but one is ever captured here, so that the event lies outside of the graph.
  if (stream->capture) {
    stream->invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  const auto& state = event->state;
  if (state->reached < state->recorded) stream->queue.push_back({nullptr, state, state->recorded, state->stream});
  return cudaGetLastError();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  const Lock lock(turn());
  *event = new CUevent_st{flags};
  device().events++;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(turn());
  delete event;  // its state goes on for as long as work refers to it
  device().events--;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(turn());
  if (stream->capture) {  // nobody could wait for it
    stream->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
  }
  const auto& state = event->state;
  state->stream = stream;
  return emulator::enqueue(stream, [state, record = ++state->recorded] {
    state->reached = record;
    state->at = std::chrono::steady_clock::now();
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (emulator::faulty("spin") && (event->flags & cudaEventBlockingSync) == 0) return cudaErrorInvalidValue;
  if (const auto refused = emulator::refuseWhileCapturing(); refused != cudaSuccess) return refused;
  return emulator::finish(*event->state);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  emulator::proceed();
  const Lock lock(turn());
  if (device().failed) return cudaErrorLaunchFailure;
  return event->state->reached < event->state->recorded ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const Lock lock(turn());
  for (const cudaEvent_t event : {start, end})
    if (event->state->reached < event->state->recorded) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(end->state->at - start->state->at).count();
  return cudaGetLastError();
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  const Lock lock(turn());
  if (stream->capture) return cudaErrorStreamCaptureUnsupported;
  stream->capture = std::make_unique<CUgraph_st>();
  stream->invalid = false;
  device().capturing.emplace_back(stream, std::this_thread::get_id());
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Lock lock(turn());
  *graph = nullptr;
  if (!stream->capture) return cudaErrorInvalidValue;
  std::erase_if(device().capturing, [&](const auto& entry) { return entry.first == stream; });
  const std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->invalid) return cudaErrorStreamCaptureInvalidated;
  *graph = new CUgraph_st(*captured);
  device().graphs++;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  const Lock lock(turn());
  *exec = new CUgraphExec_st{graph->nodes};
  device().graphs++;
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock(turn());
  for (size_t i = 0; i < exec->nodes->size(); i++)
    if (const auto status = emulator::enqueue(stream, [nodes = exec->nodes, i] { (*nodes)[i](); });
        status != cudaSuccess)
      return status;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock(turn());
  delete exec;
  device().graphs--;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const Lock lock(turn());
  delete graph;
  device().graphs--;
  return cudaSuccess;
}
