// What keeps C++ exceptions from Rust.

#pragma once

#include <cstring>
#include <exception>

namespace protoguard {

// Null on success, otherwise a message to be freed with pg_free_message.
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

} // namespace protoguard
