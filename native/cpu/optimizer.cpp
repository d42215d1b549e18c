// What happens once per batch, over whole arenas: clearing gradients, their norm, AdamW with all moving averages.
#include "ops/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "cpu/rows.h"

namespace autoprog::cpu {

namespace {

// zero: fills its output.
Kernel zero(const Operands& operands) {
  operands.count(0, 1);
  const View y = operands.outputs[0];
  return [=] {
    parallelRanges(static_cast<int64_t>(y.bytes()), 16 * kGrain, [&](int64_t begin, int64_t end) {
      std::memset(y.address() + begin, 0, static_cast<size_t>(end - begin));
    });
  };
}

Kernel gradientNorm(const Operands& operands) {
  const auto o = std::make_shared<GradientNormOperands>(operands);
  const auto sums = std::make_shared<std::vector<double>>(o->blocks.size());
  return [=] {
    parallelFor(static_cast<int64_t>(o->blocks.size()), 1, [&](int64_t i) {
      const auto& block = o->blocks[static_cast<size_t>(i)];
      (*sums)[static_cast<size_t>(i)] = sumOfSquares(o->gradients.f32() + block.offset, block.count);
    });
    double total = 0;
    for (double sum : *sums) total += sum;
    const float scale = o->scaling.given ? o->scaling.view.f32()[0] : 1.0f;
    o->norm.f32()[0] = static_cast<float>(std::sqrt(total) / scale);
  };
}

Kernel adamwStep(const Operands& operands) {
  const auto o = std::make_shared<AdamWOperands>(operands);
  const auto constants = std::make_shared<std::vector<AdamWConstants>>(static_cast<size_t>(o->slots));
  return [=] {
    const float* hyper = o->hyper.f32();
    const float norm = o->norm.f32()[0], largest = hyper[5];
    if (o->scaling.given && !std::isfinite(norm)) return;
    const float scale = o->scaling.given ? o->scaling.view.f32()[0] : 1.0f;
    const float clip = largest > 0 ? std::min(1.0f, largest / (norm + 1e-6f)) : 1.0f;
    for (int32_t slot : o->used) {
      const int32_t t = ++o->steps.i32()[slot];
      (*constants)[static_cast<size_t>(slot)] = {
          hyper[0],
          0.0f,
          hyper[2],
          hyper[3],
          hyper[4],
          clip / scale,
          static_cast<float>(hyper[0] / (1.0 - std::pow(static_cast<double>(hyper[2]), t))),
          static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(static_cast<double>(hyper[3]), t)))};
    }
    parallelFor(static_cast<int64_t>(o->blocks.size()), 1, [&](int64_t i) {
      const auto& block = o->blocks[static_cast<size_t>(i)];
      float* weight = o->weights.f32() + block.offset;
      if (block.slot >= 0) {
        AdamWConstants c = (*constants)[static_cast<size_t>(block.slot)];
        c.decay = block.decayed != 0 ? hyper[1] : 0.0f;
        adamw(c, o->gradients.f32() + block.offset, weight, o->moment1.f32() + block.offset,
              o->moment2.f32() + block.offset, block.count);
      }
      for (size_t a = 0; a < o->averages.size(); a++)
        average(o->averageDecays[a], weight, o->averages[a].f32() + block.offset, block.count);
    });
  };
}

Kernel updateLossScale(const Operands& operands) {
  return [o = LossScaleUpdateOperands(operands)] {
    float* state = o.scaling.f32();
    const bool finite = std::isfinite(o.norm.f32()[0]);
    state[1] = finite ? state[1] + 1 : 0;
    if (!finite) {
      state[0] *= o.backoff;
      state[2] += 1;
    } else if (state[1] >= o.interval) {
      state[0] *= o.growth;
      state[1] = 0;
    }
  };
}

}  // namespace

std::vector<Implementation> optimizer() {
  return {{"zero", {"shape"}, zero},
          {"gradientNorm", {"offsets", "counts"}, gradientNorm},
          {"adamw", {"offsets", "counts", "slots", "decayed", "averages"}, adamwStep},
          {"lossScale", {"growth", "backoff", "interval"}, updateLossScale}};
}

}  // namespace autoprog::cpu
