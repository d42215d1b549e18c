#pragma once

#include <cstdint>

// SIMD loops of pooling: a window's values of all channels at once, for one thread.
namespace autoprog::cpu {

// A window's rows and columns as far as they lie in the image, and the number of its first value by the rows of the
// whole window, `kernel` wide.
struct MaximumWindow {
  const float* x;  // its first value, of the first channel
  int64_t rows, columns, rowStride, columnStride;
  int first, kernel;
};

// y = the largest value of each channel or NaN, index = its number.
void windowMaximum(const MaximumWindow& window, float* y, uint8_t* index, int64_t channels);

// dx += dy where index is `number`.
void addWhere(const float* dy, const uint8_t* index, int number, float* dx, int64_t channels);

// y = scale * x.
void scaleInto(const float* x, float scale, float* y, int64_t channels);

}  // namespace autoprog::cpu
