// Outlook attention (VOLO: Yuan et al., 2021), one head of one image at a time, so that no two threads write to one
// place. The rows of values that a window covers are gathered into the thread's own cache, zeros where it reaches
// beyond the map, weighted by one small product, and added where they belong: unfold and fold of a window at a time, so
// that nothing larger than a window is ever stored unfolded.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/outlook-attention.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/contrib/math/math-inl.h>

#include "cpu/gemm-inl.h"

#ifndef AUTOPROG_CPU_OUTLOOK_ATTENTION_TYPES_
#define AUTOPROG_CPU_OUTLOOK_ATTENTION_TYPES_
namespace autoprog::cpu {

// One head of one image. Its values within a map lie `channels` apart; its scores within those of a window lie
// `scoreStride` apart from the next window's.
struct Outlook {
  int64_t height, width, rows, columns;  // of the map, and of windows
  int64_t kernel, stride, padding;
  int64_t size, channels, scoreStride;
  float scale;

  int64_t area() const { return kernel * kernel; }
};

}  // namespace autoprog::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

// Calls body(place, position) for the places of a window in turn; the position within the map is -1 beyond it.
template <typename Body>
HWY_INLINE void forPlaces(const Outlook& o, int64_t row, int64_t column, Body body) {
  const int64_t top = row * o.stride - o.padding, left = column * o.stride - o.padding;
  int64_t place = 0;
  for (int64_t y = top; y < top + o.kernel; y++)
    for (int64_t x = left; x < left + o.kernel; x++, place++)
      body(place, y >= 0 && y < o.height && x >= 0 && x < o.width ? y * o.width + x : -1);
}

HWY_INLINE void copyRow(const float* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t n) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  for (; i < n; i++) to[i] = from[i];
}

HWY_INLINE void addRow(const float* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t n) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
  for (; i < n; i++) to[i] += from[i];
}

HWY_INLINE void clearRow(float* row, int64_t n) {
  for (int64_t i = 0; i < n; i++) row[i] = 0.0f;
}

// window (area, size) = the map's rows, zero beyond it.
HWY_INLINE void unfold(const Outlook& o, int64_t row, int64_t column, const float* map, float* window) {
  forPlaces(o, row, column, [&](int64_t place, int64_t position) HWY_ATTR {
    float* target = window + place * o.size;
    if (position >= 0)
      copyRow(map + position * o.channels, target, o.size);
    else
      clearRow(target, o.size);
  });
}

// window (size, padded) = the same transposed, zero in the padding.
HWY_INLINE void unfoldTransposed(const Outlook& o, int64_t row, int64_t column, const float* map, int64_t padded,
                                 float* window) {
  forPlaces(o, row, column, [&](int64_t place, int64_t position) HWY_ATTR {
    if (position >= 0)
      for (int64_t e = 0; e < o.size; e++) window[e * padded + place] = map[position * o.channels + e];
    else
      for (int64_t e = 0; e < o.size; e++) window[e * padded + place] = 0.0f;
  });
}

// map += window.
HWY_INLINE void fold(const Outlook& o, int64_t row, int64_t column, const float* window, float* map) {
  forPlaces(o, row, column, [&](int64_t place, int64_t position) HWY_ATTR {
    if (position >= 0) addRow(window + place * o.size, map + position * o.channels, o.size);
  });
}

HWY_INLINE void clear(const Outlook& o, float* map) {
  for (int64_t i = 0; i < o.height * o.width; i++) clearRow(map + i * o.channels, o.size);
}

// The lanes of the vector that begins at value j of n.
HWY_INLINE auto lanesFrom(int64_t j, int64_t n) { return hn::FirstN(Floats(), static_cast<size_t>(n - j)); }

// probabilities (area, area) = softmax(scale * scores), by rows.
HWY_INLINE void softmax(const float* HWY_RESTRICT scores, float scale, int64_t area,
                        float* HWY_RESTRICT probabilities) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, scale), lowest = hn::Set(d, -3.4e38f);
  for (int64_t i = 0; i < area; i++) {
    const float* x = scores + i * area;
    float* y = probabilities + i * area;
    auto best = lowest, sum = hn::Zero(d);
    for (int64_t j = 0; j < area; j += lanes) {
      const auto mask = lanesFrom(j, area);
      best = hn::Max(best, hn::IfThenElse(mask, hn::MaskedLoad(mask, d, x + j), lowest));
    }
    best = hn::MaxOfLanes(d, best);
    for (int64_t j = 0; j < area; j += lanes) {
      const auto mask = lanesFrom(j, area);
      const auto shifted = hn::Mul(hn::Sub(hn::MaskedLoad(mask, d, x + j), best), factor);
      const auto value = hn::IfThenElseZero(mask, hn::Exp(d, shifted));
      sum = hn::Add(sum, value);
      hn::BlendedStore(value, mask, d, y + j);
    }
    const auto inverse = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum));
    for (int64_t j = 0; j < area; j += lanes) {
      const auto mask = lanesFrom(j, area);
      hn::BlendedStore(hn::Mul(hn::MaskedLoad(mask, d, y + j), inverse), mask, d, y + j);
    }
  }
}

