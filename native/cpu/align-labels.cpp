// Soft targets of tokens from label maps: each token adds up what its samples see into its row of classes.
#include "ops/align-labels.h"

#include <algorithm>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

void checkClasses(const View& classes, int classCount) {
  const int32_t* values = classes.i32();
  for (int64_t i = 0; i < classes.size(); i++)
    require(
        values[i] >= 0 && values[i] < classCount, "DATA",
        "Expected classes from 0 to " + std::to_string(classCount - 1) + " but received " + std::to_string(values[i]));
}

// Adds the token's samples to `row` (C); returns the sum of all of them.
float addSamples(const LabelSamples& samples, const int32_t* classes, const float* scores, const LabelSizes& s,
                 float* row) {
  float total = 0;
  for (int i = 0; i < samples.count; i++) {
    const auto [cell, weight] = samples.sample(i);
    for (int k = 0; k < s.best; k++) {
      const int64_t at = int64_t{k} * s.height * s.width + cell;
      const float value = weight * scores[at];
      row[classes[at]] += value;
      total += value;
    }
  }
  return total;
}

// row = softmax(row).
void normalize(float* row, int64_t n) {
  const float sum = exponentials(row, maximum(row, n), row, n);
  for (int64_t i = 0; i < n; i++) row[i] /= sum;
}

Kernel alignLabels(const Operands& operands) {
  return [o = AlignLabelsOperands(operands)] {
    const LabelSizes& s = o.sizes;
    const int64_t n = s.classCount;
    const float even = 1.0f / static_cast<float>(n), own = 1.0f - s.smoothing;
    checkClasses(o.classes, s.classCount);
    parallelFor(o.batch * o.tokens, rowsPerPart(2 * n), [&](int64_t at) {
      const int64_t image = at / o.tokens, map = image * o.mapSize();
      float* row = o.y.f32() + at * n;
      std::fill_n(row, n, 0.0f);
      const auto samples = LabelSamples::of(o.regions.f32() + 5 * image, static_cast<int>(at % o.tokens), s);
      const float total = addSamples(samples, o.classes.i32() + map, o.scores.f32() + map, s, row);
      if (s.logits) normalize(row, n);
      const float rest = s.logits ? 0.0f : std::max(0.0f, 1.0f - total);
      const float spread = (own * rest + s.smoothing) * even;
      for (int64_t i = 0; i < n; i++) row[i] = own * row[i] + spread;
    });
  };
}

}  // namespace

std::vector<Implementation> alignLabels() {
  return {{"alignLabels", {"grid", "classCount", "smoothing", "logits"}, alignLabels}};
}

}  // namespace autoprog::cpu
