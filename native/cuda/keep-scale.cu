// Stochastic depth's factors: one thread per image and path.
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/keep-scale.h"
#include "runtime/philox.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 128;

__global__ void keepScaleKernel(const uint32_t* random, const int32_t* index, const float* rates, float* y, int count,
                                int paths) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= count) return;
  const RandomAddress address{{random[0], random[1]}, {random[2], random[3]}};
  const int image = i / paths, path = i % paths;
  y[i] = keepFactor(address, static_cast<uint64_t>(index[image]) * static_cast<uint64_t>(paths) + path, rates[path]);
}

Kernel drawKeepScale(const Operands& operands) {
  const KeepScaleOperands o(operands);
  return [o, rates = Table<float>(operands, o.rates), stream = streamOf(operands)] {
    const int paths = static_cast<int>(o.rates.size()), count = static_cast<int>(o.images) * paths;
    launch("keepScale", stream, {blocksFor(count, kThreads), kThreads}, keepScaleKernel,
           reinterpret_cast<const uint32_t*>(o.random.i32()), o.index.i32(), rates.data(), o.y.f32(), count, paths);
  };
}

}  // namespace

std::vector<Implementation> keepScale() { return {{"keepScale", {"rates"}, drawKeepScale}}; }

}  // namespace autoprog::cuda
