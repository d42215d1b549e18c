#pragma once

#include "ops/ops.h"

// Checked operands of batch norm, with the residual addition and the ReLU after it, and of its gradient.
namespace autoprog {

// batchNorm: x (…, C), weight (C), bias (C), residual (…, C)? -> y (…, C), stats (C, 2: mean and 1 / deviation), and
// with momentum > 0 the running mean and variance (C), updated in place. batchNormInference: x, weight, bias, running
// mean, running variance, residual? -> y, stats.
struct BatchNormOperands {
  View x, weight, bias, mean, variance, residual, y, stats;  // mean and variance are the running ones
  bool training, added, updates, relu;
  float epsilon;
  double momentum = 0;
  int64_t rows, channels;

  BatchNormOperands(const Operands& operands, bool training) : training(training) {
    const auto &in = operands.inputs, &out = operands.outputs;
    if (training) momentum = operands.attributes.number("momentum");
    updates = momentum > 0;
    const size_t given = training ? 3 : 5, written = updates ? 4 : 2;  // without a residual
    operands.count(given, given + 1, written, written);
    x = in[0], weight = in[1], bias = in[2], y = out[0], stats = out[1];
    added = in.size() > given;
    if (added) residual = in[given];
    if (!training) mean = in[3], variance = in[4];
    if (updates) mean = out[2], variance = out[3];
    epsilon = static_cast<float>(operands.attributes.number("epsilon"));
    relu = operands.attributes.integer("relu", 0, 1) == 1;
    rows = x.rows(), channels = x.last();
    require(rows > 0 && channels > 0, "SHAPE", "Expected rows but received " + x.describe());
    Operands::expectFloats(x, rows * channels, "x");
    Operands::expectFloats(y, rows * channels, "y");
    if (added) Operands::expectFloats(residual, rows * channels, "residual");
    Operands::expect(weight, Type::f32, channels, "weight");
    Operands::expect(bias, Type::f32, channels, "bias");
    Operands::expect(stats, Type::f32, 2 * channels, "stats");
    if (training && !updates) return;
    Operands::expect(mean, Type::f32, channels, "the running mean");
    Operands::expect(variance, Type::f32, channels, "the running variance");
  }

  // What the running variance follows: unbiased, but for a single row, which has no such estimate.
  double unbiased(double batchVariance) const {
    return rows > 1 ? batchVariance * static_cast<double>(rows) / static_cast<double>(rows - 1) : batchVariance;
  }
};

// batchNormGradient: dy (…, C), x (…, C), stats (C, 2), weight (C), bias (C), y (…, C)? -> dx (=), dweight (+=), dbias
// (+=), dresidual (=)?. y is given, and dresidual wanted, where a residual was added before the ReLU.
struct BatchNormGradientOperands {
  View dy, x, stats, weight, bias, y, dx, dweight, dbias, dresidual;
  bool training, relu, added;
  int64_t rows, channels;

  explicit BatchNormGradientOperands(const Operands& operands) {
    const auto &in = operands.inputs, &out = operands.outputs;
    added = in.size() == 6;
    operands.count(5, 6, added ? 4 : 3, added ? 4 : 3);
    dy = in[0], x = in[1], stats = in[2], weight = in[3], bias = in[4];
    dx = out[0], dweight = out[1], dbias = out[2];
    training = operands.attributes.integer("training", 0, 1) == 1;
    relu = operands.attributes.integer("relu", 0, 1) == 1;
    require(relu || !added, "SHAPE", "Expected y only where there is a ReLU");
    rows = x.rows(), channels = x.last();
    require(rows > 0 && channels > 0, "SHAPE", "Expected rows but received " + x.describe());
    for (const View* view : {&dy, &x, &dx}) Operands::expectFloats(*view, rows * channels, "x or a gradient");
    Operands::expect(stats, Type::f32, 2 * channels, "stats");
    Operands::expect(weight, Type::f32, channels, "weight");
    Operands::expect(bias, Type::f32, channels, "bias");
    Operands::expect(dweight, Type::f32, channels, "dweight");
    Operands::expect(dbias, Type::f32, channels, "dbias");
    if (!added) return;
    y = in[5], dresidual = out[3];
    Operands::expectFloats(y, rows * channels, "y");
    Operands::expectFloats(dresidual, rows * channels, "dresidual");
  }
};

}  // namespace autoprog
