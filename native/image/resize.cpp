// Resampling in two passes with 22-bit weights, the arithmetic of Pillow's libImaging/Resample.c.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/resize.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "image/image.h"

#ifndef AUTOPROG_IMAGE_RESIZE_ONCE
#define AUTOPROG_IMAGE_RESIZE_ONCE

namespace autoprog::image {

inline constexpr int kWeightBits = 22;
inline constexpr int32_t kHalf = 1 << (kWeightBits - 1);

inline uint8_t rounded(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

// What one output position is made of: `count` input positions from `first` on, with these weights.
struct Taps {
  int first, count;
  const int32_t* weights;
};

}  // namespace autoprog::image

#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// One row of three channels. A pixel is read as four bytes: `readable` says that one may follow the row.
void resizeRow3(const uint8_t* HWY_RESTRICT in, const Taps* taps, int width, bool readable, uint8_t* HWY_RESTRICT out) {
#if HWY_TARGET != HWY_SCALAR
  if (readable) {
    const hn::CappedTag<int32_t, 4> d;
    const hn::Rebind<uint8_t, decltype(d)> four;
    for (int x = 0; x < width; x++, out += 3) {
      const auto [first, count, weights] = taps[x];
      const uint8_t* pixel = in + 3 * first;
      auto sum = hn::Set(d, kHalf);
      for (int i = 0; i < count; i++, pixel += 3)
        sum = hn::Add(sum, hn::Mul(hn::PromoteTo(d, hn::LoadU(four, pixel)), hn::Set(d, weights[i])));
      alignas(16) uint8_t values[4];
      hn::StoreU(hn::DemoteTo(four, hn::ShiftRight<kWeightBits>(sum)), four, values);
      std::memcpy(out, values, 3);
    }
    return;
  }
#else
  (void)readable;
#endif
  for (int x = 0; x < width; x++, out += 3) {
    const auto [first, count, weights] = taps[x];
    const uint8_t* pixel = in + 3 * first;
    int32_t sum[3] = {kHalf, kHalf, kHalf};
    for (int i = 0; i < count; i++, pixel += 3)
      for (int c = 0; c < 3; c++) sum[c] += pixel[c] * weights[i];
    for (int c = 0; c < 3; c++) out[c] = rounded(sum[c]);
  }
}

// One output row as a weighted sum of input rows of `size` bytes, `in` the first of them.
void sumRows(const uint8_t* HWY_RESTRICT in, size_t size, Taps taps, uint8_t* HWY_RESTRICT out) {
  size_t at = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<int32_t> d;
  const hn::Rebind<uint8_t, decltype(d)> narrow;
  const size_t lanes = hn::Lanes(d);
  for (; at + 4 * lanes <= size; at += 4 * lanes) {
    auto a = hn::Set(d, kHalf), b = a, c = a, e = a;
    const uint8_t* row = in + at;
    for (int i = 0; i < taps.count; i++, row += size) {
      const auto weight = hn::Set(d, taps.weights[i]);
      a = hn::Add(a, hn::Mul(hn::PromoteTo(d, hn::LoadU(narrow, row)), weight));
      b = hn::Add(b, hn::Mul(hn::PromoteTo(d, hn::LoadU(narrow, row + lanes)), weight));
      c = hn::Add(c, hn::Mul(hn::PromoteTo(d, hn::LoadU(narrow, row + 2 * lanes)), weight));
      e = hn::Add(e, hn::Mul(hn::PromoteTo(d, hn::LoadU(narrow, row + 3 * lanes)), weight));
    }
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<kWeightBits>(a)), narrow, out + at);
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<kWeightBits>(b)), narrow, out + at + lanes);
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<kWeightBits>(c)), narrow, out + at + 2 * lanes);
    hn::StoreU(hn::DemoteTo(narrow, hn::ShiftRight<kWeightBits>(e)), narrow, out + at + 3 * lanes);
  }
#endif
  for (; at < size; at++) {
    int32_t sum = kHalf;
    for (int i = 0; i < taps.count; i++) sum += in[static_cast<size_t>(i) * size + at] * taps.weights[i];
    out[at] = rounded(sum);
  }
}

}  // namespace autoprog::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <cmath>

