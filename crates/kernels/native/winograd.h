// The transforms of Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, 2016): a 3x3 convolution of
// padding 1 as 36 matrix products over tiles of 4x4 outputs, with a quarter of the multiplications. Pictures and
// factors of the products are f32 or bf16; what lies between is f32.

#pragma once

#include <c10/util/BFloat16.h>

#include <cstdint>

namespace protoguard {

// Outputs of a tile, a side.
constexpr int64_t kTile = 4;
// Products of a tile: the squares of its inputs, with one pixel of border on each side.
constexpr int64_t kProducts = 36;
// Channels come in multiples of these.
constexpr int64_t kLanes = 8;

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

// Bt d B of every tile: `factors` [36][stride], rows of [count][channels]. channels is a multiple of kLanes.
void transform_input(const float *input, Picture picture, Tiles tiles, float *factors, int64_t stride);
void transform_input(const c10::BFloat16 *input, Picture picture, Tiles tiles, float *factors, int64_t stride);
void transform_input(const c10::BFloat16 *input, Picture picture, Tiles tiles, c10::BFloat16 *factors,
                     int64_t stride);

// What follows At m A of every tile, in the same pass.
struct Epilogue {
  // Null for none.
  const float *bias;
  // Whether what is in the output already is added.
  bool adds;
  bool relu;
};

// The reverse, from [36][stride] into `output`.
void transform_output(const float *products, int64_t stride, Picture picture, Tiles tiles, Epilogue epilogue,
                      float *output);
void transform_output(const float *products, int64_t stride, Picture picture, Tiles tiles, Epilogue epilogue,
                      c10::BFloat16 *output);

// A dy At of the output's gradient `gradient` [B, h, w, channels], as transform_input: the gradient by what
// transform_output was given.
void transform_gradient(const float *gradient, Picture picture, Tiles tiles, float *factors, int64_t stride);
void transform_gradient(const c10::BFloat16 *gradient, Picture picture, Tiles tiles, float *factors, int64_t stride);

} // namespace protoguard
