// The loss: softmax cross entropy against soft targets, with its gradient in the same pass over the logits.
#include <algorithm>
#include <cmath>
#include <memory>

#include "cpu/backend.h"
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

// oneHot: labels i32 (B) -> f32 (B, C): 1 - smoothing on the class, and smoothing / C everywhere.
Kernel oneHot(const Operands& operands) {
  operands.count(1, 1);
  const View labels = operands.inputs[0], y = operands.outputs[0];
  const auto smoothing = static_cast<float>(operands.attributes.number("smoothing"));
  const int64_t classes = y.last();
  Operands::expect(labels, Type::i32, labels.size(), "labels");
  Operands::expectShape(y, Type::f32, {labels.size(), classes}, "targets");
  return [=] {
    checkLabels(labels, classes);
    std::fill_n(y.f32(), y.size(), smoothing / static_cast<float>(classes));
    for (int64_t i = 0; i < labels.size(); i++) y.f32()[i * classes + labels.i32()[i]] += 1.0f - smoothing;
  };
}

// crossEntropy: logits (B, C), targets (B, C) -> loss (1) += sum of -t log softmax / count, dlogits (B, C) (=).
// `count` is the number of images in the whole batch, so that micro-batches add up to its mean.
Kernel crossEntropy(const Operands& operands) {
  operands.count(2, 2);
  const View logits = operands.inputs[0], targets = operands.inputs[1], loss = operands.outputs[0],
             dlogits = operands.outputs[1];
  const int64_t rows = logits.rows(), n = logits.last();
  const auto count = static_cast<float>(operands.attributes.integer("count", 1));
  require(n > 0, "SHAPE", "Expected logits [B, C] but received " + logits.describe());
  for (const View* view : {&logits, &targets, &dlogits}) Operands::expect(*view, Type::f32, rows * n, "an operand");
  Operands::expect(loss, Type::f32, 1, "loss");
  const auto losses = std::make_shared<std::vector<double>>(static_cast<size_t>(rows));
  return [=] {
    parallelFor(rows, rowsPerPart(16 * n), [&](int64_t row) {
      const float *x = logits.f32() + row * n, *t = targets.f32() + row * n;
      float* d = dlogits.f32() + row * n;
      const float shift = maximum(x, n), sum = exponentials(x, shift, d, n);
      const double logSum = std::log(static_cast<double>(sum));
      double value = 0, mass = 0;
      for (int64_t i = 0; i < n; i++) {
        value += static_cast<double>(t[i]) * (static_cast<double>(x[i]) - shift - logSum);
        mass += t[i];
      }
      const auto scale = static_cast<float>(mass / sum);
      for (int64_t i = 0; i < n; i++) d[i] = (d[i] * scale - t[i]) / count;
      (*losses)[static_cast<size_t>(row)] = -value;
    });
    double total = 0;
    for (double value : *losses) total += value;
    loss.f32()[0] += static_cast<float>(total / count);
  };
}

// counts: logits (B, C), labels i32 (B) -> i32 (2) += images whose label ranks first, and among the first five. Of
// equal logits the lower class ranks first.
Kernel countCorrect(const Operands& operands) {
  operands.count(2, 1);
  const View logits = operands.inputs[0], labels = operands.inputs[1], counts = operands.outputs[0];
  const int64_t n = logits.last();
  Operands::expect(labels, Type::i32, logits.rows(), "labels");
  Operands::expect(logits, Type::f32, logits.size(), "logits");
  Operands::expect(counts, Type::i32, 2, "counts");
  return [=] {
    checkLabels(labels, n);
    for (int64_t row = 0; row < labels.size(); row++) {
      const float* x = logits.f32() + row * n;
      const int32_t label = labels.i32()[row];
      int64_t rank = std::isfinite(x[label]) ? 0 : n;  // a diverged network is never right
      for (int32_t i = 0; i < n; i++) rank += x[i] > x[label] || (x[i] == x[label] && i < label);
      counts.i32()[0] += rank < 1;
      counts.i32()[1] += rank < 5;
    }
  };
}

}  // namespace

std::vector<Implementation> crossEntropy() {
  return {{"oneHot", {"classes", "smoothing"}, oneHot},
          {"crossEntropy", {"count"}, crossEntropy},
          {"counts", {}, countCorrect}};
}

}  // namespace autoprog::cpu
