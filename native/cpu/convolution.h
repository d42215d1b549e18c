#pragma once

#include "ops/convolution.h"

// The two ways to compute a convolution. Each function gives the kernel of an op without its bias gradient, which is
// the same for both.
namespace autoprog::cpu {

// Patches as rows of a matrix, and our products: the reference, and the only way where oneDNN is missing.
namespace plain {
Kernel convolve(const Operands& operands, const ConvolutionOperands& o);
Kernel gradientInput(const Operands& operands, const ConvolutionGradientInputOperands& o);
Kernel gradientWeight(const Operands& operands, const ConvolutionGradientWeightOperands& o);
}  // namespace plain

// oneDNN's kernels for convolutions; null where it has none worth calling.
namespace onednn {
Kernel convolve(const Operands& operands, const ConvolutionOperands& o);
Kernel gradientInput(const Operands& operands, const ConvolutionGradientInputOperands& o);
Kernel gradientWeight(const Operands& operands, const ConvolutionGradientWeightOperands& o);
}  // namespace onednn

}  // namespace autoprog::cpu
