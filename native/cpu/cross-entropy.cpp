// The loss: softmax cross entropy against soft targets, with its gradient in the same pass over the logits.
#include "ops/cross-entropy.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

void checkLabels(const View& labels, int64_t classes) {
  for (int64_t i = 0; i < labels.size(); i++) {
    const int32_t label = labels.i32()[i];
    require(label >= 0 && label < classes, "DATA",
            "Expected labels from 0 to " + std::to_string(classes - 1) + " but received " + std::to_string(label));
  }
}

Kernel oneHot(const Operands& operands) {
  return [o = OneHotOperands(operands)] {
    checkLabels(o.labels, o.classes);
    std::fill_n(o.y.f32(), o.y.size(), o.smoothing / static_cast<float>(o.classes));
    for (int64_t i = 0; i < o.rows; i++) o.y.f32()[i * o.classes + o.labels.i32()[i]] += 1.0f - o.smoothing;
  };
}

Kernel crossEntropy(const Operands& operands) {
  const CrossEntropyOperands checked(operands);
  const auto losses = std::make_shared<std::vector<double>>(static_cast<size_t>(checked.rows));
  return [o = checked, losses] {
    const int64_t n = o.classes;
    const float factor = (o.scaling.given ? o.scaling.view.f32()[0] : 1.0f) / o.divisor;
    parallelFor(o.rows, rowsPerPart(16 * n), [&](int64_t row) {
      const float *x = o.logits.f32() + row * n, *t = o.targets.f32() + row * n;
      float* d = o.dlogits.f32() + row * n;
      const float shift = maximum(x, n), sum = exponentials(x, shift, d, n);
      const double logSum = std::log(static_cast<double>(sum));
      double value = 0, mass = 0;
      for (int64_t i = 0; i < n; i++) {
        value += static_cast<double>(t[i]) * (static_cast<double>(x[i]) - shift - logSum);
        mass += t[i];
      }
      const auto scale = static_cast<float>(mass / sum);
      for (int64_t i = 0; i < n; i++) d[i] = (d[i] * scale - t[i]) * factor;
      (*losses)[static_cast<size_t>(row)] = -value;
    });
    double total = 0;
    for (double value : *losses) total += value;
    o.loss.f32()[0] += static_cast<float>(total / o.divisor);
  };
}

Kernel countCorrect(const Operands& operands) {
  return [o = CountsOperands(operands)] {
    checkLabels(o.labels, o.classes);
    for (int64_t row = 0; row < o.rows; row++) {
      const float* x = o.logits.f32() + row * o.classes;
      const int32_t label = o.labels.i32()[row];
      int64_t rank = std::isfinite(x[label]) ? 0 : o.classes;
      for (int32_t i = 0; i < o.classes; i++) rank += x[i] > x[label] || (x[i] == x[label] && i < label);
      o.counts.i32()[0] += rank < 1;
      o.counts.i32()[1] += rank < 5;
    }
  };
}

}  // namespace

std::vector<Implementation> crossEntropy() {
  return {{"oneHot", {"classes", "smoothing"}, oneHot},
          {"crossEntropy", {"divisor"}, crossEntropy},
          {"counts", {}, countCorrect}};
}

}  // namespace autoprog::cpu
