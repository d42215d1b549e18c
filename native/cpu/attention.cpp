// Softmax attention, one head of one image at a time: scores exist only for a tile of queries, in a thread's own cache.
// K (and, backward, V) of the head is transposed once, so that every product runs along contiguous rows. The backward
// pass recomputes the probabilities from the saved log-sum-exp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/attention.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/contrib/math/math-inl.h>

#include "cpu/gemm-inl.h"

#ifndef AUTOPROG_CPU_ATTENTION_TYPES_
#define AUTOPROG_CPU_ATTENTION_TYPES_
namespace autoprog::cpu {

// A head's rows inside a packed tensor: row i is at data + i * stride.
template <typename T>
struct Rows {
  T* data;
  int64_t stride;
};

struct Head {
  int64_t queries, keys, size;
  float scale;
  Rows<const float> q, k, v;
  float* logSumExp;  // (queries)
};

// Queries whose scores are held at once.
inline constexpr int64_t kQueries = 96;

}  // namespace autoprog::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

// target (size, padded) = scale * rows^T, zero in the padding.
HWY_INLINE void transpose(Rows<const float> rows, int64_t count, int64_t size, int64_t padded, float scale,
                          float* HWY_RESTRICT target) {
  for (int64_t j = 0; j < count; j++) {
    const float* HWY_RESTRICT row = rows.data + j * rows.stride;
    for (int64_t e = 0; e < size; e++) target[e * padded + j] = scale * row[e];
  }
  for (int64_t e = 0; e < size; e++)
    for (int64_t j = count; j < padded; j++) target[e * padded + j] = 0.0f;
}

// x = exp(x - shift) over n of the row's padded values, zero beyond; returns the sum.
HWY_INLINE float exponentiate(float* HWY_RESTRICT x, float shift, int64_t n, int64_t padded) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto offset = hn::Set(d, shift);
  auto sum = hn::Zero(d);
  for (int64_t j = 0; j < padded; j += lanes) {
    auto value = hn::Exp(d, hn::Sub(hn::LoadU(d, x + j), offset));
    if (j + lanes > n) value = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(n - j)), value);
    sum = hn::Add(sum, value);
    hn::StoreU(value, d, x + j);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

HWY_INLINE float largest(const float* x, int64_t n) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  auto best = hn::Set(d, x[0]);
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) best = hn::Max(best, hn::LoadU(d, x + j));
  float result = hn::GetLane(hn::MaxOfLanes(d, best));
  for (; j < n; j++) result = x[j] > result ? x[j] : result;
  return result;
}

// out (queries, size) = softmax(scale q k^T) v. scratch: (size + kQueries) * padded keys.
void attend(const Head& head, Rows<float> out, float* scratch) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), padded = paddedTo(head.keys);
  float* keys = scratch;                         // (size, padded)
  float* scores = scratch + head.size * padded;  // (kQueries, padded)
  transpose(head.k, head.keys, head.size, padded, head.scale, keys);
  for (int64_t begin = 0; begin < head.queries; begin += kQueries) {
    const int64_t count = HWY_MIN(kQueries, head.queries - begin);
    multiply(count, padded, head.size, {head.q.data + begin * head.q.stride, head.q.stride, 1}, keys, padded, false,
             scores, padded);
    float inverse[kQueries];
    for (int64_t i = 0; i < count; i++) {
      float* row = scores + i * padded;
      const float shift = largest(row, head.keys);
      const float sum = exponentiate(row, shift, head.keys, padded);
      inverse[i] = 1.0f / sum;
      head.logSumExp[begin + i] = shift + __builtin_logf(sum);
    }
    float* target = out.data + begin * out.stride;
    multiply(count, head.size, head.keys, {scores, padded, 1}, head.v.data, head.v.stride, false, target, out.stride);
    for (int64_t i = 0; i < count; i++) {
      float* row = target + i * out.stride;
      const auto factor = hn::Set(d, inverse[i]);
      int64_t e = 0;
      for (; e + lanes <= head.size; e += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + e), factor), d, row + e);
      for (; e < head.size; e++) row[e] *= inverse[i];
    }
  }
}

