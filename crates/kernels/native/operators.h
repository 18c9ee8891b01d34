// Operators that libtorch has under a name and not in a header.

#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>

namespace protoguard {

using Scalars = c10::List<std::optional<at::Scalar>>;

template <typename Signature> auto find(const char *name, const char *overload) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).typed<Signature>();
}

inline std::optional<at::Tensor> present(const at::Tensor *tensor) {
  return tensor == nullptr ? std::nullopt : std::optional<at::Tensor>(*tensor);
}

} // namespace protoguard
