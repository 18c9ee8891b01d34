// Loops over bytes, for activations that are u8.

#pragma once

#include <cstddef>
#include <cstdint>

namespace protoguard {

// round(x * inverse_step) within 0 and 255, channel by channel.
void quantize(const float *values, const float *inverse_steps, size_t channels, uint8_t *out);

// The same of bf16, which is the upper half of a float.
void quantize(const uint16_t *values, const float *inverse_steps, size_t channels, uint8_t *out);

// round(sum * scale + bias) within 0 and 255, channel by channel.
void finish(const int32_t *sums, const float *scales, const float *bias, size_t channels, uint8_t *out);

// The largest of four pixels, channel by channel.
void largest(const uint8_t *const pixels[4], size_t channels, uint8_t *out);

} // namespace protoguard