// dq, dk, dv = gradients for the head's output gradient. scratch: (2 size + 2 kQueries) * padded keys.
void attendGradient(const Head& head, Rows<const float> out, Rows<const float> dout, Rows<float> dq, Rows<float> dk,
                    Rows<float> dv, float* scratch) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), padded = paddedTo(head.keys);
  float* keys = scratch;                               // (size, padded), scaled
  float* values = keys + head.size * padded;           // (size, padded)
  float* probabilities = values + head.size * padded;  // (kQueries, padded)
  float* slopes = probabilities + kQueries * padded;   // (kQueries, padded)
  transpose(head.k, head.keys, head.size, padded, head.scale, keys);
  transpose(head.v, head.keys, head.size, padded, 1.0f, values);
  const auto scale = hn::Set(d, head.scale);
  for (int64_t begin = 0; begin < head.queries; begin += kQueries) {
    const int64_t count = HWY_MIN(kQueries, head.queries - begin);
    const float* q = head.q.data + begin * head.q.stride;
    const float* gradient = dout.data + begin * dout.stride;
    multiply(count, padded, head.size, {q, head.q.stride, 1}, keys, padded, false, probabilities, padded);
    multiply(count, padded, head.size, {gradient, dout.stride, 1}, values, padded, false, slopes, padded);
    for (int64_t i = 0; i < count; i++) {
      float* p = probabilities + i * padded;
      float* s = slopes + i * padded;
      exponentiate(p, head.logSumExp[begin + i], head.keys, padded);
      // The softmax's gradient needs sum_j p_j dp_j, which equals the output's product with its gradient.
      float dot = 0.0f;
      const float* y = out.data + (begin + i) * out.stride;
      const float* dy = gradient + i * dout.stride;
      for (int64_t e = 0; e < head.size; e++) dot += y[e] * dy[e];
      const auto mean = hn::Set(d, dot);
      for (int64_t j = 0; j < padded; j += lanes) {
        const auto weighted = hn::Mul(hn::LoadU(d, p + j), scale);
        hn::StoreU(hn::Mul(weighted, hn::Sub(hn::LoadU(d, s + j), mean)), d, s + j);
      }
    }
    const bool more = begin > 0;
    multiply(head.keys, head.size, count, {probabilities, 1, padded}, gradient, dout.stride, more, dv.data, dv.stride);
    multiply(count, head.size, head.keys, {slopes, padded, 1}, head.k.data, head.k.stride, false,
             dq.data + begin * dq.stride, dq.stride);
    multiply(head.keys, head.size, count, {slopes, 1, padded}, q, head.q.stride, more, dk.data, dk.stride);
  }
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>

#include "cpu/lots.h"
#include "cpu/operations.h"
#include "ops/attention.h"

namespace autoprog::cpu {

HWY_EXPORT(attend);
HWY_EXPORT(attendGradient);
HWY_EXPORT(paddedTo);

namespace {

// Finds the rows of one head of one image.
struct Heads : AttentionOperands {
  using AttentionOperands::AttentionOperands;

  int64_t scratch(bool gradient) const {
    return (gradient ? 2 : 1) * (size() + kQueries) * HWY_DYNAMIC_DISPATCH(paddedTo)(keys);
  }
  int64_t perPart() const { return rowsPerPart(std::max(queries * keys, (queries + keys) * size())); }

  Rows<float> query(const View& view, int64_t image, int64_t head) const {
    return {view.f32() + image * queries * queryStride() + head * size(), queryStride()};
  }
  Rows<float> keyOrValue(const View& view, int64_t image, int64_t head, int64_t which) const {
    return {view.f32() + image * keys * keyStride() + keyOffset() + which * width + head * size(), keyStride()};
  }
  Rows<float> output(const View& view, int64_t image, int64_t head) const {
    return {view.f32() + image * queries * width + head * size(), width};
  }
  Head head(int64_t image, int64_t index) const {
    return {queries,
            keys,
            size(),
            scale(),
            constant(query(q, image, index)),
            constant(keyOrValue(kv, image, index, 0)),
            constant(keyOrValue(kv, image, index, 1)),
            logSumExp.f32() + (image * heads + index) * queries};
  }
  static Rows<const float> constant(Rows<float> rows) { return {rows.data, rows.stride}; }
};

template <bool packed>
Kernel forward(const Operands& operands) {
  const Heads checked(operands, packed, false);
  return [o = checked, scratch = takeLotPerThread(*operands.scratch, checked.scratch(false))] {
    parallelFor(o.batch * o.heads, o.perPart(), [&](int64_t i) {
      const int64_t image = i / o.heads, index = i % o.heads;
      HWY_DYNAMIC_DISPATCH(attend)
      (o.head(image, index), o.output(o.y, image, index), lotOfThread(scratch));
    });
  };
}

template <bool packed>
Kernel backward(const Operands& operands) {
  const Heads checked(operands, packed, true);
  return [o = checked, scratch = takeLotPerThread(*operands.scratch, checked.scratch(true))] {
    parallelFor(o.batch * o.heads, o.perPart(), [&](int64_t i) {
      const int64_t image = i / o.heads, index = i % o.heads;
      HWY_DYNAMIC_DISPATCH(attendGradient)
      (o.head(image, index), Heads::constant(o.output(o.y, image, index)),
       Heads::constant(o.output(o.dy, image, index)), o.query(o.dq, image, index), o.keyOrValue(o.dkv, image, index, 0),
       o.keyOrValue(o.dkv, image, index, 1), lotOfThread(scratch));
    });
  };
}

}  // namespace

std::vector<Implementation> attention() {
  return {{"attention", {"heads"}, forward<true>},
          {"attentionGradient", {"heads"}, backward<true>},
          {"classAttention", {"heads"}, forward<false>},
          {"classAttentionGradient", {"heads"}, backward<false>}};
}

}  // namespace autoprog::cpu

#endif  // HWY_ONCE
