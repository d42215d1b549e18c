#pragma once

#include "ops/ops.h"

namespace autoprog {

// Checked operands of outlook attention. Maps are (B, H, W, C); scores and probabilities (B, h, w, heads kernel^4), for
// each window and head a matrix of the window's outputs by its inputs.
//
// outlookAttention: values, scores -> y, probabilities.
// outlookAttentionGradient: dy, values, probabilities -> dvalues (=), dscores (=).
struct OutlookAttentionOperands {
  View values, probabilities;
  View y, scores;  // or their gradients
  View dvalues;    // empty in the forward pass
  int64_t batch, height, width, channels;
  int64_t rows, columns;  // of windows
  int64_t heads, kernel, stride, padding;

  OutlookAttentionOperands(const Operands& operands, bool gradient) {
    const auto &in = operands.inputs, &out = operands.outputs;
    operands.count(gradient ? 3 : 2, 2);
    values = in[gradient ? 1 : 0], probabilities = gradient ? in[2] : out[1];
    y = gradient ? in[0] : out[0], scores = gradient ? out[1] : in[1];
    heads = operands.attributes.integer("heads", 1, 1 << 16);
    kernel = operands.attributes.integer("kernel", 1, 16);
    stride = operands.attributes.integer("stride", 1, 1 << 12);
    padding = operands.attributes.integer("padding", 0, kernel - 1);
    require(values.shape.size() == 4 && values.size() > 0, "SHAPE",
            "Expected values [B, H, W, C] but received " + values.describe());
    batch = values.shape[0], height = values.shape[1], width = values.shape[2], channels = values.shape[3];
    require(channels % heads == 0, "SHAPE",
            "Expected channels that " + std::to_string(heads) + " heads divide but received " + values.describe());
    require(height + 2 * padding >= kernel && width + 2 * padding >= kernel && height < 1 << 20 && width < 1 << 20,
            "SHAPE", "Expected a map of windows but received " + values.describe());
    rows = (height + 2 * padding - kernel) / stride + 1, columns = (width + 2 * padding - kernel) / stride + 1;
    expectMap(values, "values");
    expectMap(y, "y");
    for (const View* view : {&scores, &probabilities}) {
      Operands::expectFloats(*view, batch * rows * columns * heads * area() * area(), "scores");
      Operands::expectShape(*view, {batch, rows, columns, heads * area() * area()}, "scores");
    }
    if (!gradient) return;
    dvalues = out[0];
    expectMap(dvalues, "the gradient of the values");
  }

  int64_t size() const { return channels / heads; }  // values of a head
  int64_t area() const { return kernel * kernel; }   // positions of a window
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(size())); }

 private:
  void expectMap(const View& view, const char* name) const {
    Operands::expectFloats(view, values.size(), name);
    Operands::expectShape(view, values.shape, name);
  }
};

}  // namespace autoprog
