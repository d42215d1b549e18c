// Batch norm with the residual addition and the ReLU after it, channels last: two passes over memory each way, with a
// small kernel between them. A block takes a part of the rows and up to 32 groups of four channels, so that a warp
// reads neighbours; a thread sums its rows in registers, the block its threads in shared memory, the small kernel the
// parts, all in a fixed order. Squares are taken of differences from a thread's first value and added up in double: the
// variance loses nothing when the mean is large.
#include <algorithm>

#include "cuda/access.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/batch-norm.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kMostRows = 64;                 // of a thread, for precise sums in f32
constexpr int kColumns = kWarp, kShares = 8;  // of a block that adds up parts

// How rows (rows, channels) are cut into blocks of threads.
struct Parts {
  int64_t rows, rowsPerPart, count;
  int channels, lanes, columnBlocks, width;

  Parts(const Operands& operands, int64_t rows, int64_t channelCount, int width)
      : rows(rows), channels(static_cast<int>(channelCount)), width(width) {
    const int groups = (channels + width - 1) / width;
    lanes = 1;
    while (lanes < groups && lanes < kWarp) lanes *= 2;
    columnBlocks = (groups + lanes - 1) / lanes;
    const int64_t height = kThreads / lanes;  // rows at a time
    const int64_t wanted = 8 * engineOf(operands).properties().multiProcessorCount / columnBlocks;
    const int64_t fewest = (rows + kMostRows * height - 1) / (kMostRows * height);
    const int64_t most = (rows + 4 * height - 1) / (4 * height);
    count = std::min<int64_t>(std::clamp<int64_t>(wanted, std::min(fewest, most), most), 65535);
    rowsPerPart = (rows + count - 1) / count;
    count = (rows + rowsPerPart - 1) / rowsPerPart;
  }

  // With room for `sums` values of T of each channel and row of threads.
  template <typename T>
  Shape shape(int sums) const {
    return {dim3(static_cast<unsigned>(columnBlocks), static_cast<unsigned>(count)),
            dim3(static_cast<unsigned>(lanes), static_cast<unsigned>(kThreads / lanes)),
            static_cast<size_t>(sums * kThreads * width) * sizeof(T)};
  }
};

// A thread's place: its first channel and its rows.
struct Place {
  int channel;
  int64_t row, end;

  __device__ __forceinline__ Place(const Parts& parts, int width)
      : channel(static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * width) {
    const int64_t begin = static_cast<int64_t>(blockIdx.y) * parts.rowsPerPart;
    row = begin + static_cast<int64_t>(threadIdx.y);
    end = begin + parts.rowsPerPart < parts.rows ? begin + parts.rowsPerPart : parts.rows;
    if (channel >= parts.channels) row = end;
  }
};

// partials (parts, 2, channels) = both sums of the block's threads, added up row of threads by row.
template <int width, typename T>
__device__ __forceinline__ void storePartials(const Parts& parts, const T (&first)[width], const T (&second)[width],
                                              T* partials) {
  T* shared = sharedMemory<T>();  // (2, rows of threads, the block's channels)
  const int across = static_cast<int>(blockDim.x) * width, half = kThreads * width;
  const int at = static_cast<int>(threadIdx.y) * across + static_cast<int>(threadIdx.x) * width;
#pragma unroll
  for (int i = 0; i < width; i++) {
    shared[at + i] = first[i];
    shared[half + at + i] = second[i];
  }
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x); i < 2 * across; i += kThreads) {
    const int sum = i / across, column = i % across, channel = static_cast<int>(blockIdx.x) * across + column;
    if (channel >= parts.channels) continue;
    T total = 0;
    for (int row = 0; row < static_cast<int>(blockDim.y); row++) total += shared[sum * half + row * across + column];
    partials[(2 * static_cast<int64_t>(blockIdx.y) + sum) * parts.channels + channel] = total;
  }
}

