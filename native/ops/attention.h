#pragma once

#include "ops/ops.h"

namespace autoprog {

// Checked operands of softmax attention. Queries, keys and values are packed, qkv (B, N, 3 D), ordered q, k, v, then
// heads; or, in class attention, queries (B, M, D) stand beside keys and values (B, N, 2 D).
//
// attention: qkv -> y (B, N, D), log-sum-exp (B, heads, N).          classAttention: q, kv -> y (B, M, D), log-sum-exp.
// attentionGradient: dy, y, log-sum-exp, qkv -> dqkv (=).            classAttentionGradient: …, q, kv -> dq, dkv (=).
struct AttentionOperands {
  View y, logSumExp, dy;  // dy is empty in the forward pass
  View q, kv;             // the same tensor where packed
  View dq, dkv;           // likewise; empty in the forward pass
  int64_t batch, queries, keys, width, heads;
  bool packed;

  AttentionOperands(const Operands& operands, bool packed, bool gradient) : packed(packed) {
    const auto &in = operands.inputs, &out = operands.outputs;
    const size_t tensors = packed ? 1 : 2, first = gradient ? 3 : 0;
    operands.count(first + tensors, gradient ? tensors : 2);
    q = in[first], kv = in.back();
    y = gradient ? in[1] : out[0], logSumExp = gradient ? in[2] : out[1];
    require(q.shape.size() == 3 && kv.shape.size() == 3, "SHAPE",
            "Expected 3 axes for queries, keys and values but received " + q.describe() + " and " + kv.describe());
    heads = operands.attributes.integer("heads", 1, 1 << 16);
    batch = q.shape[0], queries = q.shape[1], keys = kv.shape[1], width = packed ? q.shape[2] / 3 : q.shape[2];
    require(width > 0 && keys > 0 && queries > 0 && width % heads == 0, "SHAPE",
            "Expected a width that " + std::to_string(heads) + " heads divide but received " + q.describe());
    Operands::expectShape(q, {batch, queries, (packed ? 3 : 1) * width}, "queries");
    Operands::expectShape(kv, {batch, keys, (packed ? 3 : 2) * width}, "keys and values");
    for (const View* view : {&q, &kv}) Operands::expectFloats(*view, view->size(), "queries, keys and values");
    Operands::expectFloats(y, batch * queries * width, "y");
    Operands::expect(logSumExp, Type::f32, batch * heads * queries, "log-sum-exp");
    if (!gradient) return;
    dy = in[0], dq = out[0], dkv = out.back();
    Operands::expectFloats(dy, y.size(), "dy");
    Operands::expectFloats(dq, q.size(), "the gradient of the queries");
    Operands::expectFloats(dkv, kv.size(), "the gradient of keys and values");
  }

  int64_t size() const { return width / heads; }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(size())); }
  // Elements between the rows of queries, and of keys or values.
  int64_t queryStride() const { return packed ? 3 * width : width; }
  int64_t keyStride() const { return packed ? 3 * width : 2 * width; }
  // Of the first key within its row; values follow `width` later.
  int64_t keyOffset() const { return packed ? width : 0; }
};

}  // namespace autoprog
