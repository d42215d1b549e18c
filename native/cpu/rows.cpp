#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/rows.cpp"
#include <hwy/foreach_target.h>
// Highway asks for this order: foreach_target includes this file again, once per target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "cpu/rows.h"

HWY_BEFORE_NAMESPACE();
namespace autoprog::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// Calls body(load, store) for every vector of n values; the last may be partial, its missing lanes read as zero.
template <typename Body>
HWY_INLINE void forVectors(int64_t n, Body body) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    body([&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); },
         [&](V v, float* p) HWY_ATTR { hn::StoreU(v, d, p + i); });
  if (i == n) return;
  const auto mask = hn::FirstN(d, static_cast<size_t>(n - i));
  body([&](const float* p) HWY_ATTR { return hn::MaskedLoad(mask, d, p + i); },
       [&](V v, float* p) HWY_ATTR { hn::BlendedStore(v, mask, d, p + i); });
}

// Phi(x) and exp(-x^2 / 2): Abramowitz and Stegun 7.1.26 (|error of erf| <= 1.5e-7), which shares its exponential with
// the density that the gradient needs.
HWY_INLINE V normalDistribution(V x, V* exponential) {
  const D d;
  const V scaled = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678118654752f));
  const V e = hn::Exp(d, hn::Neg(hn::Mul(scaled, scaled)));
  const V t = hn::Div(hn::Set(d, 1.0f), hn::MulAdd(hn::Set(d, 0.3275911f), scaled, hn::Set(d, 1.0f)));
  V p = hn::MulAdd(hn::Set(d, 1.061405429f), t, hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  const V tail = hn::Mul(hn::Mul(hn::Mul(p, t), e), hn::Set(d, 0.5f));  // 1 - Phi(|x|)
  *exponential = e;
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0f), tail));
}

void addBias(float* h, const float* bias, int64_t n) {
  forVectors(n, [&](auto load, auto store) HWY_ATTR { store(hn::Add(load(h), load(bias)), h); });
}

void addBiasGelu(float* h, const float* bias, float* y, int64_t n) {
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V x = hn::Add(load(h), load(bias));
    V e;
    store(x, h);
    store(hn::Mul(x, normalDistribution(x, &e)), y);
  });
}

void gelu(const float* h, float* y, int64_t n) {
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V x = load(h);
    V e;
    store(hn::Mul(x, normalDistribution(x, &e)), y);
  });
}

void geluGradient(const float* dy, const float* h, float* dh, int64_t n) {
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V x = load(h);
    V e;
    const V phi = normalDistribution(x, &e);
    const V slope = hn::MulAdd(hn::Mul(x, hn::Set(D(), 0.39894228040143268f)), e, phi);
    store(hn::Mul(load(dy), slope), dh);
  });
}

void accumulate(const float* x, float* sum, int64_t n) {
  forVectors(n, [&](auto load, auto store) HWY_ATTR { store(hn::Add(load(sum), load(x)), sum); });
}

void addScaled(const float* a, float scale, const float* b, float* y, int64_t n) {
  const V s = hn::Set(D(), scale);
  forVectors(n, [&](auto load, auto store) HWY_ATTR { store(hn::MulAdd(s, load(b), load(a)), y); });
}

void normalize(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* stats,
               int64_t n) {
  const D d;
  V sum = hn::Zero(d);
  forVectors(n, [&](auto load, auto) HWY_ATTR { sum = hn::Add(sum, load(x)); });
  const float mean = hn::GetLane(hn::SumOfLanes(d, sum)) / static_cast<float>(n);
  // Two passes: the variance from squared differences loses nothing when the mean is large.
  const V center = hn::Set(d, mean);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V squares = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V difference = hn::Sub(hn::LoadU(d, x + i), center);
    squares = hn::MulAdd(difference, difference, squares);
  }
  if (i < n) {
    const auto mask = hn::FirstN(d, static_cast<size_t>(n - i));
    const V difference = hn::IfThenElseZero(mask, hn::Sub(hn::MaskedLoad(mask, d, x + i), center));
    squares = hn::MulAdd(difference, difference, squares);
  }
  const float variance = hn::GetLane(hn::SumOfLanes(d, squares)) / static_cast<float>(n);
  const float rstd = 1.0f / __builtin_sqrtf(variance + epsilon);
  stats[0] = mean;
  stats[1] = rstd;
  const V scale = hn::Set(d, rstd);
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V normal = hn::Mul(hn::Sub(load(x), center), scale);
    store(hn::MulAdd(normal, load(gamma), load(beta)), y);
  });
}

