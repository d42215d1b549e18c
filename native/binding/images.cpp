#include "binding/images.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include "binding/convert.h"
#include "image/jpeg.h"

namespace autoprog::binding {

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point started) { return std::chrono::duration<double>(Clock::now() - started).count(); }

// Work on libuv's threads. Pixels are read and written where JavaScript has them: references keep the arrays alive
// until all is done.
class Task : public Napi::AsyncWorker {
 public:
  Task(Napi::Env env, const Napi::Object& held)
      : AsyncWorker(env, "autoprog.image"),
        deferred_(Napi::Promise::Deferred::New(env)),
        held_(Napi::Persistent(held)) {}

  // Begins; the task deletes itself at its end.
  Napi::Promise start() {
    const Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

 protected:
  virtual Napi::Value result(Napi::Env env) = 0;

  void OnOK() override {
    settle([&] { deferred_.Resolve(result(Env())); });
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
  Napi::ObjectReference held_;
};

struct Work {
  image::Picture picture;
  image::Plan plan;
};

class Transformation : public Task {
 public:
  Transformation(Napi::Env env, std::vector<Work> work, uint8_t* out, const Napi::Object& held)
      : Task(env, held), work_(std::move(work)), out_(out) {}

 protected:
  void Execute() override {
    const auto started = Clock::now();
    uint8_t* out = out_;
    for (const auto& [picture, plan] : work_) {
      carryOut(plan, picture, out);
      out += static_cast<size_t>(plan.width) * static_cast<size_t>(plan.height) * static_cast<size_t>(picture.channels);
    }
    seconds_ = secondsSince(started);
  }
  Napi::Value result(Napi::Env env) override { return Napi::Number::New(env, seconds_); }

 private:
  std::vector<Work> work_;
  uint8_t* out_;
  double seconds_ = 0;
};

// False where the file cannot be read, or is no file that a photo would be.
bool readFile(const std::string& path, std::vector<uint8_t>& bytes) {
  constexpr uintmax_t kLargest = uintmax_t{1} << 30;
  std::error_code error;
  // A name with a nought in it would be another one.
  if (path.find(char{0}) != std::string::npos || !std::filesystem::is_regular_file(path, error)) return false;
  const uintmax_t size = std::filesystem::file_size(path, error);
  if (error || size > kLargest) return false;
  bytes.resize(size);
  std::ifstream file(path, std::ios::binary);
  return file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size)).good();
}

class JpegTransformation : public Task {
 public:
  // The bytes of `jpeg`, or those of `file` where that is named.
  JpegTransformation(Napi::Env env, const image::Jpeg& jpeg, std::string file, image::Plan plan,
                     const image::JpegOptions& options, uint8_t* out, const Napi::Object& held)
      : Task(env, held), jpeg_(jpeg), file_(std::move(file)), plan_(std::move(plan)), options_(options), out_(out) {}

 protected:
  void Execute() override {
    std::vector<uint8_t> bytes;
    if (!file_.empty()) {
      if (!readFile(file_, bytes)) return;
      jpeg_.bytes = bytes.data();
      jpeg_.size = bytes.size();
    }
    const auto started = Clock::now();
    done_ = carryOut(plan_, jpeg_, options_, out_, decodeSeconds_);
    seconds_ = secondsSince(started);
  }
  Napi::Value result(Napi::Env env) override {
    if (!done_) return env.Undefined();
    auto seconds = Napi::Array::New(env);
    seconds.Set(0u, decodeSeconds_);
    seconds.Set(1u, seconds_ - decodeSeconds_);
    return seconds;
  }

 private:
  image::Jpeg jpeg_;
  std::string file_;
  image::Plan plan_;
  image::JpegOptions options_;
  uint8_t* out_;
  bool done_ = false;
  double decodeSeconds_ = 0, seconds_ = 0;
};

template <typename Array>
Array toArray(const Napi::Value& value, napi_typedarray_type type, const char* name) {
  require(value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type, "SHAPE",
          std::string("Expected a typed array of another type for ") + name);
  return value.As<Array>();
}

Napi::Object toObject(const Napi::Value& value, const char* name) {
  require(value.IsObject(), "SHAPE", std::string("Expected an object for ") + name);
  return value.As<Napi::Object>();
}

int toSide(const Napi::Value& value, const char* name) { return static_cast<int>(toInteger(value, name, 1, 1 << 16)); }

struct Size {
  int width, height;
};

Size toSize(const Napi::Object& object) {
  return {toSide(object.Get("width"), "width"), toSide(object.Get("height"), "height")};
}

