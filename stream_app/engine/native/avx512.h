// What the AVX-512 kernels share, with and without AMX: a register, and float32 in it.
#pragma once

#include <immintrin.h>

#include "types.h"

namespace {

using Register = __m512i;
template <class T>
constexpr int kRows = 12;  // 24 of the 32 registers hold sums

inline Register load(const void* at) { return _mm512_load_si512(at); }

inline Register broadcast(const void* at) {
  int32_t lane;
  std::memcpy(&lane, at, 4);
  return _mm512_set1_epi32(lane);
}

struct Float32 : Float32Row {
  using Vector = __m512;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(weight), sum);
  }
};

}  // namespace

#include "rows.h"
