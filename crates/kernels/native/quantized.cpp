// Activations that are u8: what makes them, what halves them, and oneDNN's convolutions of them.

#include "bytes.h"
#include "checks.h"
#include "guard.h"
#include "operators.h"
#include "parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>

namespace {

using at::Tensor;
using protoguard::find;
using protoguard::guarded;
using protoguard::in_parallel;
using protoguard::largest;
using protoguard::quantize;
using protoguard::Scalars;
using PackQuantized = Tensor(Tensor, Tensor, double, int64_t, c10::List<int64_t>, c10::List<int64_t>,
                             c10::List<int64_t>, int64_t, std::optional<c10::List<int64_t>>);
using QuantizedConvolution = Tensor(Tensor, double, int64_t, Tensor, Tensor, Tensor, std::optional<Tensor>,
                                    c10::List<int64_t>, c10::List<int64_t>, c10::List<int64_t>, int64_t, double,
                                    int64_t, std::optional<at::ScalarType>, std::string_view, Scalars,
                                    std::optional<std::string_view>);

// Stride and padding, for operators that want a list of their own.
c10::List<int64_t> ones() { return c10::List<int64_t>({1, 1}); }

// Bytes of a few pixels that one thread should have to do at least.
constexpr int64_t kGrain = 1 << 15;

Tensor empty_bytes(const Tensor &like, at::IntArrayRef size) {
  return at::empty(size, like.options().dtype(at::kByte).memory_format(at::MemoryFormat::ChannelsLast));
}

} // namespace

extern "C" {

// x [B, C, h, w] channels last, f32 or bf16 and not negative, times inverse_steps [C] as u8; after `left`
// [B, L, h, w] u8 in every pixel, where there is one.
PgFault pg_quantize(const Tensor *left, const Tensor *x, const Tensor *inverse_steps, Tensor **output) {
  return guarded([&] {
    const bool narrow = x->scalar_type() == at::kBFloat16;
    protoguard::check_picture(*x, narrow ? at::kBFloat16 : at::kFloat, "what is quantized");
    const Tensor input = x->contiguous(at::MemoryFormat::ChannelsLast);
    if (left != nullptr) {
      protoguard::check_picture(*left, at::kByte, "what lies beside it");
      TORCH_CHECK(left->size(0) == x->size(0) && left->size(2) == x->size(2) && left->size(3) == x->size(3),
                  "what lies beside it has the size ", left->sizes(), ", and what is quantized ", x->sizes());
    }
    const Tensor beside = left == nullptr ? Tensor() : left->contiguous(at::MemoryFormat::ChannelsLast);
    const int64_t before = left == nullptr ? 0 : beside.size(1);
    const int64_t channels = input.size(1), all = before + channels;
    Tensor made = empty_bytes(input, {input.size(0), all, input.size(2), input.size(3)});
    const int64_t pixels = input.numel() / channels;
    const auto *from = static_cast<const char *>(input.const_data_ptr());
    const auto *kept = left == nullptr ? nullptr : static_cast<const uint8_t *>(beside.const_data_ptr());
    auto *to = static_cast<uint8_t *>(made.mutable_data_ptr());
    protoguard::check_numbers(*inverse_steps, channels, at::kFloat, "a step by channel");
    const Tensor dense = inverse_steps->contiguous();
    const float *steps = dense.const_data_ptr<float>();
    in_parallel(pixels, std::max<int64_t>(1, kGrain / all), [&](int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; ++pixel) {
        uint8_t *out = to + pixel * all;
        if (before > 0) {
          std::memcpy(out, kept + pixel * before, before);
        }
        const int64_t first = pixel * channels;
        if (narrow) {
          quantize(reinterpret_cast<const uint16_t *>(from) + first, steps, channels, out + before);
        } else {
          quantize(reinterpret_cast<const float *>(from) + first, steps, channels, out + before);
        }
      }
    });
    *output = new Tensor(std::move(made));
  });
}

// Max pooling 2x2 of u8 [B, C, h, w] channels last, without the indices that libtorch's makes.
PgFault pg_halve(const Tensor *x, Tensor **output) {
  return guarded([&] {
    protoguard::check_picture(*x, at::kByte, "what is pooled");
    const Tensor input = x->contiguous(at::MemoryFormat::ChannelsLast);
    const int64_t channels = input.size(1), height = input.size(2) / 2, width = input.size(3) / 2;
    const int64_t row = input.size(3) * channels;
    Tensor made = empty_bytes(input, {input.size(0), channels, height, width});
    const auto *from = static_cast<const uint8_t *>(input.const_data_ptr());
    auto *to = static_cast<uint8_t *>(made.mutable_data_ptr());
    const int64_t rows = input.size(0) * height;
    in_parallel(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, row)), [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) {
        const uint8_t *above = from + (y / height * input.size(2) + y % height * 2) * row;
        uint8_t *out = to + y * width * channels;
        for (int64_t x = 0; x < width; ++x, above += 2 * channels, out += channels) {
          const uint8_t *const four[] = {above, above + channels, above + row, above + row + channels};
          largest(four, channels, out);
        }
      }
    });
    *output = new Tensor(std::move(made));
  });
}

