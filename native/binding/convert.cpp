#include "binding/convert.h"

#include <cmath>
#include <cstring>

#include "binding/environment.h"

namespace autoprog::binding {

namespace {

constexpr int64_t kLargest = int64_t{1} << 46;

Napi::Object toObject(const Napi::Value& value, const char* name) {
  require(value.IsObject() && !value.IsArray(), "SHAPE", std::string("Expected an object for ") + name);
  return value.As<Napi::Object>();
}

template <typename Visit>
void forEach(const Napi::Value& value, const char* name, Visit visit) {
  require(value.IsArray(), "SHAPE", std::string("Expected an array for ") + name);
  const auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();
  require(length <= (1u << 20), "SHAPE", std::string("Too many entries in ") + name);
  for (uint32_t i = 0; i < length; i++) visit(Napi::Value(array[i]));
}

std::vector<size_t> toIndices(const Napi::Value& value, const char* name) {
  std::vector<size_t> indices;
  forEach(value, name, [&](const Napi::Value& entry) {
    indices.push_back(static_cast<size_t>(toInteger(entry, name, 0, 1 << 20)));
  });
  return indices;
}

double toNumber(const Napi::Value& value, const std::string& name) {
  require(value.IsNumber(), "SHAPE", "Expected a number for attribute " + name);
  return value.As<Napi::Number>().DoubleValue();
}

Attributes toAttributes(const Napi::Value& value) {
  Attributes attributes;
  const auto object = toObject(value, "attributes");
  forEach(object.GetPropertyNames(), "attributes", [&](const Napi::Value& key) {
    const std::string name = toText(key, "an attribute's name");
    const Napi::Value entry = object.Get(name);
    std::vector<double>& list = attributes.values[name];
    if (entry.IsArray())
      forEach(entry, name.c_str(), [&](const Napi::Value& element) { list.push_back(toNumber(element, name)); });
    else
      list.push_back(toNumber(entry, name));
  });
  return attributes;
}

std::vector<PortDescription> toPorts(const Napi::Value& value, const char* name) {
  std::vector<PortDescription> ports;
  forEach(value, name, [&](const Napi::Value& entry) {
    const auto object = toObject(entry, name);
    const Napi::Value sliced = object.Get("sliced");
    require(sliced.IsBoolean(), "SHAPE", std::string("Expected a boolean for sliced of ") + name);
    ports.push_back({toText(object.Get("name"), "a port's name"),
                     static_cast<size_t>(toInteger(object.Get("tensor"), "a port's tensor", 0, 1 << 20)),
                     sliced.As<Napi::Boolean>().Value()});
  });
  return ports;
}

}  // namespace

int64_t toInteger(const Napi::Value& value, const char* name, int64_t low, int64_t high) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  const bool fits =
      std::floor(number) == number && number >= static_cast<double>(low) && number <= static_cast<double>(high);
  require(fits, "SHAPE", [&] {
    return "Expected an integer from " + std::to_string(low) + " to " + std::to_string(high) + " for " + name;
  });
  return static_cast<int64_t>(number);
}

std::string toText(const Napi::Value& value, const char* name) {
  require(value.IsString(), "SHAPE", std::string("Expected a string for ") + name);
  return value.As<Napi::String>().Utf8Value();
}

Type toType(const Napi::Value& value) {
  const std::string name = toText(value, "a type");
  if (name == "f32") return Type::f32;
  if (name == "i32") return Type::i32;
  if (name == "u8") return Type::u8;
  if (name == "bf16") return Type::bf16;
  if (name == "f16") return Type::f16;
  throw Error("SHAPE", "Expected f32, i32, u8, bf16 or f16 for a type but received " + name);
}

Memory toMemory(const Napi::Value& value, const std::string& name) {
  require(value.IsTypedArray(), "SHAPE", [&] { return "Expected a typed array for " + name; });
  Memory memory{};
  size_t length = 0, offset = 0;
  void* data = nullptr;
  napi_value buffer = nullptr;
  const napi_status status =
      napi_get_typedarray_info(value.Env(), value, &memory.type, &length, &data, &buffer, &offset);
  require(status == napi_ok, "SHAPE", [&] { return "The memory of " + name + " cannot be read"; });
  require(Napi::Value(value.Env(), buffer).IsArrayBuffer(), "SHAPE",
          [&] { return "Expected memory of one thread for " + name + " but received a SharedArrayBuffer's"; });
  bool detached = false;
  napi_is_detached_arraybuffer(value.Env(), buffer, &detached);
  require(!detached, "SHAPE", [&] { return "The memory of " + name + " has been transferred"; });
  memory.data = static_cast<std::byte*>(data);
  memory.size = value.As<Napi::TypedArray>().ByteLength();
  memory.buffer = memory.data == nullptr ? nullptr : memory.data - offset;
  return memory;
}

Memory toMemory(const Napi::Value& value, napi_typedarray_type type, const std::string& wanted,
                const std::string& name) {
  const auto refuse = [&] { return "Expected " + wanted + " for " + name; };
  require(value.IsTypedArray(), "SHAPE", refuse);
  const Memory memory = toMemory(value, name);
  require(memory.type == type, "SHAPE", refuse);
  return memory;
}

Type typeOf(const Memory& memory, const std::string& name) {
  switch (memory.type) {
    case napi_float32_array:
      return Type::f32;
    case napi_int32_array:
      return Type::i32;
    case napi_uint8_array:
      return Type::u8;
    default:
      throw Error("SHAPE", "Expected a Float32Array, Int32Array or Uint8Array for " + name);
  }
}

