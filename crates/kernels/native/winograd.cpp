#include "winograd.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

// The compiler writes each function twice, and the loader picks by the processor.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define PG_WIDEST __attribute__((target_clones("avx512f", "default")))
#else
#define PG_WIDEST
#endif
#define PG_INLINE inline __attribute__((always_inline))
#define PG_INLINE_LAMBDA __attribute__((always_inline))

namespace protoguard {

namespace {

using c10::BFloat16;

// Channels that are transformed together, and what is left of them at the end.
template <int64_t lanes> struct Vector {
  typedef float Floats __attribute__((vector_size(lanes * sizeof(float))));
  typedef uint32_t Bits __attribute__((vector_size(lanes * sizeof(uint32_t))));
  typedef uint16_t Halves __attribute__((vector_size(lanes * sizeof(uint16_t))));
};
constexpr int64_t kWide = 16;

template <int64_t lanes> PG_INLINE void load(const float *from, typename Vector<lanes>::Floats &into) {
  std::memcpy(&into, from, sizeof into);
}

template <int64_t lanes> PG_INLINE void store(float *to, const typename Vector<lanes>::Floats &from) {
  std::memcpy(to, &from, sizeof from);
}

template <int64_t lanes> PG_INLINE void load(const BFloat16 *from, typename Vector<lanes>::Floats &into) {
  typename Vector<lanes>::Halves halves;
  std::memcpy(&halves, from, sizeof halves);
  const auto bits = __builtin_convertvector(halves, typename Vector<lanes>::Bits) << 16;
  std::memcpy(&into, &bits, sizeof into);
}

// To the nearest, and to the even one of two; a NaN that arithmetic makes stays one.
template <int64_t lanes> PG_INLINE void store(BFloat16 *to, const typename Vector<lanes>::Floats &from) {
  typename Vector<lanes>::Bits bits;
  std::memcpy(&bits, &from, sizeof bits);
  bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const auto halves = __builtin_convertvector(bits, typename Vector<lanes>::Halves);
  std::memcpy(to, &halves, sizeof halves);
}

// Bt d for the points 0, ±√½, ±√2 and infinity, which lose less than 0, ±1, ±2: their powers lie closer together.
constexpr float kRoot = 1.41421356f;

template <typename Lanes> PG_INLINE void forward(const Lanes d[6], Lanes t[6]) {
  const Lanes near_even = d[4] - 2.0f * d[2], near_odd = 0.5f * kRoot * d[3] - kRoot * d[1];
  const Lanes far_even = d[4] - 0.5f * d[2], far_odd = kRoot * d[3] - 0.5f * kRoot * d[1];
  t[0] = d[0] - 2.5f * d[2] + d[4];
  t[1] = near_even + near_odd;
  t[2] = near_even - near_odd;
  t[3] = far_even + far_odd;
  t[4] = far_even - far_odd;
  t[5] = d[1] - 2.5f * d[3] + d[5];
}

// At m.
template <typename Lanes> PG_INLINE void backward(const Lanes m[6], Lanes y[4]) {
  const Lanes a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c;
  y[1] = 0.5f * kRoot * b + kRoot * d;
  y[2] = 0.5f * a + 2.0f * c;
  y[3] = 0.25f * kRoot * b + 2.0f * kRoot * d + m[5];
}

// A y, by which a gradient goes back through `backward`.
template <typename Lanes> PG_INLINE void through(const Lanes y[4], Lanes m[6]) {
  const Lanes near_even = y[0] + 0.5f * y[2], near_odd = 0.5f * kRoot * y[1] + 0.25f * kRoot * y[3];
  const Lanes far_even = y[0] + 2.0f * y[2], far_odd = kRoot * y[1] + 2.0f * kRoot * y[3];
  m[0] = y[0];
  m[1] = near_even + near_odd;
  m[2] = near_even - near_odd;
  m[3] = far_even + far_odd;
  m[4] = far_even - far_odd;
  m[5] = y[3];
}

// Where a tile's outputs begin.
struct Corner {
  int64_t picture;
  int64_t y;
  int64_t x;
};

PG_INLINE Corner corner(Picture picture, int64_t tile) {
  const int64_t across = tiles_across(picture.width), each = across * tiles_across(picture.height);
  return {tile / each, tile % each / across * kTile, tile % across * kTile};
}

// `work` for every channel of a picture, 16 at a time and at last 8.
template <typename Work> PG_INLINE void over_channels(int64_t channels, Work work) {
  int64_t channel = 0;
  for (; channel + kWide <= channels; channel += kWide) {
    work(std::integral_constant<int64_t, kWide>(), channel);
  }
  if (channel < channels) {
    work(std::integral_constant<int64_t, kLanes>(), channel);
  }
}

struct Forward {
  template <typename Lanes> PG_INLINE void operator()(const Lanes d[6], Lanes t[6]) const { forward(d, t); }
};

struct Through {
  template <typename Lanes> PG_INLINE void operator()(const Lanes y[4], Lanes m[6]) const { through(y, m); }
};

// Side x side pixels of every tile, the first of them `before` pixels above and left of its outputs, with `Along`
// over their columns and then over their rows: 6 x 6 numbers.
template <int64_t side, int64_t before, typename Along, typename Element, typename Factor>
PG_INLINE void factors_of(const Element *pixels, Picture picture, Tiles tiles, Factor *factors, int64_t stride) {
  const auto [height, width, channels] = picture;
  const Along along;
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const Corner at = corner(picture, tiles.first + tile);
    const Element *const whole = pixels + at.picture * height * width * channels;
    over_channels(channels, [&](auto lanes, int64_t channel) PG_INLINE_LAMBDA {
      constexpr int64_t n = decltype(lanes)::value;
      using Lanes = typename Vector<n>::Floats;
      Lanes rows[6][side];
      for (int64_t j = 0; j < side; ++j) {
        const int64_t x = at.x + j - before;
        Lanes d[side], t[6];
        for (int64_t i = 0; i < side; ++i) {
          const int64_t y = at.y + i - before;
          if (y >= 0 && y < height && x >= 0 && x < width) {
            load<n>(whole + (y * width + x) * channels + channel, d[i]);
          } else {
            d[i] = Lanes{};
          }
        }
        along(d, t);
        for (int64_t i = 0; i < 6; ++i) {
          rows[i][j] = t[i];
        }
      }
      Factor *to = factors + tile * channels + channel;
      for (int64_t i = 0; i < 6; ++i) {
        Lanes t[6];
        along(rows[i], t);
        for (int64_t j = 0; j < 6; ++j, to += stride) {
          store<n>(to, t[j]);
        }
      }
    });
  }
}

template <typename Element, typename Factor>
PG_INLINE void input_of(const Element *input, Picture picture, Tiles tiles, Factor *factors, int64_t stride) {
  factors_of<6, 1, Forward>(input, picture, tiles, factors, stride);
}

template <typename Element>
PG_INLINE void gradient_of(const Element *gradient, Picture picture, Tiles tiles, float *factors, int64_t stride) {
  factors_of<kTile, 0, Through>(gradient, picture, tiles, factors, stride);
}

template <typename Element>
PG_INLINE void output_of(const float *products, int64_t stride, Picture picture, Tiles tiles, Epilogue epilogue,
                         Element *output) {
  const auto [height, width, channels] = picture;
  for (int64_t tile = 0; tile < tiles.count; ++tile) {
    const Corner at = corner(picture, tiles.first + tile);
    const int64_t start = at.picture * height * width * channels;
    const int64_t down = std::min(kTile, height - at.y), right = std::min(kTile, width - at.x);
    over_channels(channels, [&](auto lanes, int64_t channel) PG_INLINE_LAMBDA {
      constexpr int64_t n = decltype(lanes)::value;
      using Lanes = typename Vector<n>::Floats;
      const float *from = products + tile * channels + channel;
      Lanes rows[4][6];
      for (int64_t j = 0; j < 6; ++j) {
        Lanes m[6], y[4];
        for (int64_t i = 0; i < 6; ++i) {
          load<n>(from + (6 * i + j) * stride, m[i]);
        }
        backward(m, y);
        for (int64_t i = 0; i < 4; ++i) {
          rows[i][j] = y[i];
        }
      }
      Lanes bias{};
      if (epilogue.bias != nullptr) {
        load<n>(epilogue.bias + channel, bias);
      }
      for (int64_t i = 0; i < down; ++i) {
        Lanes y[4];
        backward(rows[i], y);
        int64_t pixel = start + ((at.y + i) * width + at.x) * channels + channel;
        for (int64_t j = 0; j < right; ++j, pixel += channels) {
          Lanes value = y[j] + bias;
          if (epilogue.adds) {
            Lanes other;
            load<n>(output + pixel, other);
            value += other;
          }
          if (epilogue.relu) {
            value = value < 0.0f ? Lanes{} : value;
          }
          store<n>(output + pixel, value);
        }
      }
    });
  }
}

} // namespace

