// Stochastic depth (Huang et al., 2016): the factor by which each residual branch of each image is multiplied.
#include "ops/keep-scale.h"

#include "cpu/operations.h"
#include "runtime/philox.h"

namespace autoprog::cpu {

namespace {

Kernel drawKeepScale(const Operands& operands) {
  return [o = KeepScaleOperands(operands)] {
    const auto* words = reinterpret_cast<const uint32_t*>(o.random.i32());
    const RandomAddress address{{words[0], words[1]}, {words[2], words[3]}};
    const size_t paths = o.rates.size();
    for (int64_t i = 0; i < o.images; i++)
      for (size_t path = 0; path < paths; path++)
        o.y.f32()[static_cast<size_t>(i) * paths + path] =
            keepFactor(address, static_cast<uint64_t>(o.index.i32()[i]) * paths + path, o.rates[path]);
  };
}

}  // namespace

std::vector<Implementation> keepScale() { return {{"keepScale", {"rates"}, drawKeepScale}}; }

}  // namespace autoprog::cpu
