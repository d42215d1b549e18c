// Soft targets of tokens from label maps. A block makes a token's row; all of its threads walk through the same few
// samples, and each adds what falls on its own classes (i, i + threads, …): nothing is added atomically, and the row is
// written in neighbours. The samples are read by all threads at once, from cache.
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/align-labels.h"

namespace autoprog::cuda {

namespace {

__device__ __forceinline__ float blockMaximum(float value, float* shared) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warpMaximum(value);
  if (lane == 0) shared[warp] = value;
  __syncthreads();
  for (int i = 0; i < static_cast<int>(blockDim.x) / kWarp; i++) value = fmaxf(value, shared[i]);
  __syncthreads();
  return value;
}

// A class outside of those that there are counts for none.
__global__ void alignLabelsKernel(const int32_t* classes, const float* scores, const float* regions, float* y,
                                  LabelSizes s) {
  const int tokens = s.grid * s.grid, threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int image = static_cast<int>(blockIdx.x) / tokens, token = static_cast<int>(blockIdx.x) % tokens;
  const int64_t cells = static_cast<int64_t>(s.height) * s.width, map = image * s.best * cells;
  float* row = y + static_cast<int64_t>(blockIdx.x) * s.classCount;
  for (int i = thread; i < s.classCount; i += threads) row[i] = 0;
  const LabelSamples samples = LabelSamples::of(regions + 5 * static_cast<int64_t>(image), token, s);
  float total = 0;
  for (int i = 0; i < samples.count; i++) {
    const LabelSamples::Sample sample = samples.sample(i);
    for (int k = 0; k < s.best; k++) {
      const int64_t at = map + k * cells + sample.cell;
      const int label = classes[at];
      const float value = sample.weight * scores[at];
      total += value;
      if (label >= 0 && label < s.classCount && label % threads == thread) row[label] += value;
    }
  }
  const float own = 1.0f - s.smoothing, even = 1.0f / static_cast<float>(s.classCount);
  if (!s.logits) {
    const float spread = (own * fmaxf(0.0f, 1.0f - total) + s.smoothing) * even;
    for (int i = thread; i < s.classCount; i += threads) row[i] = own * row[i] + spread;
    return;
  }
  float* shared = sharedMemory<float>();
  float largest = -INFINITY, sum = 0;
  for (int i = thread; i < s.classCount; i += threads) largest = fmaxf(largest, row[i]);
  largest = blockMaximum(largest, shared);
  for (int i = thread; i < s.classCount; i += threads) sum += expf(row[i] - largest);
  sum = blockSum(sum, shared);
  for (int i = thread; i < s.classCount; i += threads)
    row[i] = own * (expf(row[i] - largest) / sum) + s.smoothing * even;
}

Kernel alignLabels(const Operands& operands) {
  return [o = AlignLabelsOperands(operands), stream = streamOf(operands)] {
    const unsigned threads = o.sizes.classCount > kWarp ? 128 : kWarp;
    launch("alignLabels", stream, {static_cast<unsigned>(o.batch * o.tokens), threads, kWarp * sizeof(float)},
           alignLabelsKernel, o.classes.i32(), o.scores.f32(), o.regions.f32(), o.y.f32(), o.sizes);
  };
}

}  // namespace

std::vector<Implementation> alignLabels() {
  return {{"alignLabels", {"grid", "classCount", "smoothing", "logits"}, alignLabels}};
}

}  // namespace autoprog::cuda
