// y = x W^T + b and its gradients: cuBLASLt's products, with bias and bias gradient in their epilogues where it offers
// that. GELU in its erf form is ours, since cuBLASLt's is the tanh form.
#include "cuda/bias.h"
#include "cuda/blas.h"
#include "cuda/columns.h"
#include "cuda/elements.h"
#include "cuda/operations.h"
#include "cuda/reduce.h"
#include "ops/linear.h"

namespace autoprog::cuda {

namespace {

constexpr int kThreads = 256;
constexpr float kInverseRoot2 = 0.70710678118654752f, kInverseRoot2Pi = 0.39894228040143268f;

__device__ __forceinline__ float gelu(float h) { return 0.5f * h * (1.0f + erff(h * kInverseRoot2)); }
__device__ __forceinline__ float geluSlope(float h) {
  return 0.5f * (1.0f + erff(h * kInverseRoot2)) + h * kInverseRoot2Pi * expf(-0.5f * h * h);
}

// A thread moves four neighbours.
__device__ __forceinline__ int64_t firstOfFour() {
  return 4 * (static_cast<int64_t>(blockIdx.x) * kThreads + static_cast<int64_t>(threadIdx.x));
}

template <typename T>
__global__ void geluKernel(const T* h, T* y, int64_t count) {
  const int64_t i = firstOfFour();
  if (i + 4 <= count) {
    float values[4];
    loadFour(h + i, values);
#pragma unroll
    for (float& value : values) value = gelu(value);
    storeFour(y + i, values);
  } else {
    for (int64_t j = i; j < count; j++) y[j] = fromFloat<T>(gelu(toFloat(h[j])));
  }
}

template <typename T>
__global__ void geluGradientKernel(const T* dy, const T* h, T* dh, int64_t count) {
  const int64_t i = firstOfFour();
  if (i + 4 <= count) {
    float slopes[4], values[4];
    loadFour(dy + i, slopes);
    loadFour(h + i, values);
#pragma unroll
    for (int j = 0; j < 4; j++) slopes[j] *= geluSlope(values[j]);
    storeFour(dh + i, slopes);
  } else {
    for (int64_t j = i; j < count; j++) dh[j] = fromFloat<T>(toFloat(dy[j]) * geluSlope(toFloat(h[j])));
  }
}

Product productOf(const LinearOperands& o) {
  Product product{o.x, o.weight, o.h};
  product.transposeB = true;
  product.m = o.sizes.rows, product.n = o.sizes.out, product.k = o.sizes.in;
  return product;
}

// h = x W^T + b.
Kernel multiply(const Operands& operands, const LinearOperands& o) {
  const Product product = productOf(o);
  return o.biased ? prepareBiased("linear bias", operands, product, o.bias)
                  : engineOf(operands).blas().prepare(operands, product);
}

Kernel product(const Operands& operands) { return multiply(operands, LinearOperands(operands, false)); }

Kernel productGelu(const Operands& operands) {
  const LinearOperands o(operands, true);
  const Kernel product = multiply(operands, o);
  return withType(o.h.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, stream = streamOf(operands)] {
      product();
      launch("linearGelu", stream, {blocksFor(o.h.size(), 4 * kThreads), kThreads}, geluKernel<T>, pointer<T>(o.h),
             pointer<T>(o.y), o.h.size());
    };
  });
}

Kernel gradientInput(const Operands& operands) {
  const LinearGradientInputOperands o(operands);
  Product product{o.dy, o.weight, o.dx};
  product.m = o.sizes.rows, product.n = o.sizes.in, product.k = o.sizes.out;
  return engineOf(operands).blas().prepare(operands, product);
}

Kernel gradientGelu(const Operands& operands) {
  const GeluGradientOperands o(operands);
  return withType(o.h.type, [&](auto typed) -> Kernel {
    using T = typename decltype(typed)::type;
    return [=, stream = streamOf(operands)] {
      launch("geluGradient", stream, {blocksFor(o.h.size(), 4 * kThreads), kThreads}, geluGradientKernel<T>,
             pointer<T>(o.dy), pointer<T>(o.h), pointer<T>(o.dh), o.h.size());
    };
  });
}

// dW += dy^T x, db += the sums of dy over rows: those come with the product where cuBLASLt can, and replace what is
// there, so they wait in scratch memory.
Kernel gradientWeight(const Operands& operands) {
  const LinearGradientWeightOperands o(operands);
  Blas& blas = engineOf(operands).blas();
  Product product{o.dy, o.x, o.dweight};
  product.transposeA = true;
  product.m = o.sizes.out, product.n = o.sizes.in, product.k = o.sizes.rows;
  product.beta = 1;
  if (!o.biased) return blas.prepare(operands, product);
  product.columnSumsOfA = operands.scratch->take(Type::f32, {o.sizes.out});
  const cudaStream_t stream = streamOf(operands);
  if (const Kernel both = blas.prepare(operands, product))
    return [=, sums = product.columnSumsOfA] {
      both();
      addPartials("linearGradientWeight bias", stream, sums.f32(), 1, o.sizes.out, o.sizes.out, o.dbias.f32());
    };
  product.columnSumsOfA = View{};
  return [multiply = blas.prepare(operands, product),
          sum = prepareColumnSums("linearGradientWeight bias", operands, o.dy, o.sizes.rows, o.sizes.out, o.dbias)] {
    multiply();
    sum();
  };
}

}  // namespace

std::vector<Implementation> linear() {
  return {{"linear", {}, product, false, linearAnywhere()},
          {"linearGelu", {}, productGelu, false, linearAnywhere()},
          {"linearGradientInput", {}, gradientInput, false, linearAnywhere()},
          {"geluGradient", {}, gradientGelu},
          {"linearGradientWeight", {"biased"}, gradientWeight, false, linearGradientWeightAnywhere()}};
}

}  // namespace autoprog::cuda
