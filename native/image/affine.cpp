// Affine maps with interpolation, the arithmetic of Pillow's libImaging/Geometry.c: doubles, in its order of
// operations.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/affine.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "image/image.h"

#ifndef AUTOPROG_IMAGE_AFFINE_ONCE
#define AUTOPROG_IMAGE_AFFINE_ONCE

namespace autoprog::image {

// A picture with its edges repeated outwards, as far as an interpolation reaches: no pixel is then a special case.
class Framed {
 public:
  explicit Framed(const Picture& picture) {
    const auto channels = static_cast<size_t>(picture.channels);
    const size_t stride = picture.stride() + (kBefore + kAfter) * channels;
    pixels_.resize(stride * static_cast<size_t>(picture.height) + sizeof(uint64_t));
    for (int y = 0; y < picture.height; y++) {
      uint8_t* row = pixels_.data() + static_cast<size_t>(y) * stride;
      const uint8_t* from = picture.row(y);
      for (size_t x = 0; x < kBefore; x++) std::copy_n(from, channels, row + x * channels);
      std::copy_n(from, picture.stride(), row + kBefore * channels);
      uint8_t* after = row + kBefore * channels + picture.stride();
      for (size_t x = 0; x < kAfter; x++) std::copy_n(after - channels, channels, after + x * channels);
    }
    for (int y = -2; y < picture.height + 2; y++)
      rows_.push_back(pixels_.data() + static_cast<size_t>(std::clamp(y, 0, picture.height - 1)) * stride +
                      kBefore * channels);
  }
  // y from -2 to height + 1; of its pixels x from -2 to width + 1.
  const uint8_t* row(int y) const { return rows_[static_cast<size_t>(y + 2)]; }

 private:
  static constexpr size_t kBefore = 2, kAfter = 2;
  std::vector<uint8_t> pixels_;
  std::vector<const uint8_t*> rows_;
};

struct Map {
  const double* m;
  double x(double fromX, double fromY) const { return m[0] * fromX + m[1] * fromY + m[2]; }
  double y(double fromX, double fromY) const { return m[3] * fromX + m[4] * fromY + m[5]; }
};

// At least -0.5, so that a cast of the value and one rounds down.
inline int floorOf(double value) { return static_cast<int>(value + 1) - 1; }

}  // namespace autoprog::image

#endif

HWY_BEFORE_NAMESPACE();
namespace autoprog::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Pillow's cubic through b and c, and its line, in its own form: the terms have to be rounded as it rounds them.
template <class D, class V>
HWY_INLINE V bicubic(D d, V a, V b, V c, V e, V at) {
  const V second = hn::Sub(c, a);
  const V third = hn::Sub(hn::Add(hn::Mul(hn::Set(d, 2.0), hn::Sub(a, b)), c), e);
  const V fourth = hn::Add(hn::Sub(hn::Sub(b, a), c), e);
  return hn::Add(b, hn::Mul(hn::Add(second, hn::Mul(hn::Add(third, hn::Mul(fourth, at)), at)), at));
}
template <class V>
HWY_INLINE V bilinear(V b, V c, V at) {
  return hn::Add(b, hn::Mul(hn::Sub(c, b), at));
}

// Truncated, then limited to a byte.
template <class D>
HWY_INLINE void store(D d, hn::Vec<D> values, uint8_t* to) {
  const hn::Rebind<uint8_t, D> bytes;
  const hn::Rebind<int32_t, D> integers;
  hn::StoreU(hn::DemoteTo(bytes, hn::DemoteTo(integers, values)), bytes, to);
}
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const uint8_t* from) {
  const hn::Rebind<uint8_t, D> bytes;
  const hn::Rebind<int32_t, D> integers;
  return hn::PromoteTo(d, hn::PromoteTo(integers, hn::LoadU(bytes, from)));
}