PG_WIDEST void transform_input(const float *input, Picture picture, Tiles tiles, float *factors, int64_t stride) {
  input_of(input, picture, tiles, factors, stride);
}

PG_WIDEST void transform_input(const BFloat16 *input, Picture picture, Tiles tiles, float *factors, int64_t stride) {
  input_of(input, picture, tiles, factors, stride);
}

PG_WIDEST void transform_input(const BFloat16 *input, Picture picture, Tiles tiles, BFloat16 *factors,
                               int64_t stride) {
  input_of(input, picture, tiles, factors, stride);
}

PG_WIDEST void transform_output(const float *products, int64_t stride, Picture picture, Tiles tiles,
                                Epilogue epilogue, float *output) {
  output_of(products, stride, picture, tiles, epilogue, output);
}

PG_WIDEST void transform_output(const float *products, int64_t stride, Picture picture, Tiles tiles,
                                Epilogue epilogue, BFloat16 *output) {
  output_of(products, stride, picture, tiles, epilogue, output);
}

PG_WIDEST void transform_gradient(const float *gradient, Picture picture, Tiles tiles, float *factors,
                                  int64_t stride) {
  gradient_of(gradient, picture, tiles, factors, stride);
}

PG_WIDEST void transform_gradient(const BFloat16 *gradient, Picture picture, Tiles tiles, float *factors,
                                  int64_t stride) {
  gradient_of(gradient, picture, tiles, factors, stride);
}

} // namespace protoguard
