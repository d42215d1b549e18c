// Layer norm, alone or fused with the residual addition before it, in one pass over memory each way: a warp holds a
// whole row in registers, four neighbours a lane and chunk. The gradients of gamma and beta are summed over a block's
// rows in registers, then over its warps in shared memory, then over the blocks by a second kernel. Widths that are no
// multiple of 4 or above 1,024, and mixtures of types, take plain kernels that read rows again instead.
#include <algorithm>

#include "cuda/columns.h"
#include "cuda/elements.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/layer-norm.h"

namespace autoprog::cuda {

namespace {

constexpr int kWarps = 4;          // a block's, forward
constexpr int kGradientWarps = 8;  // a block's, backward
constexpr int kChunk = 4 * kWarp;  // values of a row that a warp moves at once
constexpr int kLargestChunks = 8;

// Column `path` of keep (B, paths), or 1.
struct Keep {
  const float* factors = nullptr;
  int64_t rowsPerImage = 1;
  int paths = 1, path = 0;

  Keep() = default;
  explicit Keep(const KeepOperand& operand)
      : factors(operand.given ? operand.view.f32() : nullptr),
        rowsPerImage(operand.rowsPerImage),
        paths(static_cast<int>(operand.paths)),
        path(static_cast<int>(operand.path)) {}