// out[i] lies at[i] of the way from b[i] to c[i], whose neighbours are a[i] and e[i].
template <class D>
HWY_INLINE size_t interpolateBy(D d, bool cubic, const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* e,
                                const double* at, size_t i, size_t count, uint8_t* out) {
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto part = hn::LoadU(d, at + i);
    const auto vb = load(d, b + i), vc = load(d, c + i);
    store(d, cubic ? bicubic(d, load(d, a + i), vb, vc, load(d, e + i), part) : bilinear(vb, vc, part), out + i);
  }
  return i;
}
HWY_INLINE void interpolate(bool cubic, const uint8_t* a, const uint8_t* b, const uint8_t* c, const uint8_t* e,
                            const double* at, size_t count, uint8_t* out) {
  size_t i = interpolateBy(hn::ScalableTag<double>(), cubic, a, b, c, e, at, 0, count, out);
  i = interpolateBy(hn::CappedTag<double, 4>(), cubic, a, b, c, e, at, i, count, out);
  interpolateBy(hn::CappedTag<double, 1>(), cubic, a, b, c, e, at, i, count, out);
}

// Shifts and shears along x: rows stay rows, and neighbours in a row nearly always come from neighbours.
template <int channels>
void transformRows(const Picture& picture, const Framed& framed, Map map, bool cubic, uint8_t* out) {
  std::vector<double> at(static_cast<size_t>(picture.width) * channels);
  std::vector<int> from(static_cast<size_t>(picture.width));
  for (int y = 0; y < picture.height; y++, out += picture.stride()) {
    int begin = picture.width, end = 0;
    for (int x = 0; x < picture.width; x++) {
      const double sx = map.x(x + 0.5, y + 0.5);
      if (!(sx >= 0 && sx < picture.width)) continue;
      begin = std::min(begin, x);
      end = x + 1;
      from[static_cast<size_t>(x)] = floorOf(sx - 0.5);
      const double part = sx - 0.5 - from[static_cast<size_t>(x)];
      for (int c = 0; c < channels; c++) at[static_cast<size_t>(x * channels + c)] = part;
    }
    for (int x = begin; x < end;) {
      int next = x + 1;
      while (next < end && from[static_cast<size_t>(next)] == from[static_cast<size_t>(next - 1)] + 1) next++;
      const uint8_t* b = framed.row(y) + from[static_cast<size_t>(x)] * channels;
      interpolate(cubic, b - channels, b, b + channels, b + 2 * channels, at.data() + x * channels,
                  static_cast<size_t>((next - x) * channels), out + x * channels);
      x = next;
    }
  }
}

// Shifts and shears along y: columns stay columns, and neighbours in a row often come from the same rows.
template <int channels>
void transformColumns(const Picture& picture, const Framed& framed, Map map, bool cubic, uint8_t* out) {
  std::vector<double> at(static_cast<size_t>(picture.width) * channels);
  std::vector<int> from(static_cast<size_t>(picture.width));
  constexpr int kOutside = -2;
  for (int y = 0; y < picture.height; y++, out += picture.stride()) {
    for (int x = 0; x < picture.width; x++) {
      const double sy = map.y(x + 0.5, y + 0.5);
      const bool inside = sy >= 0 && sy < picture.height;
      from[static_cast<size_t>(x)] = inside ? floorOf(sy - 0.5) : kOutside;
      const double part = inside ? sy - 0.5 - from[static_cast<size_t>(x)] : 0;
      for (int c = 0; c < channels; c++) at[static_cast<size_t>(x * channels + c)] = part;
    }
    for (int x = 0; x < picture.width;) {
      const int row = from[static_cast<size_t>(x)];
      int next = x + 1;
      while (next < picture.width && from[static_cast<size_t>(next)] == row) next++;
      const int offset = x * channels;
      if (row != kOutside)
        interpolate(cubic, framed.row(row - 1) + offset, framed.row(row) + offset, framed.row(row + 1) + offset,
                    framed.row(row + 2) + offset, at.data() + offset, static_cast<size_t>((next - x) * channels),
                    out + offset);
      x = next;
    }
  }
}

