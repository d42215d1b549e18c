// Sums and casts, element by element. Each thread moves four neighbours: 8 or 16 bytes at a time.
#include "cuda/elements.h"
#include "cuda/engine.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;

template <typename X, typename Y>
__global__ void castKernel(const X* x, Y* y, int64_t count) {
  const int64_t i = 4 * (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x);
  if (i + 4 <= count) {
    float values[4];
    loadFour(x + i, values);
    storeFour(y + i, values);
  } else {
    for (int64_t j = i; j < count; j++) y[j] = fromFloat<Y>(toFloat(x[j]));
  }
}

__global__ void addKernel(AnyPointer a, AnyPointer b, AnyPointer y, int64_t count) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < count) y.store(i, a.load(i) + b.load(i));
}

// add: a, b -> a + b; joins the gradients of a tensor that is used twice.
Kernel sum(const Operands& operands) {
  operands.count(2, 1);
  const View a = operands.inputs[0], b = operands.inputs[1], y = operands.outputs[0];
  for (const View* view : {&a, &b, &y}) Operands::expectFloats(*view, a.size(), "an operand");
  return [=, stream = streamOf(operands)] {
    launch("add", stream, {blocksFor(a.size(), kThreads), kThreads}, addKernel, AnyPointer(a), AnyPointer(b),
           AnyPointer(y), a.size());
  };
}

// cast: x -> y of the same shape in another floating-point type.
Kernel convert(const Operands& operands) {
  operands.count(1, 1);
  const View x = operands.inputs[0], y = operands.outputs[0];
  Operands::expectFloats(x, y.size(), "x");
  Operands::expectFloats(y, x.size(), "y");
  return withType(x.type, [&](auto from) {
    return withType(y.type, [&](auto to) -> Kernel {
      using X = typename decltype(from)::type;
      using Y = typename decltype(to)::type;
      return [=, stream = streamOf(operands)] {
        launch("cast", stream, {blocksFor(x.size(), 4 * kThreads), kThreads}, castKernel<X, Y>, pointer<X>(x),
               pointer<Y>(y), x.size());
      };
    });
  });
}

}  // namespace

std::vector<Implementation> add() { return {{"add", {}, sum}}; }
// reshape: x -> y, the same values in another shape.
std::vector<Implementation> cast() { return {{"cast", {}, convert}, {"reshape", {"shape"}, convert}}; }

}  // namespace autoprog::cuda
