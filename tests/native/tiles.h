// AMX's tiles in plain C++, for a CPU that has none: included in front of amx.cpp by
// test_native.py.
//
// After "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2: LDTILECFG,
// TILELOADD, TILESTORED, TDPBUSD, TDPBF16PS. What would be a fault there ends the process here.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

// Arithmetic within tiles, too slow where every access is checked.
#define FAST __attribute__((optimize("O3"), no_sanitize("address", "undefined")))

namespace {
namespace emulated {

struct Config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

struct Tile {
  int rows, row_bytes;
  union {
    uint8_t bytes[16][64];
    int8_t signs[16][64];
    uint16_t halves[16][32];
    int32_t whole[16][16];
    float floats[16][16];
  };
};

struct Tiles {
  bool configured;
  Tile tile[8];
};

static thread_local Tiles tiles;

void require(bool what) {
  if (!what) std::abort();
}

Tile& use(int index) {
  require(tiles.configured);
  return tiles.tile[index];
}

void loadconfig(const void* from) {
  Config config;
  std::memcpy(&config, from, sizeof config);
  require(config.palette == 1 && config.start_row == 0);
  for (uint8_t byte : config.reserved) require(byte == 0);
  for (int i = 0; i < 16; ++i) {
    require(config.rows[i] <= (i < 8 ? 16 : 0) && config.row_bytes[i] <= (i < 8 ? 64 : 0));
    require((config.rows[i] == 0) == (config.row_bytes[i] == 0));
  }
  for (int i = 0; i < 8; ++i) {
    tiles.tile[i].rows = config.rows[i];
    tiles.tile[i].row_bytes = config.row_bytes[i];
  }
  tiles.configured = true;
}

void release() { tiles.configured = false; }

void zero(int index) { std::memset(use(index).bytes, 0, sizeof use(index).bytes); }

void load(int index, const void* base, long stride) {
  zero(index);
  Tile& tile = use(index);
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(tile.bytes[row], static_cast<const char*>(base) + row * stride, tile.row_bytes);
}

void store(int index, void* base, long stride) {
  const Tile& tile = use(index);
  for (int row = 0; row < tile.rows; ++row)
    std::memcpy(static_cast<char*>(base) + row * stride, tile.bytes[row], tile.row_bytes);
}

void check(const Tile& sums, const Tile& x, const Tile& weights) {
  require(&sums != &x && &sums != &weights && &x != &weights);
  require(sums.rows == x.rows && sums.row_bytes == weights.row_bytes);
  require(x.row_bytes == 4 * weights.rows && weights.row_bytes % 4 == 0);
}

FAST void dpbusd(int to, int left, int right) {
  Tile &sums = use(to), &x = use(left), &weights = use(right);
  check(sums, x, weights);
  int32_t panel[64][16];
  for (int i = 0; i < 4 * weights.rows; ++i)
    for (int column = 0; column < weights.row_bytes / 4; ++column)
      panel[i][column] = weights.signs[i / 4][4 * column + i % 4];
  for (int row = 0; row < sums.rows; ++row)
    for (int i = 0; i < x.row_bytes; ++i)
      for (int column = 0; column < sums.row_bytes / 4; ++column)
        sums.whole[row][column] += x.bytes[row][i] * panel[i][column];
}

// Numbers too small for a full precision are zero to a tile.
FAST float flushed(float x) { return __builtin_fabsf(x) < 0x1p-126f ? 0.0f : x; }

FAST float bfloat16(uint16_t upper) {
  const uint32_t bits = uint32_t{upper} << 16;
  float x;
  std::memcpy(&x, &bits, 4);
  return flushed(x);
}

FAST void dpbf16ps(int to, int left, int right) {
  Tile &sums = use(to), &x = use(left), &weights = use(right);
  check(sums, x, weights);
  float panel[16][32];
  for (int k = 0; k < weights.rows; ++k)
    for (int i = 0; i < weights.row_bytes / 2; ++i) panel[k][i] = bfloat16(weights.halves[k][i]);
  for (int row = 0; row < sums.rows; ++row) {
    float line[32] = {};  // even and odd elements apart
    for (int k = 0; k < weights.rows; ++k) {
      const float pair[] = {bfloat16(x.halves[row][2 * k]), bfloat16(x.halves[row][2 * k + 1])};
      for (int i = 0; i < weights.row_bytes / 2; ++i)
        line[i] = flushed(__builtin_fmaf(pair[i % 2], panel[k][i], line[i]));
    }
    for (int column = 0; column < sums.row_bytes / 4; ++column) {
      const float both = flushed(line[2 * column] + line[2 * column + 1]);
      sums.floats[row][column] = flushed(flushed(sums.floats[row][column]) + both);
    }
  }
}

}  // namespace emulated
}  // namespace

#undef FAST
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbusd
#undef _tile_dpbf16ps
#define _tile_loadconfig emulated::loadconfig
#define _tile_release emulated::release
#define _tile_zero emulated::zero
#define _tile_loadd emulated::load
#define _tile_stored emulated::store
#define _tile_dpbusd emulated::dpbusd
#define _tile_dpbf16ps emulated::dpbf16ps
