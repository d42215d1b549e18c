// Operations on values: tables, histograms, and blends with a degenerate image, as Pillow's ImageOps and ImageEnhance.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/color.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/highway.h>

#include <algorithm>

#include "image/image.h"

#ifndef AUTOPROG_IMAGE_COLOR_ONCE
#define AUTOPROG_IMAGE_COLOR_ONCE

namespace autoprog::image {

// ITU-R BT.601 luma in 16 bits, as Pillow's convert('L').
inline int luma(const uint8_t* pixel) { return (19595 * pixel[0] + 38470 * pixel[1] + 7471 * pixel[2] + 0x8000) >> 16; }

// A blend in single precision, truncated.
inline uint8_t blended(int degenerate, int value, float factor) {
  const float sum = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
  return static_cast<uint8_t>(std::clamp(sum, 0.0f, 255.0f));
}

}  // namespace autoprog::image

#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// values[i] = degenerate[i] + factor (values[i] - degenerate[i]).
void blend(const uint8_t* HWY_RESTRICT degenerate, float factor, size_t size, uint8_t* HWY_RESTRICT values) {
  size_t at = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::Rebind<int32_t, decltype(d)> integers;
  const hn::Rebind<uint8_t, decltype(d)> bytes;
  const auto scale = hn::Set(d, factor);
  for (; at + hn::Lanes(d) <= size; at += hn::Lanes(d)) {
    const auto a = hn::PromoteTo(integers, hn::LoadU(bytes, degenerate + at));
    const auto b = hn::PromoteTo(integers, hn::LoadU(bytes, values + at));
    // A product and a sum, each rounded: a fused one would round differently.
    const auto sum = hn::Add(hn::ConvertTo(d, a), hn::Mul(scale, hn::ConvertTo(d, hn::Sub(b, a))));
    const auto limited = hn::Min(sum, hn::Set(d, 255.0f));
    hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(integers, limited)), bytes, values + at);
  }
#endif
  for (; at < size; at++) values[at] = blended(degenerate[at], values[at], factor);
}

// The lumas of `count` pixels of three channels.
void lumas(const uint8_t* HWY_RESTRICT pixels, size_t count, uint8_t* HWY_RESTRICT out) {
  size_t at = 0;
#if HWY_TARGET != HWY_SCALAR && HWY_MAX_BYTES >= 16
  const hn::ScalableTag<int32_t> d;
  const hn::CappedTag<uint8_t, 16> block;
  const hn::Rebind<uint8_t, decltype(d)> few;
  const size_t lanes = hn::Lanes(block);
  HWY_ALIGN uint8_t r[16], g[16], b[16];
  for (; at + lanes <= count; at += lanes) {
    hn::Vec<decltype(block)> vr, vg, vb;
    hn::LoadInterleaved3(block, pixels + 3 * at, vr, vg, vb);
    hn::Store(vr, block, r);
    hn::Store(vg, block, g);
    hn::Store(vb, block, b);
    for (size_t i = 0; i < lanes; i += hn::Lanes(d)) {
      const auto part = [&](const uint8_t* from, int weight) {
        return hn::Mul(hn::PromoteTo(d, hn::LoadU(few, from + i)), hn::Set(d, weight));
      };
      const auto sum = hn::Add(hn::Add(part(r, 19595), part(g, 38470)), hn::Add(part(b, 7471), hn::Set(d, 0x8000)));
      hn::StoreU(hn::DemoteTo(few, hn::ShiftRight<16>(sum)), few, out + at + i);
    }
  }
#endif
  for (; at < count; at++) out[at] = static_cast<uint8_t>(luma(pixels + 3 * at));
}

// A row smoothed by the 3 x 3 kernel of ones with a five in the middle, over 13: bytes [from, to) of the row, whose
// neighbours lie `channels` bytes apart and in the rows above and below.
void smoothRow(const uint8_t* HWY_RESTRICT above, const uint8_t* HWY_RESTRICT row, const uint8_t* HWY_RESTRICT below,
               size_t channels, size_t from, size_t to, uint8_t* HWY_RESTRICT out) {
  size_t at = from;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<uint16_t> d;
  const hn::Rebind<uint8_t, decltype(d)> bytes;
  for (; at + hn::Lanes(d) <= to; at += hn::Lanes(d)) {
    const auto value = [&](const uint8_t* line, size_t offset) {
      return hn::PromoteTo(d, hn::LoadU(bytes, line + offset));
    };
    auto sum = hn::Add(value(row, at - channels), value(row, at + channels));
    for (const uint8_t* line : {above, below})
      sum = hn::Add(sum, hn::Add(hn::Add(value(line, at - channels), value(line, at)), value(line, at + channels)));
    const auto middle = value(row, at);
    sum = hn::Add(sum, hn::Add(hn::ShiftLeft<2>(middle), middle));
    // (sum + 6.5) / 13 for all sums up to 13 * 255.
    const auto share = hn::MulHigh(hn::Add(sum, hn::Set(d, 6)), hn::Set(d, 5042));
    hn::StoreU(hn::DemoteTo(bytes, hn::BitCast(hn::RebindToSigned<decltype(d)>(), share)), bytes, out + at);
  }
#endif
  for (; at < to; at++) {
    int sum = 4 * row[at];
    for (const uint8_t* line : {above, row, below}) sum += line[at - channels] + line[at] + line[at + channels];
    out[at] = static_cast<uint8_t>((2 * sum + 13) / 26);
  }
}

}  // namespace autoprog::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <cmath>
#include <numeric>

