#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "binding/napi.h"
#include "runtime/device.h"
#include "runtime/error.h"

// Between JavaScript's thread and the compute threads: work goes out as tasks and comes back as settled promises.
namespace autoprog::binding {

// The way back to the thread of one JavaScript environment, for as long as that lives. Node destroys its half of the
// door with the environment, whoever still holds it, so that the compute threads ask first.
class Door {
 public:
  explicit Door(Napi::Env env)
      : function_(Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}),
                                                "autoprog", 0, 1)) {
    function_.Unref(env);
  }
  void ref(Napi::Env env) { function_.Ref(env); }
  void unref(Napi::Env env) { function_.Unref(env); }
  // Hands `data` to `call` on JavaScript's thread; false where that is no more.
  template <typename T, typename Call>
  bool pass(T* data, Call call) {
    const std::lock_guard lock(mutex_);
    return open_ && function_.BlockingCall(data, call) == napi_ok;  // its queue has no end, so this never blocks
  }
  void close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }

 private:
  std::mutex mutex_;
  Napi::ThreadSafeFunction function_;
  bool open_ = true;
};

// A host array's block, in the list of its environment's until it is let go.
struct HostArray;
using HostArrays = std::unordered_map<const void*, HostArray*>;  // by the blocks' addresses
struct HostArray {
  std::shared_ptr<HostArrays> list;
  std::shared_ptr<std::byte> block;

  HostArray(std::shared_ptr<HostArrays> all, std::shared_ptr<std::byte> memory)
      : list(std::move(all)), block(std::move(memory)) {
    (*list)[block.get()] = this;
  }
  ~HostArray() { letGo(); }
  HostArray(const HostArray&) = delete;
  HostArray& operator=(const HostArray&) = delete;
  void letGo() {
    if (block) list->erase(block.get());
    block = nullptr;
  }
};

// What is common to all handles of one JavaScript environment. The door keeps the event loop alive only while work is
// under way. Compute threads end before the environment does, and so before the process, whose libraries they use.
struct Environment {
  std::shared_ptr<Door> door;
  std::vector<std::shared_ptr<ComputeThread>> threads;
  const std::shared_ptr<HostArrays> hostArrays = std::make_shared<HostArrays>();  // of which some may outlive this
  int underWay = 0;

  explicit Environment(Napi::Env env) : door(std::make_shared<Door>(env)) {
    // Hooks run in reverse order, this one before that of Node's half of the door, and both before handles are deleted.
    env.AddCleanupHook([](Environment* environment) { environment->abandon(); }, this);
  }

  void abandon() {
    door->close();
    for (const auto& thread : threads) thread->abandon();
  }

  std::shared_ptr<Device> open(std::shared_ptr<Engine> engine, int count) {
    std::erase_if(threads, [](const auto& thread) { return thread->finished(); });
    auto device = std::make_shared<Device>(std::move(engine), count);
    threads.push_back(device->thread());
    return device;
  }

  void begin(Napi::Env env) {
    if (underWay++ == 0) door->ref(env);
  }
  void end(Napi::Env env) {
    if (--underWay == 0) door->unref(env);
  }
};

inline Napi::Error toJavaScript(Napi::Env env, const Error& error) {
  auto value = Napi::Error::New(env, error.what());
  value.Set("code", error.code);
  if (!error.op.empty()) value.Set("op", error.op);
  if (!error.hint.empty()) value.Set("hint", error.hint);
  return value;
}

// Runs `task` on the device's thread, then what it returns, and settles the promise with `deliver`'s value on
// JavaScript's. On an asynchronous engine the next task may begin in between.
template <typename Result>
Napi::Value promise(Napi::Env env, Device& device, std::function<std::function<Result()>()> task,
                    std::function<Napi::Value(Napi::Env, Result&)> deliver) {
  auto* environment = env.GetInstanceData<Environment>();
  const auto deferred = std::make_shared<Napi::Promise::Deferred>(env);
  environment->begin(env);
  struct Outcome {
    std::unique_ptr<Result> result;
    std::unique_ptr<Error> error;
  };
  const auto attempt = [](auto&& work) -> std::unique_ptr<Error> {
    try {
      work();
      return nullptr;
    } catch (const Error& error) {
      return std::make_unique<Error>(error);
    } catch (const std::bad_alloc&) {
      return std::make_unique<Error>("MEMORY", "Out of memory");
    } catch (const std::exception& error) {
      return std::make_unique<Error>("DEVICE", error.what());
    }
  };
  auto settle = [deliver = std::move(deliver), deferred, environment,
                 door = environment->door](std::unique_ptr<Outcome> outcome) mutable {
    const auto onJavaScript = [deliver, deferred, environment](Napi::Env env, Napi::Function, Outcome* outcome) {
      const std::unique_ptr<Outcome> owner(outcome);
      if (static_cast<napi_env>(env) == nullptr) return;  // the environment is going away: nobody waits any more
      environment->end(env);
      const Napi::HandleScope scope(env);
      try {
        if (!outcome->error) try {
            return deferred->Resolve(deliver(env, *outcome->result));
          } catch (const std::bad_alloc&) {
            outcome->error = std::make_unique<Error>("MEMORY", "Out of memory");
          }
        deferred->Reject(toJavaScript(env, *outcome->error).Value());
      } catch (const Napi::Error&) {
        // The thread of JavaScript is being terminated, and no call of it succeeds any more.
      }
    };
    Outcome* handed = outcome.release();
    if (!door->pass(handed, onJavaScript)) delete handed;
  };
  // Environments keep their threads until those have finished.
  auto& thread = *device.thread();
  const auto run = [attempt, &thread, &engine = device.engine()](auto&& work) {
    auto error = attempt([&] {
      thread.refuseAfterFailure();
      work();
    });
    if (error && engine.broken()) thread.fail(*error);
    return error;
  };
  device.submit([task = std::move(task), settle, run, asynchronous = device.engine().asynchronous()]() mutable {
    auto outcome = std::make_shared<Outcome>();
    auto rest = std::make_shared<std::function<Result()>>();
    outcome->error = run([&] { *rest = task(); });
    task = nullptr;  // what it holds is released here, not on JavaScript's thread
    const Kernel finish = [outcome, rest, settle, run]() mutable {
      if (!outcome->error) outcome->error = run([&] { outcome->result = std::make_unique<Result>((*rest)()); });
      *rest = nullptr;
      settle(std::make_unique<Outcome>(std::move(*outcome)));
    };
    if (asynchronous && !outcome->error) return finish;
    finish();
    return Kernel();
  });
  return deferred->Promise();
}

// The same for a task that is through when it returns.
template <typename Result>
Napi::Value promiseOf(Napi::Env env, Device& device, std::function<Result()> task,
                      std::function<Napi::Value(Napi::Env, Result&)> deliver) {
  return promise<Result>(
      env, device,
      [task = std::move(task)] {
        const auto result = std::make_shared<Result>(task());
        return [result] { return std::move(*result); };
      },
      std::move(deliver));
}

struct Nothing {};
inline Napi::Value undefined(Napi::Env env, Nothing&) { return env.Undefined(); }

}  // namespace autoprog::binding
