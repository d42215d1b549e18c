#pragma once

#include "ops/ops.h"

// Checked operands of a convolution with square kernels, channels last, and of its gradients.
namespace autoprog {

struct ConvolutionSizes {
  int64_t batch = 0, height = 0, width = 0, in = 0;  // x (B, H, W, C)
  int64_t rows = 0, columns = 0, out = 0;            // y (B, h, w, O)
  int64_t kernel = 0, stride = 0, padding = 0;

  ConvolutionSizes() = default;
  ConvolutionSizes(const Operands& operands, const View& x, const View& y, int64_t side) : kernel(side) {
    require(x.shape.size() == 4 && x.size() > 0, "SHAPE", "Expected x [B, H, W, C] but received " + x.describe());
    require(y.shape.size() == 4 && y.size() > 0, "SHAPE", "Expected y [B, h, w, O] but received " + y.describe());
    batch = x.shape[0], height = x.shape[1], width = x.shape[2], in = x.shape[3];
    rows = y.shape[1], columns = y.shape[2], out = y.shape[3];
    stride = operands.attributes.integer("stride", 1, kLongest);
    padding = operands.attributes.integer("padding", 0, kLongest);
    require(kernel >= 1 && kernel <= kLongest && std::max(height, width) <= kLongest, "SHAPE",
            "Expected sides of 1 to " + std::to_string(kLongest) + " but received " + x.describe());
    require(std::min(height, width) + 2 * padding >= kernel, "SHAPE",
            "Expected an image of at least the kernel's size, " + std::to_string(kernel) + ", but received " +
                x.describe());
    Operands::expectFloats(x, x.size(), "x");
    Operands::expectFloats(y, y.size(), "y");
    Operands::expectShape(y, {batch, along(height), along(width), out}, "y");
  }

  int64_t positions() const { return batch * rows * columns; }  // of all outputs
  int64_t taps() const { return kernel * kernel; }
  int64_t depth() const { return taps() * in; }  // values that an output is a product of
  // Whether each output sees one pixel, in order: the product of a linear layer.
  bool pointwise() const { return kernel == 1 && stride == 1 && padding == 0; }
  std::string describe() const {
    return "a convolution of [" + std::to_string(batch) + ", " + std::to_string(height) + ", " + std::to_string(width) +
           ", " + std::to_string(in) + "] with [" + std::to_string(out) + ", " + std::to_string(in) + ", " +
           std::to_string(kernel) + ", " + std::to_string(kernel) + "], stride " + std::to_string(stride) +
           ", padding " + std::to_string(padding);
  }

 private:
  static constexpr int64_t kLongest = 1 << 16;
  int64_t along(int64_t extent) const { return (extent + 2 * padding - kernel) / stride + 1; }
};

// The side of weight (O, C, k, k).
inline int64_t kernelOf(const View& weight) {
  require(weight.shape.size() == 4 && weight.shape[2] == weight.shape[3], "SHAPE",
          "Expected a weight [O, C, k, k] but received " + weight.describe());
  return weight.shape[2];
}

// convolution: x (B, H, W, C), weight (O, C, k, k), bias (O)? -> y (B, h, w, O).
struct ConvolutionOperands {
  View x, weight, bias, y;
  bool biased;
  ConvolutionSizes sizes;

  explicit ConvolutionOperands(const Operands& operands) {
    operands.count(2, 3, 1, 1);
    x = operands.inputs[0], weight = operands.inputs[1], bias = operands.inputs.back(), y = operands.outputs[0];
    biased = operands.inputs.size() == 3;
    sizes = ConvolutionSizes(operands, x, y, kernelOf(weight));
    Operands::expectFloats(weight, sizes.out * sizes.depth(), "weight");
    Operands::expectShape(weight, {sizes.out, sizes.in, sizes.kernel, sizes.kernel}, "weight");
    if (biased) Operands::expectFloats(bias, sizes.out, "bias");
  }
};

// convolutionGradientInput: dy (B, h, w, O), weight (O, C, k, k) -> dx (B, H, W, C) (=).
struct ConvolutionGradientInputOperands {
  View dy, weight, dx;
  ConvolutionSizes sizes;

  explicit ConvolutionGradientInputOperands(const Operands& operands) {
    operands.count(2, 1);
    dy = operands.inputs[0], weight = operands.inputs[1], dx = operands.outputs[0];
    sizes = ConvolutionSizes(operands, dx, dy, kernelOf(weight));
    Operands::expectFloats(weight, sizes.out * sizes.depth(), "weight");
    Operands::expectShape(weight, {sizes.out, sizes.in, sizes.kernel, sizes.kernel}, "weight");
    require(
        sizes.height == operands.attributes.integer("height") && sizes.width == operands.attributes.integer("width"),
        "SHAPE", "Expected dx of the height and width given but received " + dx.describe());
  }
};

// convolutionGradientWeight: dy (B, h, w, O), x (B, H, W, C) -> dweight (O, C, k, k) (+=), dbias (O)? (+=).
struct ConvolutionGradientWeightOperands {
  View dy, x, dweight, dbias;
  bool biased;
  ConvolutionSizes sizes;

  explicit ConvolutionGradientWeightOperands(const Operands& operands) {
    biased = operands.attributes.integer("biased", 0, 1) == 1;
    operands.count(2, biased ? 2 : 1);
    dy = operands.inputs[0], x = operands.inputs[1], dweight = operands.outputs[0], dbias = operands.outputs.back();
    sizes = ConvolutionSizes(operands, x, dy, operands.attributes.integer("kernel", 1, 1 << 16));
    Operands::expect(dweight, Type::f32, sizes.out * sizes.depth(), "dweight");
    if (biased) Operands::expect(dbias, Type::f32, sizes.out, "dbias");
  }
};

}  // namespace autoprog
