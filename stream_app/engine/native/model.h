// A loaded model as the kernels see it. native_library.py has the same structures in ctypes, which
// tests/unit/test_native.py compares with these; compiled_weights.py fills them.
//
// Every width is padded with zeros: hidden, intermediate and embedding sizes to a multiple of 64,
// a head's size and the number of labels to a multiple of 32. Weights are in panels: see panels.h.
#pragma once

#include <cstdint>

enum Precision : int32_t { kFloat32, kBfloat16, kInt8 };

struct Linear {
  const void* panels;
  const float* bias;          // [out]
  const float* scale;         // [out], int8 only: what one unit of the weight is worth
  const int32_t* weight_sum;  // [out], int8 only: times the zero point, it is taken off the sums
  int32_t in, out;            // padded
};

struct Norm {
  const float* weight;  // [hidden], zero where padded
  const float* bias;
};

struct Layer {
  Linear qkv;    // out = 3 · heads · head_size; the softmax's scale is in the query's part
  Linear dense;  // context -> hidden
  Linear up;     // hidden -> intermediate
  Linear down;   // intermediate -> hidden
  Norm attention_norm;
  Norm full_norm;
};

struct Model {
  const float* words;      // [vocabulary, embedding]
  const float* positions;  // [positions, embedding], the first token type added
  Norm embedding_norm;
  Linear mapping;              // embedding -> hidden, in the precision of attention
  const Layer* const* layers;  // in the order they run
  Linear pooler;               // float32
  Linear classifier;           // float32
  const Linear* exits;         // float32, one behind each layer but the last; null: no early exits
  const float* gelu;           // its polynomial: see vector_math.h
  float eps;                   // of the norms
  int32_t layer_count;
  int32_t embedding, hidden;  // as the model has them, for the means of the norms
  int32_t heads, head_size;   // head_size is padded
  int32_t labels;             // without the padding
  int32_t mean;               // 1: the pooler reads the mean of a text's tokens; 0: its [CLS]
  float inverse_temperature;  // 1 / temperature of the exits' logits
  float inverse_confidence;   // 1 / the confidence at which a text takes an exit
  float evidence;             // tokens at which a text's logits count half
};

// The texts' tokens lie one after another in `ids`; `logits` is [texts, classifier.out]. `memory`
// holds at least `workspace(model, tokens, texts)` bytes, aligned to 64.
struct Kernel {
  void (*forward)(const Model* model, const int32_t* ids, const int32_t* lengths, int32_t texts,
                  float* logits, char* memory);
  int64_t (*workspace)(const Model* model, int32_t tokens, int32_t texts);
};

// What one instruction set offers; a precision that it lacks has no kernel.
struct Kernels {
  const char* name;
  int32_t attention;     // precision of attention and of the mapping
  Kernel precisions[3];  // in the order of `Precision`
};