// Any map, pixel by pixel: the channels of one side by side, in as many vectors as they take.
template <int channels, class D>
HWY_INLINE void transformPixel(D d, const Framed& framed, bool cubic, int left, int top, double dx, double dy,
                               uint8_t* to) {
  const auto partX = hn::Set(d, dx), partY = hn::Set(d, dy);
  uint8_t bytes[8];
  for (int c = 0; c < channels; c += static_cast<int>(hn::Lanes(d))) {
    const int offset = left * channels + c;
    const uint8_t *b = framed.row(top) + offset, *r = framed.row(top + 1) + offset;
    if (!cubic) {
      const auto first = bilinear(load(d, b), load(d, b + channels), partX);
      store(d, bilinear(first, bilinear(load(d, r), load(d, r + channels), partX), partY), bytes + c);
      continue;
    }
    const uint8_t *a = framed.row(top - 1) + offset, *e = framed.row(top + 2) + offset;
#define AUTOPROG_ALONG(row) \
  bicubic(d, load(d, (row)-channels), load(d, row), load(d, (row) + channels), load(d, (row) + 2 * channels), partX)
    store(d, bicubic(d, AUTOPROG_ALONG(a), AUTOPROG_ALONG(b), AUTOPROG_ALONG(r), AUTOPROG_ALONG(e), partY), bytes + c);
#undef AUTOPROG_ALONG
  }
  std::memcpy(to, bytes, channels);
}

template <int channels>
void transformPixels(const Picture& picture, const Framed& framed, Map map, bool cubic, uint8_t* out) {
  const hn::CappedTag<double, channels == 1 ? 1 : 4> d;
  for (int y = 0; y < picture.height; y++)
    for (int x = 0; x < picture.width; x++, out += channels) {
      const double sx = map.x(x + 0.5, y + 0.5), sy = map.y(x + 0.5, y + 0.5);
      if (!(sx >= 0 && sx < picture.width && sy >= 0 && sy < picture.height)) continue;
      const int left = floorOf(sx - 0.5), top = floorOf(sy - 0.5);
      transformPixel<channels>(d, framed, cubic, left, top, sx - 0.5 - left, sy - 0.5 - top, out);
    }
}

// Writes what comes from inside of the picture.
template <int channels>
void transform(const Picture& picture, const double* m, bool cubic, uint8_t* out) {
  const Framed framed(picture);
  // Where the other coordinate stays, its interpolation would leave every value as it is.
  if (m[3] == 0 && m[4] == 1 && m[5] == 0)
    transformRows<channels>(picture, framed, {m}, cubic, out);
  else if (m[0] == 1 && m[1] == 0 && m[2] == 0)
    transformColumns<channels>(picture, framed, {m}, cubic, out);
  else
    transformPixels<channels>(picture, framed, {m}, cubic, out);
}

void transformAny(const Picture& picture, const double* matrix, bool cubic, uint8_t* out) {
  picture.channels == 3 ? transform<3>(picture, matrix, cubic, out) : transform<1>(picture, matrix, cubic, out);
}

}  // namespace autoprog::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace autoprog::image {

HWY_EXPORT(transformAny);

Image affine(const Picture& picture, const std::array<double, 6>& matrix, Filter filter,
             const std::array<uint8_t, 3>& fill) {
  Image out(picture.width, picture.height, picture.channels);
  const auto channels = static_cast<size_t>(picture.channels);
  for (int x = 0; x < out.width; x++)
    std::copy_n(fill.data(), channels, out.data() + static_cast<size_t>(x) * channels);
  for (int y = 1; y < out.height; y++) std::copy_n(out.data(), picture.stride(), out.row(y));
  HWY_DYNAMIC_DISPATCH(transformAny)(picture, matrix.data(), filter == Filter::bicubic, out.data());
  return out;
}

}  // namespace autoprog::image

#endif
