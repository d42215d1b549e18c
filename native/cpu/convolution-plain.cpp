// Convolution as a product: the patch of x that an output sees is a row of a matrix, (positions, k k C), in the order
// (ky, kx, c), so that what is contiguous in x stays so. Weights are brought into that order first, (O, k k, C); those
// of a 1 x 1 kernel have it. Rows are made block by block, small enough to be found in the second-level cache.
#include <algorithm>

#include "cpu/convolution.h"
#include "cpu/gemm.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu::plain {

namespace {

constexpr int64_t kCachedFloats = 128 * 1024, kSharedFloats = 1024 * 1024;

int64_t blockOf(const ConvolutionSizes& s) { return std::max<int64_t>(48, kCachedFloats / (s.depth() + s.out)); }

// A row of a patch that lies within the image: `count` pixels from `pixel` of the image on, at `tap` of the kernel.
struct Run {
  int64_t pixel, tap, count;
};

// Calls body(run) for the rows of the patch of one output, from top to bottom; what they leave out is padding.
template <typename Body>
void forRuns(const ConvolutionSizes& s, int64_t row, int64_t column, Body body) {
  const int64_t top = row * s.stride - s.padding, left = column * s.stride - s.padding;
  const int64_t first = std::max<int64_t>(0, -left), last = std::min(s.kernel, s.width - left);
  if (first >= last) return;
  for (int64_t y = std::max<int64_t>(0, -top); y < std::min(s.kernel, s.height - top); y++)
    body(Run{(top + y) * s.width + left + first, y * s.kernel + first, last - first});
}

// Positions [begin, end) of all images' outputs as rows of patches.
void gather(const ConvolutionSizes& s, const float* x, int64_t begin, int64_t end, float* patches) {
  const int64_t image = s.rows * s.columns;
  for (int64_t i = begin; i < end; i++, patches += s.depth()) {
    if (s.padding > 0) std::fill_n(patches, s.depth(), 0.0f);
    const float* source = x + i / image * s.height * s.width * s.in;
    forRuns(s, i % image / s.columns, i % s.columns, [&](const Run& run) {
      std::copy_n(source + run.pixel * s.in, run.count * s.in, patches + run.tap * s.in);
    });
  }
}

// The way back: each pixel of dx (one image) += what the rows hold of it.
void scatter(const ConvolutionSizes& s, const float* patches, int64_t begin, int64_t end, float* dx) {
  for (int64_t i = begin; i < end; i++, patches += s.depth())
    forRuns(s, i / s.columns, i % s.columns,
            [&](const Run& run) { accumulate(patches + run.tap * s.in, dx + run.pixel * s.in, run.count * s.in); });
}

// Weights (O, C, k k) as (O, k k, C), in scratch memory.
class Ordered {
 public:
  Ordered(const Operands& operands, const ConvolutionSizes& s) : out_(s.out), in_(s.in), taps_(s.taps()) {
    if (taps_ > 1) ordered_ = operands.scratch->take(Type::f32, {out_, taps_, in_});
  }

  // The weights in order.
  const float* of(const View& weight) const {
    if (taps_ == 1) return weight.f32();
    forValues([from = weight.f32(), to = ordered_.f32()](int64_t at, int64_t ordered) { to[ordered] = from[at]; });
    return ordered_.f32();
  }
  // Where the gradient of the ordered weights is summed up.
  float* sums(const View& dweight) const {
    if (taps_ == 1) return dweight.f32();
    std::fill_n(ordered_.f32(), ordered_.size(), 0.0f);
    return ordered_.f32();
  }
  // dweight += the sums.
  void addTo(const View& dweight) const {
    if (taps_ == 1) return;
    forValues([from = ordered_.f32(), to = dweight.f32()](int64_t at, int64_t ordered) { to[at] += from[ordered]; });
  }

 private:
  template <typename Body>
  void forValues(Body body) const {
    parallelFor(out_, rowsPerPart(in_ * taps_), [&](int64_t o) {
      for (int64_t c = 0; c < in_; c++)
        for (int64_t tap = 0; tap < taps_; tap++) body((o * in_ + c) * taps_ + tap, (o * taps_ + tap) * in_ + c);
    });
  }

  int64_t out_, in_, taps_;
  View ordered_;
};

// Room for one block of patches for each thread; none where the patches are x itself.
class Patches {
 public:
  Patches(const Operands& operands, const ConvolutionSizes& s) : sizes_(s) {
    if (!s.pointwise()) memory_ = operands.scratch->take(Type::f32, {threadCount(), blockOf(s), s.depth()});
  }

