// AVX-512 with VNNI and bfloat16: Intel since Cooper Lake, AMD since Zen 4.
#include "avx512.h"

namespace {

struct Bfloat16Dot : Avx512 {
  using Vector = __m512;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)weight);
  }
};

using Bfloat16 = InRegisters<Bfloat16Row, Bfloat16Dot>;

}  // namespace

extern const Kernels avx512_bf16_kernels = {
    "avx512_bf16",
    kBfloat16,
    {
        kernel<Pass<Float32, Float32, Float32>>(),
        kernel<Pass<Bfloat16, Bfloat16, Float32>>(),
        kernel<Pass<Int8, Bfloat16, Float32>>(),
    },
};
