// Mixup (Zhang et al., 2018) and CutMix (Yun et al., 2019): a pair of images at a time, each the other's partner, so
// that both are read once. MixToken (Jiang et al., 2021) does so to maps inside of a network.
#include "ops/mix.h"

#include <algorithm>
#include <cmath>

#include "cpu/operations.h"
#include "cpu/parallel.h"

namespace autoprog::cpu {

namespace {

// Where a and b are blended, each with the other.
void blendLine(const float* a, const float* b, float* mixedA, float* mixedB, int64_t from, int64_t to, float blend) {
  const float rest = 1.0f - blend;
  for (int64_t i = from; i < to; i++) {
    const float x = a[i], partner = b[i];
    mixedA[i] = blend * x + rest * partner;
    mixedB[i] = blend * partner + rest * x;
  }
}

Kernel mixImages(const Operands& operands) {
  return [o = MixImagesOperands(operands)] {
    const float* mix = o.mix.f32();
    const int64_t line = o.width * o.channels;
    // The box within the image; a comparison that fails, as of NaN, gives none.
    const auto within = [](float edge, int64_t extent) {
      return edge > 0 ? static_cast<int64_t>(std::ceil(std::min(edge, static_cast<float>(extent)))) : 0;
    };
    const int64_t top = within(mix[2], o.height), bottom = within(mix[3], o.height);
    const int64_t left = within(mix[4], o.width) * o.channels;
    const int64_t right = std::max(left, within(mix[5], o.width) * o.channels);
    parallelFor(o.pairs() * o.height, rowsPerPart(2 * line), [&](int64_t at) {
      const int64_t pair = at / o.height, row = at % o.height;
      const int64_t first = (pair * o.height + row) * line, second = ((o.batch - 1 - pair) * o.height + row) * line;
      const float *a = o.images.f32() + first, *b = o.images.f32() + second;
      float *mixedA = o.y.f32() + first, *mixedB = o.y.f32() + second;
      if (row < top || row >= bottom) return blendLine(a, b, mixedA, mixedB, 0, line, mix[0]);
      blendLine(a, b, mixedA, mixedB, 0, left, mix[0]);
      std::copy(b + left, b + right, mixedA + left);
      std::copy(a + left, a + right, mixedB + left);
      blendLine(a, b, mixedA, mixedB, right, line, mix[0]);
    });
  };
}

Kernel mixTargets(const Operands& operands) {
  return [o = MixTargetsOperands(operands)] {
    const float share = o.mix.f32()[1];
    parallelFor(o.rows, rowsPerPart(2 * o.classes), [&](int64_t row) {
      const float *t = o.targets.f32() + row * o.classes, *partner = o.targets.f32() + (o.rows - 1 - row) * o.classes;
      for (int64_t i = 0; i < o.classes; i++)
        o.y.f32()[row * o.classes + i] = share * t[i] + (1.0f - share) * partner[i];
    });
  };
}

Kernel mixTokens(const Operands& operands) {
  return [o = MixTokensOperands(operands)] {
    const int32_t* box = o.box.i32();
    const auto within = [&](int32_t edge, int64_t extent) { return std::clamp<int64_t>(edge * o.scale, 0, extent); };
    const int64_t line = o.width * o.channels, top = within(box[0], o.height), bottom = within(box[2], o.height);
    const int64_t left = within(box[1], o.width) * o.channels;
    const int64_t right = std::max(left, within(box[3], o.width) * o.channels);
    parallelFor(o.batch * o.height, rowsPerPart(line), [&](int64_t at) {
      const int64_t image = at / o.height, row = at % o.height;
      const float *x = o.x.f32() + at * line, *partner = o.x.f32() + ((o.batch - 1 - image) * o.height + row) * line;
      float* y = o.y.f32() + at * line;
      std::copy_n(x, line, y);
      if (row >= top && row < bottom) std::copy(partner + left, partner + right, y + left);
    });
  };
}

}  // namespace

std::vector<Implementation> mix() {
  return {{"mixImages", {}, mixImages}, {"mixTargets", {}, mixTargets}, {"mixTokens", {"scale"}, mixTokens}};
}

}  // namespace autoprog::cpu
