// Position embeddings: added to every image, and resized inside the graph so that the gradient reaches the full-size
// one.
#include "ops/position.h"

#include <algorithm>
#include <memory>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

Kernel addPosition(const Operands& operands) {
  return [o = AddPositionOperands(operands)] {
    parallelFor(o.x.size() / o.image, rowsPerPart(o.image), [&](int64_t i) {
      addScaled(o.x.f32() + i * o.image, 1.0f, o.position.f32(), o.y.f32() + i * o.image, o.image);
    });
  };
}

Kernel sumImages(const Operands& operands) {
  return [o = SumImagesOperands(operands)] {
    float* sum = o.y.f32();
    parallelRanges(o.image, std::max<int64_t>(64, kGrain / o.batch), [&](int64_t begin, int64_t end) {
      std::copy(o.x.f32() + begin, o.x.f32() + end, sum + begin);
      for (int64_t i = 1; i < o.batch; i++) accumulate(o.x.f32() + i * o.image + begin, sum + begin, end - begin);
    });
  };
}

Kernel repeatImages(const Operands& operands) {
  return [o = RepeatImagesOperands(operands)] {
    parallelFor(o.batch, rowsPerPart(o.image),
                [&](int64_t i) { std::copy_n(o.x.f32(), o.image, o.y.f32() + i * o.image); });
  };
}

// Calls body(source row, target row, weight) for the grid's rows, which follow the prefix.
template <typename Body>
void forTaps(const ResizePositionOperands& resize, Body body) {
  const int64_t from = resize.from, to = resize.to, first = resize.prefix;
  for (int64_t y = 0; y < to; y++)
    for (int64_t x = 0; x < to; x++)
      for (int64_t j = 0; j < 4; j++)
        for (int64_t i = 0; i < 4; i++) {
          const CubicTaps &row = resize.taps[static_cast<size_t>(y)], &column = resize.taps[static_cast<size_t>(x)];
          const float weight = row.weights[j] * column.weights[i];
          if (weight != 0.0f) body(first + row.at[j] * from + column.at[i], first + y * to + x, weight);
        }
}

Kernel resizePosition(const Operands& operands) {
  return [resize = std::make_shared<ResizePositionOperands>(operands, false)] {
    const int64_t n = resize->width;
    float *x = resize->position.f32(), *y = resize->resized.f32();
    std::fill_n(y, resize->resized.size(), 0.0f);
    std::copy_n(x, resize->prefix * n, y);
    forTaps(*resize, [&](int64_t source, int64_t target, float weight) {
      addScaled(y + target * n, weight, x + source * n, y + target * n, n);
    });
  };
}

Kernel resizePositionGradient(const Operands& operands) {
  return [resize = std::make_shared<ResizePositionOperands>(operands, true)] {
    const int64_t n = resize->width;
    float *dx = resize->position.f32(), *dy = resize->resized.f32();
    accumulate(dy, dx, resize->prefix * n);
    forTaps(*resize, [&](int64_t source, int64_t target, float weight) {
      addScaled(dx + source * n, weight, dy + target * n, dx + source * n, n);
    });
  };
}

}  // namespace

std::vector<Implementation> position() {
  return {{"addPosition", {}, addPosition},
          {"sumImages", {}, sumImages},
          {"repeatImages", {"batch"}, repeatImages},
          {"resizePosition", {"from", "to", "prefix"}, resizePosition},
          {"resizePositionGradient", {"from", "to", "prefix"}, resizePositionGradient}};
}

}  // namespace autoprog::cpu
