// What libtorch has and tch does not bind. Tensors cross as tch's own pointers (at::Tensor*).
//
// No C++ exception leaves these files: every function that can fail returns a PgFault.

#include "guard.h"
#include "operators.h"
#include "parallel.h"

#include <ATen/ATen.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace {

using at::Tensor;
using protoguard::guarded;
using protoguard::in_parallel;
using protoguard::find;
using protoguard::present;
using protoguard::Scalars;

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
using Reorder = Tensor(const Tensor &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t,
                       at::OptionalIntArrayRef);
using ReorderUp = Tensor(const Tensor &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                         int64_t, at::OptionalIntArrayRef);

// All convolutions of the network are 3x3 with padding 1.
constexpr std::array<int64_t, 2> kOne{1, 1};
constexpr std::array<int64_t, 2> kTwo{2, 2};

// Bytes that one thread should have to copy at least.
constexpr int64_t kCopied = 1 << 20;

// libtorch reads the lists of an optimiser number by number as they lie in memory.
void check_alike(const Tensor &parameter, const Tensor &other, const char *what) {
  TORCH_CHECK(other.defined() && other.sizes() == parameter.sizes() && other.dtype() == parameter.dtype() &&
                  other.device() == parameter.device(),
              what, " of a parameter of the size ", parameter.sizes(), " has another size, kind or device");
  const bool dense = parameter.is_non_overlapping_and_dense() && other.is_non_overlapping_and_dense();
  for (int64_t side = 0; side < parameter.dim(); ++side) {
    TORCH_CHECK(dense && (parameter.size(side) <= 1 || parameter.stride(side) == other.stride(side)), what,
                " of a parameter of the size ", parameter.sizes(), " lies in memory otherwise");
  }
}

} // namespace

extern "C" {

void pg_free_message(char *message) { std::free(message); }

// Lays the weights of a 3x3 convolution out as oneDNN likes them for an input of that size.
PgFault pg_pack_convolution(const Tensor *weight, const int64_t *input_size, Tensor **packed) {
  return guarded([&] {
    static const auto op = find<Reorder>("mkldnn::_reorder_convolution_weight", "");
    const at::IntArrayRef size(input_size, 4);
    *packed = new Tensor(op.call(*weight, kOne, kOne, kOne, 1, size));
  });
}

// The same for an up-convolution: stride 2, output padding 1.
PgFault pg_pack_up_convolution(const Tensor *weight, const int64_t *input_size, Tensor **packed) {
  return guarded([&] {
    static const auto op = find<ReorderUp>("mkldnn::_reorder_convolution_transpose_weight", "");
    const at::IntArrayRef size(input_size, 4);
    *packed = new Tensor(op.call(*weight, kOne, kOne, kTwo, kOne, 1, size));
  });
}

// How packed weights lie in memory, as bytes that are equal where the layouts are.
PgFault pg_layout(const Tensor *packed, Tensor **layout) {
  return guarded([&] {
    static const auto op = find<Tensor(const Tensor &)>("mkldnn::_get_mkldnn_serialized_md", "");
    *layout = new Tensor(op.call(*packed));
  });
}

// activation: "none", "relu" or "tanh".
PgFault pg_convolution(const Tensor *input, const Tensor *weight, const Tensor *bias, const char *activation,
                     Tensor **output) {
  return guarded([&] {
    static const auto op = find<Convolution>("mkldnn::_convolution_pointwise", "");
    *output = new Tensor(
        op.call(*input, *weight, present(bias), kOne, kOne, kOne, 1, activation, Scalars(), std::nullopt));
  });
}

PgFault pg_up_convolution(const Tensor *input, const Tensor *weight, const Tensor *bias, const char *activation,
                        Tensor **output) {
  return guarded([&] {
    static const auto op = find<UpConvolution>("mkldnn::_convolution_transpose_pointwise", "");
    *output = new Tensor(op.call(*input, *weight, present(bias), kOne, kOne, kTwo, kOne, 1, activation,
                                 Scalars(), std::nullopt));
  });
}

// sum = relu(sum + convolution(input)), in place.
PgFault pg_convolution_into(Tensor *sum, const Tensor *input, const Tensor *weight, const Tensor *bias) {
  return guarded([&] {
    static const auto op = find<ConvolutionInto>("mkldnn::_convolution_pointwise_", "binary");
    op.call(*sum, *input, *weight, present(bias), kOne, kOne, kOne, 1, "add", std::nullopt, "relu", Scalars(),
            std::nullopt);
  });
}

// Leaves parameters without gradients: the next backward pass puts its own in their place, where zeros would
// have to be written and added to.
PgFault pg_forget_gradients(Tensor *const *parameters, size_t count) {
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

static_assert(sizeof(PgAdamTensors) == 48 && offsetof(PgAdamTensors, parameters) == 0 &&
                  offsetof(PgAdamTensors, gradients) == 8 && offsetof(PgAdamTensors, first_moments) == 16 &&
                  offsetof(PgAdamTensors, second_moments) == 24 && offsetof(PgAdamTensors, steps) == 32 &&
                  offsetof(PgAdamTensors, count) == 40,
              "src/native/adam.rs mirrors this layout");

struct PgAdamConstants {
  double learning_rate;
  double beta1;
  double beta2;
  double epsilon;
};
static_assert(sizeof(PgAdamConstants) == 32 && offsetof(PgAdamConstants, learning_rate) == 0 &&
                  offsetof(PgAdamConstants, beta1) == 8 && offsetof(PgAdamConstants, beta2) == 16 &&
                  offsetof(PgAdamConstants, epsilon) == 24,
              "src/native/adam.rs mirrors this layout");

// One step of Adam over all parameters in one pass over memory.
PgFault pg_fused_adam(const PgAdamTensors *tensors, const PgAdamConstants *constants) {
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
    const auto steps = list(tensors->steps);
    for (size_t i = 0; i < tensors->count; ++i) {
      const Tensor &parameter = parameters[i];
      check_alike(parameter, gradients[i], "the gradient");
      check_alike(parameter, first[i], "the first moment");
      check_alike(parameter, second[i], "the second moment");
      TORCH_CHECK(steps[i].numel() == 1 && steps[i].scalar_type() == at::kFloat, "a step is one f32 a parameter");
    }
    at::_fused_adam_(parameters, gradients, first, second, {}, steps, constants->learning_rate,
                     constants->beta1, constants->beta2, /*weight_decay=*/0.0, constants->epsilon,
                     /*amsgrad=*/false, /*maximize=*/false);
  });
}

