// AVX-512 with VNNI (and, for bfloat16, AVX512_BF16): Intel since Cascade Lake, AMD since Zen 4.
#include "avx512.h"

namespace {

struct Int8 : Int8Row<255> {
  using Vector = __m512i;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_dpbusd_epi32(sum, x, weight);
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
