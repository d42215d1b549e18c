#include "binding/images.h"

#include <chrono>

#include "binding/convert.h"
#include "image/plan.h"

namespace autoprog::binding {

namespace {

struct Work {
  image::Picture picture;
  image::Plan plan;
};

// Pixels are read and written where JavaScript has them: references keep the arrays alive until all is done.
class Transformation : public Napi::AsyncWorker {
 public:
  Transformation(Napi::Env env, std::vector<Work> work, uint8_t* out, const Napi::Object& held)
      : AsyncWorker(env, "autoprog.transformImages"),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        out_(out),
        held_(Napi::Persistent(held)) {}

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override {
    const auto started = std::chrono::steady_clock::now();
    uint8_t* out = out_;
    for (const auto& [picture, plan] : work_) {
      carryOut(plan, picture, out);
      out += static_cast<size_t>(plan.width) * static_cast<size_t>(plan.height) * static_cast<size_t>(picture.channels);
    }
    seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  }
  void OnOK() override {
    settle([&] { deferred_.Resolve(Napi::Number::New(Env(), seconds_)); });
  }
  // Plans are checked before, so that nothing but memory can be wanting.
  void OnError(const Napi::Error& error) override {
    settle([&] {
      error.Set("code", "MEMORY");
      deferred_.Reject(error.Value());
    });
  }

 private:
  // In an environment that is ending nothing can be settled, and nobody waits for it.
  template <typename Settle>
  static void settle(const Settle& call) {
    try {
      call();
    } catch (const Napi::Error&) {
    }
  }

  Napi::Promise::Deferred deferred_;
  std::vector<Work> work_;
  uint8_t* out_;
  Napi::ObjectReference held_;
  double seconds_ = 0;
};

template <typename Array>
Array toArray(const Napi::Value& value, napi_typedarray_type type, const char* name) {
  require(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type, "SHAPE",
          std::string("Expected a typed array of another type for ") + name);
  return value.As<Array>();
}

}  // namespace

Napi::Value transformImages(const Napi::CallbackInfo& info) {
  require(info.Length() == 7 && info[0].IsArray() && info[2].IsArray(), "SHAPE",
          "Expected arrays of sources and of plans");
  const auto sources = info[0].As<Napi::Array>();
  const auto plans = info[2].As<Napi::Array>();
  const auto channels = static_cast<int>(toInteger(info[1], "channels", 1, 3));
  require(channels != 2, "SHAPE", "Expected 1 or 3 channels");
  require(sources.Length() == plans.Length(), "SHAPE", "Expected a plan for each source");
  const auto height = static_cast<int>(toInteger(info[3], "height", 1, 1 << 16));
  const auto width = static_cast<int>(toInteger(info[4], "width", 1, 1 << 16));
  auto target = toArray<Napi::Uint8Array>(info[5], napi_uint8_array, "target");
  const auto offset = static_cast<size_t>(toInteger(info[6], "offset", 0, int64_t{1} << 46));
  const size_t bytes = static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels);
  require(offset <= target.ByteLength() && sources.Length() <= (target.ByteLength() - offset) / bytes, "SHAPE",
          "The target has no room for " + std::to_string(sources.Length()) + " images");

  const auto held = Napi::Array::New(info.Env());
  held.Set(0u, target);
  std::vector<Work> work;
  for (uint32_t i = 0; i < sources.Length(); i++) {
    const Napi::Value entry = sources[i];
    require(entry.IsObject(), "SHAPE", "Expected { pixels, height, width } for a source");
    const auto source = entry.As<Napi::Object>();
    const auto pixels = toArray<Napi::Uint8Array>(source.Get("pixels"), napi_uint8_array, "pixels");
    const image::Picture picture{pixels.Data(), static_cast<int>(toInteger(source.Get("width"), "width", 1, 1 << 16)),
                                 static_cast<int>(toInteger(source.Get("height"), "height", 1, 1 << 16)), channels};
    require(pixels.ByteLength() == picture.bytes(), "SHAPE",
            "Expected " + std::to_string(picture.bytes()) + " bytes of pixels but received " +
                std::to_string(pixels.ByteLength()));
    held.Set(i + 1, pixels);
    const auto numbers = toArray<Napi::Float64Array>(plans[i], napi_float64_array, "a plan");
    auto plan = image::toPlan(numbers.Data(), numbers.ElementLength(), picture.width, picture.height);
    require(plan.width == width && plan.height == height, "SHAPE",
            "A plan ends at " + std::to_string(plan.height) + " x " + std::to_string(plan.width) +
                " pixels instead of " + std::to_string(height) + " x " + std::to_string(width));
    work.push_back({picture, std::move(plan)});
  }
  auto* worker = new Transformation(info.Env(), std::move(work), target.Data() + offset, held);
  const Napi::Promise promise = worker->promise();
  worker->Queue();
  return promise;
}

}  // namespace autoprog::binding
