#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ops/ops.h"
#include "runtime/device.h"

namespace autoprog {

// The arenas of one session. Arena 0 holds activations and takes the size that its largest program needs; the others
// are fixed at creation (weights, gradients, moments, averages).
struct Workspace {
  std::shared_ptr<Device> device;
  std::vector<std::unique_ptr<Arena>> arenas;
};

struct TensorDescription {
  size_t arena;
  size_t offset;  // bytes
  Type type;
  std::vector<int64_t> shape;
};

// When a node runs: before the micro-batches, in each, or after them.
enum class Phase : uint8_t { begin = 0, micro = 1, end = 2 };

struct NodeDescription {
  std::string op;
  Phase phase;
  std::vector<size_t> inputs, outputs;  // indices of tensors
  Attributes attributes;
};

// A tensor that the host fills or reads. A sliced one has the micro-batch as its first axis, its buffer the whole
// batch.
struct PortDescription {
  std::string name;
  size_t tensor;
  bool sliced;
};

struct ProgramDescription {
  int64_t batch = 1, microBatch = 1;
  size_t activationBytes = 0;
  std::vector<TensorDescription> tensors;
  std::vector<NodeDescription> nodes;
  std::vector<PortDescription> inputs, outputs;
};

// Values on the host that nobody writes to any more.
using HostValues = std::shared_ptr<const std::byte>;

struct Buffer {
  Type type = Type::f32;
  std::vector<std::byte> bytes;
};

// A flat list of prepared kernels, run whole: begin, every micro-batch, end. The engine records that once, together
// with the copies of each micro-batch's part of inputs and outputs, and repeats it.
class Program {
 public:
  // Checks every operand and every bound; throws SHAPE. Must run on the device's thread, since it may move arena 0.
  Program(std::shared_ptr<Workspace> workspace, const ProgramDescription& description);

  struct Port {
    std::string name;
    View view;
    bool sliced;
    size_t hostBytes;  // of the whole batch
    size_t offset;     // of a sliced one in the program's own memory
  };
  const std::vector<Port>& inputs() const { return inputs_; }
  const std::vector<Port>& outputs() const { return outputs_; }

  // Seconds spent in each op since the program was built, by name; nothing where the engine does not time ops.
  std::optional<std::map<std::string, double>> seconds() const;

  // Begins a run. What it returns waits for its end and gives the outputs. Inputs and outputs stand in the order of
  // inputs() and outputs(); the sizes have been checked.
  std::function<std::vector<Buffer>()> start(const std::vector<HostValues>& inputs);

 private:
  void build(const ProgramDescription& description);
  struct Step {
    std::string op;
    Kernel kernel;
    std::unique_ptr<Stopwatch> stopwatch;
  };
  void runAll();
  void execute(Phase phase);
  // Where a port's values of the whole batch lie: its tensor where that holds the whole batch, else the program's own
  // memory.
  std::byte* wholeBatch(const Port& port) const;

  std::shared_ptr<Workspace> workspace_;
  int64_t batch_, microBatch_;
  Scratch scratch_;
  Arena batches_;  // of sliced ports, where a micro-batch is not the batch
  std::vector<Step> steps_[3];
  std::vector<Port> inputs_, outputs_;
  Kernel recorded_;
  const std::byte* recordedBase_ = nullptr;  // of the activations when `recorded_` was made
};

}  // namespace autoprog
