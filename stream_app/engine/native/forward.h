// Token ids -> logits, top to bottom. Texts lie one after another, without padding: everything but
// attention works on single rows, so a text's logits do not depend on its neighbours.
#pragma once

#include "attention.h"
#include "classify.h"

namespace {

// One call. `LayerPrecision` is the precision of the layers' products, `AttentionPrecision` that of
// attention and of the mapping; exits and classifier are in the instruction set's `Float32`. See
// product.h.
template <class LayerPrecision, class AttentionPrecision, class Float32>
struct Pass {
  // Rows that go through a layer together: enough to use each panel of weights more than once
  // while it is in the cache, few enough to stay in the cache themselves.
  static constexpr int kBlock = 4 * LayerPrecision::kRows;
  static_assert(kBlock >= Classifiers<Float32>::kScratchRows, "it is a block of rows");

  const Model& model;
  const int embedding, hidden, intermediate;  // padded
  Texts texts;
  Attention<AttentionPrecision> attention;
  float* scratch;                             // [kBlock, the widest row], also of the classifiers
  typename LayerPrecision::Element* encoded;  // [kBlock, the widest row]
  int32_t* all_rows;                          // the row of every token

  Pass(const Model& m, int tokens, int count, Arena& arena)
      : model(m),
        embedding(m.mapping.in),
        hidden(m.mapping.out),
        intermediate(m.layers[0]->up.out),
        texts(hidden, tokens, count, arena),
        attention(m, tokens, arena) {
    const int widest = max(max(embedding, hidden), max(intermediate, attention.width));
    scratch = arena.take<float>(int64_t{kBlock} * widest);
    encoded = arena.take<typename LayerPrecision::Element>(int64_t{kBlock} * widest);
    all_rows = arena.take<int32_t>(tokens);
  }

  void run(const int32_t* ids, const int32_t* lengths, int count, float* logits) {
    for (int text = 0; text < count; ++text) {
      embed(ids + texts.tokens, lengths[text], texts.tokens);
      texts.append(lengths[text], text);
    }
    for (int row = 0; row < texts.tokens; ++row) all_rows[row] = row;
    Classifiers<Float32> classifiers{model, texts, scratch};
    for (int step = 0; step < model.layer_count; ++step) {
      const bool last = step + 1 == model.layer_count;
      run_layer(*model.layers[step], last && !model.mean);
      if (model.exits && !last) classifiers.take_exit(model.exits[step], logits);
    }
    classifiers.classify(logits);
  }

  void run_layer(const Layer& layer, bool only_cls) {  // where only [CLS] is read behind the last layer
    const int32_t* queries = only_cls ? texts.first : all_rows;
    const int rows = only_cls ? texts.count : texts.tokens;
    project(layer, queries, rows, 0, attention.width);
    project(layer, all_rows, texts.tokens, attention.width, 3 * attention.width);
    for (int text = 0; text < texts.count; ++text) {
      const int length = texts.lengths[text];
      attention.attend(texts.first[text], length, only_cls ? 1 : length);
    }
    feed_forward(layer, queries, rows);
  }

  float* x(int64_t row) { return texts.x + row * hidden; }

  // Embeddings of word, position and token type, normalized and mapped to the hidden size.
  void embed(const int32_t* ids, int length, int start) {
    Scale scales[AttentionPrecision::kRows];
    auto* left = reinterpret_cast<typename AttentionPrecision::Element*>(encoded);
    for (int begin = 0; begin < length; begin += AttentionPrecision::kRows) {
      const int rows = min(AttentionPrecision::kRows, length - begin);
      for (int row = 0; row < rows; ++row) {
        const float* word = model.words + int64_t{ids[begin + row]} * embedding;
        const float* position = model.positions + int64_t{begin + row} * embedding;
        for (int i = 0; i < embedding; ++i) scratch[i] = word[i] + position[i];
        layer_norm(scratch, embedding, model.embedding, model.eps, model.embedding_norm.weight,
                   model.embedding_norm.bias);
        scales[row] = AttentionPrecision::encode(scratch, embedding, left + row * embedding);
      }
      multiply<AttentionPrecision>(
          left, scales, rows, model.mapping, 0, hidden, [&](int row, int column, const float* y) {
            std::memcpy(x(start + begin + row) + column, y, kPanel * sizeof(float));
          });
    }
  }