namespace autoprog::image {

HWY_EXPORT(blend);
HWY_EXPORT(lumas);
HWY_EXPORT(smoothRow);

namespace {

template <typename Value>
Table table(const Value& value) {
  Table result;
  for (int i = 0; i < 256; i++) result[static_cast<size_t>(i)] = static_cast<uint8_t>(value(i));
  return result;
}

Table same() {
  return table([](int i) { return i; });
}

using Histogram = std::array<int32_t, 256>;

// Gives every channel the table that `tableOf` makes of its histogram.
template <int channels, typename TableOf>
void mapChannels(Image& image, const TableOf& tableOf) {
  Histogram histograms[channels] = {};
  uint8_t* const end = image.data() + image.bytes();
  for (const uint8_t* pixel = image.data(); pixel < end; pixel += channels)
    for (int c = 0; c < channels; c++) histograms[c][pixel[c]]++;
  Table tables[channels];
  for (int c = 0; c < channels; c++) tables[c] = tableOf(histograms[c]);
  for (uint8_t* pixel = image.data(); pixel < end; pixel += channels)
    for (int c = 0; c < channels; c++) pixel[c] = tables[c][pixel[c]];
}

template <typename TableOf>
void mapByHistogram(Image& image, const TableOf& tableOf) {
  image.channels == 3 ? mapChannels<3>(image, tableOf) : mapChannels<1>(image, tableOf);
}

Table stretched(const Histogram& histogram) {
  int low = 0, high = 255;
  while (low < 255 && histogram[static_cast<size_t>(low)] == 0) low++;
  while (high > 0 && histogram[static_cast<size_t>(high)] == 0) high--;
  if (high <= low) return same();
  const double scale = 255.0 / (high - low), offset = -low * scale;
  return table([&](int i) { return std::clamp(static_cast<int>(i * scale + offset), 0, 255); });
}

Table flattened(const Histogram& histogram) {
  const auto isFilled = [](int32_t count) { return count > 0; };
  const auto last = std::find_if(histogram.rbegin(), histogram.rend(), isFilled);
  const int64_t total = std::accumulate(histogram.begin(), histogram.end(), int64_t{0});
  const int64_t step = total == 0 ? 0 : (total - *last) / 255;
  if (step == 0) return same();
  int64_t sum = step / 2;
  return table([&](int i) {
    const int64_t value = std::min<int64_t>(255, sum / step);
    sum += histogram[static_cast<size_t>(i)];
    return value;
  });
}

std::vector<uint8_t> lumasOf(const Image& image) {
  const Picture picture = image.view();
  if (image.channels == 1) return {picture.pixels, picture.pixels + picture.bytes()};
  std::vector<uint8_t> result(picture.bytes() / 3);
  HWY_DYNAMIC_DISPATCH(lumas)(picture.pixels, result.size(), result.data());
  return result;
}

void blendWith(const std::vector<uint8_t>& degenerate, double factor, Image& image) {
  HWY_DYNAMIC_DISPATCH(blend)
  (degenerate.data(), static_cast<float>(factor), image.bytes(), image.data());
}

Table blendedWith(int degenerate, double factor) {
  return table([&](int i) { return blended(degenerate, i, static_cast<float>(factor)); });
}

}  // namespace

void map(Image& image, const Table& table) {
  uint8_t* const values = image.data();
  const size_t size = image.bytes();
#pragma GCC unroll 8
  for (size_t i = 0; i < size; i++) values[i] = table[values[i]];
}

Table inverted() {
  return table([](int i) { return 255 - i; });
}

Table posterized(int bits) {
  const int mask = bits >= 8 ? 255 : ~((1 << (8 - bits)) - 1);
  return table([&](int i) { return i & mask; });
}

Table solarized(int threshold) {
  return table([&](int i) { return i < threshold ? i : 255 - i; });
}

Table brightenedBelowMiddle(int addition) {
  return table([&](int i) { return i < 128 ? std::min(255, i + addition) : i; });
}

void autoContrast(Image& image) { mapByHistogram(image, stretched); }

void equalize(Image& image) { mapByHistogram(image, flattened); }

void enhanceColor(Image& image, double factor) {
  if (image.channels == 1) return;
  const std::vector<uint8_t> grey = lumasOf(image);
  std::vector<uint8_t> degenerate(image.bytes());
  for (size_t i = 0; i < grey.size(); i++) degenerate[3 * i] = degenerate[3 * i + 1] = degenerate[3 * i + 2] = grey[i];
  blendWith(degenerate, factor, image);
}

void enhanceContrast(Image& image, double factor) {
  const std::vector<uint8_t> grey = lumasOf(image);
  const double sum = static_cast<double>(std::accumulate(grey.begin(), grey.end(), int64_t{0}));
  map(image, blendedWith(static_cast<int>(sum / static_cast<double>(grey.size()) + 0.5), factor));
}

void enhanceBrightness(Image& image, double factor) { map(image, blendedWith(0, factor)); }

void enhanceSharpness(Image& image, double factor) {
  const Picture picture = image.view();
  std::vector<uint8_t> smooth(picture.pixels, picture.pixels + picture.bytes());  // the edges stay
  const auto channels = static_cast<size_t>(picture.channels);
  for (int y = 1; y + 1 < picture.height && picture.width > 2; y++) HWY_DYNAMIC_DISPATCH(smoothRow)
  (picture.row(y - 1), picture.row(y), picture.row(y + 1), channels, channels, picture.stride() - channels,
   smooth.data() + static_cast<size_t>(y) * picture.stride());
  blendWith(smooth, factor, image);
}

}  // namespace autoprog::image

#endif
