#include <optional>
#include <stdexcept>
#include <thread>

#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/handles.h"
#include "binding/images.h"
#include "binding/napi.h"
#include "cpu/engine.h"
#ifdef AUTOPROG_CUDA
#include "cuda/engine.h"
#endif
#include "runtime/host-memory.h"
#include "runtime/philox.h"

// N-API and nothing else: unwraps arguments, returns promises, turns exceptions into coded errors.
namespace autoprog::binding {

namespace {

#if defined(AUTOPROG_EMULATOR)
constexpr const char* kGpu = "cuda-emulated";
#elif defined(AUTOPROG_CUDA)
constexpr const char* kGpu = "cuda";
#endif

// kinds(): the kinds of device that this build has.
Napi::Value kinds(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  list.Set(0u, "cpu");
#ifdef AUTOPROG_CUDA
  list.Set(1u, kGpu);
#endif
  return list;
}

// openDevice(kind, index, threads, tf32, deterministic): threads 0 means one per core; only the processor has more than
// one, only a GPU has TF32, and algorithms that are chosen by their time unless it is to be deterministic.
Napi::Value openDevice(const Napi::CallbackInfo& info) {
  auto* environment = info.Env().GetInstanceData<Environment>();
  const std::string kind = toText(info[0], "a kind of device");
  [[maybe_unused]] const auto index = static_cast<int>(toInteger(info[1], "the device's index", 0, 1024));
  [[maybe_unused]] const bool tf32 = info[3].ToBoolean(), deterministic = info[4].ToBoolean();
  const auto asked = static_cast<int>(toInteger(info[2], "threads", 0, 1024));
  const int threads = asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#ifdef AUTOPROG_CUDA
  if (kind == kGpu) return wrap(info.Env(), environment->open(cuda::createEngine(index, tf32, deterministic), 1));
#endif
  require(kind == "cpu", "DEVICE", "This build has no device of kind " + kind);
  return wrap(info.Env(), environment->open(cpu::createEngine(threads), threads));
}

// abandon(): ends all compute threads, after what they have begun. For the end of a process, which deletes neither
// handles nor environments and would take away the libraries that a step still uses.
Napi::Value abandon(const Napi::CallbackInfo& info) {
  info.Env().GetInstanceData<Environment>()->abandon();
  return info.Env().Undefined();
}

template <typename T>
Napi::Value close(const Napi::CallbackInfo& info) {
  unwrap<T>(info[0]).close();
  return info.Env().Undefined();
}

// deviceInfo(device): what `doctor` prints.
Napi::Value deviceInfo(const Napi::CallbackInfo& info) {
  const auto device = open<Device>(info[0]);
  auto object = Napi::Object::New(info.Env());
  object.Set("threads", device->threads());
  for (const auto& [name, value] : device->engine().features()) object.Set(name, value);
  return object;
}

// deviceNotices(device): what it has to tell since it was last asked.
Napi::Value deviceNotices(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  for (const auto& notice : open<Device>(info[0])->engine().takeNotices()) list.Set(list.Length(), notice);
  return list;
}

Napi::Value toNumber(Napi::Env env, std::optional<size_t> bytes) {
  return bytes ? Napi::Number::New(env, static_cast<double>(*bytes)) : env.Undefined();
}

// freeMemory(device): a promise of the bytes that could still be reserved, undefined where that is not known; after all
// work asked for before.
Napi::Value freeMemory(const Napi::CallbackInfo& info) {
  const auto device = open<Device>(info[0]);
  using Bytes = std::optional<size_t>;
  return promiseOf<Bytes>(
      info.Env(), *device, [device] { return device->engine().freeMemory(); },
      [](Napi::Env env, Bytes& bytes) { return toNumber(env, bytes); });
}

// availableMemory(): bytes of the host's memory that the process could still have, undefined where that is not known.
Napi::Value availableMemory(const Napi::CallbackInfo& info) {
  return toNumber(info.Env(), autoprog::availableMemory());
}

// hostArray(device or session, type, count): a typed array of undefined contents, from which the device is sent values
// without a copy on this thread.
Napi::Value hostArray(const Napi::CallbackInfo& info) {
  const auto device = isA<Session>(info[0]) ? open<Session>(info[0])->workspace->device : open<Device>(info[0]);
  const Type type = toType(info[1]);
  require(type != Type::bf16 && type != Type::f16, "SHAPE", "Expected f32, i32 or u8 for the type of an array");
  const auto count = static_cast<size_t>(toInteger(info[2], "a count", 0, int64_t{1} << 32));
  return newHostArray(info.Env(), device->engine().hostBlocks(), type, count);
}

// releaseHostArray(typed array): of a host array, which is empty from then on; steps under way keep what they were
// given.
Napi::Value releaseHostArray(const Napi::CallbackInfo& info) {
  takeAway(info[0]);
  return info.Env().Undefined();
}

// createSession(device, [bytes, …]): a promise of a session with arenas of these sizes; arena 0 (activations) grows as
// programs need.
Napi::Value createSession(const Napi::CallbackInfo& info) {
  const auto device = open<Device>(info[0]);
  require(info[1].IsArray(), "SHAPE", "Expected an array of arena sizes");
  const auto sizes = info[1].As<Napi::Array>();
  const uint32_t count = sizes.Length();
  require(count >= 1 && count <= 256, "SHAPE", "Expected 1 to 256 arenas");
  std::vector<size_t> bytes;
  for (uint32_t i = 0; i < count; i++)
    bytes.push_back(static_cast<size_t>(toInteger(sizes[i], "an arena's size", 0, int64_t{1} << 46)));
  return promiseOf<std::shared_ptr<Session>>(
      info.Env(), *device,
      [device, bytes = std::move(bytes)] {
        auto workspace = std::make_shared<Workspace>();
        workspace->device = device;
        for (size_t size : bytes) workspace->arenas.push_back(std::make_unique<Arena>(device->engine(), size));
        return std::make_shared<Session>(Session{std::move(workspace)});
      },
      [](Napi::Env env, std::shared_ptr<Session>& session) { return wrap(env, session); });
}

// createProgram(session, description): a promise of a program.
Napi::Value createProgram(const Napi::CallbackInfo& info) {
  const auto session = open<Session>(info[0]);
  auto description = std::make_shared<ProgramDescription>(toDescription(info[1]));
  return promiseOf<std::shared_ptr<CompiledProgram>>(
      info.Env(), *session->workspace->device,
      [workspace = session->workspace, description] {
        auto program = std::make_shared<Program>(workspace, *description);
        return std::make_shared<CompiledProgram>(CompiledProgram{workspace, std::move(program)});
      },
      [](Napi::Env env, std::shared_ptr<CompiledProgram>& program) { return wrap(env, program); });
}

// runProgram(program, { name: typed array }): a promise of { name: typed array }.
Napi::Value runProgram(const Napi::CallbackInfo& info) {
  const auto compiled = open<CompiledProgram>(info[0]);
  require(info[1].IsObject(), "SHAPE", "Expected an object of inputs");
  const auto object = info[1].As<Napi::Object>();
  const auto& ports = compiled->program->inputs();
  std::vector<Napi::Value> values;  // all read before any memory is looked at
  for (const auto& port : ports) values.push_back(object.Get(port.name));
  std::vector<Memory> memories;
  for (size_t i = 0; i < ports.size(); i++) {
    const auto& port = ports[i];
    const Memory memory = toMemory(values[i], port.name);
    const Type type = typeOf(memory, port.name);
    require(type == port.view.type && memory.size == port.hostBytes, "SHAPE", [&] {
      return "Expected " + std::to_string(port.hostBytes / bytesOf(port.view.type)) + " elements of " +
             nameOf(port.view.type) + " for " + port.name + " but received " +
             std::to_string(memory.size / bytesOf(type)) + " of " + nameOf(type);
    });
    memories.push_back(memory);
  }
  const auto& device = compiled->workspace->device;
  const auto inputs =
      std::make_shared<std::vector<HostValues>>(hold(info.Env(), device->engine().hostBlocks(), memories));
  // The promise must not be the last to hold a program that is closed meanwhile.
  const auto names = std::make_shared<std::vector<std::string>>();
  for (const auto& port : compiled->program->outputs()) names->push_back(port.name);
  return promise<std::vector<Buffer>>(
      info.Env(), *device, [compiled, inputs] { return compiled->program->start(*inputs); },
      [names](Napi::Env env, std::vector<Buffer>& outputs) -> Napi::Value {
        auto result = Napi::Object::New(env);
        for (size_t i = 0; i < outputs.size(); i++) result.Set((*names)[i], fromBuffer(env, std::move(outputs[i])));
        return result;
      });
}

// programSeconds(program): a promise of { op: seconds } since the program was built, or of undefined where the device
// does not time ops.
Napi::Value programSeconds(const Napi::CallbackInfo& info) {
  const auto compiled = open<CompiledProgram>(info[0]);
  using Seconds = std::optional<std::map<std::string, double>>;
  return promiseOf<Seconds>(
      info.Env(), *compiled->workspace->device, [compiled] { return compiled->program->seconds(); },
      [](Napi::Env env, Seconds& seconds) -> Napi::Value {
        if (!seconds) return env.Undefined();
        auto object = Napi::Object::New(env);
        for (const auto& [op, value] : *seconds) object.Set(op, value);
        return object;
      });
}

View arenaRange(const Workspace& workspace, const Napi::CallbackInfo& info, Type type, size_t count) {
  const auto arena =
      static_cast<size_t>(toInteger(info[1], "an arena", 0, static_cast<int64_t>(workspace.arenas.size()) - 1));
  const auto offset = static_cast<size_t>(toInteger(info[2], "an offset", 0, int64_t{1} << 46));
  const size_t end = offset + count * bytesOf(type);
  require(offset % bytesOf(type) == 0 && end <= workspace.arenas[arena]->bytes(), "SHAPE",
          "Bytes " + std::to_string(offset) + " to " + std::to_string(end) + " lie outside of arena " +
              std::to_string(arena) + " of " + std::to_string(workspace.arenas[arena]->bytes()) + " bytes");
  return {workspace.arenas[arena].get(), offset, type, {static_cast<int64_t>(count)}};
}

// readArena(session, arena, byteOffset, type, count): a promise of a typed array, after all work asked for before.
Napi::Value readArena(const Napi::CallbackInfo& info) {
  const auto session = open<Session>(info[0]);
  const Type type = toType(info[3]);
  require(type != Type::bf16 && type != Type::f16, "SHAPE",
          "Expected f32, i32 or u8 for the type of an arena's values");
  const auto count = static_cast<size_t>(toInteger(info[4], "a count", 0, int64_t{1} << 32));
  const View view = arenaRange(*session->workspace, info, type, count);
  return promise<Buffer>(
      info.Env(), *session->workspace->device,
      [workspace = session->workspace, view] {
        const auto buffer = std::make_shared<Buffer>(Buffer{view.type, std::vector<std::byte>(view.bytes())});
        const Kernel finish =
            workspace->device->engine().download({{buffer->bytes.data(), view.address(), view.bytes()}});
        return [buffer, finish] {
          finish();
          return std::move(*buffer);
        };
      },
      [](Napi::Env env, Buffer& buffer) { return fromBuffer(env, std::move(buffer)); });
}

// writeArena(session, arena, byteOffset, typed array): a promise, settled once the values are in place.
Napi::Value writeArena(const Napi::CallbackInfo& info) {
  const auto session = open<Session>(info[0]);
  const Memory memory = toMemory(info[3], "values");
  const Type type = typeOf(memory, "values");
  const View view = arenaRange(*session->workspace, info, type, memory.size / bytesOf(type));
  const HostValues values = hold(info.Env(), session->workspace->device->engine().hostBlocks(), {memory}).front();
  return promiseOf<Nothing>(
      info.Env(), *session->workspace->device,
      [workspace = session->workspace, view, values] {
        workspace->device->engine().upload(view.address(), values, view.bytes());
        return Nothing{};
      },
      undefined);
}

// measureGemm(device, m, n, k): a promise of the best of several times, in seconds, of an f32 product (m, k) x (k, n).
Napi::Value measureGemm(const Napi::CallbackInfo& info) {
  const auto device = open<Device>(info[0]);
  const int64_t m = toInteger(info[1], "m", 1, 1 << 14), n = toInteger(info[2], "n", 1, 1 << 14),
                k = toInteger(info[3], "k", 1, 1 << 14);
  return promiseOf<double>(
      info.Env(), *device, [device, m, n, k] { return device->engine().measureGemm(m, n, k); },
      [](Napi::Env env, double& seconds) -> Napi::Value { return Napi::Number::New(env, seconds); });
}

// operations(device): [{ name, attributes }] of its ops, for comparison with lib/ops.
Napi::Value operations(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  const auto device = open<Device>(info[0]);
  for (const auto& operation : device->engine().operations()) {
    auto entry = Napi::Object::New(info.Env());
    entry.Set("name", std::string(operation.name));
    auto attributes = Napi::Array::New(info.Env());
    for (const auto& name : operation.attributes) attributes.Set(attributes.Length(), std::string(name));
    entry.Set("attributes", attributes);
    list.Set(list.Length(), entry);
  }
  return list;
}

// drawPhilox(seed low, seed high, step low, step high, purpose, index): four words, for comparison with lib/random.ts.
Napi::Value drawPhilox(const Napi::CallbackInfo& info) {
  const auto word = [&](size_t i) { return static_cast<uint32_t>(toInteger(info[i], "a word", 0, 0xffffffff)); };
  const RandomAddress address{{word(0), word(1)}, {word(2), word(3)}};
  const auto words = draw(address, static_cast<Purpose>(word(4)), word(5));
  auto list = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < 4; i++) list.Set(i, Napi::Number::New(info.Env(), words.word[i]));
  return list;
}

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (const Error& error) {
    throw toJavaScript(info.Env(), error);
  } catch (const std::bad_alloc&) {
    throw toJavaScript(info.Env(), Error("MEMORY", "Out of memory"));
  } catch (const std::length_error&) {
    throw toJavaScript(info.Env(), Error("MEMORY", "More was asked for than any memory holds"));
  }
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("kinds", guarded<kinds>);
  add("openDevice", guarded<openDevice>);
  add("abandon", guarded<abandon>);
  add("closeDevice", guarded<close<Device>>);
  add("deviceInfo", guarded<deviceInfo>);
  add("deviceNotices", guarded<deviceNotices>);
  add("freeMemory", guarded<freeMemory>);
  add("availableMemory", guarded<availableMemory>);
  add("hostArray", guarded<hostArray>);
  add("releaseHostArray", guarded<releaseHostArray>);
  add("createSession", guarded<createSession>);
  add("closeSession", guarded<close<Session>>);
  add("createProgram", guarded<createProgram>);
  add("closeProgram", guarded<close<CompiledProgram>>);
  add("runProgram", guarded<runProgram>);
  add("programSeconds", guarded<programSeconds>);
  add("readArena", guarded<readArena>);
  add("writeArena", guarded<writeArena>);
  add("measureGemm", guarded<measureGemm>);
  add("operations", guarded<operations>);
  add("drawPhilox", guarded<drawPhilox>);
  add("transformImages", guarded<transformImages>);
  add("transformJpeg", guarded<transformJpeg>);
  add("jpegDecoder", guarded<jpegDecoder>);
  return exports;
}

NODE_API_MODULE(autoprog, initialize)

}  // namespace

}  // namespace autoprog::binding
