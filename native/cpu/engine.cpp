#include "cpu/engine.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>
#include <span>

#include "cpu/gemm.h"
#include "cpu/low-precision.h"
#include "cpu/memory.h"
#include "cpu/operations.h"
#include "runtime/error.h"
#include "runtime/host-memory.h"
#include "runtime/pool.h"

namespace autoprog::cpu {

namespace {

class Clock : public Stopwatch {
 public:
  void begin() override { begun_ = Steady::now(); }
  void end() override { seconds_ += std::chrono::duration<double>(Steady::now() - begun_).count(); }
  double seconds() override { return seconds_; }

 private:
  using Steady = std::chrono::steady_clock;
  Steady::time_point begun_;
  double seconds_ = 0;
};

class CpuEngine : public Engine {
 public:
  explicit CpuEngine(int threads) : pool_(threads) {}
  ~CpuEngine() override { hostBlocks_->close(); }

  const char* kind() const override { return "cpu"; }

  std::vector<std::pair<std::string, std::string>> features() const override {
    const auto targets = hwy::SupportedAndGeneratedTargets();
    const auto best = targets.empty() ? std::string("none") : std::string(hwy::TargetName(targets.front()));
    return {{"simd", best}, {"gemm", gemmLibrary()}};
  }

  const std::vector<Implementation>& operations() const override {
    static const std::vector<Implementation> all = allOperations();
    return all;
  }

  Kernel prepare(const Implementation& operation, const Operands& operands) override {
    return operation.anyFloat ? operation.prepare(operands) : prepareRounded(operation.prepare, operands);
  }

  void enterThread() override { pool_.enter(); }

  std::byte* allocate(size_t bytes) override {
    const std::lock_guard lock(mutex_);
    auto& entry = blocks_.emplace_back();  // first: this may throw
    try {
      entry = {allocateMemory(bytes), bytes};
    } catch (...) {
      blocks_.pop_back();
      throw;
    }
    return entry.data();
  }
  void release(std::byte* block, size_t bytes) noexcept override {
    const std::lock_guard lock(mutex_);
    std::erase_if(blocks_, [&](const auto& other) { return other.data() == block; });
    releaseMemory(block, bytes);
  }
  std::optional<size_t> freeMemory() const override {
    const auto available = availableMemory();
    if (!available) return std::nullopt;
    const std::lock_guard lock(mutex_);
    size_t promised = *available / kShareOfOthers;
    for (const auto& block : blocks_) promised += untouchedBytes(block.data(), block.size());
    return *available - std::min(*available, promised);
  }
  void checkRoom(size_t bytes, size_t freed) const override {
    if (bytes <= freed) return;
    const auto free = freeMemory();
    require(!free || bytes <= *free + freed, "MEMORY", [&] {
      return "Could not reserve " + std::to_string(bytes >> 20) +
             " MiB of memory: " + std::to_string((*free + freed) >> 20) + " MiB are free";
    });
  }

  HostBlocks& hostBlocks() override { return *hostBlocks_; }
  void upload(std::byte* device, const void* host, size_t bytes) override { std::memcpy(device, host, bytes); }
  void upload(std::byte* device, std::shared_ptr<const std::byte> host, size_t bytes) override {
    if (bytes > 0) std::memcpy(device, host.get(), bytes);
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  Kernel download(std::vector<Download> downloads) override {
    for (const auto& [host, device, bytes] : downloads) std::memcpy(host, device, bytes);
    return [] {};
  }
  std::unique_ptr<Stopwatch> stopwatch() override { return std::make_unique<Clock>(); }
  double measureGemm(int64_t m, int64_t n, int64_t k) override { return cpu::measureGemm(m, n, k); }

 private:
  // Of what is available a sixteenth is left to pictures under way, results on their way and JavaScript.
  static constexpr size_t kShareOfOthers = 16;

  Pool pool_;
  const std::shared_ptr<HostBlocks> hostBlocks_ = std::make_shared<HostBlocks>(allocateMemory, releaseMemory);
  mutable std::mutex mutex_;
  std::vector<std::span<std::byte>> blocks_;  // all that were reserved
};

}  // namespace

std::unique_ptr<Engine> createEngine(int threads) { return std::make_unique<CpuEngine>(threads); }

}  // namespace autoprog::cpu
