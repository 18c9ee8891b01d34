// Work shared out among libtorch's own threads.

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

namespace protoguard {

// Calls `work` with parts of [0, count) of at least `grain`, on as many threads as libtorch may use, and returns
// when all are done. The first exception of a part is thrown, and one where libtorch's threads are not to be found.
void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)> &work);

// What one thread has to do of some work in parts: its share in order, and then what others have left of theirs. So
// none waits long for one that another program holds up, as a server's callers do, and what a thread wrote in one
// layer it mostly reads in the next.
class Share {
public:
  Share(int64_t parts, std::vector<std::atomic<int64_t>> &next, int64_t first, int64_t last)
      : parts_(parts), next_(next), first_(first), last_(last) {}

  // Calls `work` with a part after the other.
  template <typename Work> void each(Work work) const {
    for (int64_t thread = first_; thread < last_; ++thread) {
      for (int64_t after = 0; after < shares(); ++after) {
        const int64_t share = (thread + after) % shares();
        for (int64_t part = begin(share) + next_[share]++; part < begin(share + 1);
             part = begin(share) + next_[share]++) {
          work(part);
        }
      }
    }
  }

private:
  int64_t shares() const { return static_cast<int64_t>(next_.size()); }
  int64_t begin(int64_t share) const { return parts_ * share / shares(); }

  int64_t parts_;
  // How many of each share are taken.
  std::vector<std::atomic<int64_t>> &next_;
  // Of the threads that this one stands for.
  int64_t first_;
  int64_t last_;
};

// Calls `work` once on each of `threads` threads, or fewer, with its share of `parts`.
template <typename Work> void in_shares(int64_t parts, int64_t threads, Work work) {
  std::vector<std::atomic<int64_t>> next(static_cast<size_t>(std::min(parts, threads)));
  in_parallel(static_cast<int64_t>(next.size()), 1,
              [&](int64_t first, int64_t last) { work(Share(parts, next, first, last)); });
}

} // namespace protoguard