// Lays the s8 weights of a 3x3 convolution, [outputs, inputs, 3, 3], out for u8 inputs of that size.
PgFault pg_pack_quantized(const Tensor *weight, const Tensor *scales, const int64_t *input_size, Tensor **packed) {
  return guarded([&] {
    static const auto op = find<PackQuantized>("onednn::qconv_prepack", "");
    TORCH_CHECK(weight->dim() == 4 && weight->size(2) == 3 && weight->size(3) == 3 && weight->numel() > 0,
                "weights have the size ", weight->sizes(), "; [outputs, inputs, 3, 3] is expected");
    protoguard::check_numbers(*weight, weight->numel(), at::kChar, "weights");
    TORCH_CHECK(weight->is_contiguous(), "weights have the strides ", weight->strides(), "; dense ones are expected");
    protoguard::check_numbers(*scales, weight->size(0), at::kFloat, "what a step is worth by output");
    TORCH_CHECK(scales->is_contiguous(), "what a step is worth by output is not dense");
    TORCH_CHECK(input_size[1] == weight->size(1), "inputs of ", input_size[1], " channels, weights of ",
                weight->size(1));
    c10::List<int64_t> size;
    for (int i = 0; i < 4; ++i) {
      size.push_back(input_size[i]);
    }
    *packed = new Tensor(op.call(*weight, *scales, 1.0, 0, ones(), ones(), ones(), 1, size));
  });
}

struct PgQuantizedConvolution {
  const Tensor *input;
  const Tensor *weight;
  // What one step of the weights is worth, by output channel, in f32.
  const Tensor *scales;
  const Tensor *zero_points;
  const Tensor *bias;
  bool relu;
  // Whether the output is u8, in steps of 1; otherwise bf16 or f32.
  bool narrow;
  bool bf16;
};
static_assert(sizeof(PgQuantizedConvolution) == 48 && offsetof(PgQuantizedConvolution, input) == 0 &&
                  offsetof(PgQuantizedConvolution, weight) == 8 && offsetof(PgQuantizedConvolution, scales) == 16 &&
                  offsetof(PgQuantizedConvolution, zero_points) == 24 &&
                  offsetof(PgQuantizedConvolution, bias) == 32 && offsetof(PgQuantizedConvolution, relu) == 40 &&
                  offsetof(PgQuantizedConvolution, narrow) == 41 && offsetof(PgQuantizedConvolution, bf16) == 42,
              "src/native/quantized.rs mirrors this layout");

// u8 [B, C, h, w] channels last with s8 weights, summed in 32 bits.
PgFault pg_quantized_convolution(const PgQuantizedConvolution *c, Tensor **output) {
  return guarded([&] {
    static const auto op = find<QuantizedConvolution>("onednn::qconv2d_pointwise", "");
    protoguard::check_picture(*c->input, at::kByte, "the input of a quantized convolution");
    // Packed weights are oneDNN's own, and tell their sizes all the same.
    const Tensor &weight = *c->weight;
    TORCH_CHECK(weight.is_mkldnn() && weight.scalar_type() == at::kChar && weight.dim() == 4,
                "weights are packed s8 of four dimensions, not ", weight.layout(), " ", weight.scalar_type(), " of ",
                weight.dim());
    TORCH_CHECK(weight.size(1) == c->input->size(1), "weights of ", c->input->size(1), " inputs are expected, not of ",
                weight.size(1));
    const int64_t outputs = weight.size(0);
    for (const Tensor *numbers : {c->scales, c->zero_points, c->bias}) {
      TORCH_CHECK(numbers->is_contiguous(), "a number by output is not dense");
    }
    protoguard::check_numbers(*c->scales, outputs, at::kFloat, "what a step is worth by output");
    protoguard::check_numbers(*c->zero_points, outputs, at::kInt, "a zero by output");
    protoguard::check_numbers(*c->bias, outputs, at::kFloat, "the bias");
    const auto kind = c->narrow ? at::kByte : c->bf16 ? at::kBFloat16 : at::kFloat;
    *output = new Tensor(op.call(*c->input, 1.0, 0, *c->weight, *c->scales, *c->zero_points, *c->bias,
                                 ones(), ones(), ones(), 1, 1.0, 0, kind,
                                 c->relu ? "relu" : "none", Scalars(), std::nullopt));
  });
}

} // extern "C"
