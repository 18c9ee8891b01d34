// A 3x3 convolution by Winograd's minimal filtering: the transforms of winograd.h around oneDNN's small matrix
// products.

#include "guard.h"
#include "parallel.h"
#include "winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <type_traits>

namespace {

using at::BFloat16;
using at::Tensor;
using protoguard::kProducts;
using protoguard::kTile;
using protoguard::tiles_across;

// Bytes of a thread's factors and products, which should stay in its second cache.
constexpr int64_t kScratch = int64_t{1} << 20;
// Tiles that a thread takes at a time, at least: they share a pass over the weights.
constexpr int64_t kFewest = 64;
constexpr int64_t kMost = 128;
// Numbers between two products: without them all 36 would fall into the same lines of the first cache.
constexpr int64_t kApart = 16;

int64_t tiles_at_a_time(int64_t all, int64_t bytes_a_tile) {
  const int64_t fit = kScratch / (kProducts * bytes_a_tile);
  const int64_t threads = at::get_num_threads();
  return std::min(std::clamp(fit, kFewest, kMost), (all + threads - 1) / threads);
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
void convolve(const Element *input, const Factor *weights, protoguard::Epilogue epilogue, Element *output,
              Shape shape) {
  const auto [batch, inputs, height, width, blocks, block] = shape;
  const int64_t outputs = blocks * block;
  const int64_t all = batch * tiles_across(height) * tiles_across(width);
  const int64_t taken = tiles_at_a_time(all, sizeof(Factor) * inputs + sizeof(float) * outputs);
  const bool paired = std::is_same_v<Factor, BFloat16>;
  protoguard::in_parallel((all + taken - 1) / taken, 1, [&](int64_t begin, int64_t end) {
    const int64_t before = taken * inputs + kApart, after = taken * outputs + kApart;
    const Tensor scratch = at::empty({kProducts * after}, at::kFloat);
    const Tensor factors = at::empty({kProducts * before}, c10::CppTypeToScalarType<Factor>::value);
    float *m = scratch.mutable_data_ptr<float>();
    Factor *v = factors.mutable_data_ptr<Factor>();
    for (int64_t part = begin; part < end; ++part) {
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
    }
    at::native::cpublas::brgemm_release(paired);
  });
}

} // namespace

extern "C" {

struct PgWinograd {
  // [B, inputs, h, w] f32 or bf16, channels last.
  const Tensor *input;
  // The transformed weights, [36, blocks, inputs, outputs of a block] f32, or for a bf16 input also bf16,
  // [36, blocks, inputs / 2, outputs of a block, 2].
  const Tensor *weights;
  // f32; null for none.
  const Tensor *bias;
  // [B, outputs, h, w] of the input's kind, channels last: added to, in place. Null for none.
  const Tensor *sum;
  bool relu;
};

char *pg_winograd(const PgWinograd *c, Tensor **made) {
  return protoguard::guarded([&] {
    const Tensor input = c->input->contiguous(at::MemoryFormat::ChannelsLast), &weights = *c->weights;
    const int64_t batch = input.size(0), inputs = input.size(1), height = input.size(2), width = input.size(3);
    const bool paired = weights.dim() == 5;
    const int64_t blocks = weights.size(1), block = weights.size(3), outputs = blocks * block;
    const int64_t fed = paired ? 2 * weights.size(2) : weights.size(2);
    TORCH_CHECK(weights.size(0) == kProducts && fed == inputs, "weights of ", inputs,
                " inputs are expected, not of ", fed);
    TORCH_CHECK(weights.is_contiguous() && weights.scalar_type() == (paired ? at::kBFloat16 : at::kFloat),
                "weights are of another kind or layout");
    Tensor output = c->sum != nullptr
                        ? *c->sum
                        : at::empty({batch, outputs, height, width},
                                    input.options().memory_format(at::MemoryFormat::ChannelsLast));
    TORCH_CHECK(output.is_contiguous(at::MemoryFormat::ChannelsLast) && output.dtype() == input.dtype() &&
                    output.sizes() == at::IntArrayRef({batch, outputs, height, width}),
                "what is added to has another shape, kind or layout");
    const float *bias = c->bias == nullptr ? nullptr : c->bias->const_data_ptr<float>();
    const protoguard::Epilogue epilogue{bias, c->sum != nullptr, c->relu};
    const Shape shape{batch, inputs, height, width, blocks, block};
    if (input.scalar_type() == at::kFloat) {
      TORCH_CHECK(!paired, "an f32 input takes weights in f32");
      convolve(input.const_data_ptr<float>(), weights.const_data_ptr<float>(), epilogue,
               output.mutable_data_ptr<float>(), shape);
    } else if (paired) {
      convolve(input.const_data_ptr<BFloat16>(), weights.const_data_ptr<BFloat16>(), epilogue,
               output.mutable_data_ptr<BFloat16>(), shape);
    } else {
      convolve(input.const_data_ptr<BFloat16>(), weights.const_data_ptr<float>(), epilogue,
               output.mutable_data_ptr<BFloat16>(), shape);
    }
    *made = new Tensor(std::move(output));
  });
}

} // extern "C"
