// oneDNN's small matrix products, by libtorch's name.

#pragma once

#include <ATen/native/CPUBlas.h>

namespace protoguard {

// A thread's products: what the processor was set to for them ends with the scope, however that is left. AMX's tiles
// would otherwise stay as they were.
class Products {
public:
  explicit Products(bool paired) : paired_(paired) {}
  ~Products() { at::native::cpublas::brgemm_release(paired_); }
  Products(const Products &) = delete;
  Products &operator=(const Products &) = delete;

private:
  // Whether factors of less than 32 bits lie side by side.
  bool paired_;
};

} // namespace protoguard
