// Work shared out among libtorch's own threads.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace protoguard {

// Calls `work` with parts of [0, count) of at least `grain`, on as many threads as libtorch may use, and returns
// when all are done. The first exception of a part is thrown.
void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)> &work);

// Parts of some work in a share a thread, which it takes in order; one that is done with its own takes what others
// have left. So none waits long for one that another program holds up, as a server's callers do, and what a thread
// wrote in one layer it mostly reads in the next.
class Shares {
public:
  Shares(int64_t parts, int64_t threads) : parts_(parts), next_(static_cast<size_t>(threads)) {
    for (int64_t share = 0; share < threads; ++share) {
      next_[share] = begin(share);
    }
  }

  // Calls `work` with a part after the other, as thread `thread`.
  template <typename Work> void take(int64_t thread, Work work) {
    const auto threads = static_cast<int64_t>(next_.size());
    for (int64_t after = 0; after < threads; ++after) {
      const int64_t share = (thread + after) % threads;
      for (int64_t part = next_[share]++; part < begin(share + 1); part = next_[share]++) {
        work(part);
      }
    }
  }

private:
  int64_t begin(int64_t share) const { return parts_ * share / static_cast<int64_t>(next_.size()); }

  int64_t parts_;
  std::vector<std::atomic<int64_t>> next_;
};

} // namespace protoguard
