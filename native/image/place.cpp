#include <algorithm>

#include "image/image.h"

namespace autoprog::image {

Image crop(const Picture& picture, int left, int top, int width, int height) {
  Image out(width, height, picture.channels);
  const auto channels = static_cast<size_t>(picture.channels);
  const int from = std::max(0, left), to = std::min(picture.width, left + width);
  if (from >= to) return out;
  for (int y = std::max(0, top); y < std::min(picture.height, top + height); y++)
    std::copy_n(picture.row(y) + static_cast<size_t>(from) * channels, static_cast<size_t>(to - from) * channels,
                out.row(y - top) + static_cast<size_t>(from - left) * channels);
  return out;
}

void flip(Image& image) {
  for (int y = 0; y < image.height; y++) {
    uint8_t* row = image.row(y);
    if (image.channels == 1) {
      std::reverse(row, row + image.width);
      continue;
    }
    uint8_t* right = row + 3 * (image.width - 1);
    for (uint8_t* left = row; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

}  // namespace autoprog::image
