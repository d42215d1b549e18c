#pragma once

#include "ops/ops.h"
#include "runtime/philox.h"

namespace autoprog {

struct LabelSizes {
  int best, height, width, grid, classCount;
  float smoothing;
  bool logits;
};

// alignLabels: classes i32 and scores (B, K, h, w), regions (B, 5: left, top, right, bottom, mirrored) -> y (B, grid^2,
// C), a distribution over the classes for each token.
struct AlignLabelsOperands {
  View classes, scores, regions, y;
  int64_t batch, tokens;
  LabelSizes sizes;

  explicit AlignLabelsOperands(const Operands& operands) {
    operands.count(3, 1);
    classes = operands.inputs[0], scores = operands.inputs[1], regions = operands.inputs[2], y = operands.outputs[0];
    const Attributes& attributes = operands.attributes;
    const int64_t grid = attributes.integer("grid", 1, 1 << 12), classCount = attributes.integer("classCount", 1);
    require(classes.shape.size() == 4 && classes.size() > 0, "SHAPE",
            "Expected classes [B, K, h, w] but received " + classes.describe());
    for (int64_t extent : classes.shape)
      require(extent < 1 << 12, "SHAPE", "Expected less than 2^12 a side but received " + classes.describe());
    batch = classes.shape[0], tokens = grid * grid;
    require(classCount < int64_t{1} << 31 && batch * tokens < int64_t{1} << 31, "SHAPE",
            "Expected less than 2^31 classes, and tokens");
    Operands::expect(classes, Type::i32, classes.size(), "classes");
    Operands::expect(scores, Type::f32, classes.size(), "scores");
    Operands::expectShape(scores, classes.shape, "scores");
    Operands::expect(regions, Type::f32, 5 * batch, "regions");
    Operands::expect(y, Type::f32, batch * tokens * classCount, "targets of tokens");
    Operands::expectShape(y, {batch, tokens, classCount}, "targets of tokens");
    sizes = {static_cast<int>(classes.shape[1]),     static_cast<int>(classes.shape[2]),
             static_cast<int>(classes.shape[3]),     static_cast<int>(grid),
             static_cast<int>(classCount),           static_cast<float>(attributes.number("smoothing")),
             attributes.integer("logits", 0, 1) == 1};
  }

  // Of the maps of one image.
  int64_t mapSize() const { return classes.size() / batch; }
};

// Where the samples of the tokens lie on one axis of the map, in cells: half-pixel centres.
struct LabelAxis {
  float first, bin;  // where the first token begins, and how wide each is
  int samples, extent;

  // The limits hold for whatever is read; no region that shows some of the image comes near them.
  AUTOPROG_EVERYWHERE static LabelAxis of(float from, float to, int extent, int grid) {
    const auto cells = static_cast<float>(extent);
    const float bin = (to - from) * cells / static_cast<float>(grid);
    // A width that rounding has made a little more than whole adds no sample.
    const float samples = fminf(fmaxf(ceilf(bin - 1e-3f), 1.0f), 4.0f * cells);
    return {from * cells - 0.5f, bin, static_cast<int>(samples), extent};
  }

  // A sample lies between two cells; outside of the map at the nearest one.
  struct Tap {
    int at, next;
    float weight;  // of the next one
  };

  AUTOPROG_EVERYWHERE Tap tap(int token, int sample) const {
    const float within = (static_cast<float>(sample) + 0.5f) / static_cast<float>(samples);
    const float place = first + bin * (static_cast<float>(token) + within);
    const float inside = fminf(fmaxf(place, 0.0f), static_cast<float>(extent - 1));
    const int at = static_cast<int>(inside);
    return {at, at + 1 < extent ? at + 1 : at, inside - static_cast<float>(at)};
  }
};

// What a token sees of the map: `count` cells with their weights, which add up to 1, in a fixed order.
struct LabelSamples {
  LabelAxis down, across;
  int row, column, count;

  AUTOPROG_EVERYWHERE static LabelSamples of(const float* region, int token, const LabelSizes& s) {
    const LabelAxis down = LabelAxis::of(region[1], region[3], s.height, s.grid);
    const LabelAxis across = LabelAxis::of(region[0], region[2], s.width, s.grid);
    const int column = token % s.grid;
    return {down, across, token / s.grid, region[4] != 0.0f ? s.grid - 1 - column : column,
            4 * down.samples * across.samples};
  }

  struct Sample {
    int cell;
    float weight;
  };

  AUTOPROG_EVERYWHERE Sample sample(int index) const {
    const int corner = index % 4, point = index / 4;
    const LabelAxis::Tap y = down.tap(row, point / across.samples), x = across.tap(column, point % across.samples);
    const bool below = corner >= 2, right = corner % 2 == 1;
    const float weight = (below ? y.weight : 1.0f - y.weight) * (right ? x.weight : 1.0f - x.weight);
    return {(below ? y.next : y.at) * across.extent + (right ? x.next : x.at),
            weight / static_cast<float>(down.samples * across.samples)};
  }
};

}  // namespace autoprog