namespace autoprog::image {

HWY_EXPORT(resizeRow3);
HWY_EXPORT(sumRows);

namespace {

double bilinearWeight(double x) { return std::max(0.0, 1 - std::abs(x)); }

// Catmull and Rom's spline, a = -1/2.
double bicubicWeight(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

class Weights {
 public:
  // [from, to) of `size` input positions to `count` output positions.
  Weights(int size, float from, float to, int count, Filter filter) {
    // Pillow subtracts in single precision.
    const double scale = static_cast<double>(to - from) / count, widened = std::max(scale, 1.0);
    const double support = (filter == Filter::bicubic ? 2.0 : 1.0) * widened;
    const auto weightOf = filter == Filter::bicubic ? bicubicWeight : bilinearWeight;
    const auto most = static_cast<size_t>(std::ceil(support)) * 2 + 1;
    weights_.resize(most * static_cast<size_t>(count));
    taps_.reserve(static_cast<size_t>(count));
    std::vector<double> values(most);
    for (int position = 0; position < count; position++) {
      const double centre = static_cast<double>(from) + (position + 0.5) * scale;
      const int first = std::max(0, static_cast<int>(centre - support + 0.5));
      const int taken = std::min(size, static_cast<int>(centre + support + 0.5)) - first;
      double sum = 0;
      for (int i = 0; i < taken; i++) {
        values[static_cast<size_t>(i)] = weightOf((i + first - centre + 0.5) * (1.0 / widened));
        sum += values[static_cast<size_t>(i)];
      }
      int32_t* weights = weights_.data() + static_cast<size_t>(position) * most;
      for (int i = 0; i < taken; i++) {
        const double share = sum != 0 ? values[static_cast<size_t>(i)] / sum : values[static_cast<size_t>(i)];
        weights[i] = static_cast<int32_t>((share < 0 ? -0.5 : 0.5) + share * (1 << kWeightBits));
      }
      taps_.push_back({first, taken, weights});
    }
  }

  const std::vector<Taps>& taps() const { return taps_; }

 private:
  std::vector<int32_t> weights_;
  std::vector<Taps> taps_;
};

// Rows [first, last) alone.
Image horizontally(const Picture& picture, const std::vector<Taps>& taps, int first, int last) {
  const auto width = static_cast<int>(taps.size());
  Image out(width, last - first, picture.channels);
  for (int y = first; y < last; y++) {
    const uint8_t* in = picture.row(y);
    uint8_t* to = out.row(y - first);
    if (picture.channels == 3) {
      HWY_DYNAMIC_DISPATCH(resizeRow3)(in, taps.data(), width, y + 1 < picture.height, to);
      continue;
    }
    for (const auto& [begin, count, weights] : taps) {
      int32_t sum = kHalf;
      for (int i = 0; i < count; i++) sum += in[begin + i] * weights[i];
      *to++ = rounded(sum);
    }
  }
  return out;
}

// `skipped` is the first of the picture's rows among the rows that the taps count.
Image vertically(const Picture& picture, const std::vector<Taps>& taps, int skipped) {
  Image out(picture.width, static_cast<int>(taps.size()), picture.channels);
  for (int y = 0; y < out.height; y++) {
    const Taps& tap = taps[static_cast<size_t>(y)];
    HWY_DYNAMIC_DISPATCH(sumRows)(picture.row(tap.first - skipped), picture.stride(), tap, out.row(y));
  }
  return out;
}

}  // namespace

Image resize(const Picture& picture, int width, int height, Filter filter, const Region& region) {
  const auto wide = static_cast<float>(picture.width), high = static_cast<float>(picture.height);
  // Pillow takes rows first in very tall images that shrink.
  if (picture.height > 100 * picture.width && height < picture.height) {
    const Image squeezed =
        vertically(picture, Weights(picture.height, region.top, region.bottom, height, filter).taps(), 0);
    if (width == picture.width && region.left == 0 && region.right == wide) return squeezed;
    return horizontally(squeezed.view(), Weights(picture.width, region.left, region.right, width, filter).taps(), 0,
                        height);
  }
  const bool across = width != picture.width || region.left != 0 || region.right != wide;
  const bool down = height != picture.height || region.top != 0 || region.bottom != high;
  if (!across && !down) return crop(picture, 0, 0, width, height);
  if (!down)
    return horizontally(picture, Weights(picture.width, region.left, region.right, width, filter).taps(), 0, height);
  const Weights rows(picture.height, region.top, region.bottom, height, filter);
  if (!across) return vertically(picture, rows.taps(), 0);
  const int first = rows.taps().front().first;
  const int last = rows.taps().back().first + rows.taps().back().count;
  const Image narrowed =
      horizontally(picture, Weights(picture.width, region.left, region.right, width, filter).taps(), first, last);
  return vertically(narrowed.view(), rows.taps(), first);
}

}  // namespace autoprog::image

#endif