// Sums of the differences of x from its first row, and of their squares.
template <int width, typename P>
__global__ void momentsKernel(P x, double* partials, Parts parts) {
  Place place(parts, width);
  float pivot[width] = {}, origin[width] = {}, sum[width] = {}, square[width] = {};
  if (place.row < place.end) {
    loadValues<width>(x, place.row * parts.channels + place.channel, pivot);
    loadValues<width>(x, place.channel, origin);
  }
  int count = 0;
  for (; place.row < place.end; place.row += blockDim.y, count++) {
    float value[width];
    loadValues<width>(x, place.row * parts.channels + place.channel, value);
#pragma unroll
    for (int i = 0; i < width; i++) {
      const float difference = value[i] - pivot[i];
      sum[i] += difference;
      square[i] = fmaf(difference, difference, square[i]);
    }
  }
  double sums[width], squares[width];
#pragma unroll
  for (int i = 0; i < width; i++) {
    const double shift = static_cast<double>(pivot[i]) - static_cast<double>(origin[i]);
    sums[i] = sum[i] + count * shift;
    squares[i] = square[i] + shift * (2.0 * sum[i] + count * shift);
  }
  storePartials<width>(parts, sums, squares, partials);
}

// The sum of one column of partials over the parts, in share 0: of each share's, then over the shares.
template <typename T>
__device__ __forceinline__ double sumOfParts(const T* partials, const Parts& parts, int column) {
  double* shared = sharedMemory<double>();  // (kShares, kColumns)
  double sum = 0;
  if (column < parts.channels)
    for (int64_t part = threadIdx.y; part < parts.count; part += kShares)
      sum += static_cast<double>(partials[part * 2 * parts.channels + column]);
  __syncthreads();  // all have read the shares of the call before
  shared[threadIdx.y * kColumns + threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0) return 0;
  sum = 0;
  for (int share = 0; share < kShares; share++) sum += shared[share * kColumns + static_cast<int>(threadIdx.x)];
  return sum;
}

Shape sumsShape(int64_t channels) {
  return {blocksFor(channels, kColumns), dim3(kColumns, kShares), kShares * kColumns * sizeof(double)};
}

struct Statistics {
  float *stats, *mean, *variance;  // the latter two running, null where they stay
  double momentum, epsilon;
};

template <typename P>
__global__ void statisticsKernel(P x, const double* partials, Statistics o, Parts parts) {
  const int channel = static_cast<int>(blockIdx.x) * kColumns + static_cast<int>(threadIdx.x);
  const double sum = sumOfParts(partials, parts, channel);
  const double squares = sumOfParts(partials + parts.channels, parts, channel);
  if (threadIdx.y != 0 || channel >= parts.channels) return;
  const auto rows = static_cast<double>(parts.rows);
  float origin[1];
  loadValues<1>(x, channel, origin);
  const double offset = sum / rows, mean = origin[0] + offset;
  double variance = squares / rows - offset * offset;
  if (variance < 0) variance = 0;
  o.stats[2 * channel] = static_cast<float>(mean);
  o.stats[2 * channel + 1] = static_cast<float>(1.0 / sqrt(variance + o.epsilon));
  if (o.mean == nullptr) return;
  const double unbiased = parts.rows > 1 ? variance * rows / (rows - 1) : variance;
  o.mean[channel] = static_cast<float>((1.0 - o.momentum) * o.mean[channel] + o.momentum * mean);
  o.variance[channel] = static_cast<float>((1.0 - o.momentum) * o.variance[channel] + o.momentum * unbiased);
}

__global__ void runningStatisticsKernel(Statistics o, int channels) {
  const int channel = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (channel >= channels) return;
  o.stats[2 * channel] = o.mean[channel];
  o.stats[2 * channel + 1] = static_cast<float>(1.0 / sqrt(static_cast<double>(o.variance[channel]) + o.epsilon));
}

// What a thread's channels have in common.
struct Constants {
  const float *stats, *weight, *bias;

  template <int width>
  __device__ __forceinline__ void load(const Parts& parts, int channel, float (&mean)[width], float (&scale)[width],
                                       float (&shift)[width]) const {
#pragma unroll
    for (int i = 0; i < width; i++) {
      const bool inside = channel + i < parts.channels;
      mean[i] = inside ? stats[2 * (channel + i)] : 0.0f;
      scale[i] = inside ? weight[channel + i] * stats[2 * (channel + i) + 1] : 0.0f;
      shift[i] = inside ? bias[channel + i] : 0.0f;
    }
  }
};

template <typename P>
struct Forward {
  P x, residual, y;
  Constants constants;
  bool added, relu;
};

