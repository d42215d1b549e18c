#include "cpu/low-precision.h"

#include "cpu/operations.h"
#include "cpu/parallel.h"
#include "runtime/half.h"

namespace autoprog::cpu {

namespace {

bool isLow(Type type) { return type == Type::bf16 || type == Type::f16; }

// to = from, element by element, of any two floating-point types.
void convert(const View& from, const View& to) {
  parallelRanges(from.size(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float value = from.type == Type::f32    ? from.f32()[i]
                          : from.type == Type::bf16 ? fromBfloat16(from.u16()[i])
                                                    : fromFloat16(from.u16()[i]);
      if (to.type == Type::f32)
        to.f32()[i] = value;
      else
        to.u16()[i] = to.type == Type::bf16 ? toBfloat16(value) : toFloat16(value);
    }
  });
}

// cast: x -> y of the same shape in another floating-point type.
Kernel prepareCast(const Operands& operands) {
  operands.count(1, 1);
  const View x = operands.inputs[0], y = operands.outputs[0];
  const auto isFloat = [](Type type) { return type == Type::f32 || isLow(type); };
  require(isFloat(x.type) && isFloat(y.type) && x.size() == y.size(), "SHAPE",
          "Expected floating-point tensors of one size but received " + x.describe() + " and " + y.describe());
  return [=] { convert(x, y); };
}

struct Conversion {
  View from, to;
};

// Replaces 16-bit views by f32 ones in the op's scratch memory; pairs (16-bit, f32) go to `conversions`.
std::vector<View> widen(const std::vector<View>& views, Scratch& scratch, std::vector<Conversion>& conversions) {
  std::vector<View> wide;
  for (const View& view : views) {
    if (!isLow(view.type)) {
      wide.push_back(view);
      continue;
    }
    wide.push_back(scratch.take(Type::f32, view.shape));
    conversions.push_back({view, wide.back()});
  }
  return wide;
}

}  // namespace

Kernel prepareRounded(Prepare prepare, const Operands& operands) {
  std::vector<Conversion> before, after;
  Operands wide{operands.attributes, {}, {}, operands.scratch, operands.engine};
  wide.inputs = widen(operands.inputs, *operands.scratch, before);
  wide.outputs = widen(operands.outputs, *operands.scratch, after);
  const Kernel kernel = prepare(wide);
  if (before.empty() && after.empty()) return kernel;
  return [=] {
    for (const auto& [low, full] : before) convert(low, full);
    kernel();
    for (const auto& [low, full] : after) convert(full, low);
  };
}

// reshape: x -> y, the same values in another shape.
std::vector<Implementation> cast() {
  return {{"cast", {}, prepareCast, true}, {"reshape", {"shape"}, prepareCast, true}};
}

}  // namespace autoprog::cpu
