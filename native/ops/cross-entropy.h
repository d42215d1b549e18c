#pragma once

#include "ops/ops.h"

namespace autoprog {

// What mixed precision adds to loss, norm and optimizer: f32 (4), the factor on the loss, good steps in a row, skipped
// steps, and one value unused.
struct LossScaleOperand {
  View view;
  bool given;

  LossScaleOperand(const Operands& operands, size_t index) : given(operands.inputs.size() > index) {
    if (!given) return;
    view = operands.inputs[index];
    Operands::expect(view, Type::f32, 4, "loss scaling");
  }
};

// oneHot: labels i32 (B) -> y (B, C): 1 - smoothing on the class, and smoothing / C everywhere.
struct OneHotOperands {
  View labels, y;
  float smoothing;
  int64_t rows, classes;

  explicit OneHotOperands(const Operands& operands) {
    operands.count(1, 1);
    labels = operands.inputs[0], y = operands.outputs[0];
    smoothing = static_cast<float>(operands.attributes.number("smoothing"));
    rows = labels.size(), classes = y.last();
    Operands::expect(labels, Type::i32, rows, "labels");
    Operands::expect(y, Type::f32, rows * classes, "targets");
    Operands::expectShape(y, {rows, classes}, "targets");
  }
};

// crossEntropy: logits (…, C), targets (…, C), loss scaling (4)? -> loss (1) += sum of -t log softmax / divisor,
// dlogits (…, C) (=), times the loss scale where it is given. The divisor is that of the whole batch, so that
// micro-batches add up to its mean.
struct CrossEntropyOperands {
  View logits, targets, loss, dlogits;
  LossScaleOperand scaling;
  int64_t rows, classes;
  float divisor;

  explicit CrossEntropyOperands(const Operands& operands) : scaling(checked(operands), 2) {
    logits = operands.inputs[0], targets = operands.inputs[1];
    loss = operands.outputs[0], dlogits = operands.outputs[1];
    rows = logits.rows(), classes = logits.last();
    divisor = static_cast<float>(operands.attributes.number("divisor"));
    require(divisor > 0 && std::isfinite(divisor) && std::isfinite(1 / divisor), "SHAPE",
            "Expected a positive number for attribute divisor but received " + std::to_string(divisor));
    require(classes > 0, "SHAPE", "Expected logits [B, C] but received " + logits.describe());
    Operands::expect(logits, Type::f32, rows * classes, "logits");
    Operands::expect(targets, Type::f32, rows * classes, "targets");
    Operands::expectFloats(dlogits, rows * classes, "dlogits");
    Operands::expect(loss, Type::f32, 1, "loss");
  }

 private:
  static const Operands& checked(const Operands& operands) {
    operands.count(2, 3, 2, 2);
    return operands;
  }
};

// counts: logits (B, C), labels i32 (B) -> i32 (2) += images whose label ranks first, and among the first five. Of
// equal logits the lower class ranks first; a logit that is not finite is never right.
struct CountsOperands {
  View logits, labels, counts;
  int64_t rows, classes;

  explicit CountsOperands(const Operands& operands) {
    operands.count(2, 1);
    logits = operands.inputs[0], labels = operands.inputs[1], counts = operands.outputs[0];
    rows = logits.rows(), classes = logits.last();
    Operands::expect(labels, Type::i32, rows, "labels");
    Operands::expect(logits, Type::f32, rows * classes, "logits");
    Operands::expect(counts, Type::i32, 2, "counts");
  }
};

}  // namespace autoprog
