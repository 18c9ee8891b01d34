// What libtorch has and tch does not bind. Tensors cross as tch's own pointers (at::Tensor*).
//
// Every function returns null on success and otherwise a message to be freed with pg_free_message;
// no C++ exception leaves this file.

#include "bytes.h"
#include "guard.h"
#include "parallel.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace {

using at::Tensor;
using protoguard::guarded;
using protoguard::in_parallel;
using protoguard::largest;
using protoguard::quantize;
using Scalars = c10::List<std::optional<at::Scalar>>;

template <typename Signature>
auto find(const char *name, const char *overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

using Convolution = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, at::IntArrayRef,
                           at::IntArrayRef, at::IntArrayRef, int64_t, std::string_view, Scalars,
                           std::optional<std::string_view>);
using UpConvolution = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, at::IntArrayRef,
                             at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t, std::string_view,
                             Scalars, std::optional<std::string_view>);
using ConvolutionInto = Tensor &(Tensor &, const Tensor &, const Tensor &, const std::optional<Tensor> &,
                                 at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t, std::string_view,
                                 std::optional<at::Scalar>, std::optional<std::string_view>, Scalars,
                                 std::optional<std::string_view>);
using PackQuantized = Tensor(Tensor, Tensor, double, int64_t, c10::List<int64_t>, c10::List<int64_t>,
                             c10::List<int64_t>, int64_t, std::optional<c10::List<int64_t>>);
using QuantizedConvolution = Tensor(Tensor, double, int64_t, Tensor, Tensor, Tensor, std::optional<Tensor>,
                                    c10::List<int64_t>, c10::List<int64_t>, c10::List<int64_t>, int64_t, double,
                                    int64_t, std::optional<at::ScalarType>, std::string_view, Scalars,
                                    std::optional<std::string_view>);
using Reorder = Tensor(const Tensor &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t,
                       at::OptionalIntArrayRef);
using ReorderUp = Tensor(const Tensor &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                         int64_t, at::OptionalIntArrayRef);

// All convolutions of the network are 3x3 with padding 1.
constexpr std::array<int64_t, 2> kOne{1, 1};
constexpr std::array<int64_t, 2> kTwo{2, 2};

// The same numbers for operators that want a list of their own.
c10::List<int64_t> ones() { return c10::List<int64_t>({1, 1}); }

// Bytes of a few pixels that one thread should have to do at least.
constexpr int64_t kGrain = 1 << 15;
// Bytes that one thread should have to copy at least.
constexpr int64_t kCopied = 1 << 20;

Tensor empty_bytes(const Tensor &like, at::IntArrayRef size) {
  return at::empty(size, like.options().dtype(at::kByte).memory_format(at::MemoryFormat::ChannelsLast));
}

std::optional<Tensor> present(const Tensor *tensor) {
  return tensor == nullptr ? std::nullopt : std::optional<Tensor>(*tensor);
}

} // namespace

