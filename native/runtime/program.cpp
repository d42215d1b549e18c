#include "runtime/program.h"

#include <chrono>
#include <cstring>

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

const Implementation& find(const Backend& backend, const std::string& op) {
  for (const auto& implementation : backend.operations())
    if (implementation.name == op) return implementation;
  throw Error("SHAPE", "The " + std::string(backend.name) + " backend has no op named " + op, op);
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
    : workspace_(std::move(workspace)), batch_(description.batch), microBatch_(description.microBatch) {
  require(
      batch_ >= 1 && microBatch_ >= 1 && batch_ % microBatch_ == 0 && (batch_ == microBatch_ || microBatch_ % 2 == 0),
      "SHAPE",
      "Expected an even divisor of the batch " + std::to_string(batch_) + " for the micro-batch but received " +
          std::to_string(microBatch_));
  require(!workspace_->arenas.empty(), "SHAPE", "The session has no arenas");
  require(description.activationBytes <= (size_t{1} << 46), "MEMORY", "The program asks for too much memory");
  Arena& activations = *workspace_->arenas[0];
  if (activations.bytes() < description.activationBytes) activations.allocate(description.activationBytes);

  std::vector<View> views;
  for (const auto& tensor : description.tensors) views.push_back(resolve(*workspace_, tensor));
  const auto view = [&](size_t index) -> const View& {
    require(index < views.size(), "SHAPE", "There is no tensor " + std::to_string(index));
    return views[index];
  };

  const Backend& backend = workspace_->device->backend();
  for (const auto& node : description.nodes) {
    Operands operands{node.attributes, {}, {}};
    for (size_t index : node.inputs) operands.inputs.push_back(view(index));
    for (size_t index : node.outputs) operands.outputs.push_back(view(index));
    const Implementation& implementation = find(backend, node.op);
    try {
      steps_[static_cast<size_t>(node.phase)].push_back({node.op, implementation.prepare(operands)});
    } catch (const Error& error) {
      throw Error(error.code, node.op + ": " + error.what(), node.op);
    }
  }

  const auto port = [&](const PortDescription& description) {
    const View& target = view(description.tensor);
    size_t bytes = target.bytes();
    if (description.sliced) {
      require(target.extent(0) == microBatch_ && !target.shape.empty(), "SHAPE",
              "Expected the micro-batch as first axis of " + description.name + " but received " + target.describe());
      bytes = bytes / static_cast<size_t>(microBatch_) * static_cast<size_t>(batch_);
    }
    return Port{description.name, target, description.sliced, bytes};
  };
  for (const auto& input : description.inputs) inputs_.push_back(port(input));
  for (const auto& output : description.outputs) outputs_.push_back(port(output));
}

void Program::execute(Phase phase) {
  using Clock = std::chrono::steady_clock;
  auto before = Clock::now();
  for (auto& step : steps_[static_cast<size_t>(phase)]) {
    step.kernel();
    const auto after = Clock::now();
    step.seconds += std::chrono::duration<double>(after - before).count();
    before = after;
  }
}

std::map<std::string, double> Program::seconds() const {
  std::map<std::string, double> sums;
  for (const auto& phase : steps_)
    for (const auto& step : phase) sums[step.op] += step.seconds;
  return sums;
}

std::vector<Buffer> Program::run(const std::vector<Buffer>& inputs) {
  std::vector<Buffer> outputs;
  for (const auto& port : outputs_) outputs.push_back({port.view.type, std::vector<std::byte>(port.hostBytes)});
  for (size_t i = 0; i < inputs_.size(); i++)
    if (!inputs_[i].sliced) std::memcpy(inputs_[i].view.address(), inputs[i].bytes.data(), inputs_[i].hostBytes);

  execute(Phase::begin);
  for (int64_t index = 0; index < batch_ / microBatch_; index++) {
    for (size_t i = 0; i < inputs_.size(); i++) {
      if (!inputs_[i].sliced) continue;
      forSlices(batch_, microBatch_, index, inputs_[i].hostBytes / static_cast<size_t>(batch_),
                [&](size_t host, size_t device, size_t bytes) {
                  std::memcpy(inputs_[i].view.address() + device, inputs[i].bytes.data() + host, bytes);
                });
    }
    execute(Phase::micro);
    for (size_t i = 0; i < outputs_.size(); i++) {
      if (!outputs_[i].sliced) continue;
      forSlices(batch_, microBatch_, index, outputs_[i].hostBytes / static_cast<size_t>(batch_),
                [&](size_t host, size_t device, size_t bytes) {
                  std::memcpy(outputs[i].bytes.data() + host, outputs_[i].view.address() + device, bytes);
                });
    }
  }
  execute(Phase::end);
  for (size_t i = 0; i < outputs_.size(); i++)
    if (!outputs_[i].sliced) std::memcpy(outputs[i].bytes.data(), outputs_[i].view.address(), outputs_[i].hostBytes);
  return outputs;
}

}  // namespace autoprog