  // Some columns of query, key and value, of the given rows.
  void project(const Layer& layer, const int32_t* rows, int count, int begin, int end) {
    Scale scales[kBlock];
    for (int block = 0; block < count; block += kBlock) {
      const int size = min(kBlock, count - block);
      for (int row = 0; row < size; ++row)
        scales[row] = LayerPrecision::encode(x(rows[block + row]), hidden, encoded + row * hidden);
      multiply<LayerPrecision>(
          encoded, scales, size, layer.qkv, begin, end, [&](int row, int column, const float* y) {
            const int64_t to = int64_t{rows[block + row]} * 3 * attention.width;
            AttentionPrecision::encode(y, kPanel, attention.qkv + to + column);
          });
    }
  }

  // x = norm(x + dense(context)); x = norm(x + down(gelu(up(x)))), for the given rows.
  void feed_forward(const Layer& layer, const int32_t* rows, int count) {
    for (int block = 0; block < count; block += kBlock)
      feed_forward_block(layer, rows + block, min(kBlock, count - block));
  }

  void feed_forward_block(const Layer& layer, const int32_t* rows, int count) {
    Scale scales[kBlock];
    const auto add = [&](int row, int column, const float* y) {
      float* out = x(rows[row]) + column;
      for (int c = 0; c < kPanel; ++c) out[c] += y[c];
    };
    const int width = attention.width;
    for (int row = 0; row < count; ++row)
      scales[row] = LayerPrecision::encode(attention.context + int64_t{rows[row]} * width, width,
                                           encoded + row * width);
    multiply<LayerPrecision>(encoded, scales, count, layer.dense, 0, hidden, add);
    for (int row = 0; row < count; ++row) {
      normalize(rows[row], layer.attention_norm);
      scales[row] = LayerPrecision::encode(x(rows[row]), hidden, encoded + row * hidden);
    }
    multiply<LayerPrecision>(encoded, scales, count, layer.up, 0, intermediate,
                             [&](int row, int column, const float* y) {
                               float* out = scratch + int64_t{row} * intermediate + column;
                               for (int c = 0; c < kPanel; ++c)
                                 out[c] = gelu<LayerPrecision::kGeluTerms>(y[c], model.gelu);
                             });
    for (int row = 0; row < count; ++row)
      scales[row] = LayerPrecision::encode(scratch + int64_t{row} * intermediate, intermediate,
                                           encoded + row * intermediate);
    multiply<LayerPrecision>(encoded, scales, count, layer.down, 0, hidden, add);
    for (int row = 0; row < count; ++row) normalize(rows[row], layer.full_norm);
  }

  void normalize(int row, const Norm& norm) {
    layer_norm(x(row), hidden, model.hidden, model.eps, norm.weight, norm.bias);
  }
};

template <class Pass>
void forward(const Model* model, const int32_t* ids, const int32_t* lengths, int32_t texts,
             float* logits, char* memory) {
  int tokens = 0;
  for (int text = 0; text < texts; ++text) tokens += lengths[text];
  Arena arena{memory};
  Pass(*model, tokens, texts, arena).run(ids, lengths, texts, logits);
}

template <class Pass>
int64_t workspace(const Model* model, int32_t tokens, int32_t texts) {
  Arena arena{nullptr};
  Pass(*model, tokens, texts, arena);
  return arena.used;
}

template <class Pass>
constexpr Kernel kernel() {
  return {forward<Pass>, workspace<Pass>};
}

}  // namespace
