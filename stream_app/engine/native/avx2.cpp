// AVX2 with FMA: Intel since Haswell, AMD since Zen.
#include <immintrin.h>

#include "types.h"

namespace {

using Register = __m256i;
template <class T>
constexpr int kRows = 6;  // 12 of the 16 registers hold sums

inline Register load(const void* at) { return _mm256_load_si256(static_cast<const Register*>(at)); }

inline Register broadcast(const void* at) {
  int32_t lane;
  std::memcpy(&lane, at, 4);
  return _mm256_set1_epi32(lane);
}

// 127 levels, not 255: the instruction adds two products in 16 bits, and 2 · 127 · 127 still fits.
struct Int8 : Int8Row<127> {
  using Vector = __m256i;
  static Vector dot(Vector sum, Register x, Register weight) {
    const __m256i pairs = _mm256_maddubs_epi16(x, weight);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
};

struct Float32 : Float32Row {
  using Vector = __m256;
  static Vector dot(Vector sum, Register x, Register weight) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(x), _mm256_castsi256_ps(weight), sum);
  }
};

}  // namespace

#include "rows.h"
#include "forward.h"

extern const Kernels avx2_kernels = {
    "avx2", kFloat32, {kernel<Float32, Float32>(), {}, kernel<Int8, Float32>()}};
