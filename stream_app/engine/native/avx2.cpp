// AVX2 with FMA: Intel since Haswell, AMD since Zen.
#include <immintrin.h>

#include "forward.h"

namespace {

struct Avx2 {
  using Register = __m256i;
  static constexpr int kRows = 6;  // 12 of the 16 registers hold sums
  static Register load(const void* at) {
    return _mm256_load_si256(static_cast<const Register*>(at));
  }
  static Register broadcast(const void* at) {
    int32_t group;
    std::memcpy(&group, at, sizeof group);
    return _mm256_set1_epi32(group);
  }
};

struct Float32Dot : Avx2 {
  using Vector = __m256;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(weight), sum);
  }
};

struct Int8Dot : Avx2 {
  using Vector = __m256i;
  static Vector dot(Vector sum, Register x, Register weight) {
    const __m256i pairs = _mm256_maddubs_epi16(x, weight);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

using Float32 = InRegisters<Float32Row, Float32Dot>;
// 127 levels, not 255: `pairs` adds two products in 16 bits, and 2 · 127 · 127 still fits
using Int8 = InRegisters<Int8Row<127>, Int8Dot>;

}  // namespace

extern const Kernels avx2_kernels = {
    "avx2",
    kFloat32,
    {
        kernel<Pass<Float32, Float32, Float32>>(),
        {},
        kernel<Pass<Int8, Float32, Float32>>(),
    },
};
