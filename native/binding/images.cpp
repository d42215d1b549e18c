#include "binding/images.h"

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "binding/convert.h"
#include "binding/environment.h"
#include "image/jpeg.h"

namespace autoprog::binding {

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point started) { return std::chrono::duration<double>(Clock::now() - started).count(); }

// Work on libuv's threads, in memory that JavaScript cannot transfer or resize meanwhile: that of a target that is a
// host array, or its own, which is put into the target at the end.
class Task : public Napi::AsyncWorker {
 public:
  // `made` bytes go to byte `offset` of the target.
  Task(Napi::Env env, const Napi::Value& target, size_t offset, size_t made)
      : AsyncWorker(env, "autoprog.image"),
        deferred_(Napi::Promise::Deferred::New(env)),
        target_(Napi::Persistent(target.As<Napi::Object>())),
        offset_(offset),
        bytes_(made) {
    block_ = heldBlock(env, toMemory(target, "target"));
    if (!block_) made_.resize(made);
  }

  // Begins; the task deletes itself at its end.
  Napi::Promise start() {
    const Napi::Promise promise = deferred_.Promise();
    Queue();
    return promise;
  }

 protected:
  uint8_t* out() { return block_ ? reinterpret_cast<uint8_t*>(block_.get()) + offset_ : made_.data(); }
  // Whether anything was made.
  virtual bool done() const = 0;
  virtual Napi::Value result(Napi::Env env) = 0;

  void OnOK() override {
    settle([&] {
      try {
        if (done()) place();
      } catch (const Error& error) {
        return deferred_.Reject(toJavaScript(Env(), error).Value());
      }
      deferred_.Resolve(result(Env()));
    });
  }
  // Plans are checked before, so that nothing but memory can be wanting.
  void OnError(const Napi::Error& error) override {
    settle([&] {
      error.Set("code", "MEMORY");
      deferred_.Reject(error.Value());
    });
  }

 private:
  void place() {
    const Memory target = toMemory(target_.Value(), "target");
    require(offset_ <= target.size && bytes_ <= target.size - offset_, "SHAPE",
            "The target was made smaller while images were transformed");
    if (!block_) std::memcpy(target.data + offset_, made_.data(), made_.size());
  }

  // In an environment that is ending nothing can be settled, and nobody waits for it.
  template <typename Settle>
  static void settle(const Settle& call) {
    try {
      call();
    } catch (const Napi::Error&) {
    }
  }

  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference target_;
  const size_t offset_, bytes_;
  std::shared_ptr<std::byte> block_;
  std::vector<uint8_t> made_;
};

using Bytes = std::vector<uint8_t>;

Bytes copyOf(const Memory& memory) {
  const auto* first = reinterpret_cast<const uint8_t*>(memory.data);
  return memory.size > 0 ? Bytes(first, first + memory.size) : Bytes();
}

struct Work {
  Bytes pixels;
  image::Picture picture;
  image::Plan plan;
};

class Transformation : public Task {
 public:
  Transformation(Napi::Env env, std::vector<Work> work, const Napi::Value& target, size_t offset, size_t made)
      : Task(env, target, offset, made), work_(std::move(work)) {}

 protected:
  void Execute() override {
    const auto started = Clock::now();
    uint8_t* next = out();
    for (const auto& [pixels, picture, plan] : work_) {
      carryOut(plan, picture, next);
      next +=
          static_cast<size_t>(plan.width) * static_cast<size_t>(plan.height) * static_cast<size_t>(picture.channels);
    }
    seconds_ = secondsSince(started);
  }
  bool done() const override { return true; }
  Napi::Value result(Napi::Env env) override { return Napi::Number::New(env, seconds_); }

 private:
  std::vector<Work> work_;
  double seconds_ = 0;
};

// False where the file cannot be read, or is no file that a photo would be.
bool readFile(const std::string& path, std::vector<uint8_t>& bytes) {
  constexpr uintmax_t kLargest = uintmax_t{1} << 28;
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
  // `bytes`, or those of `file` where that is named, of a picture of this size.
  JpegTransformation(Napi::Env env, Bytes bytes, std::string file, const image::Jpeg& size, image::Plan plan,
                     const image::JpegOptions& options, const Napi::Value& target, size_t offset, size_t made)
      : Task(env, target, offset, made),
        bytes_(std::move(bytes)),
        file_(std::move(file)),
        jpeg_(size),
        plan_(std::move(plan)),
        options_(options) {}

 protected:
  void Execute() override {
    if (!file_.empty() && !readFile(file_, bytes_)) return;
    jpeg_.bytes = bytes_.data();
    jpeg_.size = bytes_.size();
    const auto started = Clock::now();
    done_ = carryOut(plan_, jpeg_, options_, out(), decodeSeconds_);
    seconds_ = secondsSince(started);
  }
  bool done() const override { return done_; }
  Napi::Value result(Napi::Env env) override {
    if (!done_) return env.Undefined();
    auto seconds = Napi::Array::New(env);
    seconds.Set(0u, decodeSeconds_);
    seconds.Set(1u, seconds_ - decodeSeconds_);
    return seconds;
  }

 private:
  Bytes bytes_;
  std::string file_;
  image::Jpeg jpeg_;
  image::Plan plan_;
  image::JpegOptions options_;
  bool done_ = false;
  double decodeSeconds_ = 0, seconds_ = 0;
};

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