template <int width, typename P>
__global__ void normalizeKernel(Forward<P> o, Parts parts) {
  Place place(parts, width);
  float mean[width], scale[width], bias[width];
  o.constants.load(parts, place.channel, mean, scale, bias);
  for (; place.row < place.end; place.row += blockDim.y) {
    const int64_t at = place.row * parts.channels + place.channel;
    float value[width], residual[width] = {};
    loadValues<width>(o.x, at, value);
    if (o.added) loadValues<width>(o.residual, at, residual);
#pragma unroll
    for (int i = 0; i < width; i++) {
      value[i] = fmaf(value[i] - mean[i], scale[i], bias[i]) + residual[i];
      if (o.relu && value[i] < 0.0f) value[i] = 0.0f;  // NaN stays
    }
    storeValues<width>(o.y, at, value);
  }
}

// Where the ReLU lets gradients through: everywhere, where the normal value is positive, or where y is.
enum class Passing { all, normal, output };

template <typename P>
struct Backward {
  P dy, x, y, dx, dresidual;
  Constants constants;
  const float *slope, *offset;  // (channels)
};

// g (width) = dy as far as the ReLU lets it through; difference = x - mean.
template <Passing passing, int width, typename P>
__device__ __forceinline__ void loadGradient(const Backward<P>& o, int64_t at, const float (&mean)[width],
                                             const float (&scale)[width], const float (&bias)[width], float (&g)[width],
                                             float (&difference)[width]) {
  loadValues<width>(o.dy, at, g);
  loadValues<width>(o.x, at, difference);
  float y[width] = {};
  if constexpr (passing == Passing::output) loadValues<width>(o.y, at, y);
#pragma unroll
  for (int i = 0; i < width; i++) {
    difference[i] -= mean[i];
    if constexpr (passing == Passing::normal) y[i] = fmaf(difference[i], scale[i], bias[i]);
    if (passing != Passing::all && y[i] <= 0.0f) g[i] = 0.0f;
  }
}

template <Passing passing, int width, typename P>
__global__ void gradientSumsKernel(Backward<P> o, float* partials, Parts parts) {
  Place place(parts, width);
  float mean[width], scale[width], bias[width], sum[width] = {}, product[width] = {};
  o.constants.load(parts, place.channel, mean, scale, bias);
  for (; place.row < place.end; place.row += blockDim.y) {
    const int64_t at = place.row * parts.channels + place.channel;
    float g[width], difference[width];
    loadGradient<passing>(o, at, mean, scale, bias, g, difference);
    if constexpr (passing == Passing::output) storeValues<width>(o.dresidual, at, g);
#pragma unroll
    for (int i = 0; i < width; i++) {
      sum[i] += g[i];
      product[i] = fmaf(g[i], difference[i], product[i]);
    }
  }
  storePartials<width>(parts, sum, product, partials);
}

struct GradientSums {
  const float* stats;
  float *dweight, *dbias, *slope, *offset;
  bool training;
};

// dweight += and dbias +=, and what dx takes from them.
__global__ void gradientConstantsKernel(const float* partials, GradientSums o, Parts parts) {
  const int channel = static_cast<int>(blockIdx.x) * kColumns + static_cast<int>(threadIdx.x);
  const double sum = sumOfParts(partials, parts, channel);
  const double product = sumOfParts(partials + parts.channels, parts, channel);
  if (threadIdx.y != 0 || channel >= parts.channels) return;
  const double inverse = o.stats[2 * channel + 1];
  const auto rows = static_cast<double>(parts.rows);
  o.dbias[channel] += static_cast<float>(sum);
  o.dweight[channel] += static_cast<float>(product * inverse);
  o.slope[channel] = o.training ? static_cast<float>(inverse * inverse * product / rows) : 0.0f;
  o.offset[channel] = o.training ? static_cast<float>(sum / rows) : 0.0f;
}

// dx = (g - (x - mean) * slope - offset) * scale.
template <Passing passing, int width, typename P>
__global__ void gradientKernel(Backward<P> o, Parts parts) {
  Place place(parts, width);
  float mean[width], scale[width], bias[width], slope[width] = {}, offset[width] = {};
  o.constants.load(parts, place.channel, mean, scale, bias);
#pragma unroll
  for (int i = 0; i < width; i++) {
    if (place.channel + i >= parts.channels) continue;
    slope[i] = o.slope[place.channel + i];
    offset[i] = o.offset[place.channel + i];
  }
  for (; place.row < place.end; place.row += blockDim.y) {
    const int64_t at = place.row * parts.channels + place.channel;
    float g[width], difference[width];
    loadGradient<passing>(o, at, mean, scale, bias, g, difference);
#pragma unroll
    for (int i = 0; i < width; i++) g[i] = fmaf(-difference[i], slope[i], g[i] - offset[i]) * scale[i];
    storeValues<width>(o.dx, at, g);
  }
}

