// Affine maps with interpolation, the arithmetic of Pillow's libImaging/Geometry.c: doubles, in its order of
// operations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/affine.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "image/image.h"

#ifndef AUTOPROG_IMAGE_AFFINE_ONCE
#define AUTOPROG_IMAGE_AFFINE_ONCE

namespace autoprog::image {

// Where an output pixel comes from: the pixel at or before it and how far on it lies, in [0, 1).
struct Place {
  int x, y;
  double dx, dy;
};

}  // namespace autoprog::image

#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The channels of a pixel, side by side where a vector takes four doubles.
#if HWY_MAX_BYTES >= 32 && HWY_TARGET != HWY_SCALAR
using Lanes = hn::CappedTag<double, 4>;
using Values = hn::Vec<Lanes>;
template <int channels>
HWY_INLINE Values load(const uint8_t* pixel) {
  const hn::Rebind<uint8_t, Lanes> bytes;
  const hn::Rebind<int32_t, Lanes> integers;
  // Put together in a register: bytes stored one by one and read as a word would wait for the store.
  uint32_t word = pixel[0];
  if constexpr (channels == 3) word |= static_cast<uint32_t>(pixel[1]) << 8 | static_cast<uint32_t>(pixel[2]) << 16;
  const auto four = hn::BitCast(bytes, hn::Set(hn::Repartition<uint32_t, decltype(bytes)>(), word));
  return hn::PromoteTo(Lanes(), hn::PromoteTo(integers, four));
}
HWY_INLINE Values add(Values a, Values b) { return hn::Add(a, b); }
HWY_INLINE Values sub(Values a, Values b) { return hn::Sub(a, b); }
HWY_INLINE Values scale(Values a, double b) { return hn::Mul(a, hn::Set(Lanes(), b)); }
template <int channels>
HWY_INLINE void store(Values values, uint8_t* pixel) {
  const hn::Rebind<uint8_t, Lanes> bytes;
  const hn::Rebind<int32_t, Lanes> integers;
  uint8_t four[4];
  hn::StoreU(hn::DemoteTo(bytes, hn::DemoteTo(integers, values)), bytes, four);  // truncates, then saturates
  std::memcpy(pixel, four, channels);
}
#else
struct Values {
  double of[3];
};
template <int channels>
HWY_INLINE Values load(const uint8_t* pixel) {
  Values values = {};
  for (int c = 0; c < channels; c++) values.of[c] = pixel[c];
  return values;
}
HWY_INLINE Values add(Values a, Values b) { return {{a.of[0] + b.of[0], a.of[1] + b.of[1], a.of[2] + b.of[2]}}; }
HWY_INLINE Values sub(Values a, Values b) { return {{a.of[0] - b.of[0], a.of[1] - b.of[1], a.of[2] - b.of[2]}}; }
HWY_INLINE Values scale(Values a, double b) { return {{a.of[0] * b, a.of[1] * b, a.of[2] * b}}; }
template <int channels>
HWY_INLINE void store(Values values, uint8_t* pixel) {
  for (int c = 0; c < channels; c++) pixel[c] = static_cast<uint8_t>(std::clamp(values.of[c], 0.0, 255.0));
}
#endif

HWY_INLINE Values bilinear(Values a, Values b, double d) { return add(a, scale(sub(b, a), d)); }

// Pillow's cubic through b and c, in its own form: the terms have to be rounded as it rounds them.
HWY_INLINE Values bicubic(Values a, Values b, Values c, Values e, double d) {
  const Values second = sub(c, a);
  const Values third = sub(add(scale(sub(a, b), 2), c), e);
  const Values fourth = add(sub(sub(b, a), c), e);
  return add(b, scale(add(second, scale(add(third, scale(fourth, d)), d)), d));
}

// A row of the input, whose pixels beyond the edge are those at the edge.
struct Row {
  const uint8_t* pixels;
  int width;
};
template <int channels>
HWY_INLINE Values at(Row row, int x) {
  return load<channels>(row.pixels + channels * std::clamp(x, 0, row.width - 1));
}

// A whole number of pixels leaves the value at hand, as the polynomials would at d = 0.
template <int channels, bool cubic>
HWY_INLINE Values along(Row row, const Place& place) {
  if (place.dx == 0) return at<channels>(row, place.x);
  const Values b = at<channels>(row, place.x), c = at<channels>(row, place.x + 1);
  if constexpr (!cubic) return bilinear(b, c, place.dx);
  return bicubic(at<channels>(row, place.x - 1), b, c, at<channels>(row, place.x + 2), place.dx);
}

template <int channels, bool cubic>
HWY_INLINE Values sample(const Picture& picture, const Place& place) {
  const auto row = [&](int y) {
    return along<channels, cubic>({picture.row(std::clamp(y, 0, picture.height - 1)), picture.width}, place);
  };
  const Values b = row(place.y);
  if (place.dy == 0) return b;
  const Values c = row(place.y + 1);
  if constexpr (!cubic) return bilinear(b, c, place.dy);
  return bicubic(row(place.y - 1), b, c, row(place.y + 2), place.dy);
}

template <int channels, bool cubic>
void transform(const Picture& picture, const double* m, const uint8_t* fill, uint8_t* out) {
  for (int y = 0; y < picture.height; y++) {
    const double fromY = y + 0.5;
    for (int x = 0; x < picture.width; x++, out += channels) {
      const double fromX = x + 0.5;
      double sx = m[0] * fromX + m[1] * fromY + m[2], sy = m[3] * fromX + m[4] * fromY + m[5];
      if (!(sx >= 0 && sx < picture.width && sy >= 0 && sy < picture.height)) {
        std::memcpy(out, fill, channels);
        continue;
      }
      sx -= 0.5;
      sy -= 0.5;
      // At least -0.5, so that a cast of the value and one rounds down, without a call.
      const int left = static_cast<int>(sx + 1) - 1, top = static_cast<int>(sy + 1) - 1;
      store<channels>(sample<channels, cubic>(picture, {left, top, sx - left, sy - top}), out);
    }
  }
}

void transformAny(const Picture& picture, const double* matrix, bool cubic, const uint8_t* fill, uint8_t* out) {
  if (picture.channels == 3)
    cubic ? transform<3, true>(picture, matrix, fill, out) : transform<3, false>(picture, matrix, fill, out);
  else
    cubic ? transform<1, true>(picture, matrix, fill, out) : transform<1, false>(picture, matrix, fill, out);
}

}  // namespace autoprog::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace autoprog::image {

HWY_EXPORT(transformAny);

Image affine(const Picture& picture, const std::array<double, 6>& matrix, Filter filter,
             const std::array<uint8_t, 3>& fill) {
  Image out(picture.width, picture.height, picture.channels);
  HWY_DYNAMIC_DISPATCH(transformAny)
  (picture, matrix.data(), filter == Filter::bicubic, fill.data(), out.pixels.data());
  return out;
}

}  // namespace autoprog::image

#endif
