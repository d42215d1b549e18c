// What happens once per batch, over whole arenas. What the step depends on (rates, step counts, the loss scale, whether
// gradients overflowed) is read from device memory, so that a captured step never changes.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/optimizer.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMostAverages = 8;

__global__ void squaresKernel(const float* gradients, const OptimizerBlock* blocks, double* sums) {
  const OptimizerBlock block = blocks[blockIdx.x];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < block.count; i += kThreads) {
    const float value = gradients[block.offset + i];
    sum = fmaf(value, value, sum);
  }
  const double total = blockSum(static_cast<double>(sum), sharedMemory<double>());
  if (threadIdx.x == 0) sums[blockIdx.x] = total;
}

__global__ void normKernel(const double* sums, const float* scaling, float* norm, int64_t count) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) sum += sums[i];
  sum = blockSum(sum, sharedMemory<double>());
  if (threadIdx.x == 0) norm[0] = static_cast<float>(sqrt(sum) / (scaling == nullptr ? 1.0 : scaling[0]));
}

// Of a parameter in this step; `skip` where gradients overflowed.
struct StepConstants {
  float step, correction, clip;
  int32_t skip;
};

__global__ void stepConstantsKernel(const float* hyper, const float* norm, const float* scaling, const int32_t* used,
                                    int32_t* steps, StepConstants* constants, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  const int slot = used[i];
  const bool skip = scaling != nullptr && !isfinite(norm[0]);
  const float clip = hyper[5] > 0 ? fminf(1.0f, hyper[5] / (norm[0] + 1e-6f)) : 1.0f;
  const int t = steps[slot] + (skip ? 0 : 1);
  steps[slot] = t;
  constants[slot] = {static_cast<float>(hyper[0] / (1.0 - pow(static_cast<double>(hyper[2]), t))),
                     static_cast<float>(1.0 / sqrt(1.0 - pow(static_cast<double>(hyper[3]), t))),
                     clip / (scaling == nullptr ? 1.0f : scaling[0]), skip ? 1 : 0};
}

struct Store {
  float *weights, *moment1, *moment2;
  float* averages[kMostAverages];
  float decays[kMostAverages];
  int averageCount;
};

// A block of the arena: AdamW where its parameter is trained, then every average, in one pass.
__global__ void adamwKernel(const float* hyper, const float* norm, bool scaled, const float* gradients,
                            const OptimizerBlock* blocks, const StepConstants* constants, Store store) {
  if (scaled && !isfinite(norm[0])) return;
  const OptimizerBlock block = blocks[blockIdx.x];
  const bool trained = block.slot >= 0;
  const StepConstants c = trained ? constants[block.slot] : StepConstants{};
  const float beta1 = hyper[2], beta2 = hyper[3], epsilon = hyper[4];
  const float keep = 1.0f - hyper[0] * (block.decayed != 0 ? hyper[1] : 0.0f);
  for (int64_t i = block.offset + threadIdx.x; i < block.offset + block.count; i += kThreads) {
    float weight = store.weights[i];
    if (trained) {
      const float g = gradients[i] * c.clip;
      const float m = fmaf(beta1, store.moment1[i], (1.0f - beta1) * g);
      const float v = fmaf(beta2, store.moment2[i], (1.0f - beta2) * (g * g));
      store.moment1[i] = m;
      store.moment2[i] = v;
      weight = fmaf(-c.step, m / fmaf(sqrtf(v), c.correction, epsilon), weight * keep);
      store.weights[i] = weight;
    }
    for (int a = 0; a < store.averageCount; a++)
      store.averages[a][i] = fmaf(store.decays[a], store.averages[a][i], (1.0f - store.decays[a]) * weight);
  }
}

__global__ void lossScaleKernel(const float* norm, float* state, float growth, float backoff, float interval) {
  const bool finite = isfinite(norm[0]);
  state[1] = finite ? state[1] + 1 : 0;
  if (!finite) {
    state[0] *= backoff;
    state[2] += 1;
  } else if (state[1] >= interval) {
    state[0] *= growth;
    state[1] = 0;
  }
}

// zero: fills its output.
Kernel zero(const Operands& operands) {
  operands.count(0, 1);
  const View y = operands.outputs[0];
  return [=, stream = streamOf(operands)] {
    check(cudaMemsetAsync(y.address(), 0, y.bytes(), stream), "cudaMemsetAsync");
  };
}

Kernel gradientNorm(const Operands& operands) {
  const GradientNormOperands o(operands);
  const Table<OptimizerBlock> blocks(operands, o.blocks);
  const auto count = static_cast<int64_t>(o.blocks.size());
  const View sums = operands.scratch->take(Type::f32, {2 * count});  // doubles
  return [=, gradients = o.gradients, norm = o.norm, scaling = o.scaling, stream = streamOf(operands)] {
    const size_t sharedBytes = kWarp * sizeof(double);
    if (count > 0)
      launch("gradientNorm", stream, {static_cast<unsigned>(count), kThreads, sharedBytes}, squaresKernel,
             gradients.f32(), blocks.data(), pointer<double>(sums));
    launch("gradientNorm sum", stream, {1, kThreads, sharedBytes}, normKernel, pointer<double>(sums),
           scaling.given ? scaling.view.f32() : nullptr, norm.f32(), count);
  };
}

Kernel adamwStep(const Operands& operands) {
  const AdamWOperands o(operands);
  require(o.averages.size() <= kMostAverages, "SHAPE",
          "Expected at most " + std::to_string(kMostAverages) + " averages but received " +
              std::to_string(o.averages.size()));
  const Table<OptimizerBlock> blocks(operands, o.blocks);
  const Table<int32_t> used(operands, o.used);
  const View constants = operands.scratch->take(Type::f32, {4 * o.slots});
  return [=, stream = streamOf(operands)] {
    Store store{o.weights.f32(), o.moment1.f32(), o.moment2.f32(), {}, {}, static_cast<int>(o.averages.size())};
    for (size_t a = 0; a < o.averages.size(); a++) {
      store.averages[a] = o.averages[a].f32();
      store.decays[a] = o.averageDecays[a];
    }
    const auto count = static_cast<int64_t>(used.size());
    if (count > 0)
      launch("adamw constants", stream, {blocksFor(count, kThreads), kThreads}, stepConstantsKernel, o.hyper.f32(),
             o.norm.f32(), o.scaling.given ? o.scaling.view.f32() : nullptr, used.data(), o.steps.i32(),
             pointer<StepConstants>(constants), count);
    if (blocks.size() > 0)
      launch("adamw", stream, {static_cast<unsigned>(blocks.size()), kThreads}, adamwKernel, o.hyper.f32(),
             o.norm.f32(), o.scaling.given, o.gradients.f32(), blocks.data(), pointer<StepConstants>(constants), store);
  };
}

Kernel updateLossScale(const Operands& operands) {
  return [o = LossScaleUpdateOperands(operands), stream = streamOf(operands)] {
    launch("lossScale", stream, {1, 1}, lossScaleKernel, o.norm.f32(), o.scaling.f32(), o.growth, o.backoff,
           o.interval);
  };
}

}  // namespace

std::vector<Implementation> optimizer() {
  return {{"zero", {"shape"}, zero},
          {"gradientNorm", {"offsets", "counts"}, gradientNorm},
          {"adamw", {"offsets", "counts", "slots", "decayed", "averages"}, adamwStep},
          {"lossScale", {"growth", "backoff", "interval"}, updateLossScale}};
}

}  // namespace autoprog::cuda
