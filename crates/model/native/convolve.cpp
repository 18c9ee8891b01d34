// A 3x3 convolution in f32 by Winograd's minimal filtering: the transforms of winograd.h around oneDNN's small
// matrix products.

#include "guard.h"
#include "parallel.h"
#include "winograd.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>

#include <algorithm>

namespace {

using at::Tensor;
using protoguard::kProducts;
using protoguard::kTile;
using protoguard::tiles_across;

// Bytes of a thread's products, which should stay in its second cache.
constexpr int64_t kScratch = int64_t{1} << 20;
// Tiles that a thread takes at a time, at least: they share a pass over the weights.
constexpr int64_t kFewest = 64;
constexpr int64_t kMost = 128;
// Floats between two products: without them all 36 would fall into the same lines of the first cache.
constexpr int64_t kApart = 16;

int64_t tiles_at_a_time(int64_t all, int64_t channels) {
  const int64_t fit = kScratch / (kProducts * static_cast<int64_t>(sizeof(float)) * channels);
  const int64_t threads = at::get_num_threads();
  return std::min(std::clamp(fit, kFewest, kMost), (all + threads - 1) / threads);
}

} // namespace

extern "C" {

struct PgWinograd {
  // [B, inputs, h, w] f32, channels last.
  const Tensor *input;
  // The transformed weights, [36, blocks, inputs, outputs of a block] f32.
  const Tensor *weights;
  // Null for none.
  const Tensor *bias;
  // [B, outputs, h, w] f32, channels last: added to, in place. Null for none.
  const Tensor *sum;
  bool relu;
};

char *pg_winograd(const PgWinograd *c, Tensor **made) {
  return protoguard::guarded([&] {
    const Tensor input = c->input->contiguous(at::MemoryFormat::ChannelsLast), &weights = *c->weights;
    TORCH_CHECK(input.scalar_type() == at::kFloat && weights.scalar_type() == at::kFloat, "f32 is expected");
    const int64_t batch = input.size(0), inputs = input.size(1), height = input.size(2), width = input.size(3);
    const int64_t blocks = weights.size(1), block = weights.size(3), outputs = blocks * block;
    TORCH_CHECK(weights.size(0) == kProducts && weights.size(2) == inputs, "weights of ", inputs,
                " inputs are expected, not of ", weights.size(2));
    Tensor output = c->sum != nullptr
                        ? *c->sum
                        : at::empty({batch, outputs, height, width},
                                    input.options().memory_format(at::MemoryFormat::ChannelsLast));
    TORCH_CHECK(output.is_contiguous(at::MemoryFormat::ChannelsLast) &&
                    output.sizes() == at::IntArrayRef({batch, outputs, height, width}),
                "what is added to has another shape or layout");
    const float *from = input.const_data_ptr<float>(), *u = weights.const_data_ptr<float>();
    float *to = output.mutable_data_ptr<float>();
    const float *bias = c->bias == nullptr ? nullptr : c->bias->const_data_ptr<float>();
    const protoguard::Epilogue epilogue{bias, c->sum == nullptr ? nullptr : to, c->relu};
    const int64_t all = batch * tiles_across(height) * tiles_across(width);
    const int64_t taken = tiles_at_a_time(all, inputs + outputs);
    protoguard::in_parallel((all + taken - 1) / taken, 1, [&](int64_t begin, int64_t end) {
      const int64_t before = taken * inputs + kApart, after = taken * outputs + kApart;
      const Tensor scratch = at::empty({kProducts * (before + after)}, at::kFloat);
      float *v = scratch.mutable_data_ptr<float>(), *m = v + kProducts * before;
      for (int64_t part = begin; part < end; ++part) {
        const protoguard::Tiles tiles{part * taken, std::min(taken, all - part * taken)};
        protoguard::transform_input(from, {height, width, inputs}, tiles, v, before);
        for (int64_t product = 0; product < kProducts; ++product) {
          for (int64_t n = 0; n < blocks; ++n) {
            at::native::cpublas::brgemm(tiles.count, block, inputs, inputs, block, outputs, /*add_C=*/false,
                                        v + product * before, u + (product * blocks + n) * inputs * block,
                                        m + product * after + n * block);
          }
        }
        protoguard::transform_output(m, after, {height, width, outputs}, tiles, epilogue, to);
      }
      at::native::cpublas::brgemm_release(/*is_vnni=*/false);
    });
    *made = new Tensor(std::move(output));
  });
}

} // extern "C"