void normalizeGradient(const float* dy, const float* x, const float* stats, const float* gamma, const float* residual,
                       float* dx, float* dgamma, float* dbeta, int64_t n) {
  const D d;
  const V mean = hn::Set(d, stats[0]), rstd = hn::Set(d, stats[1]);
  V sum = hn::Zero(d), product = hn::Zero(d);
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V gradient = load(dy);
    const V normal = hn::Mul(hn::Sub(load(x), mean), rstd);
    const V scaled = hn::Mul(gradient, load(gamma));  // zero in missing lanes
    sum = hn::Add(sum, scaled);
    product = hn::MulAdd(scaled, normal, product);
    store(hn::MulAdd(gradient, normal, load(dgamma)), dgamma);
    store(hn::Add(gradient, load(dbeta)), dbeta);
  });
  const float count = static_cast<float>(n);
  const V meanGradient = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, sum)) / count);
  const V meanProduct = hn::Set(d, hn::GetLane(hn::SumOfLanes(d, product)) / count);
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V normal = hn::Mul(hn::Sub(load(x), mean), rstd);
    const V centered = hn::Sub(hn::NegMulAdd(normal, meanProduct, hn::Mul(load(dy), load(gamma))), meanGradient);
    store(residual == nullptr ? hn::Mul(centered, rstd) : hn::MulAdd(centered, rstd, load(residual)), dx);
  });
}

float exponentials(const float* x, float shift, float* y, int64_t n) {
  const D d;
  const V offset = hn::Set(d, shift);
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V sum = hn::Zero(d);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const V value = hn::Exp(d, hn::Sub(hn::LoadU(d, x + i), offset));
    sum = hn::Add(sum, value);
    hn::StoreU(value, d, y + i);
  }
  if (i < n) {
    const auto mask = hn::FirstN(d, static_cast<size_t>(n - i));
    const V value = hn::IfThenElseZero(mask, hn::Exp(d, hn::Sub(hn::MaskedLoad(mask, d, x + i), offset)));
    sum = hn::Add(sum, value);
    hn::BlendedStore(value, mask, d, y + i);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

float maximum(const float* x, int64_t n) {
  const D d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V best = hn::Set(d, -__builtin_inff());
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) best = hn::Max(best, hn::LoadU(d, x + i));
  float result = hn::GetLane(hn::MaxOfLanes(d, best));
  for (; i < n; i++) result = x[i] > result ? x[i] : result;
  return result;
}

double sumOfSquares(const float* x, int64_t n) {
  constexpr int64_t kBlock = 4096;  // short enough that f32 sums in a block lose nothing that matters
  const D d;
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    V sum = hn::Zero(d);
    forVectors(HWY_MIN(kBlock, n - begin), [&](auto load, auto) HWY_ATTR {
      const V value = load(x + begin);
      sum = hn::MulAdd(value, value, sum);
    });
    total += hn::GetLane(hn::SumOfLanes(d, sum));
  }
  return total;
}

