// The loss: softmax cross entropy against soft targets, with its gradient in the same pass; logits are read twice from
// cache and never written. A block takes a row; a second kernel adds the rows' losses in order.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/cross-entropy.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 128;

// A label outside of the classes has no one.
__global__ void oneHotKernel(const int32_t* labels, float* y, int64_t count, int classes, float smoothing) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count)
    y[i] = smoothing / static_cast<float>(classes) + (i % classes == labels[i / classes] ? 1.0f - smoothing : 0.0f);
}

template <typename T>
__global__ void crossEntropyKernel(const float* logits, const float* targets, const float* scaling, float* losses,
                                   T* dlogits, int classes, float divisor) {
  float* shared = sharedMemory<float>();
  const int64_t row = blockIdx.x;
  const float *x = logits + row * classes, *t = targets + row * classes;
  float largest = -INFINITY;
  for (int i = static_cast<int>(threadIdx.x); i < classes; i += kThreads) largest = fmaxf(largest, x[i]);
  largest = warpMaximum(largest);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  if (lane == 0) shared[warp] = largest;
  __syncthreads();
  for (int i = 0; i < kThreads / kWarp; i++) largest = fmaxf(largest, shared[i]);
  __syncthreads();
  float sum = 0, mass = 0;
  for (int i = static_cast<int>(threadIdx.x); i < classes; i += kThreads) {
    sum += expf(x[i] - largest);
    mass += t[i];
  }
  sum = blockSum(sum, shared);
  mass = blockSum(mass, shared);
  const float logSum = logf(sum), factor = (scaling == nullptr ? 1.0f : scaling[0]) / divisor;
  float loss = 0;
  for (int i = static_cast<int>(threadIdx.x); i < classes; i += kThreads) {
    if (t[i] != 0.0f) loss -= t[i] * (x[i] - largest - logSum);
    dlogits[row * classes + i] = fromFloat<T>((expf(x[i] - largest) / sum * mass - t[i]) * factor);
  }
  loss = blockSum(loss, shared);
  if (threadIdx.x == 0) losses[row] = loss / divisor;
}

__global__ void addLossesKernel(const float* losses, float* loss, int64_t rows) {
  float sum = 0;
  for (int64_t row = threadIdx.x; row < rows; row += kThreads) sum += losses[row];
  sum = blockSum(sum, sharedMemory<float>());
  if (threadIdx.x == 0) loss[0] += sum;
}

// One block: as many threads as are needed count rows, whole numbers in any order.
__global__ void countsKernel(const float* logits, const int32_t* labels, int32_t* counts, int64_t rows, int classes) {
  int first = 0, firstFive = 0;
  for (int64_t row = threadIdx.x; row < rows; row += kThreads) {
    const float* x = logits + row * classes;
    const int label = labels[row];
    int rank = classes;
    if (label >= 0 && label < classes && isfinite(x[label])) {
      rank = 0;
      for (int i = 0; i < classes; i++) rank += x[i] > x[label] || (x[i] == x[label] && i < label);
    }
    first += rank < 1;
    firstFive += rank < 5;
  }
  int* shared = sharedMemory<int>();
  first = blockSum(first, shared);
  firstFive = blockSum(firstFive, shared);
  if (threadIdx.x == 0) {
    counts[0] += first;
    counts[1] += firstFive;
  }
}

constexpr size_t kSharedBytes = kWarp * sizeof(float);

Kernel oneHot(const Operands& operands) {
  return [o = OneHotOperands(operands), stream = streamOf(operands)] {
    launch("oneHot", stream, {blocksFor(o.y.size(), kThreads), kThreads}, oneHotKernel, o.labels.i32(), o.y.f32(),
           o.y.size(), static_cast<int>(o.classes), o.smoothing);
  };
}

Kernel crossEntropy(const Operands& operands) {
  const CrossEntropyOperands o(operands);
  const View losses = operands.scratch->take(Type::f32, {o.rows});
  return withType(o.dlogits.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, stream = streamOf(operands)] {
      const float* scaling = o.scaling.given ? o.scaling.view.f32() : nullptr;
      launch("crossEntropy", stream, {static_cast<unsigned>(o.rows), kThreads, kSharedBytes}, crossEntropyKernel<T>,
             o.logits.f32(), o.targets.f32(), scaling, losses.f32(), pointer<T>(o.dlogits), static_cast<int>(o.classes),
             o.divisor);
      launch("crossEntropy sum", stream, {1, kThreads, kSharedBytes}, addLossesKernel, losses.f32(), o.loss.f32(),
             o.rows);
    };
  });
}

Kernel countCorrect(const Operands& operands) {
  return [o = CountsOperands(operands), stream = streamOf(operands)] {
    launch("counts", stream, {1, kThreads, kSharedBytes}, countsKernel, o.logits.f32(), o.labels.i32(), o.counts.i32(),
           o.rows, static_cast<int>(o.classes));
  };
}

}  // namespace

std::vector<Implementation> crossEntropy() {
  return {{"oneHot", {"classes", "smoothing"}, oneHot},
          {"crossEntropy", {"divisor"}, crossEntropy},
          {"counts", {}, countCorrect}};
}

}  // namespace autoprog::cuda
