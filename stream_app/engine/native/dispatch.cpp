// Which kernels this CPU can run, and the one function that Python finds by name.
#include "model.h"

extern const Kernels avx512_bf16_kernels, avx512_kernels, avx2_kernels;

namespace {

const Kernels* const kAll[] = {&avx512_bf16_kernels, &avx512_kernels, &avx2_kernels};

bool runs(const Kernels* kernels) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
  if (kernels == &avx2_kernels) return true;
  const bool vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  if (kernels == &avx512_kernels) return vnni;
  return vnni && __builtin_cpu_supports("avx512bf16");
}

}  // namespace

// The kernels this CPU runs, best first; null behind the last.
extern "C" __attribute__((visibility("default"))) const Kernels* winnow_kernels(int32_t index) {
  for (const Kernels* kernels : kAll)
    if (runs(kernels) && index-- == 0) return kernels;
  return nullptr;
}
