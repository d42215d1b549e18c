#include "cpu/engine.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <cstring>

#include "cpu/gemm.h"
#include "cpu/low-precision.h"
#include "cpu/memory.h"
#include "cpu/operations.h"
#include "runtime/pool.h"

namespace autoprog::cpu {

namespace {

class CpuEngine : public Engine {
 public:
  explicit CpuEngine(int threads) : threads_(threads) {}

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

  void enterThread() override {
    pool_ = std::make_unique<Pool>(threads_);
    Pool::current() = pool_.get();
  }

  std::byte* allocate(size_t bytes) override { return allocateMemory(bytes); }
  void release(std::byte* block, size_t bytes) noexcept override { releaseMemory(block, bytes); }
  void upload(std::byte* device, const void* host, size_t bytes) override { std::memcpy(device, host, bytes); }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
  Kernel download(std::vector<Download> downloads) override {
    for (const auto& [host, device, bytes] : downloads) std::memcpy(host, device, bytes);
    return [] {};
  }
  double measureGemm(int64_t m, int64_t n, int64_t k) override { return cpu::measureGemm(m, n, k); }

 private:
  const int threads_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace

std::unique_ptr<Engine> createEngine(int threads) { return std::make_unique<CpuEngine>(threads); }

}  // namespace autoprog::cpu
