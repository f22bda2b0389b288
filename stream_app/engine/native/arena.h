// The memory of one call, handed out piece by piece.
#pragma once

#include <cstdint>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace {

// Hands out the workspace. Without memory it only counts what is needed.
struct Arena {
  char* memory;
  int64_t used = 0;
  template <class Number>
  Number* take(int64_t count) {
    Number* at = memory ? reinterpret_cast<Number*>(memory + used) : nullptr;
    const int64_t end = used + count * static_cast<int64_t>(sizeof(Number));
    used = (end + 63) / 64 * 64;
#ifdef __SANITIZE_ADDRESS__  // nothing may touch what lies between two arrays
    used += 64;
    if (memory) __asan_poison_memory_region(memory + end, used - end);
#endif
    return at;
  }
};

}  // namespace
