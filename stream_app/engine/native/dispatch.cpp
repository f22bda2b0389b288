// Which kernels this CPU can run, and the one function that Python finds by name.
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "model.h"

extern const Kernels amx_kernels, avx512_bf16_kernels, avx512_kernels, avx2_kernels;

namespace {

const Kernels* const kAll[] = {&amx_kernels, &avx512_bf16_kernels, &avx512_kernels, &avx2_kernels};

// Whether the CPU has tiles and Linux lets this process use them: they are 8 KiB more to save at
// every switch, which a process has to ask for.
bool tiles() {
  constexpr unsigned kBfloat16Bit = 1u << 22, kTileBit = 1u << 24, kInt8Bit = 1u << 25;
  constexpr unsigned kNeeded = kBfloat16Bit | kTileBit | kInt8Bit;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kNeeded) != kNeeded) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool runs(const Kernels* kernels) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
  if (kernels == &avx2_kernels) return true;
  const bool vnni = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  if (kernels == &avx512_kernels) return vnni;
  if (!vnni || !__builtin_cpu_supports("avx512bf16")) return false;
  return kernels == &avx512_bf16_kernels || tiles();
}

}  // namespace

// The kernels this CPU runs, best first; null behind the last.
extern "C" __attribute__((visibility("default"))) const Kernels* winnow_kernels(int32_t index) {
  for (const Kernels* kernels : kAll)
    if (runs(kernels) && index-- == 0) return kernels;
  return nullptr;
}
