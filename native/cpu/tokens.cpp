// Tokens joined, taken apart and searched.
#include "ops/tokens.h"

#include <algorithm>
#include <cmath>

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

Kernel prepend(const Operands& operands) {
  return [t = PrependTokenOperands(operands, false)] {
    const int64_t image = t.count * t.width;
    parallelFor(t.batch, rowsPerPart(image), [&](int64_t i) {
      float* target = t.y.f32() + i * (image + t.width);
      std::copy_n(t.token.f32() + (t.shared() ? 0 : i * t.width), t.width, target);
      std::copy_n(t.x.f32() + i * image, image, target + t.width);
    });
  };
}

Kernel drop(const Operands& operands) {
  return [t = PrependTokenOperands(operands, true)] {
    const int64_t image = t.count * t.width;
    parallelFor(t.batch, rowsPerPart(image), [&](int64_t i) {
      std::copy_n(t.y.f32() + i * (image + t.width) + t.width, image, t.x.f32() + i * image);
    });
  };
}

Kernel putBack(const Operands& operands) {
  return [t = PrependTokenOperands(operands, false, true)] {
    const int64_t image = t.count * t.width;
    parallelFor(t.batch, rowsPerPart(image), [&](int64_t i) {
      float* target = t.y.f32() + i * (image + t.width);
      std::fill_n(target, t.width, 0.0f);
      std::copy_n(t.x.f32() + i * image, image, target + t.width);
    });
  };
}

Kernel addMaximum(const Operands& operands) {
  return [t = AddTokenMaxOperands(operands)] {
    const int64_t n = t.classes;
    parallelFor(t.batch, rowsPerPart(t.count * n), [&](int64_t image) {
      const float* x = t.x.f32() + image * t.count * n;
      float* best = t.sum.f32() + image * n;
      int32_t* at = t.at.i32() + image * n;
      std::copy_n(x, n, best);
      std::fill_n(at, n, 0);
      for (int64_t token = 1; token < t.count; token++)
        for (int64_t i = 0; i < n; i++) {
          const float value = x[token * n + i];
          if (!(value > best[i]) && !std::isnan(value)) continue;
          best[i] = value;
          at[i] = static_cast<int32_t>(token);
        }
      addScaled(t.y.f32() + image * n, t.scale, best, best, n);
    });
  };
}

Kernel addMaximumGradient(const Operands& operands) {
  return [t = AddTokenMaxGradientOperands(operands)] {
    const int64_t n = t.classes;
    parallelFor(t.batch * t.count, rowsPerPart(n), [&](int64_t row) {
      const float* dy = t.dy.f32() + row / t.count * n;
      const int32_t* at = t.at.i32() + row / t.count * n;
      for (int64_t i = 0; i < n; i++) t.dx.f32()[row * n + i] = at[i] == row % t.count ? t.scale * dy[i] : 0.0f;
    });
  };
}

}  // namespace

std::vector<Implementation> tokens() {
  return {{"tokens", {}, join},
          {"tokensGradient", {}, split},
          {"selectToken", {"tokens"}, select},
          {"selectTokenGradient", {"tokens"}, place},
          {"prependToken", {}, prepend},
          {"dropToken", {}, drop},
          {"dropTokenGradient", {}, putBack},
          {"addTokenMax", {"scale"}, addMaximum},
          {"addTokenMaxGradient", {"scale", "tokens"}, addMaximumGradient}};
}

}  // namespace autoprog::cpu
