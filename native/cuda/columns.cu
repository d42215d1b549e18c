// Sums over the rows of a matrix: of a part of the rows by each block, then over the parts. The order is fixed, so that
// the same run gives the same bits; atomic additions would not.
#include <algorithm>

#include "cuda/columns.h"
#include "cuda/elements.h"
#include "cuda/reduce.h"

namespace autoprog::cuda {

namespace {

// A block sums 32 columns: each of its 32 warps a share of the rows, then the first warp their sums.
constexpr int kColumns = kWarp, kShares = 32;

// Sum over the shares; the result is in share 0.
__device__ __forceinline__ float sumOfShares(float sum) {
  float* shared = sharedMemory<float>();  // (kShares, kColumns + 1: another bank for each row)
  shared[threadIdx.y * (kColumns + 1) + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0) return 0.0f;
  sum = 0;
  for (int share = 0; share < kShares; share++) sum += shared[share * (kColumns + 1) + static_cast<int>(threadIdx.x)];
  return sum;
}

__global__ void addPartialsKernel(const float* partials, float* target, int64_t parts, int64_t stride, int64_t width) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  float sum = 0;
  if (column < width)
    for (int64_t part = threadIdx.y; part < parts; part += kShares) sum += partials[part * stride + column];
  sum = sumOfShares(sum);
  if (threadIdx.y == 0 && column < width) target[column] += sum;
}

template <typename T>
__global__ void columnSumsKernel(const T* x, float* partials, int64_t rows, int64_t rowsPerPart, int64_t width) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * kColumns + threadIdx.x;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * rowsPerPart;
  const int64_t end = begin + rowsPerPart < rows ? begin + rowsPerPart : rows;
  float sum = 0;
  if (column < width)
    for (int64_t row = begin + threadIdx.y; row < end; row += kShares) sum += toFloat(x[row * width + column]);
  sum = sumOfShares(sum);
  if (threadIdx.y == 0 && column < width) partials[static_cast<int64_t>(blockIdx.y) * width + column] = sum;
}

Shape shapeFor(int64_t width, int64_t parts) {
  return {dim3(blocksFor(width, kColumns), static_cast<unsigned>(parts)), dim3(kColumns, kShares),
          kShares * (kColumns + 1) * sizeof(float)};
}

}  // namespace

void addPartials(const char* name, cudaStream_t stream, const float* partials, int64_t parts, int64_t stride,
                 int64_t width, float* target) {
  launch(name, stream, shapeFor(width, 1), addPartialsKernel, partials, target, parts, stride, width);
}

Kernel prepareColumnSums(const char* name, const Operands& operands, const View& x, int64_t rows, int64_t width,
                         const View& target) {
  const int64_t columnBlocks = (width + kColumns - 1) / kColumns;
  const int64_t wanted = 2 * engineOf(operands).properties().multiProcessorCount / columnBlocks;
  const int64_t parts = std::clamp<int64_t>(wanted, 1, (rows + 4 * kShares - 1) / (4 * kShares));
  const int64_t rowsPerPart = (rows + parts - 1) / parts;
  const View partials = operands.scratch->take(Type::f32, {parts, width});
  return withType(x.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, stream = streamOf(operands)] {
      launch(name, stream, shapeFor(width, parts), columnSumsKernel<T>, pointer<T>(x), partials.f32(), rows,
             rowsPerPart, width);
      addPartials(name, stream, partials.f32(), parts, width, width, target.f32());
    };
  });
}

}  // namespace autoprog::cuda
