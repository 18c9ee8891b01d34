// Work shared out among libtorch's own threads.

#pragma once

#include <cstdint>
#include <functional>

namespace protoguard {

// Calls `work` with parts of [0, count) of at least `grain`, on as many threads as libtorch may use, and returns
// when all are done. The first exception of a part is thrown.
void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)> &work);

} // namespace protoguard
