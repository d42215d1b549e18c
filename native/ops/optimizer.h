#pragma once

#include "ops/cross-entropy.h"

// Checked operands of what happens once per batch, over whole arenas. Ranges are the parameters that a sub-network
// trains; they are cut into blocks, the unit of work.
namespace autoprog {

// Values; what a block's passes touch stays in a processor's first caches.
inline constexpr int64_t kOptimizerBlock = 16 * 1024;

struct OptimizerBlock {
  int64_t offset, count;
  int32_t slot;     // of the parameter's step count, or -1 where only the averages move
  int32_t decayed;  // 1 or 0
};

struct Ranges {
  std::vector<int64_t> offsets, counts;

  Ranges(const Operands& operands, int64_t size)
      : offsets(operands.attributes.integers("offsets")), counts(operands.attributes.integers("counts")) {
    require(offsets.size() == counts.size(), "SHAPE", "Expected as many counts as offsets");
    for (size_t i = 0; i < offsets.size(); i++)
      require(offsets[i] <= size && counts[i] <= size - offsets[i], "SHAPE", "A range reaches beyond its arena");
  }
};

// gradientNorm: gradients (n), loss scaling (4)? -> the Euclidean norm (1) over the ranges, without the loss scale.
struct GradientNormOperands {
  View gradients, norm;
  LossScaleOperand scaling;
  std::vector<OptimizerBlock> blocks;

  explicit GradientNormOperands(const Operands& operands) : scaling(operands, 1) {
    operands.count(1, 2, 1, 1);
    gradients = operands.inputs[0], norm = operands.outputs[0];
    Operands::expect(gradients, Type::f32, gradients.size(), "gradients");
    Operands::expect(norm, Type::f32, 1, "norm");
    const Ranges ranges(operands, gradients.size());
    for (size_t i = 0; i < ranges.offsets.size(); i++)
      for (int64_t at = 0; at < ranges.counts[i]; at += kOptimizerBlock)
        blocks.push_back({ranges.offsets[i] + at, std::min(kOptimizerBlock, ranges.counts[i] - at), -1, 0});
  }
};

// adamw: hyper (learning rate, weight decay, beta1, beta2, epsilon, largest norm or 0), norm (1), gradients (n), loss
// scaling (4)? -> weights (n), first and second moments (n), step counts i32 (slots), averages (n) …, all updated in
// place. Ranges that are not listed are not trained in this step; the averages follow all weights. With loss scaling, a
// norm that is not finite skips the whole step.
struct AdamWOperands {
  View hyper, norm, gradients, weights, moment1, moment2, steps;
  std::vector<View> averages;
  LossScaleOperand scaling;
  int64_t size, slots;
  std::vector<float> averageDecays;
  std::vector<OptimizerBlock> blocks;  // that cover the arena in order: the given ranges, and the gaps between them
  std::vector<int32_t> used;           // slots of the ranges

  explicit AdamWOperands(const Operands& operands) : scaling(checked(operands), 3) {
    const auto &in = operands.inputs, &out = operands.outputs;
    hyper = in[0], norm = in[1], gradients = in[2];
    weights = out[0], moment1 = out[1], moment2 = out[2], steps = out[3];
    averages.assign(out.begin() + 4, out.end());
    size = gradients.size(), slots = steps.size();
    Operands::expect(hyper, Type::f32, 6, "hyper");
    Operands::expect(norm, Type::f32, 1, "norm");
    Operands::expect(steps, Type::i32, slots, "step counts");
    for (const View* view : {&gradients, &weights, &moment1, &moment2})
      Operands::expect(*view, Type::f32, size, "an arena");
    for (const View& view : averages) Operands::expect(view, Type::f32, size, "an average");
    for (double decay : operands.attributes.list("averages")) averageDecays.push_back(static_cast<float>(decay));
    require(averageDecays.size() == averages.size(), "SHAPE", "Expected one decay per average");
    fillBlocks(operands);
  }

 private:
  static const Operands& checked(const Operands& operands) {
    operands.count(3, 4, 4, 64);
    return operands;
  }

  void fillBlocks(const Operands& operands) {
    const Ranges ranges(operands, size);
    const auto slotOf = operands.attributes.integers("slots"), decayed = operands.attributes.integers("decayed");
    require(slotOf.size() == ranges.offsets.size() && decayed.size() == slotOf.size(), "SHAPE",
            "Expected one slot and one decay flag per range");
    const auto cover = [&](int64_t begin, int64_t end, int64_t slot, bool decays) {
      for (int64_t at = begin; at < end; at += kOptimizerBlock)
        blocks.push_back({at, std::min(kOptimizerBlock, end - at), static_cast<int32_t>(slot), decays});
    };
    int64_t reached = 0;
    for (size_t i = 0; i < slotOf.size(); i++) {
      require(ranges.offsets[i] >= reached && slotOf[i] < slots, "SHAPE", "Expected ranges in order, with valid slots");
      cover(reached, ranges.offsets[i], -1, false);
      reached = ranges.offsets[i] + ranges.counts[i];
      cover(ranges.offsets[i], reached, slotOf[i], decayed[i] != 0);
      used.push_back(static_cast<int32_t>(slotOf[i]));
    }
    cover(reached, size, -1, false);
    std::sort(used.begin(), used.end());
    used.erase(std::unique(used.begin(), used.end()), used.end());
  }
};

// lossScale: norm (1) -> loss scaling (4), updated in place: after an overflow the scale shrinks by `backoff`, after
// `interval` good steps in a row it grows by `growth`.
struct LossScaleUpdateOperands {
  View norm, scaling;
  float growth, backoff, interval;

  explicit LossScaleUpdateOperands(const Operands& operands) {
    operands.count(1, 1);
    norm = operands.inputs[0], scaling = operands.outputs[0];
    Operands::expect(norm, Type::f32, 1, "norm");
    Operands::expect(scaling, Type::f32, 4, "loss scaling");
    growth = static_cast<float>(operands.attributes.number("growth"));
    backoff = static_cast<float>(operands.attributes.number("backoff"));
    interval = static_cast<float>(operands.attributes.integer("interval", 1, 1 << 24));
  }
};

}  // namespace autoprog
