#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/channels.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/highway.h>

#include <type_traits>

#include "cpu/channels.h"

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

constexpr int kStrip = 4;  // vectors side by side: enough sums in flight to hide an addition's latency
constexpr int64_t kPivotRows = 16;

// Calls body(first channel, number of vectors, load, store) for strips of the channels: of kStrip vectors, then single
// ones, of which the last may be partial, its missing lanes read as zero.
template <typename Body>
HWY_INLINE void forStrips(int64_t channels, Body body) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto load = [&](const float* p) HWY_ATTR { return hn::LoadU(d, p); };
  const auto store = [&](V v, float* p) HWY_ATTR { hn::StoreU(v, d, p); };
  int64_t at = 0;
  for (; at + kStrip * lanes <= channels; at += kStrip * lanes)
    body(at, std::integral_constant<int, kStrip>(), load, store);
  for (; at + lanes <= channels; at += lanes) body(at, std::integral_constant<int, 1>(), load, store);
  if (at == channels) return;
  const auto mask = hn::FirstN(d, static_cast<size_t>(channels - at));
  body(
      at, std::integral_constant<int, 1>(), [&](const float* p) HWY_ATTR { return hn::MaskedLoad(mask, d, p); },
      [&](V v, float* p) HWY_ATTR { hn::BlendedStore(v, mask, d, p); });
}

// Calls body(first row, number of rows, first channel, …) for sums by channel, which it adds to. Where a strip covers
// whole rows, all rows at once; of cached values a few rows at a time; else row by row with the sums in the first-level
// cache: memory that is read from front to back comes up to three times as fast as strips of several rows in turn, for
// which the prefetchers do little. The sums are the same in any case.
template <typename Body>
HWY_INLINE void forRows(ChannelBlock block, Body body) {
  const bool whole = block.channels <= kStrip * static_cast<int64_t>(hn::Lanes(D()));
  const int64_t step = whole ? block.rows : block.cached ? 4 : 1;
  for (int64_t row = 0; row < block.rows; row += step) {
    const int64_t rows = HWY_MIN(step, block.rows - row);
    forStrips(block.channels, [=](int64_t strip, auto count, auto load, auto store)
                                  HWY_ATTR { body(row, rows, strip, count, load, store); });
  }
}

HWY_INLINE void clear(float* values, int64_t count) {
  for (int64_t i = 0; i < count; i++) values[i] = 0;
}

void channelMoments(const ChannelBlock& block, const float* x, float* pivot, float* sums, float* squares) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), stride = block.stride;
  const int64_t first = HWY_MIN(block.rows, kPivotRows);
  clear(pivot, block.channels);
  clear(sums, block.channels);
  clear(squares, block.channels);
  const V share = hn::Set(d, 1.0f / static_cast<float>(first));
  for (int64_t row = 0; row < first; row++)
    forStrips(block.channels, [=](int64_t strip, auto count, auto load, auto store) HWY_ATTR {
      for (int v = 0; v < decltype(count)::value; v++) {
        const int64_t at = strip + v * lanes;
        store(hn::MulAdd(load(x + row * stride + at), share, load(pivot + at)), pivot + at);
      }
    });
  forRows(block, [=](int64_t row, int64_t rows, int64_t strip, auto count, auto load, auto store) HWY_ATTR {
    constexpr int vectors = decltype(count)::value;
    V center[vectors], sum[vectors], square[vectors];
    for (int v = 0; v < vectors; v++) {
      center[v] = load(pivot + strip + v * lanes);
      sum[v] = load(sums + strip + v * lanes);
      square[v] = load(squares + strip + v * lanes);
    }
    const float* source = x + row * stride + strip;
    for (int64_t i = 0; i < rows; i++, source += stride) {
      for (int v = 0; v < vectors; v++) {
        const V difference = hn::Sub(load(source + v * lanes), center[v]);
        sum[v] = hn::Add(sum[v], difference);
        square[v] = hn::MulAdd(difference, difference, square[v]);
      }
    }
    for (int v = 0; v < vectors; v++) {
      store(sum[v], sums + strip + v * lanes);
      store(square[v], squares + strip + v * lanes);
    }
  });
}

// The normal value of x; forward and backward compute the same bits, so that they agree on where it is positive.
HWY_INLINE V normal(V difference, V scale, V bias) { return hn::MulAdd(difference, scale, bias); }

template <bool added, bool relu>
void normalizeRows(const ChannelBlock& block, const ChannelNorm& norm, const float* x, const float* residual,
                   float* y) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < block.rows; row++) {
    const int64_t start = row * block.stride;
    forStrips(block.channels, [&](int64_t strip, auto count, auto load, auto store) HWY_ATTR {
      for (int v = 0; v < decltype(count)::value; v++) {
        const int64_t at = strip + v * lanes;
        const V difference = hn::Sub(load(x + start + at), load(norm.mean + at));
        V value = normal(difference, load(norm.scale + at), load(norm.bias + at));
        if constexpr (added) value = hn::Add(value, load(residual + start + at));
        // Not a maximum: NaN has to stay NaN.
        if constexpr (relu) value = hn::IfThenZeroElse(hn::Lt(value, hn::Zero(d)), value);
        store(value, y + start + at);
      }
    });
  }
}

