// Batch norm with the residual addition and the ReLU after it, in two passes over memory each way: sums by channel of
// blocks of rows, added up in double and in the order of the blocks, then what follows from them. The second pass takes
// the blocks from the end, which the first has left in the caches.
#include "ops/batch-norm.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cpu/channels.h"
#include "cpu/operations.h"
#include "cpu/parallel.h"

namespace autoprog::cpu {

namespace {

// How rows (rows, channels) are cut: into blocks of some 32 thousand values, which the second-level cache holds. They
// are whole rows unless these are very long, so that memory is read from front to back; at least 32 of them, so that
// there are far fewer sums than values, and at most 512, so that sums in f32 keep six digits.
struct Blocks {
  static constexpr int64_t kCached = 1 << 20;  // values: 4 MiB
  int64_t rows, channels, height, width, down, across;

  Blocks(int64_t rows, int64_t channels) : rows(rows), channels(channels) {
    constexpr int64_t kValues = 32 * 1024, kChannels = 2048, kRows = 512, kVector = 16;
    across = divideUp(channels, kChannels);
    width = roundUp(divideUp(channels, across), kVector);
    across = divideUp(channels, width);
    height = std::clamp<int64_t>(kValues / width, 32, kRows);
    down = divideUp(rows, height);
  }

  int64_t rowsIn(int64_t part) const { return std::min(height, rows - part * height); }

  // Calls body(part of the rows, first channel, first value, block) for all blocks.
  template <typename Body>
  void forEach(Order order, const Body& body) const {
    const auto visit = [&](int64_t i) {
      const int64_t part = i / across, channel = i % across * width;
      body(part, channel, part * height * channels + channel,
           ChannelBlock{rowsIn(part), std::min(width, channels - channel), channels, rows * channels <= kCached});
    };
    parallelFor(down * across, 1, visit, order);
  }

