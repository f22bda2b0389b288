// AVX-512 with VNNI, without bfloat16: Intel since Cascade Lake.
#include "avx512.h"

extern const Kernels avx512_kernels = {
    "avx512_vnni",
    kFloat32,
    {
        kernel<Pass<Float32, Float32, Float32>>(),
        {},
        kernel<Pass<Int8, Float32, Float32>>(),
    },
};
