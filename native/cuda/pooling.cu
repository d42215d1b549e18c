// Pooling over images, channels last: a thread makes a value, or four neighbours, of what the kernel writes. Gradients
// are gathered by input, in the order of the windows, so that nothing has to be added atomically.
#include "cuda/access.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/pooling.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

// A window axis by whole numbers that fit 32 bits, which divide faster.
struct Axis {
  int in, out, kernel, stride, padding;

  explicit Axis(const WindowAxis& axis)
      : in(static_cast<int>(axis.in)),
        out(static_cast<int>(axis.out)),
        kernel(static_cast<int>(axis.kernel)),
        stride(static_cast<int>(axis.out > 1 ? axis.stride : axis.in + axis.padding)),
        padding(static_cast<int>(axis.padding)) {}

  __device__ __forceinline__ int begin(int o) const { return o * stride < padding ? 0 : o * stride - padding; }
  __device__ __forceinline__ int end(int o) const {
    const int end = o * stride - padding + kernel;
    return end < in ? end : in;
  }
  // The outputs whose windows input i lies in: from `first` to before `last`.
  __device__ __forceinline__ int first(int i) const {
    return i + padding < kernel ? 0 : (i + padding - kernel) / stride + 1;
  }
  __device__ __forceinline__ int last(int i) const {
    const int last = (i + padding) / stride + 1;
    return last < out ? last : out;
  }
};

struct Pool {
  Axis down, across;
  int64_t positions;  // of what is written, over all images
  int channels;
};

// A thread's place in what is written: image, row, column and first channel.
struct Place {
  int64_t image, position;
  int row, column, channel;
  bool inside;

  __device__ __forceinline__ Place(const Pool& pool, int rows, int columns, int width) {
    const int groups = pool.channels / width;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    position = i / groups;
    inside = position < pool.positions;
    channel = static_cast<int>(i - position * groups) * width;
    const int64_t line = position / columns;
    column = static_cast<int>(position - line * columns);
    image = line / rows;
    row = static_cast<int>(line - image * rows);
  }
};

template <int width, typename P>
__global__ void maxPoolKernel(P x, P y, uint8_t* index, Pool pool) {
  const Place place(pool, pool.down.out, pool.across.out, width);
  if (!place.inside) return;
  const int top = place.row * pool.down.stride - pool.down.padding;
  const int left = place.column * pool.across.stride - pool.across.padding;
  const int fromY = pool.down.begin(place.row), toY = pool.down.end(place.row);
  const int fromX = pool.across.begin(place.column), toX = pool.across.end(place.column);
  float best[width];
  int number[width];
#pragma unroll
  for (int i = 0; i < width; i++) {
    best[i] = -INFINITY;
    number[i] = (fromY - top) * pool.across.kernel + fromX - left;
  }
  for (int iy = fromY; iy < toY; iy++) {
    for (int ix = fromX; ix < toX; ix++) {
      float value[width];
      const int64_t pixel = (place.image * pool.down.in + iy) * pool.across.in + ix;
      loadValues<width>(x, pixel * pool.channels + place.channel, value);
#pragma unroll
      for (int i = 0; i < width; i++) {
        if (!(value[i] > best[i]) && value[i] == value[i]) continue;
        best[i] = value[i];
        number[i] = (iy - top) * pool.across.kernel + ix - left;
      }
    }
  }
  const int64_t at = place.position * pool.channels + place.channel;
  storeValues<width>(y, at, best);
  Bytes<width> bytes;
#pragma unroll
  for (int i = 0; i < width; i++) bytes.value[i] = static_cast<uint8_t>(number[i]);
  *reinterpret_cast<Bytes<width>*>(index + at) = bytes;
}

template <int width, typename P>
__global__ void maxPoolGradientKernel(P dy, const uint8_t* index, P dx, Pool pool) {
  const Place place(pool, pool.down.in, pool.across.in, width);
  if (!place.inside) return;
  float sum[width] = {};
  for (int oy = pool.down.first(place.row); oy < pool.down.last(place.row); oy++) {
    for (int ox = pool.across.first(place.column); ox < pool.across.last(place.column); ox++) {
      const int number = (place.row + pool.down.padding - oy * pool.down.stride) * pool.across.kernel + place.column +
                         pool.across.padding - ox * pool.across.stride;
      const int64_t pixel = (place.image * pool.down.out + oy) * pool.across.out + ox;
      const int64_t at = pixel * pool.channels + place.channel;
      const auto bytes = *reinterpret_cast<const Bytes<width>*>(index + at);
      float gradient[width];
      loadValues<width>(dy, at, gradient);
#pragma unroll
      for (int i = 0; i < width; i++)
        if (bytes.value[i] == number) sum[i] += gradient[i];
    }
  }
  storeValues<width>(dx, place.position * pool.channels + place.channel, sum);
}