// dscores (area, area) = scale p (slope - sum_j p_j slope_j), by rows; the slopes' rows are padded.
HWY_INLINE void softmaxGradient(const float* HWY_RESTRICT probabilities, const float* HWY_RESTRICT slopes,
                                int64_t padded, float scale, int64_t area, float* HWY_RESTRICT dscores) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, scale);
  for (int64_t i = 0; i < area; i++) {
    const float *p = probabilities + i * area, *slope = slopes + i * padded;
    auto sum = hn::Zero(d);
    for (int64_t j = 0; j < area; j += lanes)
      sum = hn::MulAdd(hn::MaskedLoad(lanesFrom(j, area), d, p + j), hn::LoadU(d, slope + j), sum);
    const auto mean = hn::SumOfLanes(d, sum);
    for (int64_t j = 0; j < area; j += lanes) {
      const auto mask = lanesFrom(j, area);
      const auto weighted = hn::Mul(hn::MaskedLoad(mask, d, p + j), factor);
      hn::BlendedStore(hn::Mul(weighted, hn::Sub(hn::LoadU(d, slope + j), mean)), mask, d, dscores + i * area + j);
    }
  }
}

int64_t paddedWindow(int64_t area) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  return (area + lanes - 1) / lanes * lanes;
}

// out = fold(softmax(scale scores) unfold(values)). scratch: 2 area * size.
void outlook(const Outlook& o, const float* values, const float* scores, float* probabilities, float* out,
             float* scratch) {
  const int64_t area = o.area();
  float *inputs = scratch, *outputs = scratch + area * o.size;
  clear(o, out);
  for (int64_t row = 0; row < o.rows; row++)
    for (int64_t column = 0; column < o.columns; column++) {
      const int64_t at = (row * o.columns + column) * o.scoreStride;
      softmax(scores + at, o.scale, area, probabilities + at);
      unfold(o, row, column, values, inputs);
      multiply(area, o.size, area, {probabilities + at, area, 1}, inputs, o.size, false, outputs, o.size);
      fold(o, row, column, outputs, out);
    }
}

// dvalues and dscores for the output's gradient. scratch: 2 area * size + (size + area) * padded.
void outlookGradient(const Outlook& o, const float* dout, const float* values, const float* probabilities,
                     float* dvalues, float* dscores, float* scratch) {
  const int64_t area = o.area(), padded = paddedWindow(area);
  float *gradients = scratch, *dinputs = gradients + area * o.size;
  float *inputs = dinputs + area * o.size, *slopes = inputs + o.size * padded;
  clear(o, dvalues);
  clearRow(inputs, o.size * padded);
  for (int64_t row = 0; row < o.rows; row++)
    for (int64_t column = 0; column < o.columns; column++) {
      const int64_t at = (row * o.columns + column) * o.scoreStride;
      unfold(o, row, column, dout, gradients);
      unfoldTransposed(o, row, column, values, padded, inputs);
      multiply(area, padded, o.size, {gradients, o.size, 1}, inputs, padded, false, slopes, padded);
      softmaxGradient(probabilities + at, slopes, padded, o.scale, area, dscores + at);
      multiply(area, o.size, area, {probabilities + at, 1, area}, gradients, o.size, false, dinputs, o.size);
      fold(o, row, column, dinputs, dvalues);
    }
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <memory>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "ops/outlook-attention.h"

namespace autoprog::cpu {

HWY_EXPORT(outlook);
HWY_EXPORT(outlookGradient);
HWY_EXPORT(paddedWindow);

namespace {

// Finds what belongs to one head of one image.
struct Outlooks : OutlookAttentionOperands {
  using OutlookAttentionOperands::OutlookAttentionOperands;

  int64_t scratch(bool gradient) const {
    const int64_t windows = 2 * area() * size();
    return gradient ? windows + (size() + area()) * HWY_DYNAMIC_DISPATCH(paddedWindow)(area()) : windows;
  }
  int64_t perPart() const { return rowsPerPart(rows * columns * area() * area()); }
  Outlook shape() const {
    return {height, width, rows, columns, kernel, stride, padding, size(), channels, heads * area() * area(), scale()};
  }
  float* map(const View& view, int64_t image, int64_t head) const {
    return view.f32() + image * height * width * channels + head * size();
  }
  float* matrices(const View& view, int64_t image, int64_t head) const {
    return view.f32() + (image * rows * columns * heads + head) * area() * area();
  }
};

std::shared_ptr<std::vector<float>> scratchFor(const Outlooks& outlooks, bool gradient) {
  return std::make_shared<std::vector<float>>(static_cast<size_t>(threadCount() * outlooks.scratch(gradient)));
}

Kernel forward(const Operands& operands) {
  const Outlooks checked(operands, false);
  return [o = checked, scratch = scratchFor(checked, false)] {
    parallelFor(o.batch * o.heads, o.perPart(), [&](int64_t i) {
      const int64_t image = i / o.heads, head = i % o.heads;
      HWY_DYNAMIC_DISPATCH(outlook)
      (o.shape(), o.map(o.values, image, head), o.matrices(o.scores, image, head),
       o.matrices(o.probabilities, image, head), o.map(o.y, image, head),
       scratch->data() + threadIndex() * o.scratch(false));
    });
  };
}

Kernel backward(const Operands& operands) {
  const Outlooks checked(operands, true);
  return [o = checked, scratch = scratchFor(checked, true)] {
    parallelFor(o.batch * o.heads, o.perPart(), [&](int64_t i) {
      const int64_t image = i / o.heads, head = i % o.heads;
      HWY_DYNAMIC_DISPATCH(outlookGradient)
      (o.shape(), o.map(o.y, image, head), o.map(o.values, image, head), o.matrices(o.probabilities, image, head),
       o.map(o.dvalues, image, head), o.matrices(o.scores, image, head),
       scratch->data() + threadIndex() * o.scratch(true));
    });
  };
}

}  // namespace

std::vector<Implementation> outlookAttention() {
  return {{"outlookAttention", {"heads", "kernel", "stride", "padding"}, forward},
          {"outlookAttentionGradient", {"heads", "kernel", "stride", "padding"}, backward}};
}

}  // namespace autoprog::cpu

#endif  // HWY_ONCE