  float* mine() const { return memory_.f32() + threadIndex() * blockOf(sizes_) * sizes_.depth(); }
  const float* of(const View& x, int64_t begin, int64_t end) const {
    if (sizes_.pointwise()) return x.f32() + begin * sizes_.in;
    gather(sizes_, x.f32(), begin, end, mine());
    return mine();
  }

 private:
  ConvolutionSizes sizes_;
  View memory_;
};

// sums (out, depth) += dy^T (out, count) patches (count, depth). Threads share the rows: since each packs all of the
// patches for itself, as few parts as there are threads, but for large sums.
void addProducts(const ConvolutionSizes& s, const float* dy, const float* patches, int64_t count, float* sums) {
  const int64_t depth = s.depth();
  parallelRanges(s.out, std::clamp<int64_t>(s.out / threadCount(), 32, 128), [&](int64_t begin, int64_t end) {
    gemm(true, false, end - begin, depth, count, dy + begin, s.out, patches, depth, 1.0f, sums + begin * depth, depth);
  });
}

}  // namespace

Kernel convolve(const Operands& operands, const ConvolutionOperands& o) {
  return [o, patches = Patches(operands, o.sizes), ordered = Ordered(operands, o.sizes)] {
    const ConvolutionSizes& s = o.sizes;
    const float* weight = ordered.of(o.weight);
    parallelRanges(s.positions(), blockOf(s), [&](int64_t begin, int64_t end) {
      float* y = o.y.f32() + begin * s.out;
      gemm(false, true, end - begin, s.out, s.depth(), patches.of(o.x, begin, end), s.depth(), weight, s.depth(), 0.0f,
           y, s.out);
      if (o.biased)
        for (int64_t i = 0; i < end - begin; i++) addBias(y + i * s.out, o.bias.f32(), s.out);
    });
  };
}

// A thread makes the whole gradient of an image, since patches overlap; where they are pixels, that of a block of them.
Kernel gradientInput(const Operands& operands, const ConvolutionGradientInputOperands& o) {
  return [o, patches = Patches(operands, o.sizes), ordered = Ordered(operands, o.sizes)] {
    const ConvolutionSizes& s = o.sizes;
    const float* weight = ordered.of(o.weight);
    const auto multiply = [&](int64_t begin, int64_t count, float* product) {
      gemm(false, false, count, s.depth(), s.out, o.dy.f32() + begin * s.out, s.out, weight, s.depth(), 0.0f, product,
           s.depth());
    };
    if (s.pointwise())
      return parallelRanges(s.positions(), blockOf(s), [&](int64_t begin, int64_t end) {
        multiply(begin, end - begin, o.dx.f32() + begin * s.in);
      });
    parallelFor(s.batch, 1, [&](int64_t image) {
      const int64_t size = s.height * s.width * s.in, all = s.rows * s.columns, block = blockOf(s);
      float* dx = o.dx.f32() + image * size;
      std::fill_n(dx, size, 0.0f);
      for (int64_t begin = 0; begin < all; begin += block) {
        const int64_t count = std::min(block, all - begin);
        multiply(image * all + begin, count, patches.mine());
        scatter(s, patches.mine(), begin, begin + count, dx);
      }
    });
  };
}

// Part by part of the positions: all threads gather a part's patches, then share its products, so that nobody's sum
// needs another's.
Kernel gradientWeight(const Operands& operands, const ConvolutionGradientWeightOperands& o) {
  const ConvolutionSizes s = o.sizes;
  const int64_t all = s.positions();
  const int64_t part =
      s.pointwise() ? all : std::clamp<int64_t>(kSharedFloats / s.depth(), std::min<int64_t>(64, all), all);
  const View shared = s.pointwise() ? View{} : operands.scratch->take(Type::f32, {part, s.depth()});
  return [=, ordered = Ordered(operands, s)] {
    float* sums = ordered.sums(o.dweight);
    for (int64_t begin = 0; begin < all; begin += part) {
      const int64_t count = std::min(part, all - begin);
      const float* patches = s.pointwise() ? o.x.f32() : shared.f32();
      if (!s.pointwise())
        parallelRanges(count, rowsPerPart(s.depth()), [&](int64_t first, int64_t last) {
          gather(s, o.x.f32(), begin + first, begin + last, shared.f32() + first * s.depth());
        });
      addProducts(s, o.dy.f32() + begin * s.out, patches, count, sums);
    }
    ordered.addTo(o.dweight);
  };
}

}  // namespace autoprog::cpu::plain
