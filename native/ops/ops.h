#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/engine.h"
#include "runtime/error.h"
#include "runtime/view.h"

// What a backend fills: one `prepare` function per op. It checks its operands once, when a program is built, and
// returns the kernel that every step runs. Kernels allocate nothing.
namespace autoprog {

// Numbers and lists of numbers by name, as lib/ops gives them.
class Attributes {
 public:
  std::map<std::string, std::vector<double>> values;

  double number(const std::string& name) const {
    const auto& value = list(name);
    require(value.size() == 1, "SHAPE", "Expected one number for attribute " + name);
    return value[0];
  }
  // A whole number within [low, high].
  int64_t integer(const std::string& name, int64_t low = 0, int64_t high = int64_t{1} << 40) const {
    return whole(number(name), name, low, high);
  }
  const std::vector<double>& list(const std::string& name) const {
    const auto found = values.find(name);
    require(found != values.end(), "SHAPE", "Missing attribute " + name);
    return found->second;
  }
  std::vector<int64_t> integers(const std::string& name) const {
    std::vector<int64_t> result;
    for (double value : list(name)) result.push_back(whole(value, name, 0, int64_t{1} << 40));
    return result;
  }

 private:
  static int64_t whole(double value, const std::string& name, int64_t low, int64_t high) {
    require(std::floor(value) == value && value >= static_cast<double>(low) && value <= static_cast<double>(high),
            "SHAPE",
            "Expected an integer from " + std::to_string(low) + " to " + std::to_string(high) + " for attribute " +
                name + " but received " + std::to_string(value));
    return static_cast<int64_t>(value);
  }
};

// Memory that an op needs besides its operands. The ops of a program run one after another and share it: what one
// leaves there, the next overwrites.
class Scratch {
 public:
  explicit Scratch(Engine& engine) : arena_(engine, 0) {}

  // A tensor for the op being prepared.
  View take(Type type, std::vector<int64_t> shape) {
    View view{&arena_, used_, type, std::move(shape)};
    used_ += alignedBytes(view.bytes());
    largest_ = std::max(largest_, used_);
    return view;
  }
  void nextOp() { used_ = 0; }
  // Once all ops are prepared.
  void reserve() { arena_.allocate(largest_); }

 private:
  Arena arena_;
  size_t used_ = 0, largest_ = 0;
};

struct Operands {
  Attributes attributes;
  std::vector<View> inputs;
  std::vector<View> outputs;
  Scratch* scratch;  // outlives the kernel
  Engine* engine;    // outlives it too

  // Operand checks, in the words of lib/errors.ts.
  void count(size_t fewestInputs, size_t mostInputs, size_t fewestOutputs, size_t mostOutputs) const {
    require(inputs.size() >= fewestInputs && inputs.size() <= mostInputs, "SHAPE",
            "Expected " + std::to_string(fewestInputs) + " to " + std::to_string(mostInputs) + " inputs but received " +
                std::to_string(inputs.size()));
    require(outputs.size() >= fewestOutputs && outputs.size() <= mostOutputs, "SHAPE",
            "Expected " + std::to_string(fewestOutputs) + " to " + std::to_string(mostOutputs) +
                " outputs but received " + std::to_string(outputs.size()));
  }
  void count(size_t in, size_t out) const { count(in, in, out, out); }

  static void expect(const View& view, Type type, int64_t size, const char* name) {
    require(view.type == type && view.size() == size, "SHAPE",
            std::string("Expected ") + std::to_string(size) + " elements of " + nameOf(type) + " for " + name +
                " but received " + view.describe());
  }
  // f32, or a 16-bit type where the graph runs in reduced precision.
  static void expectFloats(const View& view, int64_t size, const char* name) {
    require(view.isFloat() && view.size() == size, "SHAPE",
            std::string("Expected ") + std::to_string(size) + " floating-point elements for " + name +
                " but received " + view.describe());
  }
  static void expectShape(const View& view, const std::vector<int64_t>& shape, const char* name) {
    View wanted = view;
    wanted.shape = shape;
    require(view.shape == shape, "SHAPE",
            std::string("Expected ") + wanted.describe() + " for " + name + " but received " + view.describe());
  }
};

using Prepare = Kernel (*)(const Operands&);

// Kernels move up to this many bytes as one, so that operands begin at multiples of it.
constexpr size_t kOperandAlignment = 16;

// Operands, by index, that may begin at any of their elements, since products alone read and write them.
struct Anywhere {
  std::vector<size_t> inputs{}, outputs{};
};

// An op as a backend declares it; a test compares the attribute names with lib/ops.
struct Implementation {
  std::string_view name;
  std::vector<std::string_view> attributes;
  Prepare prepare;
  bool anyFloat = false;  // takes operands of 16-bit types too
  Anywhere anywhere{};
};

}  // namespace autoprog
