// Outlook attention (VOLO: Yuan et al., 2021). The rows of values that a window covers are gathered into the thread's
// own cache, zeros where it reaches beyond the map, weighted head by head in small products, and added where they
// belong: unfold and fold of a window at a time, so that nothing larger than a window is ever stored unfolded. A part
// is a band of a map's rows, so that no two threads write to one place: of a window across its edge it computes only
// the rows of outputs that lie in the band and, backward, also the columns of inputs. All heads of a window follow each
// other since their scores and values lie side by side: a head at a time took a third longer once the maps exceeded the
// cache (VOLO-D1's shape, batch 8). To compute the probabilities again backward, instead of keeping them in the scores'
// place, took a fifth longer for both passes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/outlook-attention.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/contrib/math/math-inl.h>

#include "cpu/gemm-inl.h"

#ifndef AUTOPROG_CPU_OUTLOOK_ATTENTION_TYPES_
#define AUTOPROG_CPU_OUTLOOK_ATTENTION_TYPES_
namespace autoprog::cpu {

// The windows of one image; `rows` and `columns` count them.
struct Outlook {
  int64_t height, width, channels;
  int64_t rows, columns;
  int64_t heads, kernel, stride, padding;
  float scale;

  int64_t area() const { return kernel * kernel; }
  int64_t size() const { return channels / heads; }
};

// Rows of a map.
struct Band {
  int64_t begin, end;
};

}  // namespace autoprog::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

// Calls body(place, position) for places [first, end) of a window; the position within the map is -1 beyond it.
template <typename Body>
HWY_INLINE void forPlaces(const Outlook& o, int64_t row, int64_t column, int64_t first, int64_t end, Body body) {
  const int64_t top = row * o.stride - o.padding, left = column * o.stride - o.padding;
  for (int64_t place = first; place < end; place++) {
    const int64_t y = top + place / o.kernel, x = left + place % o.kernel;
    body(place, y >= 0 && y < o.height && x >= 0 && x < o.width ? y * o.width + x : -1);
  }
}

// Calls body(row, column, first, end) for all windows that reach into a band, with the places that lie in it. Those
// beyond the map count to its first and last row.
template <typename Body>
HWY_INLINE void forWindows(const Outlook& o, Band band, Body body) {
  const int64_t lowest = band.begin == 0 ? -o.padding : band.begin;
  const int64_t highest = band.end == o.height ? o.height + o.kernel : band.end;
  for (int64_t row = 0; row < o.rows; row++) {
    const int64_t top = row * o.stride - o.padding;
    const int64_t first = HWY_MAX(lowest - top, 0) * o.kernel, end = HWY_MIN(highest - top, o.kernel) * o.kernel;
    if (first >= end) continue;
    for (int64_t column = 0; column < o.columns; column++) body(row, column, first, end);
  }
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

// window (area, channels) = the map's rows, zero beyond it.
HWY_INLINE void unfold(const Outlook& o, int64_t row, int64_t column, const float* map, float* window) {
  forPlaces(o, row, column, 0, o.area(), [&](int64_t place, int64_t position) HWY_ATTR {
    if (position >= 0)
      copyRow(map + position * o.channels, window + place * o.channels, o.channels);
    else
      clearRow(window + place * o.channels, o.channels);
  });
}

// map += places [first, end) of window.
HWY_INLINE void fold(const Outlook& o, int64_t row, int64_t column, int64_t first, int64_t end, const float* window,
                     float* map) {
  forPlaces(o, row, column, first, end, [&](int64_t place, int64_t position) HWY_ATTR {
    if (position >= 0) addRow(window + place * o.channels, map + position * o.channels, o.channels);
  });
}

HWY_INLINE void clear(const Outlook& o, Band band, float* map) {
  clearRow(map + band.begin * o.width * o.channels, (band.end - band.begin) * o.width * o.channels);
}

// The lanes of the vector that begins at value j of n.
HWY_INLINE auto lanesFrom(int64_t j, int64_t n) { return hn::FirstN(Floats(), static_cast<size_t>(n - j)); }

// probabilities = softmax(scale * scores) for rows [first, end) of an area x area matrix, and once more with padded
// rows: what has been stored by whole vectors can be read again at once.
HWY_INLINE void softmax(const float* HWY_RESTRICT scores, float scale, int64_t area, int64_t first, int64_t end,
                        float* HWY_RESTRICT probabilities, float* HWY_RESTRICT copy, int64_t padded) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, scale), lowest = hn::Set(d, -3.4e38f);
  for (int64_t i = first; i < end; i++) {
    const float* x = scores + i * area;
    float* y = copy + i * padded;
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
      hn::StoreU(value, d, y + j);
    }
    const auto inverse = hn::Div(hn::Set(d, 1.0f), hn::SumOfLanes(d, sum));
    for (int64_t j = 0; j < area; j += lanes) {
      const auto value = hn::Mul(hn::LoadU(d, y + j), inverse);
      hn::StoreU(value, d, y + j);
      hn::BlendedStore(value, lanesFrom(j, area), d, probabilities + i * area + j);
    }
  }
}

// slopes (area, padded) = a b^T for rows [first, end) of a (area, size) and all of b (area, size).
HWY_INLINE void dotProducts(const Outlook& o, int64_t first, int64_t end, const float* HWY_RESTRICT a,
                            const float* HWY_RESTRICT b, float* HWY_RESTRICT slopes, int64_t padded) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), size = o.size();
  for (int64_t i = first; i < end; i++)
    for (int64_t j = 0; j < o.area(); j++) {
      const float *left = a + i * o.channels, *right = b + j * o.channels;
      auto sum = hn::Zero(d);
      int64_t e = 0;
      for (; e + lanes <= size; e += lanes) sum = hn::MulAdd(hn::LoadU(d, left + e), hn::LoadU(d, right + e), sum);
      if (e < size) {
        const auto mask = lanesFrom(e, size);
        sum = hn::MulAdd(hn::MaskedLoad(mask, d, left + e), hn::MaskedLoad(mask, d, right + e), sum);
      }
      slopes[i * padded + j] = hn::GetLane(hn::SumOfLanes(d, sum));
    }
}

