// Stochastic depth (Huang et al., 2016): the factor by which each residual branch of each image is multiplied.
#include "cpu/backend.h"
#include "runtime/philox.h"

namespace autoprog::cpu {

namespace {

// keepScale: random i32 (4: seed low, high, step low, high), index i32 (B: place in the whole batch) -> f32 (B, paths),
// 0 with the path's rate, else 1 / (1 - rate).
Kernel drawKeepScale(const Operands& operands) {
  operands.count(2, 1);
  const View random = operands.inputs[0], index = operands.inputs[1], y = operands.outputs[0];
  const std::vector<double> rates = operands.attributes.list("rates");
  const auto paths = static_cast<int64_t>(rates.size());
  for (double rate : rates) require(rate >= 0 && rate < 1, "SHAPE", "Expected rates in [0, 1)");
  Operands::expect(random, Type::i32, 4, "random");
  Operands::expect(index, Type::i32, index.size(), "index");
  Operands::expectShape(y, Type::f32, {index.size(), paths}, "y");
  return [=] {
    const auto* words = reinterpret_cast<const uint32_t*>(random.i32());
    const RandomAddress address{{words[0], words[1]}, {words[2], words[3]}};
    for (int64_t i = 0; i < index.size(); i++) {
      for (int64_t path = 0; path < paths; path++) {
        const auto rate = static_cast<float>(rates[static_cast<size_t>(path)]);
        const auto at =
            static_cast<uint64_t>(index.i32()[i]) * static_cast<uint64_t>(paths) + static_cast<uint64_t>(path);
        const bool kept = rate == 0.0f || toUnit(draw(address, Purpose::stochasticDepth, at)[0]) >= rate;
        y.f32()[i * paths + path] = kept ? 1.0f / (1.0f - rate) : 0.0f;
      }
    }
  };
}

}  // namespace

std::vector<Implementation> keepScale() { return {{"keepScale", {"rates"}, drawKeepScale}}; }

}  // namespace autoprog::cpu