// `numbers` are a plan from a picture of size `from` to one of size `to`.
image::Plan toPlan(const double* numbers, size_t count, Size from, Size to) {
  auto plan = image::toPlan(numbers, count, from.width, from.height);
  require(plan.width == to.width && plan.height == to.height, "SHAPE", [&] {
    return "A plan ends at " + std::to_string(plan.height) + " x " + std::to_string(plan.width) +
           " pixels instead of " + std::to_string(to.height) + " x " + std::to_string(to.width);
  });
  return plan;
}

// The place of `count` results in the target.
uint8_t* toPlace(const Napi::Value& value, const Napi::Value& from, size_t count, Size size, int channels) {
  auto target = toArray<Napi::Uint8Array>(value, napi_uint8_array, "target");
  const auto offset = static_cast<size_t>(toInteger(from, "offset", 0, int64_t{1} << 46));
  const size_t bytes =
      static_cast<size_t>(size.width) * static_cast<size_t>(size.height) * static_cast<size_t>(channels);
  require(offset <= target.ByteLength() && count <= (target.ByteLength() - offset) / bytes, "SHAPE",
          "The target has no room for " + std::to_string(count) + " images");
  return target.Data() + offset;
}

}  // namespace

Napi::Value transformImages(const Napi::CallbackInfo& info) {
  require(info.Length() == 7 && info[0].IsArray(), "SHAPE", "Expected an array of sources");
  const auto sources = info[0].As<Napi::Array>();
  const auto channels = static_cast<int>(toInteger(info[1], "channels", 1, 3));
  require(channels != 2, "SHAPE", "Expected 1 or 3 channels");
  const auto numbers = toArray<Napi::Float64Array>(info[2], napi_float64_array, "plans");
  const double* next = numbers.Data();
  const double* const end = next + numbers.ElementLength();
  const Size size{toSide(info[4], "width"), toSide(info[3], "height")};
  uint8_t* out = toPlace(info[5], info[6], sources.Length(), size, channels);
  const auto held = Napi::Array::New(info.Env());
  held.Set(0u, info[5]);
  std::vector<Work> work(sources.Length());
  for (uint32_t i = 0; i < work.size(); i++) {
    const Napi::Value source = sources[i];
    const auto pixels = toArray<Napi::Uint8Array>(source, napi_uint8_array, "a source");
    require(end - next >= 3 && next[2] >= 0 && next[2] <= static_cast<double>(end - next - 3), "SHAPE",
            "Expected a size and a plan for each source");
    const Size from{image::toSide(next[1], "width"), image::toSide(next[0], "height")};
    const auto count = static_cast<size_t>(next[2]);
    work[i] = {{pixels.Data(), from.width, from.height, channels}, toPlan(next + 3, count, from, size)};
    require(pixels.ByteLength() == work[i].picture.bytes(), "SHAPE", [&] {
      return "Expected " + std::to_string(work[i].picture.bytes()) + " bytes of pixels but received " +
             std::to_string(pixels.ByteLength());
    });
    held.Set(i + 1, source);
    next += 3 + count;
  }
  require(next == end, "SHAPE", "Expected one plan for each source");
  return (new Transformation(info.Env(), std::move(work), out, held))->start();
}

Napi::Value transformJpeg(const Napi::CallbackInfo& info) {
  require(info.Length() == 6, "SHAPE", "Expected bytes, size, plan, options, target and offset");
  const std::string file = info[0].IsString() ? toText(info[0], "a file") : std::string();
  const Size from = toSize(toObject(info[1], "size"));
  const auto options = toObject(info[3], "options");
  const Size size = toSize(options);
  const auto numbers = toArray<Napi::Float64Array>(info[2], napi_float64_array, "a plan");
  auto plan = toPlan(numbers.Data(), numbers.ElementLength(), from, size);
  uint8_t* out = toPlace(info[4], info[5], 1, size, 3);
  const auto held = Napi::Array::New(info.Env());
  held.Set(0u, info[0]);
  held.Set(1u, info[4]);
  image::Jpeg jpeg{nullptr, 0, from.width, from.height};
  if (file.empty()) {
    const auto bytes = toArray<Napi::Uint8Array>(info[0], napi_uint8_array, "bytes");
    jpeg.bytes = bytes.Data();
    jpeg.size = bytes.ByteLength();
  }
  const image::JpegOptions how{options.Get("exact").ToBoolean(), options.Get("verify").ToBoolean()};
  return (new JpegTransformation(info.Env(), jpeg, file, std::move(plan), how, out, held))->start();
}

Napi::Value jpegDecoder(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), image::jpegDecoder()); }

}  // namespace autoprog::binding
