// Token ids -> logits, top to bottom. Included last by each instruction set's file, which defines
// the precisions, `kRows` of each, and `product`. Texts lie one after another, without padding:
// everything but attention works on single rows, so a text's logits do not depend on its neighbours.
#pragma once

#include "arena.h"

namespace {

// `Inner` is the precision of the layers' products, `Half` that of attention and of the mapping.
template <class Inner, class Half>
struct Pass {
  // Rows that go through a layer together: enough to use each panel of weights more than once
  // while it is in the cache, few enough to stay in the cache themselves.
  static constexpr int kBlock = 4 * kRows<Inner>;

  static constexpr Scale kNone[kRows<Float32>] = {};  // float32 has no scales

  const Model& model;
  const int embedding, hidden, heads, inner;  // padded; heads is the width of all heads together
  float* x;                                   // [tokens, hidden], the residual stream
  typename Half::Element* qkv;                // [tokens, 3 · heads]
  float* context;                             // [tokens, heads]
  float* wide;                                // [kBlock, inner]
  typename Inner::Element* encoded;           // [kBlock, the widest input of a product]
  typename Half::Element *key, *value;        // panels of one head of one text
  float* scores;                              // [kRows<Half>, length]
  typename Half::Element* weights;            // [kRows<Half>, length]
  int32_t *all, *first;                       // rows of every token, of every text's [CLS]
  int32_t *lengths, *places;                  // of every text: its tokens, its row of the logits
  int texts = 0, tokens = 0;                  // that have not left yet

  Pass(const Model& m, int all_tokens, int all_texts, Arena& arena)
      : model(m),
        embedding(m.mapping.in),
        hidden(m.mapping.out),
        heads(m.heads * m.head_size),
        inner(m.layers[0]->up.out) {
    const int longest = round_up(all_tokens, kPanel);
    const int widths[] = {hidden, heads, inner};
    int widest = embedding;
    for (const int width : widths) widest = width > widest ? width : widest;
    x = arena.take<float>(int64_t{all_tokens} * hidden);
    // with room behind the last query for a product that takes more rows than count: see amx.cpp
    qkv = arena.take<typename Half::Element>(int64_t{all_tokens + kRows<Half>} * 3 * heads);
    context = arena.take<float>(int64_t{all_tokens} * heads);
    wide = arena.take<float>(int64_t{kBlock} * widest);
    encoded = arena.take<typename Inner::Element>(int64_t{kBlock} * widest);
    key = arena.take<typename Half::Element>(int64_t{longest} * m.head_size);
    value = arena.take<typename Half::Element>(int64_t{longest} * m.head_size);
    scores = arena.take<float>(int64_t{kRows<Half>} * longest);
    weights = arena.take<typename Half::Element>(int64_t{kRows<Half>} * longest);
    all = arena.take<int32_t>(all_tokens);
    first = arena.take<int32_t>(all_texts);
    lengths = arena.take<int32_t>(all_texts);
    places = arena.take<int32_t>(all_texts);
  }

  void run(const int32_t* ids, const int32_t* sizes, int count, float* logits) {
    for (; texts < count; ++texts) {
      first[texts] = tokens;
      lengths[texts] = sizes[texts];
      places[texts] = texts;
      embed(ids + tokens, sizes[texts], tokens);
      tokens += sizes[texts];
    }
    for (int row = 0; row < tokens; ++row) all[row] = row;
    for (int step = 0; step < model.layer_count; ++step) {
      const Layer& layer = *model.layers[step];
      const bool last = step + 1 == model.layer_count;  // only [CLS] is read behind it
      const int32_t* queries = last ? first : all;
      const int rows = last ? texts : tokens;
      project(layer, queries, rows, 0, heads);
      project(layer, all, tokens, heads, 3 * heads);
      for (int text = 0; text < texts; ++text) attend(first[text], lengths[text], last);
      feed_forward(layer, queries, rows);
      if (model.exits && !last) leave(model.exits[step], logits);
    }
    classify(logits);
  }