namespace {

Napi::Value typedArray(Napi::Env env, Type type, const Napi::ArrayBuffer& memory, size_t count) {
  switch (type) {
    case Type::f32:
      return Napi::Float32Array::New(env, count, memory, 0);
    case Type::i32:
      return Napi::Int32Array::New(env, count, memory, 0);
    default:
      return Napi::Uint8Array::New(env, count, memory, 0);
  }
}

// Memory of JavaScript's that `owner` keeps until it is garbage.
template <typename Owner>
Napi::ArrayBuffer arrayBuffer(Napi::Env env, void* data, size_t bytes, std::unique_ptr<Owner> owner) {
  const auto memory = Napi::ArrayBuffer::New(
      env, data, bytes, [](Napi::Env, void*, Owner* owner) { delete owner; }, owner.get());
  owner.release();  // NOLINT: the array's from here on
  return memory;
}

}  // namespace

Napi::Value newHostArray(Napi::Env env, HostBlocks& blocks, Type type, size_t count) {
  const size_t bytes = count * bytesOf(type);
  if (bytes == 0) return typedArray(env, type, Napi::ArrayBuffer::New(env, 0), 0);
  auto block = blocks.take(bytes);
  std::byte* data = block.get();
  auto array = std::make_unique<HostArray>(env.GetInstanceData<Environment>()->hostArrays, std::move(block));
  return typedArray(env, type, arrayBuffer(env, data, bytes, std::move(array)), count);
}

std::shared_ptr<std::byte> heldBlock(Napi::Env env, const Memory& memory) {
  const auto& list = *env.GetInstanceData<Environment>()->hostArrays;
  const auto found = list.find(memory.buffer);
  return found == list.end() ? nullptr : std::shared_ptr<std::byte>(found->second->block, memory.data);
}

void takeAway(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  const Memory memory = toMemory(value, "an array");
  const auto block = heldBlock(env, memory);  // held until JavaScript has it no more
  if (!block) return;
  require(napi_detach_arraybuffer(env, value.As<Napi::TypedArray>().ArrayBuffer()) == napi_ok, "SHAPE",
          "The memory of an array cannot be taken away");
  const auto& list = *env.GetInstanceData<Environment>()->hostArrays;
  if (const auto found = list.find(memory.buffer); found != list.end()) found->second->letGo();
}

std::vector<HostValues> hold(Napi::Env env, HostBlocks& blocks, const std::vector<Memory>& values) {
  std::vector<HostValues> held;
  size_t copied = 0;
  for (const Memory& memory : values) {
    held.push_back(heldBlock(env, memory));
    if (!held.back()) copied += alignedBytes(memory.size);
  }
  if (copied == 0) return held;
  const auto block = blocks.take(copied);
  std::byte* next = block.get();
  for (size_t i = 0; i < values.size(); i++) {
    if (held[i] || values[i].size == 0) continue;
    std::memcpy(next, values[i].data, values[i].size);
    held[i] = HostValues(block, next);
    next += alignedBytes(values[i].size);
  }
  return held;
}

Napi::Value fromBuffer(Napi::Env env, Buffer&& buffer) {
  const size_t count = buffer.bytes.size() / bytesOf(buffer.type);
  if (count == 0) return typedArray(env, buffer.type, Napi::ArrayBuffer::New(env, 0), 0);
  auto owner = std::make_unique<std::vector<std::byte>>(std::move(buffer.bytes));
  void* data = owner->data();
  const size_t bytes = owner->size();
  return typedArray(env, buffer.type, arrayBuffer(env, data, bytes, std::move(owner)), count);
}

ProgramDescription toDescription(const Napi::Value& value) {
  const auto object = toObject(value, "a program");
  ProgramDescription program;
  program.batch = toInteger(object.Get("batch"), "batch", 1, 1 << 24);
  program.microBatch = toInteger(object.Get("microBatch"), "microBatch", 1, 1 << 24);
  program.activationBytes =
      static_cast<size_t>(toInteger(object.Get("activationBytes"), "activationBytes", 0, kLargest));
  forEach(object.Get("tensors"), "tensors", [&](const Napi::Value& entry) {
    const auto tensor = toObject(entry, "a tensor");
    std::vector<int64_t> shape;
    forEach(tensor.Get("shape"), "a shape",
            [&](const Napi::Value& extent) { shape.push_back(toInteger(extent, "an extent", 0, kLargest)); });
    require(shape.size() <= 8, "SHAPE", "A tensor has more than 8 axes");
    program.tensors.push_back({static_cast<size_t>(toInteger(tensor.Get("arena"), "an arena", 0, 1 << 10)),
                               static_cast<size_t>(toInteger(tensor.Get("offset"), "an offset", 0, kLargest)),
                               toType(tensor.Get("type")), std::move(shape)});
  });
  forEach(object.Get("nodes"), "nodes", [&](const Napi::Value& entry) {
    const auto node = toObject(entry, "a node");
    program.nodes.push_back({toText(node.Get("op"), "an op"),
                             static_cast<Phase>(toInteger(node.Get("phase"), "a phase", 0, 2)),
                             toIndices(node.Get("inputs"), "inputs"), toIndices(node.Get("outputs"), "outputs"),
                             toAttributes(node.Get("attributes"))});
  });
  program.inputs = toPorts(object.Get("inputs"), "inputs");
  program.outputs = toPorts(object.Get("outputs"), "outputs");
  return program;
}

}  // namespace autoprog::binding
