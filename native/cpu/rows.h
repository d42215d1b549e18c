#pragma once

#include <cstdint>

// SIMD loops over contiguous values, for one thread. Ops call them row by row; widths are arbitrary.
namespace autoprog::cpu {

// y = h = h + bias; with `gelu`, y = GELU(h + bias) in the erf form and h keeps the argument.
void addBias(float* h, const float* bias, int64_t n);
void addBiasGelu(float* h, const float* bias, float* y, int64_t n);

// y = GELU(h), erf form.
void gelu(const float* h, float* y, int64_t n);

// dh = dy * (Phi(h) + h * phi(h)).
void geluGradient(const float* dy, const float* h, float* dh, int64_t n);

// sum += x.
void accumulate(const float* x, float* sum, int64_t n);

// y = a + scale * b.
void addScaled(const float* a, float scale, const float* b, float* y, int64_t n);

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; stats = {mean, 1 / sqrt(variance + epsilon)}.
void normalize(const float* x, const float* gamma, const float* beta, float epsilon, float* y, float* stats, int64_t n);

// dx = gradient of `normalize` + residual (may be null); dgamma += and dbeta += this row's part.
void normalizeGradient(const float* dy, const float* x, const float* stats, const float* gamma, const float* residual,
                       float* dx, float* dgamma, float* dbeta, int64_t n);

// y = exp(x - shift); returns their sum. shift is usually the row's maximum.
float exponentials(const float* x, float shift, float* y, int64_t n);
float maximum(const float* x, int64_t n);

// Sum of squares, accumulated in double over blocks.
double sumOfSquares(const float* x, int64_t n);

// Decoupled weight decay, then Adam (Loshchilov and Hutter, 2019): w -= lr * decay * w; m, v; w -= step * m / (sqrt(v)
// * correction + epsilon), with step = lr / (1 - beta1^t) and correction = 1 / sqrt(1 - beta2^t). The gradient is
// scaled by `clip` first.
struct AdamWConstants {
  float learningRate, decay, beta1, beta2, epsilon, clip, step, correction;
};
void adamw(const AdamWConstants& constants, const float* gradient, float* weight, float* moment1, float* moment2,
           int64_t n);

// average = decay * average + (1 - decay) * weight.
void average(float decay, const float* weight, float* average, int64_t n);

}  // namespace autoprog::cpu