  // rows · weight, 32 columns at a time; `sink(row, column, y)` takes each piece of 32 results.
  template <class T, class Sink>
  void multiply(const typename T::Element* left, const Scale* scales, int rows, const Linear& linear,
                int begin, int end, Sink sink) {
    const char* panels = static_cast<const char*>(linear.panels);
    const int64_t bytes = int64_t{linear.in} * kPanel * sizeof(typename T::Element);
    alignas(64) typename T::Sum sums[kRows<T>][kPanel];
    alignas(64) float y[kPanel];
    for (int column = begin; column < end; column += kPanel)
      for (int row = 0; row < rows; row += kRows<T>) {
        const int count = least(kRows<T>, rows - row);
        product<T>(left + int64_t{row} * linear.in, linear.in, count,
                   panels + column / kPanel * bytes, linear.in, sums);
        for (int r = 0; r < count; ++r) {
          T::decode(sums[r], scales[row + r], linear, column, y);
          sink(row + r, column, y);
        }
      }
  }

  // Word, place and type, normalized and mapped to the hidden size.
  void embed(const int32_t* ids, int length, int start) {
    Scale scales[kRows<Half>];
    auto* left = reinterpret_cast<typename Half::Element*>(encoded);
    for (int begin = 0; begin < length; begin += kRows<Half>) {
      const int rows = least(kRows<Half>, length - begin);
      for (int row = 0; row < rows; ++row) {
        const float* word = model.words + int64_t{ids[begin + row]} * embedding;
        const float* place = model.positions + int64_t{begin + row} * embedding;
        for (int i = 0; i < embedding; ++i) wide[i] = word[i] + place[i];
        normalize(wide, embedding, model.embedding, model.eps, model.embedding_norm.weight,
                  model.embedding_norm.bias);
        scales[row] = Half::encode(wide, embedding, left + row * embedding);
      }
      multiply<Half>(left, scales, rows, model.mapping, 0, hidden,
                     [&](int row, int column, const float* y) {
                       std::memcpy(x + int64_t{start + begin + row} * hidden + column, y, 128);
                     });
    }
  }

  // Some columns of query, key and value, of the given rows.
  void project(const Layer& layer, const int32_t* rows, int count, int begin, int end) {
    Scale scales[kBlock];
    for (int block = 0; block < count; block += kBlock) {
      const int size = least(kBlock, count - block);
      for (int row = 0; row < size; ++row)
        scales[row] = Inner::encode(x + int64_t{rows[block + row]} * hidden, hidden,
                                    encoded + row * hidden);
      multiply<Inner>(encoded, scales, size, layer.qkv, begin, end,
                      [&](int row, int column, const float* y) {
                        Half::encode(y, kPanel, qkv + int64_t{rows[block + row]} * 3 * heads + column);
                      });
    }
  }

  // One text: context = softmax(query · keyᵀ) · value for each head.
  void attend(int start, int length, bool only_first) {
    const int size = model.head_size, stride = 3 * heads, padded = round_up(length, kPanel);
    alignas(64) float sums[kRows<Half>][kPanel];
    float total[kRows<Half>];
    for (int head = 0; head < model.heads; ++head) {
      const auto* query = qkv + int64_t{start} * stride + head * size;
      pack_key(query + heads, stride, length, size);
      pack_value(query + 2 * heads, stride, length, size);
      for (int begin = 0; begin < (only_first ? 1 : length); begin += kRows<Half>) {
        const int rows = only_first ? 1 : least(kRows<Half>, length - begin);
        for (int column = 0; column < padded; column += kPanel) {
          product<Half>(query + int64_t{begin} * stride, stride, rows, key + column * size, size, sums);
          for (int row = 0; row < rows; ++row)
            std::memcpy(scores + row * padded + column, sums[row], sizeof sums[row]);
        }
        for (int row = 0; row < rows; ++row) total[row] = soften(row, length, padded);
        for (int column = 0; column < size; column += kPanel) {
          product<Half>(weights, padded, rows, value + column * padded, padded, sums);
          for (int row = 0; row < rows; ++row) {
            float* out = context + int64_t{start + begin + row} * heads + head * size + column;
            for (int c = 0; c < kPanel; ++c) out[c] = sums[row][c] / total[row];
          }
        }
      }
    }
  }