extern "C" {

void pg_free_message(char *message) { std::free(message); }

// Lays the weights of a 3x3 convolution out as oneDNN likes them for an input of that size.
char *pg_pack_convolution(const Tensor *weight, const int64_t *input_size, Tensor **packed) {
  return guarded([&] {
    static const auto op = find<Reorder>("mkldnn::_reorder_convolution_weight", "");
    const at::IntArrayRef size(input_size, 4);
    *packed = new Tensor(op.call(*weight, kOne, kOne, kOne, 1, size));
  });
}

// The same for an up-convolution: stride 2, output padding 1.
char *pg_pack_up_convolution(const Tensor *weight, const int64_t *input_size, Tensor **packed) {
  return guarded([&] {
    static const auto op = find<ReorderUp>("mkldnn::_reorder_convolution_transpose_weight", "");
    const at::IntArrayRef size(input_size, 4);
    *packed = new Tensor(op.call(*weight, kOne, kOne, kTwo, kOne, 1, size));
  });
}

// How packed weights lie in memory, as bytes that are equal where the layouts are.
char *pg_layout(const Tensor *packed, Tensor **layout) {
  return guarded([&] {
    static const auto op = find<Tensor(const Tensor &)>("mkldnn::_get_mkldnn_serialized_md", "");
    *layout = new Tensor(op.call(*packed));
  });
}

// activation: "none", "relu" or "tanh".
char *pg_convolution(const Tensor *input, const Tensor *weight, const Tensor *bias, const char *activation,
                     Tensor **output) {
  return guarded([&] {
    static const auto op = find<Convolution>("mkldnn::_convolution_pointwise", "");
    *output = new Tensor(
        op.call(*input, *weight, present(bias), kOne, kOne, kOne, 1, activation, Scalars(), std::nullopt));
  });
}

char *pg_up_convolution(const Tensor *input, const Tensor *weight, const Tensor *bias, const char *activation,
                        Tensor **output) {
  return guarded([&] {
    static const auto op = find<UpConvolution>("mkldnn::_convolution_transpose_pointwise", "");
    *output = new Tensor(op.call(*input, *weight, present(bias), kOne, kOne, kTwo, kOne, 1, activation,
                                 Scalars(), std::nullopt));
  });
}

// sum = relu(sum + convolution(input)), in place.
char *pg_convolution_into(Tensor *sum, const Tensor *input, const Tensor *weight, const Tensor *bias) {
  return guarded([&] {
    static const auto op = find<ConvolutionInto>("mkldnn::_convolution_pointwise_", "binary");
    op.call(*sum, *input, *weight, present(bias), kOne, kOne, kOne, 1, "add", std::nullopt, "relu", Scalars(),
            std::nullopt);
  });
}

// x [B, C, h, w] channels last, f32 or bf16 and not negative, times inverse_steps [C] as u8; after `left`
// [B, L, h, w] u8 in every pixel, where there is one.
char *pg_quantize(const Tensor *left, const Tensor *x, const Tensor *inverse_steps, Tensor **output) {
  return guarded([&] {
    const Tensor input = x->contiguous(at::MemoryFormat::ChannelsLast);
    const bool narrow = input.scalar_type() == at::kBFloat16;
    TORCH_CHECK(narrow || input.scalar_type() == at::kFloat, "f32 or bf16 is expected to be quantized");
    const Tensor beside = left == nullptr ? Tensor() : left->contiguous(at::MemoryFormat::ChannelsLast);
    const int64_t before = left == nullptr ? 0 : beside.size(1);
    const int64_t channels = input.size(1), all = before + channels;
    Tensor made = empty_bytes(input, {input.size(0), all, input.size(2), input.size(3)});
    const int64_t pixels = input.numel() / channels;
    const auto *from = static_cast<const char *>(input.const_data_ptr());
    const auto *kept = left == nullptr ? nullptr : static_cast<const uint8_t *>(beside.const_data_ptr());
    auto *to = static_cast<uint8_t *>(made.mutable_data_ptr());
    TORCH_CHECK(inverse_steps->numel() == channels, "a step a channel is expected");
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
char *pg_halve(const Tensor *x, Tensor **output) {
  return guarded([&] {
    const Tensor input = x->contiguous(at::MemoryFormat::ChannelsLast);
    TORCH_CHECK(input.scalar_type() == at::kByte, "u8 is expected to be pooled");
    const int64_t channels = input.size(1), height = input.size(2) / 2, width = input.size(3) / 2;
    const int64_t row = input.size(3) * channels;
    Tensor made = empty_bytes(input, {input.size(0), channels, height, width});
    const auto *from = static_cast<const uint8_t *>(input.const_data_ptr());
    auto *to = static_cast<uint8_t *>(made.mutable_data_ptr());
    const int64_t rows = input.size(0) * height;
    in_parallel(rows, std::max<int64_t>(1, kGrain / row), [&](int64_t begin, int64_t end) {
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

// Lays the s8 weights of a 3x3 convolution out for u8 inputs of that size.
char *pg_pack_quantized(const Tensor *weight, const Tensor *scales, const int64_t *input_size, Tensor **packed) {
  return guarded([&] {
    static const auto op = find<PackQuantized>("onednn::qconv_prepack", "");
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

// u8 [B, C, h, w] channels last with s8 weights, summed in 32 bits.
char *pg_quantized_convolution(const PgQuantizedConvolution *c, Tensor **output) {
  return guarded([&] {
    static const auto op = find<QuantizedConvolution>("onednn::qconv2d_pointwise", "");
    const auto kind = c->narrow ? at::kByte : c->bf16 ? at::kBFloat16 : at::kFloat;
    *output = new Tensor(op.call(*c->input, 1.0, 0, *c->weight, *c->scales, *c->zero_points, present(c->bias),
                                 ones(), ones(), ones(), 1, 1.0, 0, kind,
                                 c->relu ? "relu" : "none", Scalars(), std::nullopt));
  });
}

// Matrix products and convolutions in bf16 from here to the end of the scope, on the CPU. Returns the
// previous state in `enabled`.
char *pg_autocast_cpu(bool *enabled) {
  return guarded([&] {
    const bool before = at::autocast::is_autocast_enabled(at::kCPU);
    if (*enabled) {
      at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
      at::autocast::set_autocast_enabled(at::kCPU, true);
    } else {
      at::autocast::set_autocast_enabled(at::kCPU, false);
      at::autocast::clear_cache();
    }
    *enabled = before;
  });
}

// Leaves parameters without gradients: the next backward pass puts its own in their place, where zeros would
// have to be written and added to.
char *pg_forget_gradients(Tensor *const *parameters, size_t count) {
  return guarded([&] {
    for (size_t i = 0; i < count; ++i) {
      parameters[i]->mutable_grad().reset();
    }
  });
}

struct PgAdamTensors {
  Tensor *const *parameters;
  Tensor *const *gradients;
  Tensor *const *first_moments;
  Tensor *const *second_moments;
  // One scalar f32 tensor a parameter; the step counts itself up before the call.
  Tensor *const *steps;
  size_t count;
};

struct PgAdamConstants {
  double learning_rate;
  double beta1;
  double beta2;
  double epsilon;
};

// One step of Adam over all parameters in one pass over memory.
char *pg_fused_adam(const PgAdamTensors *tensors, const PgAdamConstants *constants) {
  return guarded([&] {
    const auto list = [&](Tensor *const *pointers) {
      std::vector<Tensor> made;
      made.reserve(tensors->count);
      for (size_t i = 0; i < tensors->count; ++i) {
        made.push_back(*pointers[i]);
      }
      return made;
    };
    const at::NoGradGuard no_grad;
    auto parameters = list(tensors->parameters);
    auto gradients = list(tensors->gradients);
    auto first = list(tensors->first_moments);
    auto second = list(tensors->second_moments);
    at::_fused_adam_(parameters, gradients, first, second, {}, list(tensors->steps), constants->learning_rate,
                     constants->beta1, constants->beta2, /*weight_decay=*/0.0, constants->epsilon,
                     /*amsgrad=*/false, /*maximize=*/false);
  });
}

// Whether convolutions and matrix products of GPUs may use TF32.
char *pg_allow_tf32(bool allowed) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(allowed);
    at::globalContext().setAllowTF32CuDNN(allowed);
  });
}

// Whether operations without a deterministic form are refused.
char *pg_deterministic(bool only) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(only, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(only);
    if (only) {
      at::globalContext().setBenchmarkCuDNN(false);
    }
  });
}

// Moves the calling thread from a GPU's default stream, which all threads share, to one of its own.
char *pg_own_stream(int8_t gpu) {
  return guarded([&] {
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    const c10::Device device(at::kCUDA, gpu);
    if (guard.getStream(device) == guard.getDefaultStream(device)) {
      guard.exchangeStream(guard.getStreamFromGlobalPool(device));
    }
  });
}

// Bytes from pieces of the same length, one after the other: on the CPU where `gpu` is negative, on that GPU
// otherwise. Memory that the driver has pinned is copied from while the thread goes on.
char *pg_upload(const uint8_t *const *pieces, const int64_t *size, size_t dimensions, int8_t gpu,
                Tensor **uploaded) {
  return guarded([&] {
    const at::IntArrayRef shape(size, dimensions);
    Tensor host = at::empty(shape, at::TensorOptions().dtype(at::kByte).pinned_memory(gpu >= 0));
    const int64_t count = shape[0] * shape[1], bytes = host.numel() / std::max<int64_t>(1, count);
    auto *to = host.mutable_data_ptr<uint8_t>();
    in_parallel(count, std::max<int64_t>(1, kCopied / std::max<int64_t>(1, bytes)),
                     [&](int64_t begin, int64_t end) {
                       for (int64_t piece = begin; piece < end; ++piece) {
                         std::memcpy(to + piece * bytes, pieces[piece], bytes);
                       }
                     });
    *uploaded = new Tensor(gpu < 0 ? std::move(host)
                                   : host.to(c10::Device(at::kCUDA, gpu), at::kByte, /*non_blocking=*/true));
  });
}

// The numbers of an f32 tensor, wherever it is, in `count` pieces of the same length. Those of a GPU come through
// memory that its driver has pinned.
char *pg_download(const Tensor *tensor, float *const *pieces, size_t count) {
  return guarded([&] {
    TORCH_CHECK(tensor->scalar_type() == at::kFloat, "f32 is expected to be downloaded");
    Tensor host = tensor->contiguous();
    if (!host.is_cpu()) {
      const Tensor pinned = at::empty(host.sizes(), at::TensorOptions().dtype(at::kFloat).pinned_memory(true));
      pinned.copy_(host, /*non_blocking=*/true);
      const c10::impl::VirtualGuardImpl guard(host.device().type());
      guard.synchronizeStream(guard.getStream(host.device()));
      host = pinned;
    }
    const int64_t parts = static_cast<int64_t>(count), length = host.numel() / std::max<int64_t>(1, parts);
    const auto *from = host.const_data_ptr<float>();
    const int64_t bytes = length * static_cast<int64_t>(sizeof(float));
    in_parallel(parts, std::max<int64_t>(1, kCopied / std::max<int64_t>(1, bytes)),
                [&](int64_t begin, int64_t end) {
                  for (int64_t piece = begin; piece < end; ++piece) {
                    std::memcpy(pieces[piece], from + piece * length, bytes);
                  }
                });
  });
}

// Gives a GPU's cached blocks back to its driver. Whether there is CUDA is asked of a registry: the context
// would remember the answer, and a library that is opened later would never be looked into.
char *pg_empty_cache() {
  return guarded([] {
    if (c10::impl::hasDeviceGuardImpl(at::kCUDA)) {
      at::getDeviceAllocator(at::kCUDA)->emptyCache();
    }
  });
}

} // extern "C"
