// What libtorch has and tch does not bind. Tensors cross as tch's own pointers (at::Tensor*).
//
// Every function returns null on success and otherwise a message to be freed with pg_free_message;
// no C++ exception leaves this file.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <vector>

namespace {

using at::Tensor;
using Scalars = c10::List<std::optional<at::Scalar>>;

template <typename Work>
char *guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception that is no std::exception");
  }
}

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
using Reorder = Tensor(const Tensor &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, int64_t,
                       at::OptionalIntArrayRef);
using ReorderUp = Tensor(const Tensor &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                         int64_t, at::OptionalIntArrayRef);

// All convolutions of the network are 3x3 with padding 1.
constexpr std::array<int64_t, 2> kOne{1, 1};
constexpr std::array<int64_t, 2> kTwo{2, 2};

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
  });
}

// Gives a GPU's cached blocks back to its driver.
char *pg_empty_cache() {
  return guarded([] {
    if (at::globalContext().hasCUDA()) {
      at::getDeviceAllocator(at::kCUDA)->emptyCache();
    }
  });
}

} // extern "C"