// Bytes of `count` results, for which the target has room from `offset` on.
size_t bytesMade(const Napi::Value& target, size_t offset, size_t count, Size size, int channels) {
  const size_t room = toMemory(target, napi_uint8_array, "a Uint8Array", "target").size;
  const size_t bytes =
      static_cast<size_t>(size.width) * static_cast<size_t>(size.height) * static_cast<size_t>(channels);
  require(offset <= room && count <= (room - offset) / bytes, "SHAPE",
          "The target has no room for " + std::to_string(count) + " images");
  return count * bytes;
}

size_t toOffset(const Napi::Value& value) {
  return static_cast<size_t>(toInteger(value, "offset", 0, int64_t{1} << 46));
}

// The numbers of plans, copied.
std::vector<double> toNumbers(const Napi::Value& value) {
  const Memory memory = toMemory(value, napi_float64_array, "a Float64Array", "plans");
  std::vector<double> numbers(memory.size / sizeof(double));
  if (memory.size > 0) std::memcpy(numbers.data(), memory.data, memory.size);
  return numbers;
}

}  // namespace

Napi::Value transformImages(const Napi::CallbackInfo& info) {
  require(info.Length() == 7 && info[0].IsArray(), "SHAPE", "Expected an array of sources");
  const auto array = info[0].As<Napi::Array>();
  const auto channels = static_cast<int>(toInteger(info[1], "channels", 1, 3));
  require(channels != 2, "SHAPE", "Expected 1 or 3 channels");
  const Size size{toSide(info[4], "width"), toSide(info[3], "height")};
  const size_t offset = toOffset(info[6]);
  // An entry may be a getter: all are read before any memory is looked at.
  std::vector<Napi::Value> sources(array.Length());
  for (uint32_t i = 0; i < sources.size(); i++) sources[i] = array[i];
  const std::vector<double> numbers = toNumbers(info[2]);
  const size_t made = bytesMade(info[5], offset, sources.size(), size, channels);
  const double* next = numbers.data();
  const double* const end = next + numbers.size();
  std::vector<Work> work(sources.size());
  for (size_t i = 0; i < work.size(); i++) {
    const Memory pixels = toMemory(sources[i], napi_uint8_array, "a Uint8Array", "a source");
    require(end - next >= 3 && next[2] >= 0 && next[2] <= static_cast<double>(end - next - 3), "SHAPE",
            "Expected a size and a plan for each source");
    const Size from{image::toSide(next[1], "width"), image::toSide(next[0], "height")};
    const auto count = static_cast<size_t>(next[2]);
    image::Picture picture{nullptr, from.width, from.height, channels};
    auto plan = toPlan(next + 3, count, from, size);
    require(pixels.size == picture.bytes(), "SHAPE", [&] {
      return "Expected " + std::to_string(picture.bytes()) + " bytes of pixels but received " +
             std::to_string(pixels.size);
    });
    work[i] = {copyOf(pixels), picture, std::move(plan)};
    work[i].picture.pixels = work[i].pixels.data();
    next += 3 + count;
  }
  require(next == end, "SHAPE", "Expected one plan for each source");
  return (new Transformation(info.Env(), std::move(work), info[5], offset, made))->start();
}

Napi::Value transformJpeg(const Napi::CallbackInfo& info) {
  require(info.Length() == 6, "SHAPE", "Expected bytes, size, plan, options, target and offset");
  std::string file = info[0].IsString() ? toText(info[0], "a file") : std::string();
  const Size from = toSize(toObject(info[1], "size"));
  const auto options = toObject(info[3], "options");
  const Size size = toSize(options);
  const image::JpegOptions how{options.Get("exact").ToBoolean(), options.Get("verify").ToBoolean()};
  const size_t offset = toOffset(info[5]);
  // No code of JavaScript runs from here on.
  const std::vector<double> numbers = toNumbers(info[2]);
  auto plan = toPlan(numbers.data(), numbers.size(), from, size);
  const size_t made = bytesMade(info[4], offset, 1, size, 3);
  Bytes bytes = file.empty() ? copyOf(toMemory(info[0], napi_uint8_array, "a Uint8Array", "bytes")) : Bytes();
  const image::Jpeg jpeg{nullptr, 0, from.width, from.height};
  return (new JpegTransformation(info.Env(), std::move(bytes), std::move(file), jpeg, std::move(plan), how, info[4],
                                 offset, made))
      ->start();
}

Napi::Value jpegDecoder(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), image::jpegDecoder()); }

}  // namespace autoprog::binding
