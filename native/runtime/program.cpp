#include "runtime/program.h"

#include <algorithm>

namespace autoprog {

namespace {

View resolve(const Workspace& workspace, const TensorDescription& tensor) {
  require(tensor.arena < workspace.arenas.size(), "SHAPE",
          "A tensor lies in arena " + std::to_string(tensor.arena) + " of " + std::to_string(workspace.arenas.size()));
  const Arena& arena = *workspace.arenas[tensor.arena];
  double bytes = static_cast<double>(bytesOf(tensor.type));  // doubles: the product of extents may overflow
  for (int64_t extent : tensor.shape) {
    require(extent >= 0, "SHAPE", "A tensor has a negative extent");
    bytes *= static_cast<double>(extent);
  }
  require(tensor.offset % bytesOf(tensor.type) == 0 &&
              static_cast<double>(tensor.offset) + bytes <= static_cast<double>(arena.bytes()),
          "SHAPE",
          "A tensor reaches beyond arena " + std::to_string(tensor.arena) + " of " + std::to_string(arena.bytes()) +
              " bytes");
  return {&arena, tensor.offset, tensor.type, tensor.shape};
}

void expectAligned(const Implementation& operation, const Operands& operands) {
  const auto check = [&](const std::vector<View>& views, const std::vector<size_t>& anywhere, const char* side) {
    for (size_t i = 0; i < views.size(); i++)
      require(
          views[i].offset % kOperandAlignment == 0 || std::find(anywhere.begin(), anywhere.end(), i) != anywhere.end(),
          "SHAPE", [&] {
            return "Expected a multiple of " + std::to_string(kOperandAlignment) + " bytes for the offset of " + side +
                   " " + std::to_string(i) + ", " + views[i].describe() + ", but received " +
                   std::to_string(views[i].offset);
          });
  };
  check(operands.inputs, operation.anywhere.inputs, "input");
  check(operands.outputs, operation.anywhere.outputs, "output");
}

const Implementation& find(const Engine& engine, const std::string& op) {
  for (const auto& implementation : engine.operations())
    if (implementation.name == op) return implementation;
  throw Error("SHAPE", "The " + std::string(engine.kind()) + " backend has no op named " + op, op);
}

// The rows of the whole batch that micro-batch `index` holds: half from the front and half from the back, so that
// images mixed with each other (i and batch - 1 - i) meet in one micro-batch, again as i and microBatch - 1 - i.
template <typename Copy>
void forSlices(int64_t batch, int64_t microBatch, int64_t index, size_t rowBytes, Copy copy) {
  if (microBatch == batch) return copy(size_t{0}, size_t{0}, static_cast<size_t>(batch) * rowBytes);
  const size_t half = static_cast<size_t>(microBatch / 2), start = static_cast<size_t>(index) * half;
  copy(start * rowBytes, 0, half * rowBytes);
  copy((static_cast<size_t>(batch) - start - half) * rowBytes, half * rowBytes, half * rowBytes);
}

}  // namespace

Program::Program(std::shared_ptr<Workspace> workspace, const ProgramDescription& description)
    : workspace_(std::move(workspace)),
      batch_(description.batch),
      microBatch_(description.microBatch),
      scratch_(workspace_->device->engine()),
      batches_(workspace_->device->engine(), 0) {
  require(
      batch_ >= 1 && microBatch_ >= 1 && batch_ % microBatch_ == 0 && (batch_ == microBatch_ || microBatch_ % 2 == 0),
      "SHAPE",
      "Expected an even divisor of the batch " + std::to_string(batch_) + " for the micro-batch but received " +
          std::to_string(microBatch_));
  require(!workspace_->arenas.empty(), "SHAPE", "The session has no arenas");
  require(description.activationBytes <= (size_t{1} << 46), "MEMORY", "The program asks for too much memory");
  Arena& activations = *workspace_->arenas[0];
  const size_t before = activations.bytes();
  if (before < description.activationBytes) activations.allocate(description.activationBytes);
  try {
    build(description);
  } catch (...) {
    // What does not fit must not keep the room from a smaller one.
    if (activations.bytes() > before) activations.allocate(before);
    throw;
  }
}

void Program::build(const ProgramDescription& description) {
  std::vector<View> views;
  for (const auto& tensor : description.tensors) views.push_back(resolve(*workspace_, tensor));
  const auto view = [&](size_t index) -> const View& {
    require(index < views.size(), "SHAPE", "There is no tensor " + std::to_string(index));
    return views[index];
  };

  Engine& engine = workspace_->device->engine();
  for (const auto& node : description.nodes) {
    scratch_.nextOp();
    Operands operands{node.attributes, {}, {}, &scratch_, &engine};
    for (size_t index : node.inputs) operands.inputs.push_back(view(index));
    for (size_t index : node.outputs) operands.outputs.push_back(view(index));
    const Implementation& implementation = find(engine, node.op);
    try {
      expectAligned(implementation, operands);
      steps_[static_cast<size_t>(node.phase)].push_back(
          {node.op, engine.prepare(implementation, operands), engine.stopwatch()});
    } catch (const Error& error) {
      throw Error(error.code, node.op + ": " + error.what(), node.op, error.hint);
    }
  }

  scratch_.reserve();

  size_t batchBytes = 0;
  const auto port = [&](const PortDescription& description) {
    const View& target = view(description.tensor);
    require(target.type != Type::bf16 && target.type != Type::f16, "SHAPE",
            "Expected f32, i32 or u8 for " + description.name + " but received " + target.describe());
    if (!description.sliced) return Port{description.name, target, false, target.bytes(), 0};
    require(target.extent(0) == microBatch_ && !target.shape.empty(), "SHAPE",
            "Expected the micro-batch as first axis of " + description.name + " but received " + target.describe());
    const size_t bytes = target.bytes() / static_cast<size_t>(microBatch_) * static_cast<size_t>(batch_);
    const Port port{description.name, target, true, bytes, batchBytes};
    if (microBatch_ != batch_) batchBytes += alignedBytes(bytes);
    return port;
  };
  for (const auto& input : description.inputs) inputs_.push_back(port(input));
  for (const auto& output : description.outputs) outputs_.push_back(port(output));
  batches_.allocate(batchBytes);
}

std::byte* Program::wholeBatch(const Port& port) const {
  return port.sliced && microBatch_ != batch_ ? batches_.base() + port.offset : port.view.address();
}

void Program::execute(Phase phase) {
  for (const auto& step : steps_[static_cast<size_t>(phase)]) {
    if (step.stopwatch) step.stopwatch->begin();
    step.kernel();
    if (step.stopwatch) step.stopwatch->end();
  }
}

std::optional<std::map<std::string, double>> Program::seconds() const {
  std::map<std::string, double> sums;
  for (const auto& phase : steps_)
    for (const auto& step : phase) {
      if (!step.stopwatch) return std::nullopt;
      sums[step.op] += step.stopwatch->seconds();
    }
  return sums;
}

void Program::runAll() {
  Engine& engine = workspace_->device->engine();
  const bool slices = microBatch_ != batch_;
  execute(Phase::begin);
  for (int64_t index = 0; index < batch_ / microBatch_; index++) {
    const auto copySlices = [&](const std::vector<Port>& ports, bool in) {
      for (const Port& port : ports) {
        if (!port.sliced) continue;
        forSlices(batch_, microBatch_, index, port.hostBytes / static_cast<size_t>(batch_),
                  [&](size_t whole, size_t part, size_t bytes) {
                    std::byte *batch = wholeBatch(port) + whole, *micro = port.view.address() + part;
                    engine.copy(in ? micro : batch, in ? batch : micro, bytes);
                  });
      }
    };
    if (slices) copySlices(inputs_, true);
    execute(Phase::micro);
    if (slices) copySlices(outputs_, false);
  }
  execute(Phase::end);
}

std::function<std::vector<Buffer>()> Program::start(const std::vector<HostValues>& inputs) {
  Engine& engine = workspace_->device->engine();
  engine.hostBlocks().trim();
  for (size_t i = 0; i < inputs_.size(); i++) engine.upload(wholeBatch(inputs_[i]), inputs[i], inputs_[i].hostBytes);

  const std::byte* base = workspace_->arenas[0]->base();
  // The first run is not recorded: drivers load a kernel's code when it first runs, which a capture may forbid.
  const bool first = !recorded_;
  if (first) runAll();
  if (first || base != recordedBase_) {
    recorded_ = engine.record([this] { runAll(); });
    recordedBase_ = base;
  }
  if (!first) recorded_();

  const auto outputs = std::make_shared<std::vector<Buffer>>();
  std::vector<Download> downloads;
  for (const auto& port : outputs_) {
    outputs->push_back({port.view.type, std::vector<std::byte>(port.hostBytes)});
    downloads.push_back({outputs->back().bytes.data(), wholeBatch(port), port.hostBytes});
  }
  return [outputs, finish = engine.download(std::move(downloads))] {
    finish();
    return std::move(*outputs);
  };
}

}  // namespace autoprog
