// A 3x3 convolution by Winograd's minimal filtering: the transforms of winograd.h around oneDNN's small matrix
// products. Its gradient by the input is another such convolution, and that by the weights is at every point a
// product of both sides' transforms over all tiles.

#include "brgemm.h"
#include "checks.h"
#include "guard.h"
#include "parallel.h"
#include "winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>

namespace {

using at::BFloat16;
using at::Tensor;
using protoguard::kProducts;
using protoguard::tiles_across;

// Bytes of a thread's factors and products, which should stay in its second cache.
constexpr int64_t kScratch = int64_t{1} << 20;
// Tiles that a thread takes at a time, at least: they share a pass over the weights.
constexpr int64_t kFewest = 64;
constexpr int64_t kMost = 128;
// Bytes of both sides' transforms that a weight's gradient multiplies at a time.
constexpr int64_t kPanel = int64_t{32} << 20;
// Numbers between two products: without them all 36 would fall into the same lines of the first cache.
constexpr int64_t kApart = 16;

int64_t tiles_at_a_time(int64_t all, int64_t bytes_a_tile) {
  const int64_t fit = kScratch / (kProducts * bytes_a_tile);
  const int64_t threads = at::get_num_threads();
  return std::max<int64_t>(1, std::min(std::clamp(fit, kFewest, kMost), (all + threads - 1) / threads));
}

struct Shape {
  int64_t batch;
  int64_t inputs;
  int64_t height;
  int64_t width;
  int64_t blocks;
  // Outputs of a block.
  int64_t block;
};

// `weights` [36, blocks, inputs, block], where they are bf16 with each two inputs side by side:
// [36, blocks, inputs / 2, block, 2].
template <typename Element, typename Factor>
void multiply(const Element *input, const Factor *weights, protoguard::Epilogue epilogue, Element *output,
              Shape shape) {
  const auto [batch, inputs, height, width, blocks, block] = shape;
  const int64_t outputs = blocks * block;
  const int64_t all = batch * tiles_across(height) * tiles_across(width);
  const int64_t taken = tiles_at_a_time(all, sizeof(Factor) * inputs + sizeof(float) * outputs);
  const bool paired = std::is_same_v<Factor, BFloat16>;
  protoguard::in_shares((all + taken - 1) / taken, at::get_num_threads(), [&](const protoguard::Share &share) {
    const protoguard::Products products(paired);
    const int64_t before = taken * inputs + kApart, after = taken * outputs + kApart;
    const Tensor scratch = at::empty({kProducts * after}, at::kFloat);
    const Tensor factors = at::empty({kProducts * before}, c10::CppTypeToScalarType<Factor>::value);
    float *m = scratch.mutable_data_ptr<float>();
    Factor *v = factors.mutable_data_ptr<Factor>();
    share.each([&](int64_t part) {
      const protoguard::Tiles tiles{part * taken, std::min(taken, all - part * taken)};
      protoguard::transform_input(input, {height, width, inputs}, tiles, v, before);
      for (int64_t product = 0; product < kProducts; ++product) {
        for (int64_t n = 0; n < blocks; ++n) {
          at::native::cpublas::brgemm(tiles.count, block, inputs, inputs, block, outputs, /*add_C=*/false,
                                      v + product * before, weights + (product * blocks + n) * inputs * block,
                                      m + product * after + n * block, paired);
        }
      }
      protoguard::transform_output(m, after, {height, width, outputs}, tiles, epilogue, output);
    });
  });
}

// G x G [36, 9] for the points 0, ±√½, ±√2 and infinity: a kernel's polynomial at every point of a tile, over what
// the other points make of it.
Tensor points(const Tensor &like) {
  const double third = 1.0 / 3.0, sixth = 1.0 / 6.0, root = std::sqrt(2.0);
  const std::array<double, 18> rows{
      1.0,          0.0,           0.0,    // 0
      -2.0 * third, -root * third, -third, // √½
      -2.0 * third, root * third,  -third, //
      sixth,        root * sixth,  third,  // √2
      sixth,        -root * sixth, third,  //
      0.0,          0.0,           1.0,    // infinity
  };
  const Tensor side = at::tensor(at::ArrayRef<double>(rows), like.options().dtype(at::kDouble)).view({6, 3});
  return at::kron(side, side).to(like.scalar_type());
}

// Outputs that a matrix product makes at a time: as many as divide a layer's, up to 64.
int64_t block_of(int64_t outputs) {
  int64_t block = 64;
  while (outputs % block != 0) {
    block -= protoguard::kLanes;
  }
  return block;
}

// G g Gt of `weight` [outputs, inputs, 3, 3], computed in its own kind, as `convolve` takes it.
Tensor transformed(const Tensor &weight, at::ScalarType factors) {
  TORCH_CHECK(weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3 && weight.numel() > 0,
              "a kernel has the size ", weight.sizes(), "; [outputs, inputs, 3, 3] is expected");
  TORCH_CHECK(weight.is_cpu(), "a kernel is on ", weight.device(), "; the CPU is expected");
  const int64_t outputs = weight.size(0), inputs = weight.size(1);
  TORCH_CHECK(inputs % protoguard::kLanes == 0 && outputs % protoguard::kLanes == 0, "channels are multiples of ",
              protoguard::kLanes);
  const int64_t block = block_of(outputs);
  const int64_t blocks = outputs / block;
  const Tensor taps = weight.reshape({blocks, block, inputs, 9}).permute({3, 0, 2, 1}).reshape({9, -1});
  const Tensor all = points(weight).mm(taps).to(factors);
  if (factors == at::kBFloat16) {
    return all.view({protoguard::kProducts, blocks, inputs / 2, 2, block}).transpose(3, 4).contiguous();
  }
  return all.view({protoguard::kProducts, blocks, inputs, block});
}

// `input` [B, inputs, h, w] f32 or bf16; `weights` transformed; `bias` f32 or undefined; `sum`, where it is defined,
// is added to in place.
Tensor convolve(const Tensor &picture, const Tensor &weights, const Tensor &bias, const Tensor &sum, bool relu) {
  const auto kind = picture.scalar_type() == at::kBFloat16 ? at::kBFloat16 : at::kFloat;
  protoguard::check_picture(picture, kind, "the input of a convolution");
  TORCH_CHECK(weights.is_cpu() && (weights.dim() == 4 || (weights.dim() == 5 && weights.size(4) == 2)),
              "weights have the size ", weights.sizes(), "; a transform on the CPU is expected");
  const Tensor input = picture.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t batch = input.size(0), inputs = input.size(1), height = input.size(2), width = input.size(3);
  const bool paired = weights.dim() == 5;
  const int64_t blocks = weights.size(1), block = weights.size(3), outputs = blocks * block;
  const int64_t fed = paired ? 2 * weights.size(2) : weights.size(2);
  TORCH_CHECK(weights.size(0) == kProducts && fed == inputs, "weights of ", inputs,
              " inputs are expected, not of ", fed);
  TORCH_CHECK(weights.is_contiguous() && weights.scalar_type() == (paired ? at::kBFloat16 : at::kFloat),
              "weights are of another kind or layout");
  TORCH_CHECK(inputs % protoguard::kLanes == 0 && block % protoguard::kLanes == 0 && outputs > 0,
              "channels are multiples of ", protoguard::kLanes);
  if (bias.defined()) {
    protoguard::check_numbers(bias, outputs, at::kFloat, "the bias");
    TORCH_CHECK(bias.is_contiguous(), "the bias has another layout");
  }
  Tensor output = sum.defined() ? sum
                                : at::empty({batch, outputs, height, width},
                                            input.options().memory_format(at::MemoryFormat::ChannelsLast));
  TORCH_CHECK(output.is_cpu() && output.is_contiguous(at::MemoryFormat::ChannelsLast) &&
                  output.dtype() == input.dtype() &&
                  output.sizes() == at::IntArrayRef({batch, outputs, height, width}),
              "what is added to has another shape, kind or layout");
  const protoguard::Epilogue epilogue{bias.defined() ? bias.const_data_ptr<float>() : nullptr, sum.defined(), relu};
  const Shape shape{batch, inputs, height, width, blocks, block};
  if (input.scalar_type() == at::kFloat) {
    TORCH_CHECK(!paired, "an f32 input takes weights in f32");
    multiply(input.const_data_ptr<float>(), weights.const_data_ptr<float>(), epilogue,
             output.mutable_data_ptr<float>(), shape);
  } else if (paired) {
    multiply(input.const_data_ptr<BFloat16>(), weights.const_data_ptr<BFloat16>(), epilogue,
             output.mutable_data_ptr<BFloat16>(), shape);
  } else {
    multiply(input.const_data_ptr<BFloat16>(), weights.const_data_ptr<float>(), epilogue,
             output.mutable_data_ptr<BFloat16>(), shape);
  }
  return output;
}

// Numbers [products][tiles][channels], with some apart.
Tensor room(int64_t tiles, int64_t channels) {
  const int64_t each = tiles * channels + kApart;
  return at::empty({kProducts * each}, at::kFloat).as_strided({kProducts, tiles, channels}, {each, channels, 1});
}

// The gradient by weights [outputs, inputs, 3, 3], in f32, of a convolution of `input` whose output's gradient is
// given, both channels last.
template <typename Element> Tensor weight_gradient(const Tensor &input, const Tensor &gradient) {
  const int64_t inputs = input.size(1), outputs = gradient.size(1), height = input.size(2), width = input.size(3);
  const int64_t all = input.size(0) * tiles_across(height) * tiles_across(width);
  const int64_t fit = kPanel / (kProducts * static_cast<int64_t>(sizeof(float)) * (inputs + outputs));
  const int64_t taken = std::clamp<int64_t>(all, 1, std::max(fit, kFewest));
  Tensor sums = at::zeros({kProducts, inputs, outputs}, at::kFloat);
  const Tensor factors = room(taken, inputs), gradients = room(taken, outputs);
  for (int64_t first = 0; first < all; first += taken) {
    const int64_t count = std::min(taken, all - first);
    protoguard::in_parallel(count, 1, [&](int64_t begin, int64_t end) {
      const protoguard::Tiles tiles{first + begin, end - begin};
      protoguard::transform_input(input.const_data_ptr<Element>(), {height, width, inputs}, tiles,
                                  factors.mutable_data_ptr<float>() + begin * inputs, factors.stride(0));
      protoguard::transform_gradient(gradient.const_data_ptr<Element>(), {height, width, outputs}, tiles,
                                     gradients.mutable_data_ptr<float>() + begin * outputs, gradients.stride(0));
    });
    sums.baddbmm_(factors.narrow(1, 0, count).transpose(1, 2), gradients.narrow(1, 0, count));
  }
  const Tensor taps = points(sums).t().mm(sums.view({kProducts, -1}));
  return taps.view({3, 3, inputs, outputs}).permute({3, 2, 0, 1});
}

// The convolution of a training step: weights and bias are f32, whatever the input is.
class Trained : public torch::autograd::Function<Trained> {
public:
  static Tensor forward(torch::autograd::AutogradContext *step, const Tensor &input, const Tensor &weight,
                        const Tensor &bias, bool paired) {
    TORCH_CHECK(weight.scalar_type() == at::kFloat, "a kernel is ", weight.scalar_type(), "; Float is expected");
    step->saved_data["paired"] = paired;
    step->save_for_backward({input, weight});
    return convolve(input, transformed(weight, factors(paired)), bias, Tensor(), /*relu=*/false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *step,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = step->get_saved_variables();
    const Tensor &input = saved[0], &weight = saved[1];
    const Tensor gradient = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    TORCH_CHECK(gradient.scalar_type() == input.scalar_type(), "a gradient is ", gradient.scalar_type(), "; ",
                input.scalar_type(), " is expected");
    Tensor of_input;
    if (step->needs_input_grad(0)) {
      const Tensor turned = weight.transpose(0, 1).flip({2, 3});
      of_input = convolve(gradient, transformed(turned, factors(step->saved_data["paired"].toBool())), Tensor(),
                          Tensor(), /*relu=*/false);
    }
    const Tensor dense = input.contiguous(at::MemoryFormat::ChannelsLast);
    const Tensor of_weight = dense.scalar_type() == at::kFloat ? weight_gradient<float>(dense, gradient)
                                                               : weight_gradient<BFloat16>(dense, gradient);
    const Tensor of_bias = gradient.sum({0, 2, 3}, /*keepdim=*/false, at::kFloat);
    return {of_input, of_weight.contiguous(weight.suggest_memory_format()), of_bias, Tensor()};
  }

private:
  static at::ScalarType factors(bool paired) { return paired ? at::kBFloat16 : at::kFloat; }
};

Tensor present(const Tensor *tensor) { return tensor == nullptr ? Tensor() : *tensor; }

} // namespace

extern "C" {

struct PgWinograd {
  // [B, inputs, h, w] f32 or bf16, channels last.
  const Tensor *input;
  // Of pg_winograd_weights.
  const Tensor *weights;
  // f32; null for none.
  const Tensor *bias;
  // [B, outputs, h, w] of the input's kind, channels last: added to, in place. Null for none.
  Tensor *sum;
  bool relu;
};
static_assert(sizeof(PgWinograd) == 40 && offsetof(PgWinograd, input) == 0 && offsetof(PgWinograd, weights) == 8 &&
                  offsetof(PgWinograd, bias) == 16 && offsetof(PgWinograd, sum) == 24 &&
                  offsetof(PgWinograd, relu) == 32,
              "src/native/winograd.rs mirrors this layout");

// The transform of `weight` [outputs, inputs, 3, 3], in f32 or, for a bf16 input alone, in bf16.
PgFault pg_winograd_weights(const Tensor *weight, bool bf16, Tensor **made) {
  return protoguard::guarded(
      [&] { *made = new Tensor(transformed(*weight, bf16 ? at::kBFloat16 : at::kFloat)); });
}

PgFault pg_winograd(const PgWinograd *c, Tensor **made) {
  return protoguard::guarded(
      [&] { *made = new Tensor(convolve(*c->input, *c->weights, present(c->bias), present(c->sum), c->relu)); });
}

// The same with a gradient by all three; weight and bias are f32.
PgFault pg_winograd_trained(const Tensor *input, const Tensor *weight, const Tensor *bias, bool bf16, Tensor **made) {
  return protoguard::guarded([&] { *made = new Tensor(Trained::apply(*input, *weight, *bias, bf16)); });
}

} // extern "C"