template <bool training>
Kernel norm(const Operands& operands) {
  const BatchNormOperands o(operands, training);
  const cudaStream_t stream = streamOf(operands);
  return withAccess({o.x.type, o.y.type, o.added ? o.residual.type : o.x.type}, o.channels, [&](auto how) -> Kernel {
    using P = typename decltype(how)::type;
    constexpr int width = decltype(how)::width;
    const Parts parts(operands, o.rows, o.channels, width);
    const View partials = operands.scratch->take(Type::f32, {training ? parts.count : 0, 4, o.channels});  // doubles
    return [=] {
      const bool running = !training || o.updates;
      const Statistics statistics{o.stats.f32(), running ? o.mean.f32() : nullptr, running ? o.variance.f32() : nullptr,
                                  o.momentum, o.epsilon};
      const P x = access<P>(o.x);
      if constexpr (training) {
        double* sums = pointer<double>(partials);
        launch("batchNorm moments", stream, parts.shape<double>(2), momentsKernel<width, P>, x, sums, parts);
        launch("batchNorm statistics", stream, sumsShape(o.channels), statisticsKernel<P>, x, sums, statistics, parts);
      } else {
        launch("batchNormInference statistics", stream, {blocksFor(o.channels, kThreads), kThreads},
               runningStatisticsKernel, statistics, parts.channels);
      }
      const Forward<P> forward{x,
                               o.added ? access<P>(o.residual) : P{},
                               access<P>(o.y),
                               {o.stats.f32(), o.weight.f32(), o.bias.f32()},
                               o.added,
                               o.relu};
      launch(training ? "batchNorm" : "batchNormInference", stream, parts.shape<float>(0), normalizeKernel<width, P>,
             forward, parts);
    };
  });
}

Kernel normGradient(const Operands& operands) {
  const BatchNormGradientOperands o(operands);
  const cudaStream_t stream = streamOf(operands);
  const View constants = operands.scratch->take(Type::f32, {2, o.channels});
  const Type y = o.added ? o.y.type : o.x.type, dresidual = o.added ? o.dresidual.type : o.x.type;
  return withAccess({o.x.type, o.dy.type, o.dx.type, y, dresidual}, o.channels, [&](auto how) -> Kernel {
    using P = typename decltype(how)::type;
    constexpr int width = decltype(how)::width;
    const Parts parts(operands, o.rows, o.channels, width);
    const View partials = operands.scratch->take(Type::f32, {parts.count, 2, o.channels});
    return [=] {
      float *slope = constants.f32(), *offset = slope + o.channels, *sums = partials.f32();
      Backward<P> backward{access<P>(o.dy),
                           access<P>(o.x),
                           o.added ? access<P>(o.y) : P{},
                           access<P>(o.dx),
                           o.added ? access<P>(o.dresidual) : P{},
                           {o.stats.f32(), o.weight.f32(), o.bias.f32()},
                           slope,
                           offset};
      const auto sumsKernel = o.added  ? gradientSumsKernel<Passing::output, width, P>
                              : o.relu ? gradientSumsKernel<Passing::normal, width, P>
                                       : gradientSumsKernel<Passing::all, width, P>;
      launch("batchNormGradient sums", stream, parts.shape<float>(2), sumsKernel, backward, sums, parts);
      launch("batchNormGradient constants", stream, sumsShape(o.channels), gradientConstantsKernel, sums,
             GradientSums{o.stats.f32(), o.dweight.f32(), o.dbias.f32(), slope, offset, o.training}, parts);
      // With a residual, what the ReLU has let through is its gradient, written already.
      if (o.added) backward.dy = backward.dresidual;
      launch("batchNormGradient", stream, parts.shape<float>(0),
             o.relu && !o.added ? gradientKernel<Passing::normal, width, P> : gradientKernel<Passing::all, width, P>,
             backward, parts);
    };
  });
}

}  // namespace

std::vector<Implementation> batchNorm() {
  return {{"batchNorm", {"momentum", "epsilon", "relu"}, norm<true>},
          {"batchNormInference", {"epsilon", "relu"}, norm<false>},
          {"batchNormGradient", {"training", "relu"}, normGradient}};
}

}  // namespace autoprog::cuda
