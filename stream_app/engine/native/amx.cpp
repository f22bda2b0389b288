// AMX, which multiplies whole tiles: Intel since Sapphire Rapids. float32 has no tiles, and runs in
// the registers of AVX-512.
#include "avx512.h"

namespace {

constexpr int kTileRows = 16, kTileBytes = 64;  // of all tiles: a tile is 16 rows of 16 · 32 bits

// A precision whose product runs in tiles. Sums are tiles 0 and 1 (the upper 16 rows, columns 0 to
// 15 and 16 to 31), and 2 and 3 (the lower rows); x is 4 and 5, the weights' columns are 6 and 7.
// So each tile that is loaded is used twice. `Dot` multiplies the upper rows and the lower.
template <class Row, class Dot>
struct InTiles : Row {
  using typename Row::Element;
  using typename Row::Sum;
  static constexpr int kRows = 2 * kTileRows;

  // Not inlined, so that the barrier makes the compiler forget nothing of its callers.
  [[gnu::noinline]] static void product(const Element* x, int stride, int count, const void* panel,
                                        int depth, Sum (*sums)[kPanel]) {
    asm volatile("" ::: "memory");  // gcc does not know that a tile's load reads memory
    if (count <= kTileRows) return tiles<false>(x, stride, panel, depth, sums);
    tiles<true>(x, stride, panel, depth, sums);
  }

  // 16 rows or 32: whole tiles, so up to 15 rows behind the last that counts are read and
  // multiplied too. A row's sums do not depend on what the others hold.
  template <bool both>
  static void tiles(const Element* x, int stride, const void* panel, int depth,
                    Sum (*sums)[kPanel]) {
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
      _tile_loadd(6, weights, kPanelRow);
      _tile_loadd(7, weights + kTileBytes, kPanelRow);
      _tile_loadd(4, top, row);
      Dot::upper();
      if constexpr (both) {
        _tile_loadd(5, top + kTileRows * row, row);
        Dot::lower();
      }
      top += kTileBytes;
      weights += kTileRows * kPanelRow;
    }
    _tile_stored(0, sums[0], kPanelRow);
    _tile_stored(1, sums[0] + kPanel / 2, kPanelRow);
    if constexpr (both) {
      _tile_stored(2, sums[kTileRows], kPanelRow);
      _tile_stored(3, sums[kTileRows] + kPanel / 2, kPanelRow);
    }
  }
};

struct Int8TileDot {
  static void upper() {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
  }
  static void lower() {
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
};

struct Bfloat16TileDot {
  static void upper() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  static void lower() {
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
};

using TiledBfloat16 = InTiles<Bfloat16Row, Bfloat16TileDot>;
using TiledInt8 = InTiles<Int8Row<255>, Int8TileDot>;

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

// A thread has to set the shape of its tiles; while it is set, they are saved at every switch.
template <class T>
void forward_in_tiles(const Model* model, const int32_t* ids, const int32_t* lengths, int32_t texts,
                      float* logits, char* memory) {
  _tile_loadconfig(&kConfig);
  forward<Pass<T, TiledBfloat16, Float32>>(model, ids, lengths, texts, logits, memory);
  _tile_release();
}

template <class T>
constexpr Kernel tiled_kernel() {
  return {forward_in_tiles<T>, workspace<Pass<T, TiledBfloat16, Float32>>};
}

}  // namespace

extern const Kernels amx_kernels = {
    "amx",
    kBfloat16,
    {
        kernel<Pass<Float32, Float32, Float32>>(),
        tiled_kernel<TiledBfloat16>(),
        tiled_kernel<TiledInt8>(),
    },
};
