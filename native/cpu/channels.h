#pragma once

#include <cstdint>

// SIMD loops over values whose last axis are channels, with constants per channel, for one thread.
namespace autoprog::cpu {

// A part of such values: `rows` of `channels` neighbours each, `stride` values from row to row. Where the last cache is
// likely to hold all of them (`cached`), the order in which memory is read does not matter.
struct ChannelBlock {
  int64_t rows, channels, stride;
  bool cached;
};

// Per channel: a normal value is (x - mean) * scale + bias.
struct ChannelNorm {
  const float *mean, *scale, *bias;
};

// Sums of x - pivot and of its square over the rows. The pivot is the mean of the first rows: near enough to that of
// all for the squares to lose nothing, however large the mean is.
void channelMoments(const ChannelBlock& block, const float* x, float* pivot, float* sums, float* squares);

// y = the normal value + residual (may be null), not below 0 with `relu`.
void channelNormalize(const ChannelBlock& block, const ChannelNorm& norm, const float* x, const float* residual,
                      bool relu, float* y);

// Where a ReLU after the norm lets gradients through: everywhere, where the normal value is positive, or where y is.
enum class Passing { all, normal, output };

// sums = those of g over the rows, products = those of g * (x - mean), where g is dy as far as the ReLU lets it
// through, by `y` with Passing::output; then g is written to `passed` too.
void channelGradientSums(const ChannelBlock& block, const ChannelNorm& norm, Passing passing, const float* dy,
                         const float* x, const float* y, float* passed, float* sums, float* products);

// dx = (g - (x - mean) * slope - offset) * scale, with g = dy as far as the ReLU lets it through: all or by the normal
// value.
void channelGradient(const ChannelBlock& block, const ChannelNorm& norm, Passing passing, const float* dy,
                     const float* x, const float* slope, const float* offset, float* dx);

}  // namespace autoprog::cpu