  __device__ __forceinline__ float of(int64_t row) const {
    return factors == nullptr ? 1.0f : factors[row / rowsPerImage * paths + path];
  }
};

// sum = x + keep * branch, or x where branch is null; y = (sum - mean) / deviation * gamma + beta.
template <typename Branch, typename Y>
struct Forward {
  const float* x;
  Branch branch;
  const float *gamma, *beta;
  float* sum;
  Y y;
  float* stats;  // (rows, 2)
  int64_t rows;
  int n;
  float epsilon;
  Keep keep;
};

// Eight blocks leave 64 registers a thread; left to itself nvcc takes fewer for Blackwell, and spills.
template <int chunks, typename T, bool residual>
__global__ void __launch_bounds__(kWarps* kWarp, 8) normKernel(Forward<const T*, T*> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (row >= o.rows) return;
  const int64_t start = row * o.n;
  float values[chunks][4] = {};
  float total = 0;
#pragma unroll
  for (int c = 0; c < chunks; c++) {
    const int at = c * kChunk + 4 * lane;
    if (at >= o.n) continue;
    loadFour(o.x + start + at, values[c]);
    if constexpr (residual) {
      float branch[4];
      loadFour(o.branch + start + at, branch);
      const float factor = o.keep.of(row);
#pragma unroll
      for (int i = 0; i < 4; i++) values[c][i] = fmaf(factor, branch[i], values[c][i]);
      storeFour(o.sum + start + at, values[c]);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) total += values[c][i];
  }
  const float mean = warpSum(total) / static_cast<float>(o.n);
  float squares = 0;
#pragma unroll
  for (int c = 0; c < chunks; c++) {
    if (c * kChunk + 4 * lane >= o.n) continue;
#pragma unroll
    for (int i = 0; i < 4; i++) squares += (values[c][i] - mean) * (values[c][i] - mean);
  }
  const float inverse = rsqrtf(warpSum(squares) / static_cast<float>(o.n) + o.epsilon);
  if (lane == 0) {
    o.stats[2 * row] = mean;
    o.stats[2 * row + 1] = inverse;
  }
#pragma unroll
  for (int c = 0; c < chunks; c++) {
    const int at = c * kChunk + 4 * lane;
    if (at >= o.n) continue;
    float gamma[4], beta[4];
    loadFour(o.gamma + at, gamma);
    loadFour(o.beta + at, beta);
#pragma unroll
    for (int i = 0; i < 4; i++) values[c][i] = fmaf((values[c][i] - mean) * inverse, gamma[i], beta[i]);
    storeFour(o.y + start + at, values[c]);
  }
}

// The same, a value at a time. `branch` is empty without a residual addition.
__global__ void plainNormKernel(Forward<AnyPointer, AnyPointer> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (row >= o.rows) return;
  const bool residual = o.branch.data != nullptr;
  const float factor = residual ? o.keep.of(row) : 0.0f;
  const int64_t start = row * o.n;
  float total = 0;
  for (int64_t at = start + lane; at < start + o.n; at += kWarp) {
    float value = o.x[at];
    if (residual) o.sum[at] = value = fmaf(factor, o.branch.load(at), value);
    total += value;
  }
  const float mean = warpSum(total) / static_cast<float>(o.n);
  const float* sum = residual ? o.sum : o.x;  // a lane reads what it has written itself
  float squares = 0;
  for (int64_t at = start + lane; at < start + o.n; at += kWarp) squares += (sum[at] - mean) * (sum[at] - mean);
  const float inverse = rsqrtf(warpSum(squares) / static_cast<float>(o.n) + o.epsilon);
  if (lane == 0) {
    o.stats[2 * row] = mean;
    o.stats[2 * row + 1] = inverse;
  }
  for (int i = lane; i < o.n; i += kWarp)
    o.y.store(start + i, fmaf((sum[start + i] - mean) * inverse, o.gamma[i], o.beta[i]));
}

// dx = dsum + (g - mean(g) - z mean(g z)) / deviation with z = (sum - mean) / deviation and g = dy * gamma; dgamma and
// dbeta, sums of dy z and dy over rows, go to partials (blocks, 2, n).
template <typename Dy, typename Branch>
struct Backward {
  const float* dsum;  // null where nothing else uses the sum
  Dy dy;
  const float *sum, *stats, *gamma;
  float* dx;
  Branch dbranch;
  bool branched;
  float* partials;
  int64_t rows;
  int n;
  Keep keep;
};

template <int chunks, typename T>
__global__ void __launch_bounds__(kGradientWarps* kWarp) normGradientKernel(Backward<const T*, T*> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const float count = static_cast<float>(o.n);
  float dgamma[chunks][4] = {}, dbeta[chunks][4] = {};
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * kGradientWarps + warp; row < o.rows;
       row += static_cast<int64_t>(gridDim.x) * kGradientWarps) {
    const int64_t start = row * o.n;
    const float mean = o.stats[2 * row], inverse = o.stats[2 * row + 1];
    float slope[chunks][4] = {}, z[chunks][4] = {};
    float slopes = 0, products = 0;
#pragma unroll
    for (int c = 0; c < chunks; c++) {
      const int at = c * kChunk + 4 * lane;
      if (at >= o.n) continue;
      float gamma[4];
      loadFour(o.dy + start + at, slope[c]);
      loadFour(o.sum + start + at, z[c]);
      loadFour(o.gamma + at, gamma);
#pragma unroll
      for (int i = 0; i < 4; i++) {
        z[c][i] = (z[c][i] - mean) * inverse;
        dgamma[c][i] += slope[c][i] * z[c][i];
        dbeta[c][i] += slope[c][i];
        slope[c][i] *= gamma[i];
        slopes += slope[c][i];
        products += slope[c][i] * z[c][i];
      }
    }
    slopes = warpSum(slopes) / count;
    products = warpSum(products) / count;
    const float factor = o.branched ? o.keep.of(row) : 1.0f;
#pragma unroll
    for (int c = 0; c < chunks; c++) {
      const int at = c * kChunk + 4 * lane;
      if (at >= o.n) continue;
      float dx[4] = {};
      if (o.dsum != nullptr) loadFour(o.dsum + start + at, dx);
#pragma unroll
      for (int i = 0; i < 4; i++) dx[i] += inverse * (slope[c][i] - slopes - z[c][i] * products);
      storeFour(o.dx + start + at, dx);
      if (!o.branched) continue;
#pragma unroll
      for (int i = 0; i < 4; i++) dx[i] *= factor;
      storeFour(o.dbranch + start + at, dx);
    }
  }
  float* sums = sharedMemory<float>();  // (2, n)
  for (int turn = 0; turn < kGradientWarps; turn++) {
    if (warp == turn) {
#pragma unroll
      for (int c = 0; c < chunks; c++) {
        const int at = c * kChunk + 4 * lane;
        if (at >= o.n) continue;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          sums[at + i] = dgamma[c][i] + (turn == 0 ? 0.0f : sums[at + i]);
          sums[o.n + at + i] = dbeta[c][i] + (turn == 0 ? 0.0f : sums[o.n + at + i]);
        }
      }
    }
    __syncthreads();
  }
  for (int i = static_cast<int>(threadIdx.x); i < 2 * o.n; i += kGradientWarps * kWarp)
    o.partials[static_cast<int64_t>(blockIdx.x) * 2 * o.n + i] = sums[i];
}

