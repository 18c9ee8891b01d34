// An up-convolution of u8 with s8 weights as oneDNN's small matrix products: each of the nine taps of the kernel
// adds a row of pixels, or a row but its first pixel, to one of the four pixels that a pixel becomes. Nothing is
// multiplied with the zeros between pixels, and the output lies at once where it is read.

#include "brgemm.h"
#include "bytes.h"
#include "checks.h"
#include "guard.h"
#include "parallel.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace {

using at::Tensor;

// Pixels of a row whose four sums a thread keeps in its second cache.
constexpr int64_t kPixels = 64;
// Parts a thread takes, about: each is a pass over the weights.
constexpr int64_t kParts = 4;

// A tap along one side: which pixel it reads, seen from the one that is doubled, and its place in the kernel.
struct Tap {
  int64_t ahead;
  int64_t place;
};

// Of stride 2 and padding 1: y[2i] = x[i] k[1], y[2i + 1] = x[i] k[2] + x[i + 1] k[0].
constexpr std::array<Tap, 1> kEven{{{0, 1}}};
constexpr std::array<Tap, 2> kOdd{{{0, 2}, {1, 0}}};

struct Taps {
  const Tap *first;
  int64_t count;
};

Taps taps(int64_t odd) {
  return odd != 0 ? Taps{kOdd.data(), int64_t{kOdd.size()}} : Taps{kEven.data(), int64_t{kEven.size()}};
}

} // namespace

extern "C" {

struct PgUpBytes {
  // [B, inputs, h, w] u8, channels last.
  const Tensor *input;
  // [9, blocks, inputs / 4, outputs of a block, 4] s8.
  const Tensor *weights;
  // [outputs] f32 each.
  const Tensor *scales;
  const Tensor *bias;
  // [B, L, 2h, 2w] u8, channels last, which comes before the output in every pixel. Null for none.
  const Tensor *left;
};
static_assert(sizeof(PgUpBytes) == 40 && offsetof(PgUpBytes, input) == 0 && offsetof(PgUpBytes, weights) == 8 &&
                  offsetof(PgUpBytes, scales) == 16 && offsetof(PgUpBytes, bias) == 24 &&
                  offsetof(PgUpBytes, left) == 32,
              "src/native/quantized.rs mirrors this layout");

// relu(scale * up-convolution + bias) in steps of 1: [B, L + outputs, 2h, 2w] u8, channels last.
PgFault pg_up_bytes(const PgUpBytes *c, Tensor **made) {
  return protoguard::guarded([&] {
    const Tensor &weights = *c->weights;
    protoguard::check_picture(*c->input, at::kByte, "the input of an up-convolution");
    TORCH_CHECK(weights.dim() == 5 && weights.size(0) == 9 && weights.size(4) == 4 && weights.is_contiguous(),
                "weights have the size ", weights.sizes(), "; [9, blocks, inputs / 4, outputs of a block, 4] is expected");
    protoguard::check_numbers(weights, weights.numel(), at::kChar, "weights");
    const Tensor input = c->input->contiguous(at::MemoryFormat::ChannelsLast);
    const int64_t batch = input.size(0), inputs = input.size(1), height = input.size(2), width = input.size(3);
    const int64_t blocks = weights.size(1), block = weights.size(3), outputs = blocks * block;
    TORCH_CHECK(4 * weights.size(2) == inputs && outputs > 0, "weights of ", inputs, " inputs are expected, not of ",
                4 * weights.size(2));
    protoguard::check_numbers(*c->scales, outputs, at::kFloat, "what a step is worth by output");
    protoguard::check_numbers(*c->bias, outputs, at::kFloat, "the bias");
    const bool beside = c->left != nullptr;
    if (beside) {
      protoguard::check_picture(*c->left, at::kByte, "what lies beside it");
    }
    const Tensor left = beside ? c->left->contiguous(at::MemoryFormat::ChannelsLast) : Tensor();
    TORCH_CHECK(!beside || (left.size(0) == batch && left.size(2) == 2 * height && left.size(3) == 2 * width),
                "what lies beside it has another size");
    const int64_t before = beside ? left.size(1) : 0, all = before + outputs;
    Tensor output = at::empty({batch, all, 2 * height, 2 * width},
                              input.options().memory_format(at::MemoryFormat::ChannelsLast));
    const Tensor scales = c->scales->contiguous(), bias = c->bias->contiguous();
    const auto *from = input.const_data_ptr<uint8_t>();
    const auto *kept = beside ? left.const_data_ptr<uint8_t>() : nullptr;
    const auto *kernel = weights.const_data_ptr<int8_t>();
    const auto *scale = scales.const_data_ptr<float>(), *add = bias.const_data_ptr<float>();
    auto *to = output.mutable_data_ptr<uint8_t>();
    const int64_t rows = batch * height, threads = at::get_num_threads();
    const int64_t taken = std::max<int64_t>(1, rows / (kParts * threads));
    protoguard::in_shares((rows + taken - 1) / taken, threads, [&](const protoguard::Share &share) {
      const protoguard::Products products(/*paired=*/true);
      const Tensor scratch = at::empty({kPixels * block}, at::kInt);
      int32_t *sums = scratch.mutable_data_ptr<int32_t>();
      // One of the four pixels of row `row` from pixel `first` on.
      const auto pixels = [&](int64_t row, int64_t first, int64_t n, int64_t odd_y, int64_t odd_x) {
        const int64_t count = std::min(kPixels, width - first);
        const Taps down = taps(odd_y), across = taps(odd_x);
        bool adds = false;
        for (const Tap *v = down.first; v != down.first + down.count; ++v) {
          if (row % height + v->ahead == height) {
            continue;
          }
          for (const Tap *h = across.first; h != across.first + across.count; ++h) {
            const int64_t there = std::min(count, width - first - h->ahead);
            if (there == 0) {
              continue;
            }
            const int64_t tap = 3 * v->place + h->place;
            at::native::cpublas::brgemm(
                there, block, inputs, inputs, block, block, adds,
                static_cast<const unsigned char *>(from + ((row + v->ahead) * width + first + h->ahead) * inputs),
                reinterpret_cast<const signed char *>(kernel + (tap * blocks + n) * inputs * block), sums);
            adds = true;
          }
        }
        uint8_t *out = to + ((2 * row + odd_y) * 2 * width + 2 * first + odd_x) * all + before + n * block;
        for (int64_t i = 0; i < count; ++i, out += 2 * all) {
          protoguard::finish(sums + i * block, scale + n * block, add + n * block, block, out);
        }
      };
      share.each([&](int64_t part) {
        const int64_t above = part * taken, below = std::min(rows, above + taken);
        for (int64_t pixel = 4 * above * width; before > 0 && pixel < 4 * below * width; ++pixel) {
          std::memcpy(to + pixel * all, kept + pixel * before, before);
        }
        for (int64_t n = 0; n < blocks; ++n) {
          for (int64_t row = above; row < below; ++row) {
            for (int64_t first = 0; first < width; first += kPixels) {
              for (int64_t four = 0; four < 4; ++four) {
                pixels(row, first, n, four / 2, four % 2);
              }
            }
          }
        }
      });
    });
    *made = new Tensor(std::move(output));
  });
}

} // extern "C"
