// How the right operand of a product lies in memory: in panels of 32 columns.
//
// A column is one output of a weight [out, in], one key of a text, or one element of its values;
// its depth is what a row of the left operand is multiplied with. A panel's row has 32 bits of each
// column, which is what one instruction multiplies and adds up: a group of 1 float32, 2 bfloat16 or
// 4 int8. With int8, where d5 is the number at depth 5 of its column:
//
//            column 0      column 1             column 31
//   row 0    d0 d1 d2 d3   d0 d1 d2 d3   ...    d0 d1 d2 d3
//   row 1    d4 d5 d6 d7   d4 d5 d6 d7   ...    d4 d5 d6 d7
//   ...
//   the next panel, of columns 32 to 63
//
// As an array: [columns / 32][depth / group][32][group]. Weights are laid out when a model is
// loaded, by `panels` in compiled_weights.py; keys and values by each call, here.
#pragma once

#include <cstdint>

namespace {

constexpr int kPanel = 32;                           // columns
constexpr int kPanelRow = kPanel * sizeof(int32_t);  // bytes of a panel's row, in any precision
constexpr int kLanes = 64;  // rows of float32 are padded to a multiple of this many numbers

inline int round_up(int value, int step) { return (value + step - 1) / step * step; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

// Keys [length, size], `stride` numbers apart. A key is a column, and a group is copied at once.
template <class T>
void pack_keys(const typename T::Element* keys, int stride, int length, int size,
               typename T::Element* panels) {
  using Group [[gnu::may_alias]] = uint32_t;
  const int groups = size / T::kGroup;
  for (int k = 0; k < round_up(length, kPanel); ++k) {
    auto* out = reinterpret_cast<Group*>(panels + k / kPanel * kPanel * size) + k % kPanel;
    const auto* row = reinterpret_cast<const Group*>(keys + int64_t{k} * stride);
    for (int i = 0; i < groups; ++i) out[i * kPanel] = k < length ? row[i] : 0;
  }
}

// Values [length, size], `stride` numbers apart. Their depth is the token, in `padded` steps.
template <class T>
void pack_values(const typename T::Element* values, int stride, int length, int size,
                 typename T::Element* panels) {
  const int padded = round_up(length, kPanel);
  for (int column = 0; column < size; column += kPanel)
    for (int k = 0; k < padded; ++k) {
      auto* out = panels + column * padded + k / T::kGroup * kPanel * T::kGroup + k % T::kGroup;
      const auto* row = values + int64_t{k} * stride + column;
      for (int c = 0; c < kPanel; ++c) out[c * T::kGroup] = k < length ? row[c] : 0;
    }
}

}  // namespace
