// What happens between two products, as plain loops that the compiler turns into vector code.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

constexpr int kLanes = 64;   // every row is a multiple of this many numbers
constexpr int kPanel = 32;   // columns of a weight that are multiplied at once

inline int round_up(int value, int step) { return (value + step - 1) / step * step; }
inline int least(int a, int b) { return a < b ? a : b; }

// Sum of f(i) over a row. 64 running sums, so that additions do not wait for one another.
template <class F>
inline float sum(int width, F f) {
  float part[kLanes] = {};
  for (int i = 0; i < width; i += kLanes)
    for (int lane = 0; lane < kLanes; ++lane) part[lane] += f(i + lane);
  for (int half = kLanes / 2; half; half /= 2)
    for (int lane = 0; lane < half; ++lane) part[lane] += part[lane + half];
  return part[0];
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
  std::memcpy(&bits, &y, 4);
  std::memcpy(&exponent, &shifted, 4);
  bits += exponent << 23;
  std::memcpy(&y, &bits, 4);
  return y;
}

// gelu(x) = x·(1/2 + u·P(t)) with u = x clamped to ±limit and t = 2u²/limit² - 1. compiled.py fits P
// to the exact function or to its tanh form; table = [limit, 2/limit², P's coefficients, highest
// first].
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

// LayerNorm of a row in place; `size` of its `width` numbers count, the others are zero and
// become zero again: so are their weight and bias.
inline void normalize(float* x, int width, int size, float eps, const float* weight,
                      const float* bias) {
  const float mean = sum(width, [&](int i) { return x[i]; }) / size;
  for (int i = size; i < width; ++i) x[i] = mean;  // adds nothing to the variance
  const float squares = sum(width, [&](int i) { return (x[i] - mean) * (x[i] - mean); });
  const float scale = 1.0f / __builtin_sqrtf(squares / size + eps);
  for (int i = 0; i < width; ++i) x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

inline uint16_t to_bfloat16(float x) {  // to nearest, ties to even
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float tanh_of(float x) {
  const float e = exp_negative(-2.0f * __builtin_fabsf(x));
  return __builtin_copysignf((1.0f - e) / (1.0f + e), x);
}

}  // namespace
