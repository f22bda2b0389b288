// The three precisions a product runs in: how a row of float32 becomes its left operand, and how
// its sums become float32 again. What one instruction does with them is in avx512.cpp and the like.
#pragma once

#include "math.h"
#include "model.h"

namespace {

// What a row's numbers are worth: x = scale · (element - zero). Only int8 has use for it.
struct Scale {
  float scale;
  int32_t zero;
};

struct Float32Row {
  using Element = float;
  using Sum = float;
  static constexpr int kGroup = 1;
  static constexpr int kGelu = 13;  // terms of its polynomial: 3e-6 off at most
  static Scale encode(const float* x, int width, Element* out) {
    std::memcpy(out, x, width * sizeof(float));
    return {};
  }
  static void decode(const Sum* sums, Scale, const Linear& linear, int column, float* y) {
    for (int c = 0; c < kPanel; ++c) y[c] = sums[c] + linear.bias[column + c];
  }
};

struct Bfloat16Row {
  using Element = uint16_t;
  using Sum = float;
  static constexpr int kGroup = 2;
  static constexpr int kGelu = 10;  // 6e-5 off, far below the rounding of the elements
  static Scale encode(const float* x, int width, Element* out) {
    for (int i = 0; i < width; ++i) out[i] = to_bfloat16(x[i]);
    return {};
  }
  static void decode(const Sum* sums, Scale, const Linear& linear, int column, float* y) {
    for (int c = 0; c < kPanel; ++c) y[c] = sums[c] + linear.bias[column + c];
  }
};

// Unsigned activations, scaled to the row's own range so that a text's logits do not depend on its
// neighbours; signed weights, scaled per output. `levels` is 255, or 127 where the instruction
// would saturate.
template <int levels>
struct Int8Row {
  using Element = uint8_t;
  using Sum = int32_t;
  static constexpr int kGroup = 4;
  static constexpr int kGelu = 10;
  static Scale encode(const float* x, int width, Element* out) {
    float low[kLanes] = {}, high[kLanes] = {};  // the range includes 0, what padding holds
    for (int i = 0; i < width; i += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) {
        const float value = x[i + lane];
        low[lane] = value < low[lane] ? value : low[lane];
        high[lane] = value > high[lane] ? value : high[lane];
      }
    for (int half = kLanes / 2; half; half /= 2)
      for (int lane = 0; lane < half; ++lane) {
        low[lane] = low[lane + half] < low[lane] ? low[lane + half] : low[lane];
        high[lane] = high[lane + half] > high[lane] ? high[lane + half] : high[lane];
      }
    const float range = high[0] - low[0];
    const float inverse = range > 1e-30f ? levels / range : 0.0f;
    const int32_t zero = static_cast<int32_t>(-low[0] * inverse + 0.5f);
    const float offset = zero + 0.5f;  // truncation then rounds to nearest
    for (int i = 0; i < width; ++i) {
      const int32_t level = static_cast<int32_t>(x[i] * inverse + offset);
      out[i] = static_cast<uint8_t>(level < 0 ? 0 : level > levels ? levels : level);
    }
    return {range / levels, zero};
  }
  static void decode(const Sum* sums, Scale row, const Linear& linear, int column, float* y) {
    for (int c = 0; c < kPanel; ++c) {
      const int32_t whole = sums[c] - row.zero * linear.total[column + c];
      y[c] = whole * (row.scale * linear.scale[column + c]) + linear.bias[column + c];
    }
  }
};

}  // namespace
