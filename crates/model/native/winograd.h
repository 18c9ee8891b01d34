// The transforms of Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, 2016): a 3x3 convolution of
// padding 1 as 36 matrix products over tiles of 4x4 outputs, with a quarter of the multiplications.

#pragma once

#include <cstdint>

namespace protoguard {

// Outputs of a tile, a side.
constexpr int64_t kTile = 4;
// Products of a tile: the squares of its inputs, with one pixel of border on each side.
constexpr int64_t kProducts = 36;
// Channels that are transformed together.
constexpr int64_t kLanes = 16;

// A picture of a batch [B, h, w, channels].
struct Picture {
  int64_t height;
  int64_t width;
  int64_t channels;
};

// Tiles of a batch in a row, of which a thread computes some.
struct Tiles {
  int64_t first;
  int64_t count;
};

inline int64_t tiles_across(int64_t pixels) { return (pixels + kTile - 1) / kTile; }

// Bt d B of every tile: `products` [36][stride], rows of [count][channels]. channels is a multiple of 16.
void transform_input(const float *input, Picture picture, Tiles tiles, float *products, int64_t stride);

// At m A of every tile, and what follows it, in the same pass.
struct Epilogue {
  const float *bias;
  // Added where it is not null; it has the output's shape.
  const float *sum;
  bool relu;
};

// The reverse, from [36][stride] into `output`.
void transform_output(const float *products, int64_t stride, Picture picture, Tiles tiles, Epilogue epilogue,
                      float *output);

} // namespace protoguard