void adamw(const AdamWConstants& constants, const float* gradient, float* weight, float* moment1, float* moment2,
           int64_t n) {
  const D d;
  const V clip = hn::Set(d, constants.clip), beta1 = hn::Set(d, constants.beta1), beta2 = hn::Set(d, constants.beta2);
  const V rest1 = hn::Set(d, 1.0f - constants.beta1), rest2 = hn::Set(d, 1.0f - constants.beta2);
  const V keep = hn::Set(d, 1.0f - constants.learningRate * constants.decay);
  const V step = hn::Set(d, constants.step), correction = hn::Set(d, constants.correction);
  const V epsilon = hn::Set(d, constants.epsilon);
  forVectors(n, [&](auto load, auto store) HWY_ATTR {
    const V g = hn::Mul(load(gradient), clip);
    const V m = hn::MulAdd(beta1, load(moment1), hn::Mul(rest1, g));
    const V v = hn::MulAdd(beta2, load(moment2), hn::Mul(rest2, hn::Mul(g, g)));
    const V denominator = hn::MulAdd(hn::Sqrt(v), correction, epsilon);
    store(m, moment1);
    store(v, moment2);
    store(hn::NegMulAdd(step, hn::Div(m, denominator), hn::Mul(load(weight), keep)), weight);
  });
}

void average(float decay, const float* weight, float* average, int64_t n) {
  const V keep = hn::Set(D(), decay), rest = hn::Set(D(), 1.0f - decay);
  forVectors(n, [&](auto load, auto store)
                    HWY_ATTR { store(hn::MulAdd(keep, load(average), hn::Mul(rest, load(weight))), average); });
}

}  // namespace autoprog::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace autoprog::cpu {

HWY_EXPORT(addBias);
HWY_EXPORT(addBiasGelu);
HWY_EXPORT(gelu);
HWY_EXPORT(geluGradient);
HWY_EXPORT(accumulate);
HWY_EXPORT(addScaled);
HWY_EXPORT(normalize);
HWY_EXPORT(normalizeGradient);
HWY_EXPORT(exponentials);
HWY_EXPORT(maximum);
HWY_EXPORT(sumOfSquares);
HWY_EXPORT(adamw);
HWY_EXPORT(average);

void addBias(float* h, const float* bias, int64_t n) { HWY_DYNAMIC_DISPATCH(addBias)(h, bias, n); }
void addBiasGelu(float* h, const float* bias, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(addBiasGelu)(h, bias, y, n); }
void gelu(const float* h, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(gelu)(h, y, n); }
void geluGradient(const float* dy, const float* h, float* dh, int64_t n) {
  HWY_DYNAMIC_DISPATCH(geluGradient)(dy, h, dh, n);
}
void accumulate(const float* x, float* sum, int64_t n) { HWY_DYNAMIC_DISPATCH(accumulate)(x, sum, n); }
void addScaled(const float* a, float scale, const float* b, float* y, int64_t n) {
  HWY_DYNAMIC_DISPATCH(addScaled)(a, scale, b, y, n);
}
void normalize(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* stats,
               int64_t n) {
  HWY_DYNAMIC_DISPATCH(normalize)(x, gamma, beta, epsilon, y, stats, n);
}
void normalizeGradient(const float* dy, const float* x, const float* stats, const float* gamma, const float* residual,
                       float* dx, float* dgamma, float* dbeta, int64_t n) {
  HWY_DYNAMIC_DISPATCH(normalizeGradient)(dy, x, stats, gamma, residual, dx, dgamma, dbeta, n);
}
float exponentials(const float* x, float shift, float* y, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(exponentials)(x, shift, y, n);
}
float maximum(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(maximum)(x, n); }
double sumOfSquares(const float* x, int64_t n) { return HWY_DYNAMIC_DISPATCH(sumOfSquares)(x, n); }
void adamw(const AdamWConstants& constants, const float* gradient, float* weight, float* moment1, float* moment2,
           int64_t n) {
  HWY_DYNAMIC_DISPATCH(adamw)(constants, gradient, weight, moment1, moment2, n);
}
void average(float decay, const float* weight, float* average, int64_t n) {
  HWY_DYNAMIC_DISPATCH(average)(decay, weight, average, n);
}

}  // namespace autoprog::cpu

#endif  // HWY_ONCE
