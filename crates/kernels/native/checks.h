// What is checked of a tensor before its memory is read or written as plain numbers.

#pragma once

#include <ATen/ATen.h>

namespace protoguard {

// Refuses what is not [B, C, h, w] with C >= 1, in that kind, on the CPU.
inline void check_picture(const at::Tensor &x, at::ScalarType kind, const char *what) {
  TORCH_CHECK(x.dim() == 4 && x.size(1) > 0, what, " has the size ", x.sizes(), "; [B, C, h, w] is expected");
  TORCH_CHECK(x.scalar_type() == kind, what, " is ", x.scalar_type(), "; ", kind, " is expected");
  TORCH_CHECK(x.is_cpu(), what, " is on ", x.device(), "; the CPU is expected");
}

// Refuses what is not `count` numbers of that kind on the CPU.
inline void check_numbers(const at::Tensor &x, int64_t count, at::ScalarType kind, const char *what) {
  TORCH_CHECK(x.numel() == count, what, " has ", x.numel(), " numbers; ", count, " are expected");
  TORCH_CHECK(x.scalar_type() == kind, what, " is ", x.scalar_type(), "; ", kind, " is expected");
  TORCH_CHECK(x.is_cpu(), what, " is on ", x.device(), "; the CPU is expected");
}

} // namespace protoguard
