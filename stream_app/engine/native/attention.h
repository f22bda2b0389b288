// softmax(query · keyᵀ) · value: one text and one head at a time, in the precision `T`.
#pragma once

#include "arena.h"
#include "product.h"

namespace {

template <class T>
struct Attention {
  using Element = typename T::Element;

  const int heads, size, width;  // how many heads, of which size; together
  Element* qkv;                  // [tokens, 3 · width]: query, key and value of all heads
  float* context;                // [tokens, width]: the result
  Element *keys, *values;        // panels of one head of one text
  float* scores;                 // [kRows, padded length]
  Element* weights;              // [kRows, padded length]

  Attention(const Model& model, int tokens, Arena& arena)
      : heads(model.heads), size(model.head_size), width(heads * size) {
    const int longest = round_up(tokens, kPanel);
    // a product may read kRows rows, even if fewer are asked for: see amx.cpp
    qkv = arena.take<Element>(int64_t{tokens + T::kRows} * 3 * width);
    context = arena.take<float>(int64_t{tokens} * width);
    keys = arena.take<Element>(int64_t{longest} * size);
    values = arena.take<Element>(int64_t{longest} * size);
    scores = arena.take<float>(int64_t{T::kRows} * longest);
    weights = arena.take<Element>(int64_t{T::kRows} * longest);
  }

  // The context of a text's first `queries` tokens.
  void attend(int start, int length, int queries) {
    const int stride = 3 * width, padded = round_up(length, kPanel);
    for (int head = 0; head < heads; ++head) {
      const Element* query = qkv + int64_t{start} * stride + head * size;
      pack_keys<T>(query + width, stride, length, size, keys);
      pack_values<T>(query + 2 * width, stride, length, size, values);
      for (int begin = 0; begin < queries; begin += T::kRows)
        attend_rows(query + int64_t{begin} * stride, min(T::kRows, queries - begin), length, padded,
                    context + int64_t{start + begin} * width + head * size);
    }
  }

  void attend_rows(const Element* query, int rows, int length, int padded, float* out) {
    alignas(64) float sums[T::kRows][kPanel];
    float total[T::kRows];
    for (int column = 0; column < padded; column += kPanel) {
      T::product(query, 3 * width, rows, keys + column * size, size, sums);
      for (int row = 0; row < rows; ++row)
        std::memcpy(scores + row * padded + column, sums[row], sizeof sums[row]);
    }
    for (int row = 0; row < rows; ++row) {
      total[row] = unscaled_softmax(scores + row * padded, length, padded);
      T::encode(scores + row * padded, padded, weights + row * padded);
    }
    for (int column = 0; column < size; column += kPanel) {
      T::product(weights, padded, rows, values + column * padded, padded, sums);
      for (int row = 0; row < rows; ++row)
        for (int c = 0; c < kPanel; ++c)
          out[int64_t{row} * width + column + c] = sums[row][c] / total[row];
    }
  }
};

}  // namespace