// The rows of a window are summed first, then their sums: so even a whole image's mean loses little.
template <int width, typename P>
__global__ void averagePoolKernel(P x, P y, Pool pool) {
  const Place place(pool, pool.down.out, pool.across.out, width);
  if (!place.inside) return;
  const int fromY = pool.down.begin(place.row), toY = pool.down.end(place.row);
  const int fromX = pool.across.begin(place.column), toX = pool.across.end(place.column);
  float total[width] = {};
  for (int iy = fromY; iy < toY; iy++) {
    float sum[width] = {};
    for (int ix = fromX; ix < toX; ix++) {
      float value[width];
      const int64_t pixel = (place.image * pool.down.in + iy) * pool.across.in + ix;
      loadValues<width>(x, pixel * pool.channels + place.channel, value);
#pragma unroll
      for (int i = 0; i < width; i++) sum[i] += value[i];
    }
#pragma unroll
    for (int i = 0; i < width; i++) total[i] += sum[i];
  }
  const float share = 1.0f / static_cast<float>((toY - fromY) * (toX - fromX));
#pragma unroll
  for (int i = 0; i < width; i++) total[i] *= share;
  storeValues<width>(y, place.position * pool.channels + place.channel, total);
}

template <int width, typename P>
__global__ void averagePoolGradientKernel(P dy, P dx, Pool pool) {
  const Place place(pool, pool.down.in, pool.across.in, width);
  if (!place.inside) return;
  const int oy = place.row / pool.down.stride, ox = place.column / pool.across.stride;
  const int count = (pool.down.end(oy) - pool.down.begin(oy)) * (pool.across.end(ox) - pool.across.begin(ox));
  const int64_t pixel = (place.image * pool.down.out + oy) * pool.across.out + ox;
  float value[width];
  loadValues<width>(dy, pixel * pool.channels + place.channel, value);
#pragma unroll
  for (int i = 0; i < width; i++) value[i] *= 1.0f / static_cast<float>(count);
  storeValues<width>(dx, place.position * pool.channels + place.channel, value);
}

Pool poolOf(const PoolOperands& o, bool gradient) {
  for (int64_t extent : {o.down.in, o.across.in, o.channels})
    require(extent < int64_t{1} << 20, "SHAPE", "Expected smaller images than " + o.x.describe());
  const int64_t pixels = gradient ? o.down.in * o.across.in : o.down.out * o.across.out;
  return {Axis(o.down), Axis(o.across), o.batch * pixels, static_cast<int>(o.channels)};
}

Shape shapeOf(const Pool& pool, int width) {
  return {blocksFor(pool.positions * (pool.channels / width), kThreads), kThreads};
}

// Makes the kernel that body(Access, pool) launches.
template <typename Body>
Kernel prepare(const PoolOperands& o, bool gradient, Body body) {
  return withAccess({o.x.type, o.y.type}, o.channels,
                    [&](auto how) -> Kernel { return [=, pool = poolOf(o, gradient)] { body(how, pool); }; });
}

Kernel maxPool(const Operands& operands) {
  const MaxPoolOperands o(operands, false);
  return prepare(o, false, [o, stream = streamOf(operands)](auto how, const Pool& pool) {
    using P = typename decltype(how)::type;
    constexpr int width = decltype(how)::width;
    launch("maxPool", stream, shapeOf(pool, width), maxPoolKernel<width, P>, access<P>(o.x), access<P>(o.y),
           o.index.u8(), pool);
  });
}

Kernel maxPoolGradient(const Operands& operands) {
  const MaxPoolOperands o(operands, true);
  return prepare(o, true, [o, stream = streamOf(operands)](auto how, const Pool& pool) {
    using P = typename decltype(how)::type;
    constexpr int width = decltype(how)::width;
    launch("maxPoolGradient", stream, shapeOf(pool, width), maxPoolGradientKernel<width, P>, access<P>(o.y),
           o.index.u8(), access<P>(o.x), pool);
  });
}

template <bool global>
Kernel averagePool(const Operands& operands) {
  const AveragePoolOperands o(operands, global, false);
  return prepare(o, false, [o, stream = streamOf(operands)](auto how, const Pool& pool) {
    using P = typename decltype(how)::type;
    constexpr int width = decltype(how)::width;
    launch("averagePool", stream, shapeOf(pool, width), averagePoolKernel<width, P>, access<P>(o.x), access<P>(o.y),
           pool);
  });
}

template <bool global>
Kernel averagePoolGradient(const Operands& operands) {
  const AveragePoolOperands o(operands, global, true);
  return prepare(o, true, [o, stream = streamOf(operands)](auto how, const Pool& pool) {
    using P = typename decltype(how)::type;
    constexpr int width = decltype(how)::width;
    launch("averagePoolGradient", stream, shapeOf(pool, width), averagePoolGradientKernel<width, P>, access<P>(o.y),
           access<P>(o.x), pool);
  });
}

}  // namespace

std::vector<Implementation> pooling() {
  return {{"maxPool", {"kernel", "stride", "padding"}, maxPool},
          {"maxPoolGradient", {"kernel", "stride", "padding", "height", "width"}, maxPoolGradient},
          {"averagePool", {"size"}, averagePool<false>},
          {"averagePoolGradient", {"size", "height", "width"}, averagePoolGradient<false>},
          {"globalAveragePool", {}, averagePool<true>},
          {"globalAveragePoolGradient", {"height", "width"}, averagePoolGradient<true>}};
}

}  // namespace autoprog::cuda
