// Convolution as products by cuBLASLt. The patch of x that an output sees is a row of a matrix in scratch memory,
// (positions, k k C), in the order (ky, kx, c): neighbours in x stay neighbours. Rows are filled up to a multiple of 8
// values, which 16-bit products want, and weights are brought into the same shape; a 1 x 1 kernel's have it. Where an
// output sees one pixel, in order, x itself is the matrix. Batches whose patches take much memory are done in slices of
// images.
#include <algorithm>

#include "cuda/bias.h"
#include "cuda/blas.h"
#include "cuda/columns.h"
#include "cuda/elements.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/convolution.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int64_t kPatchBytes = int64_t{256} << 20;

int64_t paddedDepth(const ConvolutionSizes& s) { return s.kernel == 1 ? s.in : (s.depth() + 7) / 8 * 8; }

// The sizes of one image, for kernels.
struct Window {
  int height, width, in, rows, columns, kernel, stride, padding, depth;

  explicit Window(const ConvolutionSizes& s)
      : height(static_cast<int>(s.height)),
        width(static_cast<int>(s.width)),
        in(static_cast<int>(s.in)),
        rows(static_cast<int>(s.rows)),
        columns(static_cast<int>(s.columns)),
        kernel(static_cast<int>(s.kernel)),
        stride(static_cast<int>(s.stride)),
        padding(static_cast<int>(s.padding)),
        depth(static_cast<int>(paddedDepth(s))) {}
};

// A warp copies the patch of one position, `count` channels a lane; zeros where it lies outside, and at the row's end.
template <typename T, int count>
__global__ void gatherKernel(const T* x, T* patches, Window o, int positions) {
  const int position = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x) / kWarp;
  if (position >= positions) return;
  const int image = position / (o.rows * o.columns), at = position % (o.rows * o.columns);
  const int top = at / o.columns * o.stride - o.padding, left = at % o.columns * o.stride - o.padding;
  const T* source = x + static_cast<int64_t>(image) * o.height * o.width * o.in;
  T* target = patches + static_cast<int64_t>(position) * o.depth;
  for (int i = count * (static_cast<int>(threadIdx.x) % kWarp); i < o.depth; i += count * kWarp) {
    const int tap = i / o.in, channel = i % o.in;
    const int row = top + tap / o.kernel, column = left + tap % o.kernel;
    const bool inside = tap < o.kernel * o.kernel && row >= 0 && row < o.height && column >= 0 && column < o.width;
    float values[count] = {};
    const T* from = source + (static_cast<int64_t>(row) * o.width + column) * o.in + channel;
    if constexpr (count == 4) {
      if (inside) loadFour(from, values);
      storeFour(target + i, values);
    } else {
      if (inside) values[0] = toFloat(*from);
      target[i] = fromFloat<T>(values[0]);
    }
  }
}

// The way back: a thread adds up what the patches hold of `count` channels of a pixel, in the order of the kernel's
// taps.
template <typename From, typename To, int count>
__global__ void collectKernel(const From* patches, To* dx, Window o, int64_t total) {
  const int64_t i = count * (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x);
  if (i >= total) return;
  const int64_t pixel = i / o.in;
  const int channel = static_cast<int>(i % o.in), column = static_cast<int>(pixel % o.width) + o.padding;
  const int row = static_cast<int>(pixel / o.width % o.height) + o.padding;
  const int64_t image = pixel / (static_cast<int64_t>(o.width) * o.height);
  float sums[count] = {};
  for (int y = row % o.stride; y < o.kernel && y <= row; y += o.stride) {
    if ((row - y) / o.stride >= o.rows) continue;
    for (int x = column % o.stride; x < o.kernel && x <= column; x += o.stride) {
      if ((column - x) / o.stride >= o.columns) continue;
      const int64_t position = (image * o.rows + (row - y) / o.stride) * o.columns + (column - x) / o.stride;
      const From* from = patches + position * o.depth + (y * o.kernel + x) * o.in + channel;
      float values[count];
      if constexpr (count == 4)
        loadFour(from, values);
      else
        values[0] = toFloat(*from);
#pragma unroll
      for (int j = 0; j < count; j++) sums[j] += values[j];
    }
  }
  if constexpr (count == 4)
    storeFour(dx + i, sums);
  else
    dx[i] = fromFloat<To>(sums[0]);
}

// Weights (O, C, k k) as (O, depth).
__global__ void orderKernel(AnyPointer weight, AnyPointer ordered, int64_t total, int in, int taps, int depth) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= total) return;
  const int tap = static_cast<int>(i % depth) / in, channel = static_cast<int>(i % depth) % in;
  ordered.store(i, tap < taps ? weight.load((i / depth * in + channel) * taps + tap) : 0.0f);
}