// dscores = scale p (slope - sum_j p_j slope_j) for rows [first, end) of an area x area matrix; the slopes' are padded.
HWY_INLINE void softmaxGradient(const float* HWY_RESTRICT probabilities, const float* HWY_RESTRICT slopes,
                                int64_t padded, float scale, int64_t area, int64_t first, int64_t end,
                                float* HWY_RESTRICT dscores) {
  const Floats d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, scale);
  for (int64_t i = first; i < end; i++) {
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

// out = fold(softmax(scale scores) unfold(values)) within a band. scratch: 2 area * channels + area * padded.
void outlook(const Outlook& o, Band band, const float* values, const float* scores, float* probabilities, float* out,
             float* scratch) {
  const int64_t area = o.area(), size = o.size(), padded = paddedTo(area);
  float *inputs = scratch, *outputs = inputs + area * o.channels, *weights = outputs + area * o.channels;
  clear(o, band, out);
  forWindows(o, band, [&](int64_t row, int64_t column, int64_t first, int64_t end) HWY_ATTR {
    unfold(o, row, column, values, inputs);
    for (int64_t head = 0; head < o.heads; head++) {
      const int64_t at = ((row * o.columns + column) * o.heads + head) * area * area;
      softmax(scores + at, o.scale, area, first, end, probabilities + at, weights, padded);
      multiply(end - first, size, area, {weights + first * padded, padded, 1}, inputs + head * size, o.channels, false,
               outputs + first * o.channels + head * size, o.channels);
    }
    fold(o, row, column, first, end, outputs, out);
  });
}

// dvalues and dscores within a band, for the output's gradient. scratch: 3 area * channels + area * padded.
void outlookGradient(const Outlook& o, Band band, const float* dout, const float* values, const float* probabilities,
                     float* dvalues, float* dscores, float* scratch) {
  const int64_t area = o.area(), size = o.size(), padded = paddedTo(area), window = area * o.channels;
  float *gradients = scratch, *inputs = gradients + window, *dinputs = inputs + window, *slopes = dinputs + window;
  clear(o, band, dvalues);
  forWindows(o, band, [&](int64_t row, int64_t column, int64_t first, int64_t end) HWY_ATTR {
    unfold(o, row, column, dout, gradients);
    unfold(o, row, column, values, inputs);
    for (int64_t head = 0; head < o.heads; head++) {
      const int64_t at = ((row * o.columns + column) * o.heads + head) * area * area, channel = head * size;
      const float* p = probabilities + at;
      dotProducts(o, first, end, gradients + channel, inputs + channel, slopes, padded);
      multiply(end - first, size, area, {p + first, 1, area}, gradients + channel, o.channels, false,
               dinputs + first * o.channels + channel, o.channels);
      softmaxGradient(p, slopes, padded, o.scale, area, first, end, dscores + at);
    }
    fold(o, row, column, first, end, dinputs, dvalues);
  });
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>

#include "cpu/lots.h"
#include "cpu/operations.h"
#include "ops/outlook-attention.h"

namespace autoprog::cpu {

HWY_EXPORT(outlook);
HWY_EXPORT(outlookGradient);
HWY_EXPORT(paddedTo);

namespace {

// Shares the bands of all images among the threads.
struct Bands : OutlookAttentionOperands {
  View scratch;

  Bands(const Operands& operands, bool gradient)
      : OutlookAttentionOperands(operands, gradient),
        scratch(takeLotPerThread(*operands.scratch, (gradient ? 3 : 2) * area() * channels +
                                                        area() * HWY_DYNAMIC_DISPATCH(paddedTo)(area()))) {}

  // Calls body(shape, band, first value of the image's maps, of its matrices, scratch).
  template <typename Body>
  void forEach(Body body) const {
    const Outlook shape{height, width, channels, rows, columns, heads, kernel, stride, padding, scale()};
    const int64_t size = std::min(height, rowsPerPart(width * channels)), bands = divideUp(height, size);
    parallelFor(batch * bands, 1, [&](int64_t i) {
      const int64_t image = i / bands, begin = i % bands * size;
      body(shape, Band{begin, std::min(height, begin + size)}, image * height * width * channels,
           image * rows * columns * heads * area() * area(), lotOfThread(scratch));
    });
  }
};

Kernel forward(const Operands& operands) {
  return [o = Bands(operands, false)] {
    o.forEach([&](const Outlook& shape, Band band, int64_t map, int64_t matrices, float* scratch) {
      HWY_DYNAMIC_DISPATCH(outlook)
      (shape, band, o.values.f32() + map, o.scores.f32() + matrices, o.probabilities.f32() + matrices, o.y.f32() + map,
       scratch);
    });
  };
}

Kernel backward(const Operands& operands) {
  return [o = Bands(operands, true)] {
    o.forEach([&](const Outlook& shape, Band band, int64_t map, int64_t matrices, float* scratch) {
      HWY_DYNAMIC_DISPATCH(outlookGradient)
      (shape, band, o.y.f32() + map, o.values.f32() + map, o.probabilities.f32() + matrices, o.dvalues.f32() + map,
       o.scores.f32() + matrices, scratch);
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
