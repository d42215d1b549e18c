// Class token and position embedding, the latter resized inside the graph so that its gradient reaches the full-size
// one.
#include "ops/tokens.h"

#include <algorithm>
#include <memory>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

Kernel join(const Operands& operands) {
  return [t = TokensOperands(operands, false)] {
    parallelFor(t.batch, rowsPerPart(t.count * t.width), [&](int64_t image) {
      float* target = t.y.f32() + image * (t.count + 1) * t.width;
      addScaled(t.classToken.f32(), 1.0f, t.position.f32(), target, t.width);
      addScaled(t.patches.f32() + image * t.count * t.width, 1.0f, t.position.f32() + t.width, target + t.width,
                t.count * t.width);
    });
  };
}

Kernel split(const Operands& operands) {
  return [t = TokensOperands(operands, true)] {
    const int64_t image = (t.count + 1) * t.width;
    float* dposition = t.position.f32();
    parallelRanges(image, std::max<int64_t>(64, kGrain / std::max<int64_t>(1, t.batch)),
                   [&](int64_t begin, int64_t end) {
                     std::fill(dposition + begin, dposition + end, 0.0f);
                     for (int64_t i = 0; i < t.batch; i++)
                       accumulate(t.y.f32() + i * image + begin, dposition + begin, end - begin);
                   });
    accumulate(dposition, t.classToken.f32(), t.width);
    parallelFor(t.batch, rowsPerPart(t.count * t.width), [&](int64_t i) {
      std::copy_n(t.y.f32() + i * image + t.width, t.count * t.width, t.patches.f32() + i * t.count * t.width);
    });
  };
}

Kernel select(const Operands& operands) {
  return [t = SelectTokenOperands(operands, false)] {
    for (int64_t i = 0; i < t.batch; i++)
      std::copy_n(t.x.f32() + i * t.count * t.width, t.width, t.y.f32() + i * t.width);
  };
}

Kernel place(const Operands& operands) {
  return [t = SelectTokenOperands(operands, true)] {
    const int64_t image = t.count * t.width;
    parallelFor(t.batch, rowsPerPart(image), [&](int64_t i) {
      float* target = t.x.f32() + i * image;
      std::copy_n(t.y.f32() + i * t.width, t.width, target);
      std::fill(target + t.width, target + image, 0.0f);
    });
  };
}

// Calls body(source row, target row, weight) for the grid's rows; row 0 is the class token, which stays.
template <typename Body>
void forTaps(const ResizePositionOperands& resize, Body body) {
  const int64_t from = resize.from, to = resize.to;
  for (int64_t y = 0; y < to; y++)
    for (int64_t x = 0; x < to; x++)
      for (int64_t j = 0; j < 4; j++)
        for (int64_t i = 0; i < 4; i++) {
          const CubicTaps &row = resize.taps[static_cast<size_t>(y)], &column = resize.taps[static_cast<size_t>(x)];
          const float weight = row.weights[j] * column.weights[i];
          if (weight != 0.0f) body(1 + row.at[j] * from + column.at[i], 1 + y * to + x, weight);
        }
}

Kernel resizePosition(const Operands& operands) {
  return [resize = std::make_shared<ResizePositionOperands>(operands, false)] {
    const int64_t n = resize->width;
    float *x = resize->position.f32(), *y = resize->resized.f32();
    std::fill_n(y, resize->resized.size(), 0.0f);
    std::copy_n(x, n, y);
    forTaps(*resize, [&](int64_t source, int64_t target, float weight) {
      addScaled(y + target * n, weight, x + source * n, y + target * n, n);
    });
  };
}

Kernel resizePositionGradient(const Operands& operands) {
  return [resize = std::make_shared<ResizePositionOperands>(operands, true)] {
    const int64_t n = resize->width;
    float *dx = resize->position.f32(), *dy = resize->resized.f32();
    accumulate(dy, dx, n);
    forTaps(*resize, [&](int64_t source, int64_t target, float weight) {
      addScaled(dx + source * n, weight, dy + target * n, dx + source * n, n);
    });
  };
}

}  // namespace

std::vector<Implementation> tokens() {
  return {{"tokens", {}, join},
          {"tokensGradient", {}, split},
          {"selectToken", {"tokens"}, select},
          {"selectTokenGradient", {"tokens"}, place},
          {"resizePosition", {"from", "to"}, resizePosition},
          {"resizePositionGradient", {"from", "to"}, resizePositionGradient}};
}

}  // namespace autoprog::cpu
