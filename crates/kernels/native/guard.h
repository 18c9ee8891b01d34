// What keeps C++ exceptions from Rust, and tells faults apart by more than their words.

#pragma once

#include <c10/util/Exception.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>

extern "C" {

// What became of a call; RawFault of src/call.rs mirrors it.
struct PgFault {
  // One of protoguard::Code.
  int32_t code;
  // To be freed with pg_free_message; null on success, and where there was no memory for it.
  char *message;
};
static_assert(sizeof(PgFault) == 16 && offsetof(PgFault, code) == 0 && offsetof(PgFault, message) == 8,
              "src/native/fault.rs mirrors this layout");

} // extern "C"

namespace protoguard {

enum Code : int32_t {
  kDone = 0,
  // Arguments that do not go together, or that libtorch does not take.
  kRefused = 1,
  kOutOfMemory = 2,
  // A call of a GPU's driver failed.
  kDeviceLost = 3,
};

inline PgFault fault(Code code, const char *message) noexcept { return {code, strdup(message)}; }

// What `work` ended with.
template <typename Work> PgFault guarded(Work work) noexcept {
  try {
    work();
    return {kDone, nullptr};
  } catch (const c10::OutOfMemoryError &error) {
    return fault(kOutOfMemory, error.what_without_backtrace());
  } catch (const std::bad_alloc &error) {
    return fault(kOutOfMemory, error.what());
  } catch (const c10::AcceleratorError &error) {
    return fault(kDeviceLost, error.what_without_backtrace());
  } catch (const c10::Error &error) {
    return fault(kRefused, error.what_without_backtrace());
  } catch (const std::exception &error) {
    return fault(kRefused, error.what());
  } catch (...) {
    return fault(kRefused, "an exception that is no std::exception");
  }
}

} // namespace protoguard