// dx alone, a value at a time.
__global__ void plainNormGradientKernel(Backward<AnyPointer, AnyPointer> o) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (row >= o.rows) return;
  const int64_t start = row * o.n;
  const float mean = o.stats[2 * row], inverse = o.stats[2 * row + 1];
  float slopes = 0, products = 0;
  for (int i = lane; i < o.n; i += kWarp) {
    const float slope = o.dy.load(start + i) * o.gamma[i];
    slopes += slope;
    products += slope * (o.sum[start + i] - mean) * inverse;
  }
  slopes = warpSum(slopes) / static_cast<float>(o.n);
  products = warpSum(products) / static_cast<float>(o.n);
  const float factor = o.branched ? o.keep.of(row) : 1.0f;
  for (int i = lane; i < o.n; i += kWarp) {
    const float z = (o.sum[start + i] - mean) * inverse;
    const float dx = (o.dsum == nullptr ? 0.0f : o.dsum[start + i]) +
                     inverse * (o.dy.load(start + i) * o.gamma[i] - slopes - z * products);
    o.dx[start + i] = dx;
    if (o.branched) o.dbranch.store(start + i, factor * dx);
  }
}

// Partials of dgamma and dbeta, a column a thread.
__global__ void plainColumnsKernel(Backward<AnyPointer, AnyPointer> o, int64_t rowsPerPart) {
  const int column = static_cast<int>(blockIdx.x) * kWarp + static_cast<int>(threadIdx.x);
  if (column >= o.n) return;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * rowsPerPart;
  const int64_t end = begin + rowsPerPart < o.rows ? begin + rowsPerPart : o.rows;
  float dgamma = 0, dbeta = 0;
  for (int64_t row = begin; row < end; row++) {
    const float dy = o.dy.load(row * o.n + column);
    dgamma += dy * (o.sum[row * o.n + column] - o.stats[2 * row]) * o.stats[2 * row + 1];
    dbeta += dy;
  }
  float* target = o.partials + static_cast<int64_t>(blockIdx.y) * 2 * o.n;
  target[column] = dgamma;
  target[o.n + column] = dbeta;
}

__global__ void keepBranchKernel(AnyPointer dx, AnyPointer y, Keep keep, int64_t count, int64_t n) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kWarps * kWarp + threadIdx.x;
  if (i < count) y.store(i, keep.of(i / n) * dx.load(i));
}

// Calls body with the number of chunks that hold n values, as a constant.
template <typename Body>
void withChunks(int64_t n, Body body) {
  const auto chunks = static_cast<int>((n + kChunk - 1) / kChunk);
  if (chunks <= 1) return body(std::integral_constant<int, 1>());
  if (chunks == 2) return body(std::integral_constant<int, 2>());
  if (chunks == 3) return body(std::integral_constant<int, 3>());
  if (chunks == 4) return body(std::integral_constant<int, 4>());
  if (chunks <= 6) return body(std::integral_constant<int, 6>());
  return body(std::integral_constant<int, kLargestChunks>());
}

bool fits(int64_t n) { return n % 4 == 0 && n <= kLargestChunks * kChunk; }

template <bool residual>
Kernel norm(const Operands& operands) {
  const NormOperands o(operands, residual);
  const cudaStream_t stream = streamOf(operands);
  const Shape shape{blocksFor(o.rows, kWarps), kWarps * kWarp};
  const char* name = residual ? "residualNorm" : "layerNorm";
  const auto fill = [=](auto arguments) {
    arguments.x = o.x.f32(), arguments.gamma = o.gamma.f32(), arguments.beta = o.beta.f32();
    arguments.sum = o.sum.f32(), arguments.stats = o.stats.f32();
    arguments.rows = o.rows, arguments.n = static_cast<int>(o.n), arguments.epsilon = o.epsilon;
    arguments.keep = Keep(o.keep);
    return arguments;
  };
  if (!fits(o.n) || (residual && o.branch.type != o.y.type))
    return [=] {
      auto arguments = fill(Forward<AnyPointer, AnyPointer>{});
      if (residual) arguments.branch = AnyPointer(o.branch);
      arguments.y = AnyPointer(o.y);
      launch(name, stream, shape, plainNormKernel, arguments);
    };
  return withType(o.y.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=] {
      auto arguments = fill(Forward<const T*, T*>{});
      arguments.branch = residual ? pointer<T>(o.branch) : nullptr;
      arguments.y = pointer<T>(o.y);
      withChunks(o.n, [&](auto chunks) {
        launch(name, stream, shape, normKernel<decltype(chunks)::value, T, residual>, arguments);
      });
    };
  });
}