  // scores -> weights of one row, not yet divided by their sum, which is returned.
  float soften(int row, int length, int padded) {
    float* line = scores + row * padded;
    for (int i = length; i < padded; ++i) line[i] = -1e30f;
    float most[kPanel];
    std::memcpy(most, line, sizeof most);
    for (int i = kPanel; i < padded; i += kPanel)
      for (int lane = 0; lane < kPanel; ++lane)
        most[lane] = line[i + lane] > most[lane] ? line[i + lane] : most[lane];
    for (int half = kPanel / 2; half; half /= 2)
      for (int lane = 0; lane < half; ++lane)
        most[lane] = most[lane + half] > most[lane] ? most[lane + half] : most[lane];
    float part[kPanel] = {};
    for (int i = 0; i < padded; i += kPanel)
      for (int lane = 0; lane < kPanel; ++lane) {
        line[i + lane] = exp_negative(line[i + lane] - most[0]);
        part[lane] += line[i + lane];
      }
    Half::encode(line, padded, weights + row * padded);
    for (int half = kPanel / 2; half; half /= 2)
      for (int lane = 0; lane < half; ++lane) part[lane] += part[lane + half];
    return part[0];
  }

  // Keys [length, size] -> panels of 32 keys, [size / group][32][group]: a transposition of dwords.
  void pack_key(const typename Half::Element* from, int stride, int length, int size) {
    using Dword [[gnu::may_alias]] = uint32_t;
    const int dwords = size / Half::kGroup;
    for (int k = 0; k < round_up(length, kPanel); ++k) {
      auto* out = reinterpret_cast<Dword*>(key + k / kPanel * kPanel * size) + k % kPanel;
      const auto* row = reinterpret_cast<const Dword*>(from + int64_t{k} * stride);
      for (int i = 0; i < dwords; ++i) out[i * kPanel] = k < length ? row[i] : 0;
    }
  }

  // Values [length, size] -> panels of 32 columns, [length / group][32][group].
  void pack_value(const typename Half::Element* from, int stride, int length, int size) {
    const int padded = round_up(length, kPanel);
    for (int column = 0; column < size; column += kPanel)
      for (int k = 0; k < padded; ++k) {
        auto* out = value + column * padded + k / Half::kGroup * kPanel * Half::kGroup + k % Half::kGroup;
        const auto* row = from + int64_t{k} * stride + column;
        for (int c = 0; c < kPanel; ++c) out[c * Half::kGroup] = k < length ? row[c] : 0;
      }
  }

  // x = norm(x + dense(context)); x = norm(x + down(gelu(up(x)))), for the given rows.
  void feed_forward(const Layer& layer, const int32_t* rows, int count) {
    Scale scales[kBlock];
    for (int block = 0; block < count; block += kBlock) {
      const int size = least(kBlock, count - block);
      const auto line = [&](int row) { return x + int64_t{rows[block + row]} * hidden; };
      const auto add = [&](int row, int column, const float* y) {
        float* out = line(row) + column;
        for (int c = 0; c < kPanel; ++c) out[c] += y[c];
      };
      for (int row = 0; row < size; ++row)
        scales[row] = Inner::encode(context + int64_t{rows[block + row]} * heads, heads,
                                    encoded + row * heads);
      multiply<Inner>(encoded, scales, size, layer.dense, 0, hidden, add);
      for (int row = 0; row < size; ++row) {
        normalize(line(row), hidden, model.hidden, model.eps, layer.attention_norm.weight,
                  layer.attention_norm.bias);
        scales[row] = Inner::encode(line(row), hidden, encoded + row * hidden);
      }
      multiply<Inner>(encoded, scales, size, layer.up, 0, inner,
                      [&](int row, int column, const float* y) {
                        float* out = wide + int64_t{row} * inner + column;
                        for (int c = 0; c < kPanel; ++c) out[c] = gelu<Inner::kGelu>(y[c], model.gelu);
                      });
      for (int row = 0; row < size; ++row)
        scales[row] = Inner::encode(wide + int64_t{row} * inner, inner, encoded + row * inner);
      multiply<Inner>(encoded, scales, size, layer.down, 0, hidden, add);
      for (int row = 0; row < size; ++row)
        normalize(line(row), hidden, model.hidden, model.eps, layer.full_norm.weight,
                  layer.full_norm.bias);
    }
  }

