// AMX, which multiplies whole tiles: Intel since Sapphire Rapids. float32 has no tiles, and runs in
// the registers of AVX-512.
#include "avx512.h"

namespace {

constexpr int kTileRows = 16, kTileBytes = 64;  // of all tiles: a tile is 16 rows of 16 dwords

// Sums are tiles 0 and 1 (the upper 16 rows, columns 0 to 15 and 16 to 31), and 2 and 3 (the lower
// rows); x is 4 and 5, the weights' columns are 6 and 7. So each tile that is loaded is used twice.
struct Int8 : Int8Row<255> {
  static void upper() {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
  }
  static void lower() {
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
};

struct Bfloat16 : Bfloat16Row {
  static void upper() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  static void lower() {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
};

template <>
constexpr int kRows<Int8> = 2 * kTileRows;
template <>
constexpr int kRows<Bfloat16> = 2 * kTileRows;

// sums[row] = x[row] · panel, of 16 rows or of 32: whole tiles, so up to 15 rows behind the last
// that counts are read and multiplied too. A row's sums do not depend on what the others hold.
template <class T, bool both>
void tiles(const typename T::Element* x, int stride, const void* panel, int depth,
           typename T::Sum (*sums)[kPanel]) {
  constexpr int kDword = 4, kPanelBytes = kPanel * kDword;
  const long row = stride * static_cast<long>(sizeof *x);
  const char* top = reinterpret_cast<const char*>(x);
  const char* weights = static_cast<const char*>(panel);
  _tile_zero(0);
  _tile_zero(1);
  if constexpr (both) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int k = 0; k < depth; k += kTileBytes / sizeof *x) {
    _tile_loadd(6, weights, kPanelBytes);
    _tile_loadd(7, weights + kTileBytes, kPanelBytes);
    _tile_loadd(4, top, row);
    T::upper();
    if constexpr (both) {
      _tile_loadd(5, top + kTileRows * row, row);
      T::lower();
    }
    top += kTileBytes;
    weights += kTileRows * kPanelBytes;
  }
  _tile_stored(0, sums[0], kPanelBytes);
  _tile_stored(1, sums[0] + kPanel / 2, kPanelBytes);
  if constexpr (both) {
    _tile_stored(2, sums[kTileRows], kPanelBytes);
    _tile_stored(3, sums[kTileRows] + kPanel / 2, kPanelBytes);
  }
}

template <class T>
void tiled_product(const typename T::Element* x, int stride, int count, const void* panel,
                   int depth, typename T::Sum (*sums)[kPanel]) {
  asm volatile("" ::: "memory");  // gcc does not know that a tile's load reads memory
  if (count <= kTileRows) return tiles<T, false>(x, stride, panel, depth, sums);
  tiles<T, true>(x, stride, panel, depth, sums);
}

template <>
void product<Int8>(const uint8_t* x, int stride, int count, const void* panel, int depth,
                   int32_t (*sums)[kPanel]) {
  tiled_product<Int8>(x, stride, count, panel, depth, sums);
}

template <>
void product<Bfloat16>(const uint16_t* x, int stride, int count, const void* panel, int depth,
                       float (*sums)[kPanel]) {
  tiled_product<Bfloat16>(x, stride, count, panel, depth, sums);
}

}  // namespace

#include "forward.h"

namespace {

struct TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
  constexpr TileConfig() {
    for (int tile = 0; tile < 8; ++tile) {
      row_bytes[tile] = kTileBytes;
      rows[tile] = kTileRows;
    }
  }
};
static_assert(sizeof(TileConfig) == 64, "the processor reads 64 bytes");
constexpr TileConfig kConfig;

// The shape of the tiles belongs to a thread, and costs it time at every switch while it is set.
template <class Inner>
void forward_in_tiles(const Model* model, const int32_t* ids, const int32_t* lengths, int32_t texts,
                      float* logits, char* memory) {
  _tile_loadconfig(&kConfig);
  forward<Inner, Bfloat16>(model, ids, lengths, texts, logits, memory);
  _tile_release();
}

template <class Inner>
constexpr Kernel tiled_kernel() {
  return {forward_in_tiles<Inner>, workspace<Inner, Bfloat16>};
}

}  // namespace

extern const Kernels amx_kernels = {
    "amx", kBfloat16, {kernel<Float32, Float32>(), tiled_kernel<Bfloat16>(), tiled_kernel<Int8>()}};
