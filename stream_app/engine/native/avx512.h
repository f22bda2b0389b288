// float32 and int8 in the registers of AVX-512 with VNNI: for avx512.cpp, avx512_bf16.cpp and
// amx.cpp.
#pragma once

#include <immintrin.h>

#include "forward.h"

namespace {

struct Avx512 {
  using Register = __m512i;
  static constexpr int kRows = 12;  // 24 of the 32 registers hold sums
  static Register load(const void* at) { return _mm512_load_si512(at); }
  static Register broadcast(const void* at) {
    int32_t group;
    std::memcpy(&group, at, sizeof group);
    return _mm512_set1_epi32(group);
  }
};

struct Float32Dot : Avx512 {
  using Vector = __m512;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(weight), sum);
  }
};

struct Int8Dot : Avx512 {
  using Vector = __m512i;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_dpbusd_epi32(sum, x, weight);
  }
};

using Float32 = InRegisters<Float32Row, Float32Dot>;
using Int8 = InRegisters<Int8Row<255>, Int8Dot>;

}  // namespace
