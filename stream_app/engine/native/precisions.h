// The three precisions of a product: how a row of float32 becomes its left operand, and how its
// sums become float32 again. The instruction that multiplies is in avx2.cpp and its like: see
// product.h.
#pragma once

#include "model.h"
#include "vector_math.h"

namespace {

// What the elements of a row stand for: x = scale · (element - zero). Used by int8 only.
struct Scale {
  float scale;
  int32_t zero;
};

struct Float32Row {
  using Element = float;
  using Sum = float;
  static constexpr int kGroup = 1;       // elements in 32 bits: see panels.h
  static constexpr int kGeluTerms = 13;  // of the polynomial of `gelu`: 3e-6 off at most
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
  static constexpr int kGeluTerms = 10;  // 6e-5 off, far below the rounding of the elements
  static Scale encode(const float* x, int width, Element* out) {
    for (int i = 0; i < width; ++i) out[i] = to_bfloat16(x[i]);
    return {};
  }
  static void decode(const Sum* sums, Scale, const Linear& linear, int column, float* y) {
    for (int c = 0; c < kPanel; ++c) y[c] = sums[c] + linear.bias[column + c];
  }
};

// Unsigned activations, scaled to the row's own range so that a text's logits do not depend on its
// neighbours; signed weights, scaled per output. An activation is at most `levels`: 255, or 127
// where the instruction would saturate.
template <int levels>
struct Int8Row {
  using Element = uint8_t;
  using Sum = int32_t;
  static constexpr int kGroup = 4;
  static constexpr int kGeluTerms = 10;
  static Scale encode(const float* x, int width, Element* out) {
    float lows[kLanes] = {}, highs[kLanes] = {};  // the range includes 0, which pads the row
    for (int i = 0; i < width; i += kLanes)
      for (int lane = 0; lane < kLanes; ++lane) {
        lows[lane] = smaller(lows[lane], x[i + lane]);
        highs[lane] = larger(highs[lane], x[i + lane]);
      }
    const float low = reduce(lows, smaller), range = reduce(highs, larger) - low;
    const float inverse = range > 1e-30f ? levels / range : 0.0f;
    const int32_t zero = static_cast<int32_t>(-low * inverse + 0.5f);
    const float offset = zero + 0.5f;  // truncation then rounds to nearest
    for (int i = 0; i < width; ++i) {
      const int32_t level = static_cast<int32_t>(x[i] * inverse + offset);
      out[i] = static_cast<uint8_t>(level < 0 ? 0 : level > levels ? levels : level);
    }
    return {range / levels, zero};
  }
  static void decode(const Sum* sums, Scale row, const Linear& linear, int column, float* y) {
    for (int c = 0; c < kPanel; ++c) {
      const int32_t whole = sums[c] - row.zero * linear.weight_sum[column + c];
      y[c] = whole * (row.scale * linear.scale[column + c]) + linear.bias[column + c];
    }
  }
};

}  // namespace
