// How a text ends: at an early exit or at the classifier, both in float32 on its row of [CLS].
#pragma once

#include "arena.h"
#include "product.h"

namespace {

// The texts that have not ended yet, one after another without padding.
struct Texts {
  int count = 0, tokens = 0;
  const int hidden;
  float* x;          // [tokens, hidden], the residual stream
  int32_t* first;    // [count]: the row of each text's [CLS] in x
  int32_t* lengths;  // [count]: tokens
  int32_t* outputs;  // [count]: the row of its logits

  Texts(int padded_hidden, int all_tokens, int all_texts, Arena& arena) : hidden(padded_hidden) {
    x = arena.take<float>(int64_t{all_tokens} * hidden);
    first = arena.take<int32_t>(all_texts);
    lengths = arena.take<int32_t>(all_texts);
    outputs = arena.take<int32_t>(all_texts);
  }

  void append(int length, int output) {
    first[count] = tokens;
    lengths[count] = length;
    outputs[count++] = output;
    tokens += length;
  }

  // Append a text of before once more: its rows move up behind those of the texts kept so far.
  void keep(int text) {
    std::memmove(x + int64_t{tokens} * hidden, x + int64_t{first[text]} * hidden,
                 int64_t{lengths[text]} * hidden * sizeof(float));
    append(lengths[text], outputs[text]);
  }
};

// An exit has at most this many times `hidden` outputs; compiled_weights.py refuses more.
constexpr int kExitRows = 3;

// [CLS] and [SEP], which say nothing of a text: SPECIAL_TOKENS of model/decision.py.
constexpr int kSpecialTokens = 2;

template <class Float32>
struct Classifiers {
  static constexpr int kScratchRows = (1 + kExitRows) * Float32::kRows;
  static constexpr Scale kNoScales[Float32::kRows] = {};

  const Model& model;
  Texts& texts;
  float* scratch;  // [kScratchRows, hidden]: rows of [CLS], then the results for each

  // The [CLS] rows of some texts, one after another at the beginning of `scratch`.
  void gather(int begin, int rows) {
    for (int row = 0; row < rows; ++row)
      std::memcpy(scratch + row * texts.hidden,
                  texts.x + int64_t{texts.first[begin + row]} * texts.hidden,
                  texts.hidden * sizeof(float));
  }

  // What the pooler reads of some texts, at the beginning of `scratch`.
  void pool(int begin, int rows) {
    if (!model.mean) return gather(begin, rows);
    for (int row = 0; row < rows; ++row) {
      const int length = texts.lengths[begin + row];
      const float* token = texts.x + int64_t{texts.first[begin + row]} * texts.hidden;
      float* out = scratch + row * texts.hidden;
      std::memset(out, 0, texts.hidden * sizeof(float));
      for (int place = 0; place < length; ++place, token += texts.hidden)
        for (int i = 0; i < texts.hidden; ++i) out[i] += token[i];
      for (int i = 0; i < texts.hidden; ++i) out[i] /= length;
    }
  }

  // out [rows, linear.out] = f(left · weight + bias).
  template <class F>
  void linear(const float* left, int rows, const Linear& linear, float* out, F f) {
    multiply<Float32>(left, kNoScales, rows, linear, 0, linear.out,
                      [&](int row, int column, const float* y) {
                        float* to = out + int64_t{row} * linear.out + column;
                        for (int c = 0; c < kPanel; ++c) to[c] = f(y[c]);
                      });
  }

  // Texts whose label this exit is sure of end here; the others are kept, in their order.
  void take_exit(const Linear& exit, float* logits) {
    const int before = texts.count;
    float* results = scratch + Float32::kRows * texts.hidden;
    texts.count = texts.tokens = 0;
    for (int begin = 0; begin < before; begin += Float32::kRows) {
      const int rows = min(Float32::kRows, before - begin);
      gather(begin, rows);
      linear(scratch, rows, exit, results, [](float y) { return y; });
      for (int row = 0; row < rows; ++row) {
        const float* result = results + int64_t{row} * exit.out;
        if (confident(result, texts.lengths[begin + row]))
          std::memcpy(logits + int64_t{texts.outputs[begin + row]} * exit.out, result,
                      exit.out * sizeof(float));
        else
          texts.keep(begin + row);
      }
    }
  }

  // Whether the calibrated scores give one label at least the confidence asked for: as `scaled` of
  // model/decision.py. That label's own exponential is 1, so its confidence is 1 / the sum of all.
  bool confident(const float* logits, int length) const {
    const int read = length > kSpecialTokens ? length - kSpecialTokens : 1;
    const float scale = model.inverse_temperature / (1.0f + model.evidence / read);
    float largest = logits[0], exponentials = 0.0f;
    for (int i = 1; i < model.labels; ++i) largest = larger(largest, logits[i]);
    for (int i = 0; i < model.labels; ++i)
      exponentials += exp_negative((logits[i] - largest) * scale);
    return exponentials <= model.inverse_confidence;
  }

  // logits = classifier(tanh(pooler([CLS] or mean))) of the texts that took no exit.
  void classify(float* logits) {
    const int labels = model.classifier.out;
    float* pooled = scratch + Float32::kRows * texts.hidden;
    for (int begin = 0; begin < texts.count; begin += Float32::kRows) {
      const int rows = min(Float32::kRows, texts.count - begin);
      pool(begin, rows);
      linear(scratch, rows, model.pooler, pooled, tanh_of);
      multiply<Float32>(pooled, kNoScales, rows, model.classifier, 0, labels,
                        [&](int row, int column, const float* y) {
                          float* to =
                              logits + int64_t{texts.outputs[begin + row]} * labels + column;
                          std::memcpy(to, y, kPanel * sizeof(float));
                        });
    }
  }
};

}  // namespace
