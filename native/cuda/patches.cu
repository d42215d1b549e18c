// Images to rows of patches and back: one thread per value, in the order of what is written.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/patches.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

struct Grid {
  int height, width, channels, patch;
  int64_t count;

  // Where the patches' value i lies in the images.
  __device__ __forceinline__ int64_t imageOf(int64_t i) const {
    const int x = static_cast<int>(i % patch), y = static_cast<int>(i / patch % patch);
    const int channel = static_cast<int>(i / (patch * patch) % channels);
    const int64_t token = i / (static_cast<int64_t>(patch) * patch * channels);
    const int columns = width / patch, rows = height / patch;
    const int64_t image = token / (static_cast<int64_t>(rows) * columns);
    const int row = static_cast<int>(token / columns % rows) * patch + y;
    const int column = static_cast<int>(token % columns) * patch + x;
    return ((image * height + row) * width + column) * channels + channel;
  }
};

template <typename Images, typename Patches>
__global__ void unfoldKernel(const Images* images, Patches* patches, Grid grid) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < grid.count) patches[i] = fromFloat<Patches>(toFloat(images[grid.imageOf(i)]));
}

template <typename Images, typename Patches>
__global__ void foldKernel(const Patches* patches, Images* images, Grid grid) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < grid.count) images[grid.imageOf(i)] = fromFloat<Images>(toFloat(patches[i]));
}

template <bool gradient>
Kernel prepare(const Operands& operands) {
  const PatchesOperands o(operands, gradient);
  const Grid grid{static_cast<int>(o.height), static_cast<int>(o.width), static_cast<int>(o.channels),
                  static_cast<int>(o.patch), o.images.size()};
  const Shape shape{blocksFor(grid.count, kThreads), kThreads};
  return withType(o.images.type, [&](auto imageType) {
    return withType(o.patches.type, [&](auto patchType) -> Kernel {
      using Images = typename decltype(imageType)::type;
      using Patches = typename decltype(patchType)::type;
      return [=, stream = streamOf(operands)] {
        if constexpr (gradient)
          launch("patchesGradient", stream, shape, foldKernel<Images, Patches>, pointer<Patches>(o.patches),
                 pointer<Images>(o.images), grid);
        else
          launch("patches", stream, shape, unfoldKernel<Images, Patches>, pointer<Images>(o.images),
                 pointer<Patches>(o.patches), grid);
      };
    });
  });
}

}  // namespace

std::vector<Implementation> patches() {
  return {{"patches", {"patch", "height", "width"}, prepare<false>},
          {"patchesGradient", {"patch", "height", "width"}, prepare<true>}};
}

}  // namespace autoprog::cuda
