// A product by plain loops: what is left where cuBLASLt has no algorithm, or none that runs. A block makes a tile of c
// from tiles of op(a) and op(b) in shared memory; its threads add up in the order of k, so that results do not depend
// on the device. There are no vector loads, since operands may lie anywhere.
#include "cuda/elements.h"
#include "cuda/launch.h"
#include "cuda/product.h"
#include "cuda/reduce.h"

namespace autoprog::cuda {

namespace {

constexpr int kTile = 32, kPitch = kTile + 1;  // one more, so that columns lie in different banks
constexpr int kThreads = 256, kRows = kThreads / kTile, kSums = kTile / kRows;
constexpr int64_t kMostBlocks = 65535;  // along y

// Where the elements of op(matrix) lie.
struct Steps {
  int64_t row, column;
};

__global__ void __launch_bounds__(kThreads) productKernel(AnyPointer a, AnyPointer b, AnyPointer c, Steps aSteps,
                                                          Steps bSteps, int64_t m, int64_t n, int64_t k, float beta) {
  float *left = sharedMemory<float>(), *right = left + kTile * kPitch;
  const int column = static_cast<int>(threadIdx.x) % kTile, first = static_cast<int>(threadIdx.x) / kTile;
  const int64_t rows = static_cast<int64_t>(blockIdx.x) * kTile, columns = static_cast<int64_t>(blockIdx.y) * kTile;
  float sums[kSums] = {};
  for (int64_t start = 0; start < k; start += kTile) {
    for (int row = first; row < kTile; row += kRows) {
      const bool inLeft = rows + row < m && start + column < k, inRight = start + row < k && columns + column < n;
      left[row * kPitch + column] =
          inLeft ? a.load((rows + row) * aSteps.row + (start + column) * aSteps.column) : 0.0f;
      right[row * kPitch + column] =
          inRight ? b.load((start + row) * bSteps.row + (columns + column) * bSteps.column) : 0.0f;
    }
    __syncthreads();
    for (int i = 0; i < kTile; i++) {
      const float value = right[i * kPitch + column];
#pragma unroll
      for (int j = 0; j < kSums; j++) sums[j] += left[(first + j * kRows) * kPitch + i] * value;
    }
    __syncthreads();
  }
#pragma unroll
  for (int j = 0; j < kSums; j++) {
    const int64_t row = rows + first + j * kRows, at = row * n + columns + column;
    if (row < m && columns + column < n) c.store(at, beta == 0 ? sums[j] : sums[j] + beta * c.load(at));
  }
}

__global__ void probeKernel() {}

}  // namespace

Kernel preparePlainProduct(const CudaEngine& engine, const Product& p) {
  if ((p.n + kTile - 1) / kTile > kMostBlocks) return nullptr;
  const Steps a = p.transposeA ? Steps{1, p.m} : Steps{p.k, 1}, b = p.transposeB ? Steps{1, p.k} : Steps{p.n, 1};
  const Shape shape{dim3(blocksFor(p.m, kTile), blocksFor(p.n, kTile)), kThreads, 2 * kTile * kPitch * sizeof(float)};
  return [=, stream = engine.stream()] {
    launch("product", stream, shape, productKernel, AnyPointer(p.a), AnyPointer(p.b), AnyPointer(p.c), a, b, p.m, p.n,
           p.k, p.beta);
  };
}

void probe(const CudaEngine& engine) {
  check(cudaStreamSynchronize(engine.stream()), "cudaStreamSynchronize", "a new stream");  // what failed before
  try {
    launch("probe", engine.stream(), {1, 1}, probeKernel);
  } catch (const Error& error) {
    const cudaDeviceProp& device = engine.properties();
    const std::string major = std::to_string(device.major), minor = std::to_string(device.minor);
    throw Error("DEVICE",
                "This build has no code for " + std::string(device.name) + ", of compute capability " + major + "." +
                    minor + ": " + error.what(),
                {},
                "Build it again on this machine with `npm rebuild autoprog`, or anywhere with `CUDAARCHS=" + major +
                    minor + " npm rebuild autoprog`, by a CUDA toolkit that knows this GPU.");
  }
  check(cudaStreamSynchronize(engine.stream()), "cudaStreamSynchronize", "a first kernel");
}

}  // namespace autoprog::cuda
