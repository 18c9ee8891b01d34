#include "bytes.h"

#include <algorithm>
#include <cstring>

// The compiler writes each loop twice, and the loader picks by the processor. Wider registers would
// wait for memory.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define PG_WIDEST __attribute__((target_clones("avx2", "default")))
#else
#define PG_WIDEST
#endif

namespace protoguard {

namespace {

// In this order a NaN is 255.
inline uint8_t steps(float value, float inverse_step) {
  return static_cast<uint8_t>(
      static_cast<int32_t>(std::max(0.0f, std::min(255.0f, value * inverse_step + 0.5f))));
}

} // namespace

PG_WIDEST void quantize(const float *values, const float *inverse_steps, size_t channels, uint8_t *out) {
  for (size_t i = 0; i < channels; ++i) {
    out[i] = steps(values[i], inverse_steps[i]);
  }
}

PG_WIDEST void quantize(const uint16_t *values, const float *inverse_steps, size_t channels, uint8_t *out) {
  for (size_t i = 0; i < channels; ++i) {
    const uint32_t bits = static_cast<uint32_t>(values[i]) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    out[i] = steps(value, inverse_steps[i]);
  }
}

PG_WIDEST void finish(const int32_t *sums, const float *scales, const float *bias, size_t channels, uint8_t *out) {
  for (size_t i = 0; i < channels; ++i) {
    out[i] = steps(static_cast<float>(sums[i]) * scales[i] + bias[i], 1.0f);
  }
}

PG_WIDEST void largest(const uint8_t *const pixels[4], size_t channels, uint8_t *out) {
  const uint8_t *a = pixels[0], *b = pixels[1], *c = pixels[2], *d = pixels[3];
  for (size_t i = 0; i < channels; ++i) {
    out[i] = std::max(std::max(a[i], b[i]), std::max(c[i], d[i]));
  }
}

} // namespace protoguard
