#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

// Transformations of 8-bit images on the host, each equal to Pillow's to the last bit, so that the pictures a network
// is trained on are those of the recipes it is compared with.
namespace autoprog::image {

// Pixels (height, width, channels) that belong to someone else; 1 or 3 channels.
struct Picture {
  const uint8_t* pixels;
  int width, height, channels;

  size_t stride() const { return static_cast<size_t>(width) * static_cast<size_t>(channels); }
  size_t bytes() const { return stride() * static_cast<size_t>(height); }
  const uint8_t* row(int y) const { return pixels + static_cast<size_t>(y) * stride(); }
};

// Pixels of its own. A few bytes more may be read beyond the last pixel, so that pixels can be read as words.
class Image {
 public:
  int width, height, channels;

  Image(int w, int h, int c)
      : width(w), height(h), channels(c), pixels_(Picture{nullptr, w, h, c}.bytes() + sizeof(uint64_t)) {}
  Picture view() const { return {pixels_.data(), width, height, channels}; }
  size_t bytes() const { return pixels_.size() - sizeof(uint64_t); }
  uint8_t* data() { return pixels_.data(); }
  uint8_t* row(int y) { return data() + static_cast<size_t>(y) * view().stride(); }

 private:
  std::vector<uint8_t> pixels_;
};

enum class Filter { bilinear, bicubic };

// In pixels of the image; edges lie between pixels.
struct Region {
  float left, top, right, bottom;
};

// The region scaled to width x height, antialiased: Image.resize(size, filter, box).
Image resize(const Picture& picture, int width, int height, Filter filter, const Region& region);

// width x height pixels from (left, top); black where there is no image: Image.crop.
Image crop(const Picture& picture, int left, int top, int width, int height);

// Mirrored left to right.
void flip(Image& image);

// (x, y) -> (m0 x + m1 y + m2, m3 x + m4 y + m5) says where an output pixel comes from; `fill` where that is outside:
// Image.transform(size, AFFINE, matrix, filter, fillcolor).
Image affine(const Picture& picture, const std::array<double, 6>& matrix, Filter filter,
             const std::array<uint8_t, 3>& fill);

// A value for each value, the same in all channels.
using Table = std::array<uint8_t, 256>;
void map(Image& image, const Table& table);
Table inverted();
Table posterized(int bits);
Table solarized(int threshold);
// ImageOps.solarize with an addition below the middle: timm's SolarizeAdd.
Table brightenedBelowMiddle(int addition);

// ImageOps.autocontrast and ImageOps.equalize; each channel for itself.
void autoContrast(Image& image);
void equalize(Image& image);

// ImageEnhance: 0 is without colour, contrast, light or sharpness, 1 the image as it is, more is more.
void enhanceColor(Image& image, double factor);
void enhanceContrast(Image& image, double factor);
void enhanceBrightness(Image& image, double factor);
void enhanceSharpness(Image& image, double factor);

}  // namespace autoprog::image
