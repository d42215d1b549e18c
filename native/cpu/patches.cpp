// Images to rows of patches and back: with it, patch embedding is a linear layer over timm's convolution kernel as it
// is.
#include "cpu/backend.h"
#include "cpu/parallel.h"

namespace autoprog::cpu {

namespace {

struct Grid {
  int64_t batch, height, width, channels, patch;

  int64_t rows() const { return height / patch; }
  int64_t columns() const { return width / patch; }
  int64_t values() const { return channels * patch * patch; }

  // Calls body(image offset, patch offset) for every value of one row of patches; patches are (C, patch, patch).
  template <typename Body>
  void forValues(int64_t image, int64_t row, Body body) const {
    for (int64_t column = 0; column < columns(); column++) {
      const int64_t target = ((image * rows() + row) * columns() + column) * values();
      for (int64_t y = 0; y < patch; y++) {
        const int64_t source = ((image * height + row * patch + y) * width + column * patch) * channels;
        for (int64_t x = 0; x < patch; x++)
          for (int64_t c = 0; c < channels; c++) body(source + x * channels + c, target + (c * patch + y) * patch + x);
      }
    }
  }
};

Grid gridOf(const Operands& operands, const View& images, const View& patches) {
  require(images.shape.size() == 4, "SHAPE", "Expected images [B, H, W, C] but received " + images.describe());
  const Grid grid{images.shape[0], images.shape[1], images.shape[2], images.shape[3],
                  operands.attributes.integer("patch", 1, 1 << 16)};
  require(grid.height % grid.patch == 0 && grid.width % grid.patch == 0, "SHAPE",
          "Expected sides that the patch " + std::to_string(grid.patch) + " divides but received " + images.describe());
  Operands::expect(images, Type::f32, images.size(), "images");
  Operands::expect(patches, Type::f32, images.size(), "patches");
  return grid;
}

// patches: (B, H, W, C) -> (B, N, C * patch * patch).
Kernel unfold(const Operands& operands) {
  operands.count(1, 1);
  const View x = operands.inputs[0], y = operands.outputs[0];
  const Grid grid = gridOf(operands, x, y);
  return [=] {
    parallelFor(grid.batch * grid.rows(), rowsPerPart(grid.columns() * grid.values()), [&](int64_t i) {
      grid.forValues(i / grid.rows(), i % grid.rows(),
                     [&](int64_t image, int64_t patch) { y.f32()[patch] = x.f32()[image]; });
    });
  };
}

// patchesGradient: dy (B, N, C * patch * patch) -> dx (B, H, W, C) (=).
Kernel fold(const Operands& operands) {
  operands.count(1, 1);
  const View dy = operands.inputs[0], dx = operands.outputs[0];
  const Grid grid = gridOf(operands, dx, dy);
  return [=] {
    parallelFor(grid.batch * grid.rows(), rowsPerPart(grid.columns() * grid.values()), [&](int64_t i) {
      grid.forValues(i / grid.rows(), i % grid.rows(),
                     [&](int64_t image, int64_t patch) { dx.f32()[image] = dy.f32()[patch]; });
    });
  };
}

}  // namespace

std::vector<Implementation> patches() {
  return {{"patches", {"patch", "height", "width"}, unfold}, {"patchesGradient", {"patch", "height", "width"}, fold}};
}

}  // namespace autoprog::cpu
