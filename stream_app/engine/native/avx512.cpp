// AVX-512 with VNNI (and, for bfloat16, AVX512_BF16): Intel since Cascade Lake, AMD since Zen 4.
#include <immintrin.h>

#include "types.h"

namespace {

using Register = __m512i;
constexpr int kRows = 12;  // 24 of the 32 registers hold sums

inline Register load(const void* at) { return _mm512_load_si512(at); }

inline Register broadcast(const void* at) {
  int32_t lane;
  std::memcpy(&lane, at, 4);
  return _mm512_set1_epi32(lane);
}

struct Int8 : Int8Row<255> {
  using Vector = __m512i;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_dpbusd_epi32(sum, x, weight);
  }
};

struct Float32 : Float32Row {
  using Vector = __m512;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(weight), sum);
  }
};

#ifdef __AVX512BF16__
struct Bfloat16 : Bfloat16Row {
  using Vector = __m512;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)weight);
  }
};
#endif

}  // namespace

#include "rows.h"
#include "forward.h"

#ifdef __AVX512BF16__
extern const Kernels avx512_bf16_kernels = {
    "avx512_bf16",
    kBfloat16,
    {kernel<Float32, Float32>(), kernel<Bfloat16, Bfloat16>(), kernel<Int8, Bfloat16>()}};
#else
extern const Kernels avx512_kernels = {
    "avx512_vnni", kFloat32, {kernel<Float32, Float32>(), {}, kernel<Int8, Float32>()}};
#endif
