// What happens once per batch, over whole arenas: clearing gradients, their norm, AdamW with all moving averages.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "cpu/backend.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

constexpr int64_t kBlock = 16 * 1024;  // values; what a block's passes touch stays in the first caches

struct Range {
  int64_t offset, count;
};

std::vector<Range> rangesOf(const Operands& operands, int64_t size) {
  const auto offsets = operands.attributes.integers("offsets"), counts = operands.attributes.integers("counts");
  require(offsets.size() == counts.size(), "SHAPE", "Expected as many counts as offsets");
  std::vector<Range> ranges;
  for (size_t i = 0; i < offsets.size(); i++) {
    require(offsets[i] <= size && counts[i] <= size - offsets[i], "SHAPE", "A range reaches beyond its arena");
    ranges.push_back({offsets[i], counts[i]});
  }
  return ranges;
}

// zero: fills its output.
Kernel zero(const Operands& operands) {
  operands.count(0, 1);
  const View y = operands.outputs[0];
  return [=] {
    parallelRanges(static_cast<int64_t>(y.bytes()), 16 * kGrain, [&](int64_t begin, int64_t end) {
      std::memset(y.address() + begin, 0, static_cast<size_t>(end - begin));
    });
  };
}

// gradientNorm: gradients (n) -> the Euclidean norm (1) over the ranges (offsets, counts).
Kernel gradientNorm(const Operands& operands) {
  operands.count(1, 1);
  const View gradients = operands.inputs[0], norm = operands.outputs[0];
  Operands::expect(gradients, Type::f32, gradients.size(), "gradients");
  Operands::expect(norm, Type::f32, 1, "norm");
  std::vector<Range> blocks;
  for (const Range& range : rangesOf(operands, gradients.size()))
    for (int64_t at = 0; at < range.count; at += kBlock)
      blocks.push_back({range.offset + at, std::min(kBlock, range.count - at)});
  const auto sums = std::make_shared<std::vector<double>>(blocks.size());
  return [=] {
    parallelFor(static_cast<int64_t>(blocks.size()), 1, [&](int64_t i) {
      const Range& block = blocks[static_cast<size_t>(i)];
      (*sums)[static_cast<size_t>(i)] = sumOfSquares(gradients.f32() + block.offset, block.count);
    });
    double total = 0;
    for (double sum : *sums) total += sum;
    norm.f32()[0] = static_cast<float>(std::sqrt(total));
  };
}

struct Block {
  int64_t offset, count;
  int64_t slot;  // of the parameter's step count, or -1 where only the averages move
  bool decayed;
};

// Blocks that cover the arena in order: the given ranges, and the gaps between them.
std::vector<Block> blocksOf(const Operands& operands, int64_t size, int64_t slotCount) {
  const auto ranges = rangesOf(operands, size);
  const auto slots = operands.attributes.integers("slots"), decays = operands.attributes.integers("decayed");
  require(slots.size() == ranges.size() && decays.size() == ranges.size(), "SHAPE",
          "Expected one slot and one decay flag per range");
  std::vector<Block> blocks;
  const auto cover = [&](int64_t begin, int64_t end, int64_t slot, bool decayed) {
    for (int64_t at = begin; at < end; at += kBlock) blocks.push_back({at, std::min(kBlock, end - at), slot, decayed});
  };
  int64_t reached = 0;
  for (size_t i = 0; i < ranges.size(); i++) {
    require(ranges[i].offset >= reached && slots[i] < slotCount, "SHAPE", "Expected ranges in order, with valid slots");
    cover(reached, ranges[i].offset, -1, false);
    reached = ranges[i].offset + ranges[i].count;
    cover(ranges[i].offset, reached, slots[i], decays[i] != 0);
  }
  cover(reached, size, -1, false);
  return blocks;
}

// adamw: hyper (learning rate, weight decay, beta1, beta2, epsilon, largest norm or 0), norm (1), gradients (n)
// -> weights (n), first and second moments (n), step counts i32 (slots), averages (n) …, all updated in place. Ranges
// that are not listed are not trained in this step; the averages follow all weights.
Kernel adamwStep(const Operands& operands) {
  operands.count(3, 3, 4, 64);
  const std::vector<View> in = operands.inputs, out = operands.outputs;
  const int64_t size = in[2].size(), slotCount = out[3].size();
  Operands::expect(in[0], Type::f32, 6, "hyper");
  Operands::expect(in[1], Type::f32, 1, "norm");
  Operands::expect(in[2], Type::f32, size, "gradients");
  Operands::expect(out[3], Type::i32, slotCount, "step counts");
  for (size_t i = 0; i < out.size(); i++)
    if (i != 3) Operands::expect(out[i], Type::f32, size, "an arena");
  const std::vector<double> averageDecays = operands.attributes.list("averages");
  require(averageDecays.size() == out.size() - 4, "SHAPE", "Expected one decay per average");
  const auto blocks = blocksOf(operands, size, slotCount);
  std::vector<bool> used(static_cast<size_t>(slotCount));
  for (const Block& block : blocks)
    if (block.slot >= 0) used[static_cast<size_t>(block.slot)] = true;
  const auto constants = std::make_shared<std::vector<AdamWConstants>>(static_cast<size_t>(slotCount));
  return [=] {
    const float* hyper = in[0].f32();
    const float norm = in[1].f32()[0], largest = hyper[5];
    const float clip = largest > 0 ? std::min(1.0f, largest / (norm + 1e-6f)) : 1.0f;
    for (size_t slot = 0; slot < used.size(); slot++) {
      if (!used[slot]) continue;
      const int32_t t = ++out[3].i32()[slot];
      (*constants)[slot] = {hyper[0],
                            0.0f,
                            hyper[2],
                            hyper[3],
                            hyper[4],
                            clip,
                            static_cast<float>(hyper[0] / (1.0 - std::pow(static_cast<double>(hyper[2]), t))),
                            static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(static_cast<double>(hyper[3]), t)))};
    }
    parallelFor(static_cast<int64_t>(blocks.size()), 1, [&](int64_t i) {
      const Block& block = blocks[static_cast<size_t>(i)];
      float* weight = out[0].f32() + block.offset;
      if (block.slot >= 0) {
        AdamWConstants c = (*constants)[static_cast<size_t>(block.slot)];
        c.decay = block.decayed ? hyper[1] : 0.0f;
        adamw(c, in[2].f32() + block.offset, weight, out[1].f32() + block.offset, out[2].f32() + block.offset,
              block.count);
      }
      for (size_t a = 0; a < averageDecays.size(); a++)
        average(static_cast<float>(averageDecays[a]), weight, out[4 + a].f32() + block.offset, block.count);
    });
  };
}

}  // namespace

std::vector<Implementation> optimizer() {
  return {{"zero", {"shape"}, zero},
          {"gradientNorm", {"offsets", "counts"}, gradientNorm},
          {"adamw", {"offsets", "counts", "slots", "decayed", "averages"}, adamwStep}};
}

}  // namespace autoprog::cpu
