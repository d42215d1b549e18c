#include <napi.h>

#include <atomic>
#include <thread>

#include "binding/convert.h"
#include "cpu/backend.h"
#include "cpu/gemm.h"
#include "runtime/philox.h"

// N-API and nothing else: unwraps arguments, returns promises, turns exceptions into coded errors.
namespace autoprog::binding {

namespace {

// What is common to all handles of one JavaScript environment: a door back to its thread. The door keeps the event
// loop alive only while work is under way.
struct Environment {
  Napi::ThreadSafeFunction door;
  int underWay = 0;

  explicit Environment(Napi::Env env)
      : door(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "autoprog",
                                           0, 1)) {
    door.Unref(env);
  }
  ~Environment() { door.Release(); }

  void begin(Napi::Env env) {
    if (underWay++ == 0) door.Ref(env);
    door.Acquire();  // given back by the task, which may end after this environment
  }
  void end(Napi::Env env) {
    if (--underWay == 0) door.Unref(env);
  }
};

struct Session {
  std::shared_ptr<Workspace> workspace;
};

struct CompiledProgram {
  std::shared_ptr<Workspace> workspace;
  std::shared_ptr<Program> program;
};

// Handles are externals with a type tag, so that a wrong object is refused rather than misread. A closed one is empty.
template <typename T>
struct Handle {
  std::shared_ptr<T> target;
};
template <typename T>
struct Kind;
template <>
struct Kind<Device> {
  static constexpr const char* name = "device";
  static constexpr napi_type_tag tag = {0x6175746f70726f67, 0x01};
};
template <>
struct Kind<Session> {
  static constexpr const char* name = "session";
  static constexpr napi_type_tag tag = {0x6175746f70726f67, 0x02};
};
template <>
struct Kind<CompiledProgram> {
  static constexpr const char* name = "program";
  static constexpr napi_type_tag tag = {0x6175746f70726f67, 0x03};
};

template <typename T>
Napi::Value wrap(Napi::Env env, std::shared_ptr<T> target) {
  auto external = Napi::External<Handle<T>>::New(env, new Handle<T>{std::move(target)},
                                                 [](Napi::Env, Handle<T>* handle) { delete handle; });
  external.TypeTag(&Kind<T>::tag);
  return external;
}

template <typename T>
Handle<T>& unwrap(const Napi::Value& value) {
  const std::string name = Kind<T>::name;
  require(value.IsExternal(), "SHAPE", "Expected a " + name + " handle");
  const auto external = value.As<Napi::External<Handle<T>>>();
  require(external.CheckTypeTag(&Kind<T>::tag), "SHAPE", "Expected a " + name + " handle");
  return *external.Data();
}

template <typename T>
std::shared_ptr<T> open(const Napi::Value& value) {
  const auto& handle = unwrap<T>(value);
  require(handle.target != nullptr, "DEVICE", std::string("The ") + Kind<T>::name + " is closed");
  return handle.target;
}

Napi::Error toJavaScript(Napi::Env env, const Error& error) {
  auto value = Napi::Error::New(env, error.what());
  value.Set("code", error.code);
  if (!error.op.empty()) value.Set("op", error.op);
  return value;
}

// Runs `task` on the device's thread and settles the promise with `deliver`'s value on JavaScript's.
template <typename Result>
Napi::Value promise(Napi::Env env, Device& device, std::function<Result()> task,
                    std::function<Napi::Value(Napi::Env, Result&)> deliver) {
  auto* environment = env.GetInstanceData<Environment>();
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  environment->begin(env);
  struct Outcome {
    std::unique_ptr<Result> result;
    std::unique_ptr<Error> error;
  };
  device.submit([task = std::move(task), deliver = std::move(deliver), deferred, environment,
                 door = environment->door]() mutable {
    auto* outcome = new Outcome;
    try {
      outcome->result = std::make_unique<Result>(task());
    } catch (const Error& error) {
      outcome->error = std::make_unique<Error>(error);
    } catch (const std::bad_alloc&) {
      outcome->error = std::make_unique<Error>("MEMORY", "Out of memory");
    } catch (const std::exception& error) {
      outcome->error = std::make_unique<Error>("DEVICE", error.what());
    }
    task = nullptr;  // what it holds is released here, not on JavaScript's thread
    const auto settle = [deliver = std::move(deliver), deferred, environment](Napi::Env env, Napi::Function,
                                                                              Outcome* outcome) {
      const std::unique_ptr<Outcome> owner(outcome);
      if (static_cast<napi_env>(env) == nullptr) return;  // the environment is going away: nobody waits any more
      environment->end(env);
      const Napi::HandleScope scope(env);
      if (outcome->error)
        deferred->Reject(toJavaScript(env, *outcome->error).Value());
      else
        deferred->Resolve(deliver(env, *outcome->result));
    };
    if (door.BlockingCall(outcome, settle) == napi_ok)
      door.Release();
    else
      delete outcome;  // the door is closing, and has given itself back
  });
  return deferred->Promise();
}

struct Nothing {};
Napi::Value undefined(Napi::Env env, Nothing&) { return env.Undefined(); }

// openDevice(threads): threads 0 means one per core.
Napi::Value openDevice(const Napi::CallbackInfo& info) {
  const auto asked = static_cast<int>(toInteger(info[0], "threads", 0, 1024));
  const int threads = asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  return wrap(info.Env(), std::make_shared<Device>(cpu::backend(), threads));
}

template <typename T>
Napi::Value close(const Napi::CallbackInfo& info) {
  auto& handle = unwrap<T>(info[0]);
  handle.target.reset();
  return info.Env().Undefined();
}

// deviceInfo(device): what `doctor` prints.
Napi::Value deviceInfo(const Napi::CallbackInfo& info) {
  const auto device = open<Device>(info[0]);
  auto object = Napi::Object::New(info.Env());
  object.Set("kind", std::string(device->backend().name));
  object.Set("threads", device->threads());
  for (const auto& [name, value] : cpu::features()) object.Set(name, value);
  return object;
}

// createSession(device, [bytes, …]): arenas of these sizes; arena 0 (activations) grows as programs need.
Napi::Value createSession(const Napi::CallbackInfo& info) {
  auto workspace = std::make_shared<Workspace>();
  workspace->device = open<Device>(info[0]);
  require(info[1].IsArray(), "SHAPE", "Expected an array of arena sizes");
  const auto sizes = info[1].As<Napi::Array>();
  require(sizes.Length() >= 1 && sizes.Length() <= 256, "SHAPE", "Expected 1 to 256 arenas");
  for (uint32_t i = 0; i < sizes.Length(); i++)
    workspace->arenas.push_back(
        std::make_unique<Arena>(static_cast<size_t>(toInteger(sizes[i], "an arena's size", 0, int64_t{1} << 46))));
  return wrap(info.Env(), std::make_shared<Session>(Session{std::move(workspace)}));
}

// createProgram(session, description): a promise of a program.
Napi::Value createProgram(const Napi::CallbackInfo& info) {
  const auto session = open<Session>(info[0]);
  auto description = std::make_shared<ProgramDescription>(toDescription(info[1]));
  return promise<std::shared_ptr<CompiledProgram>>(
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
  auto inputs = std::make_shared<std::vector<Buffer>>();
  for (const auto& port : compiled->program->inputs()) {
    Buffer buffer = toBuffer(object.Get(port.name), port.name.c_str());
    require(buffer.type == port.view.type && buffer.bytes.size() == port.hostBytes, "SHAPE",
            "Expected " + std::to_string(port.hostBytes / bytesOf(port.view.type)) + " elements of " +
                nameOf(port.view.type) + " for " + port.name + " but received " +
                std::to_string(buffer.bytes.size() / bytesOf(buffer.type)) + " of " + nameOf(buffer.type));
    inputs->push_back(std::move(buffer));
  }
  return promise<std::vector<Buffer>>(
      info.Env(), *compiled->workspace->device, [compiled, inputs] { return compiled->program->run(*inputs); },
      [compiled](Napi::Env env, std::vector<Buffer>& outputs) -> Napi::Value {
        auto result = Napi::Object::New(env);
        for (size_t i = 0; i < outputs.size(); i++)
          result.Set(compiled->program->outputs()[i].name, fromBuffer(env, outputs[i]));
        return result;
      });
}

// programSeconds(program): a promise of { op: seconds } since the program was built.
Napi::Value programSeconds(const Napi::CallbackInfo& info) {
  const auto compiled = open<CompiledProgram>(info[0]);
  using Seconds = std::map<std::string, double>;
  return promise<Seconds>(
      info.Env(), *compiled->workspace->device, [compiled] { return compiled->program->seconds(); },
      [](Napi::Env env, Seconds& seconds) -> Napi::Value {
        auto object = Napi::Object::New(env);
        for (const auto& [op, value] : seconds) object.Set(op, value);
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
  const auto count = static_cast<size_t>(toInteger(info[4], "a count", 0, int64_t{1} << 32));
  const View view = arenaRange(*session->workspace, info, type, count);
  return promise<Buffer>(
      info.Env(), *session->workspace->device,
      [workspace = session->workspace, view] {
        return Buffer{view.type, std::vector<std::byte>(view.address(), view.address() + view.bytes())};
      },
      [](Napi::Env env, Buffer& buffer) { return fromBuffer(env, buffer); });
}

// writeArena(session, arena, byteOffset, typed array): a promise, settled once the values are in place.
Napi::Value writeArena(const Napi::CallbackInfo& info) {
  const auto session = open<Session>(info[0]);
  const auto buffer = std::make_shared<Buffer>(toBuffer(info[3], "values"));
  const View view = arenaRange(*session->workspace, info, buffer->type, buffer->bytes.size() / bytesOf(buffer->type));
  return promise<Nothing>(
      info.Env(), *session->workspace->device,
      [workspace = session->workspace, view, buffer] {
        std::copy(buffer->bytes.begin(), buffer->bytes.end(), view.address());
        return Nothing{};
      },
      undefined);
}

// measureGemm(device, m, n, k): a promise of the best of several times, in seconds, of an f32 product (m, k) x (k, n).
Napi::Value measureGemm(const Napi::CallbackInfo& info) {
  const auto device = open<Device>(info[0]);
  const int64_t m = toInteger(info[1], "m", 1, 1 << 14), n = toInteger(info[2], "n", 1, 1 << 14),
                k = toInteger(info[3], "k", 1, 1 << 14);
  return promise<double>(
      info.Env(), *device, [m, n, k] { return cpu::measureGemm(m, n, k); },
      [](Napi::Env env, double& seconds) -> Napi::Value { return Napi::Number::New(env, seconds); });
}

// operations(): [{ name, attributes }] of the backend, for comparison with lib/ops.
Napi::Value operations(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  for (const auto& operation : cpu::backend().operations()) {
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
  for (uint32_t i = 0; i < 4; i++) list.Set(i, Napi::Number::New(info.Env(), words[i]));
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
  }
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("openDevice", guarded<openDevice>);
  add("closeDevice", guarded<close<Device>>);
  add("deviceInfo", guarded<deviceInfo>);
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
  return exports;
}

NODE_API_MODULE(autoprog, initialize)

}  // namespace

}  // namespace autoprog::binding
