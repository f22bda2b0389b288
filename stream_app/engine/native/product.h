// Rows times a weight: panel by panel, in the registers of the instruction set.
//
// A precision `T` of an instruction set, which all that follows takes as a parameter, is a row of
// precisions.h and two members more:
//
//   kRows     how many rows a product takes at most
//   product   sums[row] = x[row] · panel for `count` of them, [count, depth] · [depth, 32]
#pragma once

#include "precisions.h"

namespace {

// A precision whose product runs in vector registers. `Dot` has the registers: `Register`, `load`
// (of a whole one), `broadcast` (of one group to all columns) and kRows, whose sums leave room for
// two registers of weights and one of x; and `dot`, which adds to sums in a `Vector`.
template <class Row, class Dot>
struct InRegisters : Row {
  using typename Row::Element;
  using typename Row::Sum;
  using Register = typename Dot::Register;
  static constexpr int kRows = Dot::kRows;

  static void product(const Element* x, int stride, int count, const void* panel, int depth,
                      Sum (*sums)[kPanel]) {
    multiply_up_to<kRows>(x, stride, count, panel, depth, sums);
  }

  template <int rows>
  static void multiply_up_to(const Element* x, int stride, int count, const void* panel, int depth,
                             Sum (*sums)[kPanel]) {
    if constexpr (rows > 1)
      if (count < rows) return multiply_up_to<rows - 1>(x, stride, count, panel, depth, sums);
    multiply_rows<rows>(x, stride, panel, depth, sums);
  }

  // Two registers of columns at a time, so that there are enough sums to hide the latency of a
  // product on every port. Not inlined, so that all registers are free for them.
  template <int rows>
  [[gnu::noinline]] static void multiply_rows(const Element* x, int stride, const void* panel,
                                              int depth, Sum (*sums)[kPanel]) {
    constexpr int kColumns = 2 * sizeof(Register) / sizeof(Sum), kUnroll = 4;
    for (int column = 0; column < kPanel; column += kColumns) {
      typename Dot::Vector sum[rows][2] = {};
      const char* weights = static_cast<const char*>(panel) + column * sizeof(Sum);
      for (int k = 0; k < depth; k += kUnroll * Row::kGroup) {
#pragma GCC unroll 4
        for (int step = 0; step < kUnroll; ++step) {
          const Register left = Dot::load(weights);
          const Register right = Dot::load(weights + sizeof(Register));
          weights += kPanelRow;
#pragma GCC unroll 16
          for (int row = 0; row < rows; ++row) {
            const Register group =
                Dot::broadcast(x + row * static_cast<long>(stride) + k + step * Row::kGroup);
            sum[row][0] = Dot::dot(sum[row][0], group, left);
            sum[row][1] = Dot::dot(sum[row][1], group, right);
          }
        }
      }
#pragma GCC unroll 16
      for (int row = 0; row < rows; ++row)
        std::memcpy(sums[row] + column, sum[row], sizeof sum[row]);
    }
  }
};

// rows · weight, outputs `begin` to `end`. sink(row, column, y) takes the results of a panel.
template <class T, class Sink>
void multiply(const typename T::Element* left, const Scale* scales, int rows, const Linear& linear,
              int begin, int end, Sink sink) {
  const char* panels = static_cast<const char*>(linear.panels);
  const int64_t bytes = int64_t{linear.in} * kPanel * sizeof(typename T::Element);
  alignas(64) typename T::Sum sums[T::kRows][kPanel];
  alignas(64) float y[kPanel];
  for (int column = begin; column < end; column += kPanel)
    for (int row = 0; row < rows; row += T::kRows) {
      const int count = min(T::kRows, rows - row);
      T::product(left + int64_t{row} * linear.in, linear.in, count,
                 panels + column / kPanel * bytes, linear.in, sums);
      for (int r = 0; r < count; ++r) {
        T::decode(sums[r], scales[row + r], linear, column, y);
        sink(row + r, column, y);
      }
    }
}

}  // namespace
