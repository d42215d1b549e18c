#pragma once

#include <string>
#include <utility>
#include <vector>

#include "ops/ops.h"

namespace autoprog::cpu {

// Every op on the processor: SIMD through Highway, chosen at run time, loops shared by the device's pool.
const Backend& backend();

// What was found: processor features, BLAS, threads; for `doctor`.
std::vector<std::pair<std::string, std::string>> features();

// One group per file of this folder.
std::vector<Implementation> images();
std::vector<Implementation> patches();
std::vector<Implementation> tokens();
std::vector<Implementation> linear();
std::vector<Implementation> layerNorm();
std::vector<Implementation> attention();
std::vector<Implementation> keepScale();
std::vector<Implementation> crossEntropy();
std::vector<Implementation> optimizer();
std::vector<Implementation> add();

}  // namespace autoprog::cpu