void channelNormalize(const ChannelBlock& block, const ChannelNorm& norm, const float* x, const float* residual,
                      bool relu, float* y) {
  if (residual == nullptr)
    relu ? normalizeRows<false, true>(block, norm, x, residual, y)
         : normalizeRows<false, false>(block, norm, x, residual, y);
  else
    relu ? normalizeRows<true, true>(block, norm, x, residual, y)
         : normalizeRows<true, false>(block, norm, x, residual, y);
}

template <Passing passing>
void gradientSums(const ChannelBlock& block, const ChannelNorm& norm, const float* dy, const float* x, const float* y,
                  float* passed, float* sums, float* products) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), stride = block.stride;
  const float *means = norm.mean, *scales = norm.scale, *biases = norm.bias;
  clear(sums, block.channels);
  clear(products, block.channels);
  forRows(block, [=](int64_t first, int64_t rows, int64_t strip, auto count, auto load, auto store) HWY_ATTR {
    constexpr int vectors = decltype(count)::value;
    V mean[vectors], sum[vectors], product[vectors];
    for (int v = 0; v < vectors; v++) {
      mean[v] = load(means + strip + v * lanes);
      sum[v] = load(sums + strip + v * lanes);
      product[v] = load(products + strip + v * lanes);
    }
    for (int64_t row = first; row < first + rows; row++) {
      for (int v = 0; v < vectors; v++) {
        const int64_t channel = strip + v * lanes, at = row * stride + channel;
        const V difference = hn::Sub(load(x + at), mean[v]);
        V g = load(dy + at);
        if constexpr (passing == Passing::normal) {
          const V value = normal(difference, load(scales + channel), load(biases + channel));
          g = hn::IfThenZeroElse(hn::Le(value, hn::Zero(d)), g);
        }
        if constexpr (passing == Passing::output) {
          g = hn::IfThenZeroElse(hn::Le(load(y + at), hn::Zero(d)), g);
          store(g, passed + at);
        }
        sum[v] = hn::Add(sum[v], g);
        product[v] = hn::MulAdd(g, difference, product[v]);
      }
    }
    for (int v = 0; v < vectors; v++) {
      store(sum[v], sums + strip + v * lanes);
      store(product[v], products + strip + v * lanes);
    }
  });
}

void channelGradientSums(const ChannelBlock& block, const ChannelNorm& norm, Passing passing, const float* dy,
                         const float* x, const float* y, float* passed, float* sums, float* products) {
  if (passing == Passing::all) gradientSums<Passing::all>(block, norm, dy, x, y, passed, sums, products);
  if (passing == Passing::normal) gradientSums<Passing::normal>(block, norm, dy, x, y, passed, sums, products);
  if (passing == Passing::output) gradientSums<Passing::output>(block, norm, dy, x, y, passed, sums, products);
}

template <bool masked>
void gradientRows(const ChannelBlock& block, const ChannelNorm& norm, const float* dy, const float* x,
                  const float* slope, const float* offset, float* dx) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < block.rows; row++) {
    const int64_t start = row * block.stride;
    forStrips(block.channels, [&](int64_t strip, auto count, auto load, auto store) HWY_ATTR {
      for (int v = 0; v < decltype(count)::value; v++) {
        const int64_t at = strip + v * lanes;
        const V difference = hn::Sub(load(x + start + at), load(norm.mean + at)), scale = load(norm.scale + at);
        V g = load(dy + start + at);
        if constexpr (masked) {
          const V value = normal(difference, scale, load(norm.bias + at));
          g = hn::IfThenZeroElse(hn::Le(value, hn::Zero(d)), g);
        }
        const V centered = hn::NegMulAdd(difference, load(slope + at), hn::Sub(g, load(offset + at)));
        store(hn::Mul(centered, scale), dx + start + at);
      }
    });
  }
}

void channelGradient(const ChannelBlock& block, const ChannelNorm& norm, Passing passing, const float* dy,
                     const float* x, const float* slope, const float* offset, float* dx) {
  if (passing == Passing::normal)
    gradientRows<true>(block, norm, dy, x, slope, offset, dx);
  else
    gradientRows<false>(block, norm, dy, x, slope, offset, dx);
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace autoprog::cpu {

HWY_EXPORT(channelMoments);
HWY_EXPORT(channelNormalize);
HWY_EXPORT(channelGradientSums);
HWY_EXPORT(channelGradient);

void channelMoments(const ChannelBlock& block, const float* x, float* pivot, float* sums, float* squares) {
  HWY_DYNAMIC_DISPATCH(channelMoments)(block, x, pivot, sums, squares);
}
void channelNormalize(const ChannelBlock& block, const ChannelNorm& norm, const float* x, const float* residual,
                      bool relu, float* y) {
  HWY_DYNAMIC_DISPATCH(channelNormalize)(block, norm, x, residual, relu, y);
}
void channelGradientSums(const ChannelBlock& block, const ChannelNorm& norm, Passing passing, const float* dy,
                         const float* x, const float* y, float* passed, float* sums, float* products) {
  HWY_DYNAMIC_DISPATCH(channelGradientSums)(block, norm, passing, dy, x, y, passed, sums, products);
}
void channelGradient(const ChannelBlock& block, const ChannelNorm& norm, Passing passing, const float* dy,
                     const float* x, const float* slope, const float* offset, float* dx) {
  HWY_DYNAMIC_DISPATCH(channelGradient)(block, norm, passing, dy, x, slope, offset, dx);
}

}  // namespace autoprog::cpu

#endif  // HWY_ONCE
