// A few rows times one panel of weights, in registers. Included by an instruction set's file, which
// says what a register is (`Register`, `load`, `broadcast`) and how many rows fill them (`kRows`).
#pragma once

#include "types.h"

namespace {

// sums[row] = x[row] · panel, [rows, depth] · [depth, 32]. Two registers of columns at a time: with
// kRows rows their running sums leave room for two of weights and one of x, and there are enough
// sums to hide the latency of a product on every port.
template <class T, int rows>
inline void panel_rows(const typename T::Element* x, int stride, const void* panel, int depth,
                       typename T::Sum (*sums)[kPanel]) {
  constexpr int kColumns = 2 * sizeof(Register) / 4, kStep = kPanel * 4, kUnroll = 4;
  for (int column = 0; column < kPanel; column += kColumns) {
    typename T::Vector sum[rows][2] = {};
    const char* weights = static_cast<const char*>(panel) + column * 4;
    for (int k = 0; k < depth; k += kUnroll * T::kGroup) {
#pragma GCC unroll 4
      for (int step = 0; step < kUnroll; ++step) {
        const Register left = load(weights);
        const Register right = load(weights + sizeof(Register));
        weights += kStep;
#pragma GCC unroll 16
        for (int row = 0; row < rows; ++row) {
          const Register lane =
              broadcast(x + row * static_cast<long>(stride) + k + step * T::kGroup);
          sum[row][0] = T::dot(sum[row][0], lane, left);
          sum[row][1] = T::dot(sum[row][1], lane, right);
        }
      }
    }
#pragma GCC unroll 16
    for (int row = 0; row < rows; ++row) std::memcpy(sums[row] + column, sum[row], sizeof sum[row]);
  }
}

// The same for a number of rows, at most kRows, that is known only now.
template <class T, int rows = kRows<T>>
void product(const typename T::Element* x, int stride, int count, const void* panel, int depth,
             typename T::Sum (*sums)[kPanel]) {
  if constexpr (rows > 1)
    if (count < rows) return product<T, rows - 1>(x, stride, count, panel, depth, sums);
  panel_rows<T, rows>(x, stride, panel, depth, sums);
}

}  // namespace
