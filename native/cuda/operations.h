#pragma once

#include <vector>

#include "ops/ops.h"

// Every op on the GPU, one group per file of this folder.
namespace autoprog::cuda {

std::vector<Implementation> images();
std::vector<Implementation> erase();
std::vector<Implementation> mix();
std::vector<Implementation> patches();
std::vector<Implementation> tokens();
std::vector<Implementation> position();
std::vector<Implementation> linear();
std::vector<Implementation> convolution();
std::vector<Implementation> layerNorm();
std::vector<Implementation> batchNorm();
std::vector<Implementation> pooling();
std::vector<Implementation> attention();
std::vector<Implementation> outlookAttention();
std::vector<Implementation> keepScale();
std::vector<Implementation> crossEntropy();
std::vector<Implementation> optimizer();
std::vector<Implementation> add();
std::vector<Implementation> alignLabels();
std::vector<Implementation> cast();

}  // namespace autoprog::cuda