// dweight (O, C, k k) += sums (O, depth).
__global__ void addOrderedKernel(const float* sums, float* dweight, int64_t total, int in, int taps, int depth) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= total) return;
  const int tap = static_cast<int>(i % taps), channel = static_cast<int>(i / taps % in);
  dweight[i] += sums[i / taps / in * depth + tap * in + channel];
}

// Images [first, first + count) of a tensor (B, …).
View imagesOf(View view, int64_t first, int64_t count) {
  view.offset += view.bytes() / static_cast<size_t>(view.shape[0]) * static_cast<size_t>(first);
  view.shape[0] = count;
  return view;
}

// The patches of some images at a time, in scratch memory.
struct Patches {
  ConvolutionSizes sizes;
  int64_t images;  // of a slice; the last may have fewer
  View memory;

  Patches(const Operands& operands, const ConvolutionSizes& s, Type type) : sizes(s), images(s.batch) {
    if (s.pointwise()) return;
    const int64_t floats = s.rows * s.columns * paddedDepth(s);
    const int64_t most = std::max<int64_t>(1, kPatchBytes / (floats * static_cast<int64_t>(bytesOf(type))));
    const int64_t slices = (s.batch + most - 1) / most;
    images = (s.batch + slices - 1) / slices;
    require(std::max(images * s.rows * s.columns, s.taps() * s.in) < int64_t{1} << 31, "SHAPE",
            "Expected smaller images for " + s.describe());
    memory = operands.scratch->take(type, {images, s.rows, s.columns, paddedDepth(s)});
  }

  // What prepare(first image, images) gives for each slice, one after another.
  template <typename Prepare>
  Kernel inSlices(Prepare prepare) const {
    std::vector<Kernel> kernels;
    for (int64_t first = 0; first < sizes.batch; first += images)
      kernels.push_back(prepare(first, std::min(images, sizes.batch - first)));
    if (kernels.size() == 1) return kernels[0];
    return [kernels = std::move(kernels)] {
      for (const Kernel& kernel : kernels) kernel();
    };
  }

  // The matrix of some images, which `gather` fills.
  View of(const View& x, int64_t first, int64_t count) const {
    return imagesOf(sizes.pointwise() ? x : memory, sizes.pointwise() ? first : 0, count);
  }
  Kernel gather(const Operands& operands, const View& x, int64_t first, int64_t count) const;
  Kernel collect(const Operands& operands, const View& dx, int64_t first, int64_t count) const;
};

Kernel Patches::gather(const Operands& operands, const View& x, int64_t first, int64_t count) const {
  if (sizes.pointwise()) return [] {};
  const View from = imagesOf(x, first, count), to = memory;
  const auto positions = static_cast<int>(count * sizes.rows * sizes.columns);
  return withType(to.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    const auto kernel = sizes.in % 4 == 0 ? gatherKernel<T, 4> : gatherKernel<T, 1>;
    return [=, window = Window(sizes), stream = streamOf(operands)] {
      launch("convolution patches", stream, {blocksFor(positions, kWarps), kThreads}, kernel, pointer<T>(from),
             pointer<T>(to), window, positions);
    };
  });
}

Kernel Patches::collect(const Operands& operands, const View& dx, int64_t first, int64_t count) const {
  if (sizes.pointwise()) return [] {};
  const View from = memory, to = imagesOf(dx, first, count);
  return withType(from.type, [&](auto fromType) {
    return withType(to.type, [&](auto toType) -> Kernel {
      using From = typename decltype(fromType)::type;
      using To = typename decltype(toType)::type;
      const int width = sizes.in % 4 == 0 ? 4 : 1;
      const auto kernel = width == 4 ? collectKernel<From, To, 4> : collectKernel<From, To, 1>;
      return [=, window = Window(sizes), stream = streamOf(operands)] {
        launch("convolutionGradientInput", stream, {blocksFor(to.size(), width * kThreads), kThreads}, kernel,
               pointer<From>(from), pointer<To>(to), window, to.size());
      };
    });
  });
}

// Weights as (O, depth): themselves for a 1 x 1 kernel, else in scratch memory, where `bring` puts them.
struct Ordered {
  ConvolutionSizes sizes;
  View view;

  Ordered(const Operands& operands, const ConvolutionSizes& s, const View& weight) : sizes(s), view(weight) {
    if (s.kernel > 1) view = operands.scratch->take(weight.type, {s.out, paddedDepth(s)});
  }

