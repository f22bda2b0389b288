// AVX-512's registers as pairs of AVX2's, for a CPU that has no others: included in front of
// avx512.cpp, avx512_bf16.cpp and amx.cpp by test_native.py, which compiles those for AVX2 then.
//
// After "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2: VMOVDQA64,
// VPBROADCASTD, VFMADD231PS, VPDPBUSD, VDPBF16PS. What would be a fault there ends the process
// here.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdlib>

#define ALWAYS [[gnu::always_inline, maybe_unused]] inline

namespace {
namespace emulated {

struct Integers {
  __m256i half[2];
};

struct Floats {
  __m256 half[2];
};

ALWAYS Integers load(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 64) std::abort();
  const auto* at = static_cast<const __m256i*>(from);
  return {{_mm256_load_si256(at), _mm256_load_si256(at + 1)}};
}

ALWAYS Integers broadcast(int32_t dword) {
  return {{_mm256_set1_epi32(dword), _mm256_set1_epi32(dword)}};
}

ALWAYS Floats floats(Integers x) {
  return {{_mm256_castsi256_ps(x.half[0]), _mm256_castsi256_ps(x.half[1])}};
}

ALWAYS Floats fmadd(Floats x, Floats y, Floats sum) {
  return {{_mm256_fmadd_ps(x.half[0], y.half[0], sum.half[0]),
           _mm256_fmadd_ps(x.half[1], y.half[1], sum.half[1])}};
}

// Unsigned bytes of x, signed ones of y; in 16 bits, since AVX2's own instruction saturates.
ALWAYS __m256i dpbusd_half(__m256i sum, __m256i x, __m256i y) {
  const __m256i x_even = _mm256_and_si256(x, _mm256_set1_epi16(0xff));
  const __m256i y_even = _mm256_srai_epi16(_mm256_slli_epi16(y, 8), 8);
  const __m256i even = _mm256_madd_epi16(x_even, y_even);
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(y, 8));
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}

ALWAYS Integers dpbusd(Integers sum, Integers x, Integers y) {
  return {{dpbusd_half(sum.half[0], x.half[0], y.half[0]),
           dpbusd_half(sum.half[1], x.half[1], y.half[1])}};
}

// Numbers too small for a full precision are zero to VDPBF16PS.
ALWAYS __m256 flushed(__m256 x) {
  const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
  return _mm256_andnot_ps(_mm256_cmp_ps(size, _mm256_set1_ps(0x1p-126f), _CMP_LT_OQ), x);
}

ALWAYS __m256 odd(__m256i x) {
  return flushed(_mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(~0xffff))));
}

ALWAYS __m256 even(__m256i x) { return flushed(_mm256_castsi256_ps(_mm256_slli_epi32(x, 16))); }

ALWAYS __m256 dpbf16_half(__m256 sum, __m256i x, __m256i y) {
  sum = flushed(_mm256_fmadd_ps(odd(x), odd(y), flushed(sum)));
  return flushed(_mm256_fmadd_ps(even(x), even(y), sum));
}

ALWAYS Floats dpbf16(Floats sum, Integers x, Integers y) {
  return {{dpbf16_half(sum.half[0], x.half[0], y.half[0]),
           dpbf16_half(sum.half[1], x.half[1], y.half[1])}};
}

}  // namespace emulated
}  // namespace

#undef ALWAYS
#undef _mm512_load_si512
#undef _mm512_set1_epi32
#undef _mm512_castsi512_ps
#undef _mm512_fmadd_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_dpbf16_ps
#define _mm512_load_si512 emulated::load
#define _mm512_set1_epi32 emulated::broadcast
#define _mm512_castsi512_ps emulated::floats
#define _mm512_fmadd_ps emulated::fmadd
#define _mm512_dpbusd_epi32 emulated::dpbusd
#define _mm512_dpbf16_ps emulated::dpbf16
#define __m512i emulated::Integers
#define __m512bh emulated::Integers
#define __m512 emulated::Floats
