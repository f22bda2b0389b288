// Functions of a number and of a row, as plain loops that the compiler turns into vector code.
#pragma once

#include <cstdint>
#include <cstring>

#include "panels.h"

namespace {

inline float add(float a, float b) { return a + b; }
inline float smaller(float a, float b) { return b < a ? b : a; }
inline float larger(float a, float b) { return b > a ? b : a; }

// One number out of `lanes`, a power of two: halves are combined until one is left.
template <int lanes, class F>
inline float reduce(float (&values)[lanes], F combine) {
  for (int half = lanes / 2; half; half /= 2)
    for (int lane = 0; lane < half; ++lane)
      values[lane] = combine(values[lane], values[lane + half]);
  return values[0];
}

// Sum of f(i) over a row. 64 running sums, so that additions do not wait for one another.
template <class F>
inline float sum(int width, F f) {
  float sums[kLanes] = {};
  for (int i = 0; i < width; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) sums[lane] += f(i + lane);
  return reduce(sums, add);
}

// exp(x) for x <= 0: 2^n · 2^f with a polynomial for 2^f on [-1/2, 1/2], to 2e-7 (relative).
inline float exp_negative(float x) {
  const float scaled = (x < -87.0f ? -87.0f : x) * 1.44269504f;
  const float shifted = scaled + 12582912.0f;  // 1.5 · 2^23: the sum's low bits are round(scaled)
  const float f = scaled - (shifted - 12582912.0f);
  float y = 1.5403530e-4f;
  y = y * f + 1.3333558e-3f;
  y = y * f + 9.6181291e-3f;
  y = y * f + 5.5504109e-2f;
  y = y * f + 2.4022651e-1f;
  y = y * f + 6.9314718e-1f;
  y = y * f + 1.0f;
  uint32_t bits, exponent;
  std::memcpy(&bits, &y, sizeof y);
  std::memcpy(&exponent, &shifted, sizeof shifted);
  bits += exponent << 23;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

// scores -> exp(score - the largest) in place, for `length` scores; what is behind them, up to
// `padded`, becomes zero but for 1e-38. Returns their sum, which the caller divides by.
inline float unscaled_softmax(float* scores, int length, int padded) {
  for (int i = length; i < padded; ++i) scores[i] = -1e30f;
  float highs[kPanel], sums[kPanel] = {};
  std::memcpy(highs, scores, sizeof highs);
  for (int i = kPanel; i < padded; i += kPanel)
    for (int lane = 0; lane < kPanel; ++lane) highs[lane] = larger(highs[lane], scores[i + lane]);
  const float largest = reduce(highs, larger);
  for (int i = 0; i < padded; i += kPanel)
    for (int lane = 0; lane < kPanel; ++lane) {
      scores[i + lane] = exp_negative(scores[i + lane] - largest);
      sums[lane] += scores[i + lane];
    }
  return reduce(sums, add);
}

// gelu(x) = x·(1/2 + u·P(t)) with u = x clamped to ±limit and t = 2u²/limit² - 1. `gelu_table` in
// compiled_weights.py fits P to the exact function or to its tanh form; table = [limit, 2/limit²,
// P's coefficients, highest first].
template <int terms>
inline float gelu(float x, const float* table) {
  const float limit = table[0];
  const float u = x < -limit ? -limit : x > limit ? limit : x;
  const float t = u * u * table[1] - 1.0f;
  float y = table[2];
#pragma GCC unroll 16
  for (int i = 1; i < terms; ++i) y = y * t + table[2 + i];
  return x * (0.5f + u * y);
}

// LayerNorm of a row in place. Its first `size` of `width` numbers count; the others are zero
// before and after, as their weight and bias are.
inline void layer_norm(float* x, int width, int size, float eps, const float* weight,
                       const float* bias) {
  const float mean = sum(width, [&](int i) { return x[i]; }) / size;
  for (int i = size; i < width; ++i) x[i] = mean;  // adds nothing to the variance
  const float squares = sum(width, [&](int i) { return (x[i] - mean) * (x[i] - mean); });
  const float scale = 1.0f / __builtin_sqrtf(squares / size + eps);
  for (int i = 0; i < width; ++i) x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

inline uint16_t to_bfloat16(float x) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float tanh_of(float x) {
  const float e = exp_negative(-2.0f * __builtin_fabsf(x));
  return __builtin_copysignf((1.0f - e) / (1.0f + e), x);
}

}  // namespace