  Kernel bring(const Operands& operands, const View& weight) const {
    if (sizes.kernel == 1) return [] {};
    return [s = sizes, weight, to = view, stream = streamOf(operands)] {
      launch("convolution weights", stream, {blocksFor(to.size(), kThreads), kThreads}, orderKernel, AnyPointer(weight),
             AnyPointer(to), to.size(), static_cast<int>(s.in), static_cast<int>(s.taps()),
             static_cast<int>(to.last()));
    };
  }
  Kernel addTo(const Operands& operands, const View& dweight) const {
    if (sizes.kernel == 1) return [] {};
    return [s = sizes, dweight, sums = view, stream = streamOf(operands)] {
      launch("convolutionGradientWeight", stream, {blocksFor(dweight.size(), kThreads), kThreads}, addOrderedKernel,
             sums.f32(), dweight.f32(), dweight.size(), static_cast<int>(s.in), static_cast<int>(s.taps()),
             static_cast<int>(sums.last()));
    };
  }
};

void expectType(const View& view, Type type) {
  require(view.type == type, "SHAPE", "Expected factors of one type but received " + view.describe());
}

Kernel convolve(const Operands& operands) {
  const ConvolutionOperands o(operands);
  expectType(o.weight, o.x.type);
  const Patches patches(operands, o.sizes, o.x.type);
  const Ordered weight(operands, o.sizes, o.weight);
  const Kernel slices = patches.inSlices([&](int64_t first, int64_t count) -> Kernel {
    Product product{patches.of(o.x, first, count), weight.view, imagesOf(o.y, first, count)};
    product.transposeB = true;
    product.m = count * o.sizes.rows * o.sizes.columns, product.n = o.sizes.out, product.k = paddedDepth(o.sizes);
    const Kernel multiply = o.biased ? prepareBiased("convolution bias", operands, product, o.bias)
                                     : engineOf(operands).blas().prepare(operands, product);
    return [multiply, gather = patches.gather(operands, o.x, first, count)] {
      gather();
      multiply();
    };
  });
  return [slices, bring = weight.bring(operands, o.weight)] {
    bring();
    slices();
  };
}

// Patches that overlap are kept in f32 until they are summed up.
Kernel gradientInput(const Operands& operands) {
  const ConvolutionGradientInputOperands o(operands);
  expectType(o.weight, o.dy.type);
  const Patches patches(operands, o.sizes, o.sizes.stride < o.sizes.kernel ? Type::f32 : o.dx.type);
  const Ordered weight(operands, o.sizes, o.weight);
  const Kernel slices = patches.inSlices([&](int64_t first, int64_t count) -> Kernel {
    Product product{imagesOf(o.dy, first, count), weight.view, patches.of(o.dx, first, count)};
    product.m = count * o.sizes.rows * o.sizes.columns, product.n = paddedDepth(o.sizes), product.k = o.sizes.out;
    return [multiply = engineOf(operands).blas().prepare(operands, product),
            collect = patches.collect(operands, o.dx, first, count)] {
      multiply();
      collect();
    };
  });
  return [slices, bring = weight.bring(operands, o.weight)] {
    bring();
    slices();
  };
}

// The sums of a larger kernel are made in the patches' order, slice after slice, and then added in the weight's.
Kernel gradientWeight(const Operands& operands) {
  const ConvolutionGradientWeightOperands o(operands);
  expectType(o.dy, o.x.type);
  const Patches patches(operands, o.sizes, o.x.type);
  const Ordered sums(operands, o.sizes, o.dweight);
  const Kernel slices = patches.inSlices([&](int64_t first, int64_t count) -> Kernel {
    Product product{imagesOf(o.dy, first, count), patches.of(o.x, first, count), sums.view};
    product.transposeA = true;
    product.m = o.sizes.out, product.n = paddedDepth(o.sizes), product.k = count * o.sizes.rows * o.sizes.columns;
    product.beta = o.sizes.kernel == 1 || first > 0 ? 1 : 0;
    return [multiply = engineOf(operands).blas().prepare(operands, product),
            gather = patches.gather(operands, o.x, first, count)] {
      gather();
      multiply();
    };
  });
  const Kernel bias = o.biased ? prepareColumnSums("convolutionGradientWeight bias", operands, o.dy,
                                                   o.sizes.positions(), o.sizes.out, o.dbias)
                               : Kernel([] {});
  return [slices, bias, add = sums.addTo(operands, o.dweight)] {
    slices();
    add();
    bias();
  };
}

}  // namespace

std::vector<Implementation> convolution() {
  return {{"convolution", {"stride", "padding"}, convolve},
          {"convolutionGradientInput", {"stride", "padding", "height", "width"}, gradientInput},
          {"convolutionGradientWeight", {"stride", "padding", "kernel", "biased"}, gradientWeight}};
}

}  // namespace autoprog::cuda