  // Calls body(first, last) for groups of up to kGroup channels.
  static constexpr int64_t kGroup = 64;
  template <typename Body>
  void forChannels(const Body& body) const {
    parallelRanges(channels, kGroup, body);
  }
};

using GroupSums = std::array<double, Blocks::kGroup>;

// Mean and variance of each channel from partials (parts, 3, channels: pivot, sum, sum of squares), into body(channel,
// mean, variance). All parts' sums are brought to the first one's pivot, which costs no precision in double.
template <typename Body>
void forMoments(const Blocks& blocks, const float* partials, const Body& body) {
  blocks.forChannels([&](int64_t begin, int64_t end) {
    GroupSums sums{}, squares{};
    for (int64_t part = 0; part < blocks.down; part++) {
      const float *pivot = partials + part * 3 * blocks.channels, *sum = pivot + blocks.channels;
      const float* square = sum + blocks.channels;
      const auto count = static_cast<double>(blocks.rowsIn(part));
      for (int64_t c = begin; c < end; c++) {
        const auto i = static_cast<size_t>(c - begin);
        const double shift = static_cast<double>(pivot[c]) - static_cast<double>(partials[c]);
        sums[i] += sum[c] + count * shift;
        squares[i] += square[c] + shift * (2.0 * sum[c] + count * shift);
      }
    }
    const auto rows = static_cast<double>(blocks.rows);
    for (int64_t c = begin; c < end; c++) {
      const auto i = static_cast<size_t>(c - begin);
      const double offset = sums[i] / rows, variance = squares[i] / rows - offset * offset;
      body(c, partials[c] + offset, variance < 0 ? 0.0 : variance);  // NaN stays
    }
  });
}

// The statistics of the batch, and the running ones that follow them.
void computeStatistics(const BatchNormOperands& o, const Blocks& blocks, float* partials) {
  blocks.forEach(Order::forwards, [&](int64_t part, int64_t channel, int64_t at, const ChannelBlock& block) {
    float* pivot = partials + part * 3 * o.channels + channel;
    channelMoments(block, o.x.f32() + at, pivot, pivot + o.channels, pivot + 2 * o.channels);
  });
  float* stats = o.stats.f32();
  forMoments(blocks, partials, [&](int64_t c, double mean, double variance) {
    stats[2 * c] = static_cast<float>(mean);
    stats[2 * c + 1] = static_cast<float>(1.0 / std::sqrt(variance + o.epsilon));
    if (!o.updates) return;
    float *runningMean = o.mean.f32() + c, *runningVariance = o.variance.f32() + c;
    *runningMean = static_cast<float>((1.0 - o.momentum) * *runningMean + o.momentum * mean);
    *runningVariance = static_cast<float>((1.0 - o.momentum) * *runningVariance + o.momentum * o.unbiased(variance));
  });
}

// Constants (…, channels) in scratch memory: mean and scale, then what a gradient adds.
ChannelNorm normOf(const float* stats, const float* weight, const float* bias, int64_t channels, float* constants) {
  for (int64_t c = 0; c < channels; c++) {
    constants[c] = stats[2 * c];
    constants[channels + c] = weight[c] * stats[2 * c + 1];
  }
  return {constants, constants + channels, bias};
}

template <bool training>
Kernel norm(const Operands& operands) {
  const BatchNormOperands checked(operands, training);
  const Blocks blocks(checked.rows, checked.channels);
  const View constants = operands.scratch->take(Type::f32, {2, checked.channels});
  const View partials = operands.scratch->take(Type::f32, {training ? blocks.down : 0, 3, checked.channels});
  return [o = checked, blocks, constants, partials] {
    if constexpr (training) {
      computeStatistics(o, blocks, partials.f32());
    } else {
      for (int64_t c = 0; c < o.channels; c++) {
        o.stats.f32()[2 * c] = o.mean.f32()[c];
        o.stats.f32()[2 * c + 1] =
            static_cast<float>(1.0 / std::sqrt(static_cast<double>(o.variance.f32()[c]) + o.epsilon));
      }
    }
    const ChannelNorm channels = normOf(o.stats.f32(), o.weight.f32(), o.bias.f32(), o.channels, constants.f32());
    blocks.forEach(training ? Order::backwards : Order::forwards, [&](int64_t, int64_t channel, int64_t at,
                                                                      const ChannelBlock& block) {
      channelNormalize(block, {channels.mean + channel, channels.scale + channel, channels.bias + channel},
                       o.x.f32() + at, o.added ? o.residual.f32() + at : nullptr, o.relu, o.y.f32() + at);
    });
  };
}

// Adds the sums of partials (parts, 2, channels) to dweight and dbias, and finds what dx takes from them: slope and
// offset of dx = (g - (x - mean) * slope - offset) * scale.
void addGradientSums(const BatchNormGradientOperands& o, const Blocks& blocks, const float* partials, float* slope,
                     float* offset) {
  blocks.forChannels([&](int64_t begin, int64_t end) {
    GroupSums sums{}, products{};
    for (int64_t part = 0; part < blocks.down; part++) {
      const float *sum = partials + part * 2 * o.channels, *product = sum + o.channels;
      for (int64_t c = begin; c < end; c++) {
        sums[static_cast<size_t>(c - begin)] += sum[c];
        products[static_cast<size_t>(c - begin)] += product[c];
      }
    }
    const auto rows = static_cast<double>(o.rows);
    for (int64_t c = begin; c < end; c++) {
      const double inverse = o.stats.f32()[2 * c + 1];
      const double sum = sums[static_cast<size_t>(c - begin)], product = products[static_cast<size_t>(c - begin)];
      o.dbias.f32()[c] += static_cast<float>(sum);
      o.dweight.f32()[c] += static_cast<float>(product * inverse);
      slope[c] = o.training ? static_cast<float>(inverse * inverse * product / rows) : 0.0f;
      offset[c] = o.training ? static_cast<float>(sum / rows) : 0.0f;
    }
  });
}

Kernel normGradient(const Operands& operands) {
  const BatchNormGradientOperands checked(operands);
  const Blocks blocks(checked.rows, checked.channels);
  const View constants = operands.scratch->take(Type::f32, {4, checked.channels});
  const View partials = operands.scratch->take(Type::f32, {blocks.down, 2, checked.channels});
  return [o = checked, blocks, constants, partials] {
    const ChannelNorm channels = normOf(o.stats.f32(), o.weight.f32(), o.bias.f32(), o.channels, constants.f32());
    const auto normAt = [&](int64_t channel) {
      return ChannelNorm{channels.mean + channel, channels.scale + channel, channels.bias + channel};
    };
    const Passing passing = o.added ? Passing::output : o.relu ? Passing::normal : Passing::all;
    blocks.forEach(Order::forwards, [&](int64_t part, int64_t channel, int64_t at, const ChannelBlock& block) {
      float* sums = partials.f32() + part * 2 * o.channels + channel;
      channelGradientSums(block, normAt(channel), passing, o.dy.f32() + at, o.x.f32() + at,
                          o.added ? o.y.f32() + at : nullptr, o.added ? o.dresidual.f32() + at : nullptr, sums,
                          sums + o.channels);
    });
    float *slope = constants.f32() + 2 * o.channels, *offset = slope + o.channels;
    addGradientSums(o, blocks, partials.f32(), slope, offset);
    // With a residual, what the ReLU has let through is its gradient, written already.
    const float* source = o.added ? o.dresidual.f32() : o.dy.f32();
    blocks.forEach(Order::backwards, [&](int64_t, int64_t channel, int64_t at, const ChannelBlock& block) {
      channelGradient(block, normAt(channel), o.added ? Passing::all : passing, source + at, o.x.f32() + at,
                      slope + channel, offset + channel, o.dx.f32() + at);
    });
  };
}

}  // namespace

std::vector<Implementation> batchNorm() {
  return {{"batchNorm", {"momentum", "epsilon", "relu"}, norm<true>},
          {"batchNormInference", {"epsilon", "relu"}, norm<false>},
          {"batchNormGradient", {"training", "relu"}, normGradient}};
}

}  // namespace autoprog::cpu
