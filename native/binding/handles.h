#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "binding/napi.h"
#include "runtime/device.h"
#include "runtime/error.h"
#include "runtime/program.h"

// What JavaScript holds of native objects.
namespace autoprog::binding {

struct Session {
  std::shared_ptr<Workspace> workspace;
};

struct CompiledProgram {
  std::shared_ptr<Workspace> workspace;
  std::shared_ptr<Program> program;
};

inline Device& deviceOf(const Session& session) { return *session.workspace->device; }
inline Device& deviceOf(const CompiledProgram& program) { return *program.workspace->device; }

// Lets go of what may own memory of a device, on that device's thread: to free it waits for the work under way.
template <typename T>
void release(std::shared_ptr<T> held) {
  if constexpr (!std::is_same_v<T, Device>) {
    if (held == nullptr) return;
    const std::shared_ptr<ComputeThread> thread = deviceOf(*held).thread();
    thread->submit([held = std::move(held)]() mutable {
      held.reset();
      return Kernel();
    });
  }
}

// Handles are externals with a type tag, so that a wrong object is refused rather than misread. A closed one is empty.
template <typename T>
struct Handle {
  std::shared_ptr<T> target;

  explicit Handle(std::shared_ptr<T> held) : target(std::move(held)) {}
  ~Handle() { close(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  void close() { release(std::exchange(target, nullptr)); }
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
  auto external = Napi::External<Handle<T>>::New(env, new Handle<T>(std::move(target)),
                                                 [](Napi::Env, Handle<T>* handle) { delete handle; });
  external.TypeTag(&Kind<T>::tag);
  return external;
}

template <typename T>
bool isA(const Napi::Value& value) {
  return value.IsExternal() && value.As<Napi::External<Handle<T>>>().CheckTypeTag(&Kind<T>::tag);
}

template <typename T>
Handle<T>& unwrap(const Napi::Value& value) {
  require(isA<T>(value), "SHAPE", std::string("Expected a ") + Kind<T>::name + " handle");
  return *value.As<Napi::External<Handle<T>>>().Data();
}

template <typename T>
std::shared_ptr<T> open(const Napi::Value& value) {
  const auto& handle = unwrap<T>(value);
  require(handle.target != nullptr, "DEVICE", std::string("The ") + Kind<T>::name + " is closed");
  return handle.target;
}

}  // namespace autoprog::binding