template <bool residual>
Kernel normGradient(const Operands& operands) {
  const NormGradientOperands o(operands, residual);
  const cudaStream_t stream = streamOf(operands);
  const char* name = residual ? "residualNormGradient" : "layerNormGradient";
  const int64_t most = 2 * engineOf(operands).properties().multiProcessorCount;
  const int64_t parts = std::clamp<int64_t>(o.rows / kGradientWarps, 1, most);
  const View partials = operands.scratch->take(Type::f32, {parts, 2 * o.n});
  const auto fill = [=](auto arguments) {
    arguments.dsum = residual ? o.dsum.f32() : nullptr;
    arguments.sum = o.sum.f32(), arguments.stats = o.stats.f32(), arguments.gamma = o.gamma.f32();
    arguments.dx = o.dx.f32(), arguments.partials = partials.f32(), arguments.branched = o.branched;
    arguments.rows = o.rows, arguments.n = static_cast<int>(o.n);
    arguments.keep = Keep(o.keep);
    return arguments;
  };
  // dgamma and dbeta lie apart: each takes its half of the partials, whose rows are 2 n wide.
  const auto addSums = [=] {
    addPartials(name, stream, partials.f32(), parts, 2 * o.n, o.n, o.dgamma.f32());
    addPartials(name, stream, partials.f32() + o.n, parts, 2 * o.n, o.n, o.dbeta.f32());
  };
  if (!fits(o.n) || (o.branched && o.dbranch.type != o.dy.type))
    return [=] {
      auto arguments = fill(Backward<AnyPointer, AnyPointer>{});
      arguments.dy = AnyPointer(o.dy);
      if (o.branched) arguments.dbranch = AnyPointer(o.dbranch);
      launch(name, stream, {blocksFor(o.rows, kWarps), kWarps * kWarp}, plainNormGradientKernel, arguments);
      launch(name, stream, {dim3(blocksFor(o.n, kWarp), static_cast<unsigned>(parts)), kWarp}, plainColumnsKernel,
             arguments, (o.rows + parts - 1) / parts);
      addSums();
    };
  return withType(o.dy.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=] {
      auto arguments = fill(Backward<const T*, T*>{});
      arguments.dy = pointer<T>(o.dy);
      arguments.dbranch = o.branched ? pointer<T>(o.dbranch) : nullptr;
      withChunks(o.n, [&](auto chunks) {
        launch(name, stream,
               {static_cast<unsigned>(parts), kGradientWarps * kWarp, 2 * static_cast<size_t>(o.n) * sizeof(float)},
               normGradientKernel<decltype(chunks)::value, T>, arguments);
      });
      addSums();
    };
  });
}

Kernel keepBranch(const Operands& operands) {
  return [o = KeepBranchOperands(operands), stream = streamOf(operands)] {
    launch("keepBranch", stream, {blocksFor(o.dx.size(), kWarps * kWarp), kWarps * kWarp}, keepBranchKernel,
           AnyPointer(o.dx), AnyPointer(o.y), Keep(o.keep), o.dx.size(), o.dx.last());
  };
}

}  // namespace

std::vector<Implementation> layerNorm() {
  return {{"layerNorm", {"epsilon"}, norm<false>},
          {"residualNorm", {"epsilon", "path"}, norm<true>},
          {"layerNormGradient", {}, normGradient<false>},
          {"residualNormGradient", {"path"}, normGradient<true>},
          {"keepBranch", {"path"}, keepBranch}};
}

}  // namespace autoprog::cuda