// Whether convolutions and matrix products of GPUs may use TF32.
PgFault pg_allow_tf32(bool allowed) {
  return guarded([&] {
    at::globalContext().setAllowTF32CuBLAS(allowed);
    at::globalContext().setAllowTF32CuDNN(allowed);
  });
}

// Whether operations without a deterministic form are refused.
PgFault pg_deterministic(bool only) {
  return guarded([&] {
    at::globalContext().setDeterministicAlgorithms(only, /*warn_only=*/false);
    at::globalContext().setDeterministicCuDNN(only);
    if (only) {
      at::globalContext().setBenchmarkCuDNN(false);
    }
  });
}

// Moves the calling thread from a GPU's default stream, which all threads share, to one of its own.
PgFault pg_own_stream(int8_t gpu) {
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
PgFault pg_upload(const uint8_t *const *pieces, const int64_t *size, size_t dimensions, int8_t gpu,
                Tensor **uploaded) {
  return guarded([&] {
    const at::IntArrayRef shape(size, dimensions);
    TORCH_CHECK(dimensions >= 2, "a batch and a number of pieces are expected");
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
PgFault pg_download(const Tensor *tensor, float *const *pieces, size_t count) {
  return guarded([&] {
    TORCH_CHECK(tensor->scalar_type() == at::kFloat, "f32 is expected to be downloaded");
    TORCH_CHECK(count == 0 ? tensor->numel() == 0 : tensor->numel() % static_cast<int64_t>(count) == 0,
                tensor->numel(), " numbers do not make ", count, " equal pieces");
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

// Requests for memory of a GPU that could not be met, so far.
PgFault pg_refused_gpu_memory(int8_t gpu, uint64_t *count) {
  return guarded([&] {
    const auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(gpu);
    *count = static_cast<uint64_t>(stats.num_ooms);
  });
}

// Waits for what this thread has asked of a GPU: one that is lost answers nothing but faults.
PgFault pg_await_gpu(int8_t gpu) {
  return guarded([&] {
    const c10::impl::VirtualGuardImpl guard(at::kCUDA);
    guard.synchronizeStream(guard.getStream(c10::Device(at::kCUDA, gpu)));
  });
}

// Whether libtorch's convolutions take bf16 on this processor.
PgFault pg_bf16_convolutions(bool *supported) {
  return guarded([&] {
    static const auto op = find<bool()>("mkldnn::_is_mkldnn_bf16_supported", "");
    *supported = op.call();
  });
}

// Gives a GPU's cached blocks back to its driver. Whether there is CUDA is asked of a registry: the context
// would remember the answer, and a library that is opened later would never be looked into.
PgFault pg_empty_cache() {
  return guarded([] {
    if (c10::impl::hasDeviceGuardImpl(at::kCUDA)) {
      at::getDeviceAllocator(at::kCUDA)->emptyCache();
    }
  });
}

} // extern "C"