  // Rows of [CLS] of some texts, one after another, at the beginning of `wide`.
  void gather(int begin, int rows) {
    for (int row = 0; row < rows; ++row)
      std::memcpy(wide + row * hidden, x + int64_t{first[begin + row]} * hidden, hidden * 4);
  }

  // out [rows, linear.out] = f(left · weight + bias), in float32.
  template <class F>
  void exact(const float* left, int rows, const Linear& linear, float* out, F f) {
    multiply<Float32>(left, kNone, rows, linear, 0, linear.out,
                      [&](int row, int column, const float* y) {
                        float* to = out + int64_t{row} * linear.out + column;
                        for (int c = 0; c < kPanel; ++c) to[c] = f(y[c]);
                      });
  }

  // Texts that this exit is sure of leave with its logits; the others close ranks, in their order.
  void leave(const Linear& exit, float* logits) {
    const int staying = texts;
    texts = tokens = 0;
    for (int begin = 0; begin < staying; begin += kRows<Float32>) {
      const int rows = least(kRows<Float32>, staying - begin);
      float* said = wide + kRows<Float32> * hidden;
      gather(begin, rows);
      exact(wide, rows, exit, said, [](float y) { return y; });
      for (int row = 0; row < rows; ++row) {
        const float* line = said + int64_t{row} * exit.out;
        if (sure(line))
          std::memcpy(logits + int64_t{places[begin + row]} * exit.out, line, exit.out * 4);
        else
          stay(begin + row);
      }
    }
  }

  // Whether softmax(logits / temperature) gives one label at least the confidence asked for.
  bool sure(const float* logits) const {
    float most = logits[0], crowd = 0.0f;
    for (int i = 1; i < model.labels; ++i) most = logits[i] > most ? logits[i] : most;
    for (int i = 0; i < model.labels; ++i)
      crowd += exp_negative((logits[i] - most) * model.sharpness);
    return crowd <= model.crowd;
  }

  // The next text that goes on: its rows move up to where the last one's end.
  void stay(int text) {
    std::memmove(x + int64_t{tokens} * hidden, x + int64_t{first[text]} * hidden,
                 int64_t{lengths[text]} * hidden * 4);
    first[texts] = tokens;
    places[texts] = places[text];
    lengths[texts] = lengths[text];
    tokens += lengths[texts++];
  }

  // logits = classifier(tanh(pooler([CLS]))), in float32.
  void classify(float* logits) {
    const int labels = model.classifier.out;
    for (int begin = 0; begin < texts; begin += kRows<Float32>) {
      const int rows = least(kRows<Float32>, texts - begin);
      float* pooled = wide + kRows<Float32> * hidden;
      gather(begin, rows);
      exact(wide, rows, model.pooler, pooled, tanh_of);
      multiply<Float32>(pooled, kNone, rows, model.classifier, 0, labels,
                        [&](int row, int column, const float* y) {
                          std::memcpy(logits + int64_t{places[begin + row]} * labels + column, y, 128);
                        });
    }
  }
};

template <class Inner, class Half>
void forward(const Model* model, const int32_t* ids, const int32_t* lengths, int32_t texts,
             float* logits, char* memory) {
  int tokens = 0;
  for (int text = 0; text < texts; ++text) tokens += lengths[text];
  Arena arena{memory};
  Pass<Inner, Half>(*model, tokens, texts, arena).run(ids, lengths, texts, logits);
}

template <class Inner, class Half>
int64_t workspace(const Model* model, int32_t tokens, int32_t texts) {
  Arena arena{nullptr};
  Pass<Inner, Half>(*model, tokens, texts, arena);
  return arena.used;
}

template <class Inner, class Half>
constexpr Kernel kernel() {
  return {forward<Inner, Half>, workspace<Inner, Half>};
}

}  // namespace
