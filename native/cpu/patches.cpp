// Images to rows of patches and back: with it, patch embedding is a linear layer over timm's convolution kernel as it
// is.
#include "ops/patches.h"

#include "cpu/operations.h"
#include "cpu/parallel.h"

namespace autoprog::cpu {

namespace {

// Calls body(image offset, patch offset) for every value; the patches of a row of an image are one thread's.
template <typename Body>
void forValues(const PatchesOperands& o, Body body) {
  parallelFor(o.batch * o.rows(), rowsPerPart(o.columns() * o.values()), [&](int64_t i) {
    const int64_t image = i / o.rows(), row = i % o.rows();
    for (int64_t column = 0; column < o.columns(); column++) {
      const int64_t target = (i * o.columns() + column) * o.values();
      for (int64_t y = 0; y < o.patch; y++) {
        const int64_t source = ((image * o.height + row * o.patch + y) * o.width + column * o.patch) * o.channels;
        for (int64_t x = 0; x < o.patch; x++)
          for (int64_t c = 0; c < o.channels; c++)
            body(source + x * o.channels + c, target + (c * o.patch + y) * o.patch + x);
      }
    }
  });
}

Kernel unfold(const Operands& operands) {
  return [o = PatchesOperands(operands, false)] {
    const float* images = o.images.f32();
    float* patches = o.patches.f32();
    forValues(o, [&](int64_t image, int64_t patch) { patches[patch] = images[image]; });
  };
}

Kernel fold(const Operands& operands) {
  return [o = PatchesOperands(operands, true)] {
    const float* patches = o.patches.f32();
    float* images = o.images.f32();
    forValues(o, [&](int64_t image, int64_t patch) { images[image] = patches[patch]; });
  };
}

}  // namespace

std::vector<Implementation> patches() {
  return {{"patches", {"patch", "height", "width"}, unfold}, {"patchesGradient", {"patch", "height", "width"}, fold}};
}

}  // namespace autoprog::cpu
