// An allocator for libtorch's memory on the CPU that keeps large blocks instead of giving them back
// to the system.
//
// glibc maps a large block anew each time, and the kernel then fills every page of it with zeros at
// its first touch: at full size that is a tenth of a forward pass and more of a
// training step. Passes ask for the same sizes again and again, so a freed block is kept for the
// next one that it fits. What is kept and what is in use are together never more than a little
// above the most that was ever in use.

#include "guard.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <new>
#include <thread>
#include <unordered_map>

namespace {

// Smaller blocks are served well by malloc, which serves larger ones of other owners from maps of
// their own: a checkpoint that was read leaves no holes between what stays.
constexpr size_t kLarge = size_t{512} << 10;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kStep = size_t{64} << 10;
// A block serves requests down to this share of its size.
constexpr double kFits = 0.8;
// Kept and used together, over the most that was in use.
constexpr double kSlack = 1.1;

// Requests of this thread that could not be met.
thread_local uint64_t refused = 0;

class CachingAllocator final : public c10::Allocator {
public:
  explicit CachingAllocator(c10::Allocator *small) : small_(small) {}

  c10::DataPtr allocate(size_t bytes) override {
    try {
      if (bytes < kLarge) {
        return small_->allocate(bytes);
      }
      void *block = take(bytes);
      return {block, block, &CachingAllocator::give_back, c10::Device(c10::DeviceType::CPU)};
    } catch (...) {
      ++refused;
      TORCH_CHECK_WITH(OutOfMemoryError, false, "out of memory: ", bytes, " bytes cannot be allocated");
    }
  }

  c10::DeleterFnPtr raw_deleter() const override { return &CachingAllocator::give_back; }

  void copy_data(void *to, const void *from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  // Gives everything that is kept back to the system.
  void release() {
    const std::lock_guard<std::mutex> lock(mutex_);
    release_until(0);
  }

private:
  void *take(size_t bytes) {
    // No block is larger, and what follows cannot wrap.
    if (bytes > static_cast<size_t>(std::numeric_limits<std::ptrdiff_t>::max())) {
      throw std::bad_alloc();
    }
    const size_t step = bytes < kHugePage ? kStep : kHugePage;
    const size_t size = (bytes + step - 1) / step * step;
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto kept = kept_.lower_bound(size);
    if (kept != kept_.end() && kFits * static_cast<double>(kept->first) <= static_cast<double>(size)) {
      const auto [kept_size, block] = *kept;
      kept_.erase(kept);
      kept_bytes_ -= kept_size;
      return use(block, kept_size);
    }
    const auto bound = static_cast<size_t>(kSlack * static_cast<double>(std::max(most_used_, used_bytes_ + size)));
    release_until(bound - std::min(bound, used_bytes_ + size));
    void *block = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
      throw std::bad_alloc();
    }
    if (size >= kHugePage) {
      // Only advice: where the kernel has no huge pages it stays as it is.
      madvise(block, size, MADV_HUGEPAGE);
    }
    return use(block, size);
  }

  void *use(void *block, size_t size) {
    try {
      sizes_.emplace(block, size);
    } catch (...) {
      munmap(block, size);
      throw;
    }
    used_bytes_ += size;
    most_used_ = std::max(most_used_, used_bytes_);
    return block;
  }

  static void give_back(void *block);

  // Whether it was one of the large blocks.
  bool keep(void *block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = sizes_.find(block);
    if (found == sizes_.end()) {
      return false;
    }
    const size_t size = found->second;
    sizes_.erase(found);
    used_bytes_ -= size;
    try {
      kept_.emplace(size, block);
      kept_bytes_ += size;
    } catch (...) {
      // Without memory to note it in, it goes back to the system.
      munmap(block, size);
    }
    return true;
  }

  // The largest go first: they are the fewest.
  void release_until(size_t bytes) {
    while (kept_bytes_ > bytes && !kept_.empty()) {
      const auto last = std::prev(kept_.end());
      munmap(last->second, last->first);
      kept_bytes_ -= last->first;
      kept_.erase(last);
    }
  }

  c10::Allocator *small_;
  std::mutex mutex_;
  // Free blocks by size.
  std::multimap<size_t, void *> kept_;
  // Blocks in use.
  std::unordered_map<void *, size_t> sizes_;
  size_t kept_bytes_ = 0;
  size_t used_bytes_ = 0;
  size_t most_used_ = 0;
};

// Never destroyed: tensors of static life may be freed after main.
std::atomic<CachingAllocator *> instance{nullptr};

// Blocks that were asked for in the raw are freed by this whatever their size.
void CachingAllocator::give_back(void *block) {
  CachingAllocator *const all = instance;
  if (!all->keep(block)) {
    all->small_->raw_deleter()(block);
  }
}

} // namespace

extern "C" {

// Puts the allocator in place, once. Blocks from before go back to where they came from.
PgFault pg_keep_host_memory() {
  return protoguard::guarded([] {
    static std::once_flag once;
    std::call_once(once, [] {
      // Set, it stays: glibc would raise it to the largest block that was ever freed.
      mallopt(M_MMAP_THRESHOLD, static_cast<int>(kLarge));
      // Eight arenas a core, glibc's own measure, each keep what threads of models long gone have left.
      mallopt(M_ARENA_MAX, static_cast<int>(std::max(2u, std::thread::hardware_concurrency())));
      instance = new CachingAllocator(c10::GetDefaultCPUAllocator());
      c10::SetCPUAllocator(instance, /*priority=*/1);
    });
  });
}

// Gives kept blocks back to the system, and what malloc keeps of freed ones.
PgFault pg_release_host_memory() {
  return protoguard::guarded([] {
    if (CachingAllocator *const all = instance) {
      all->release();
    }
    malloc_trim(0);
  });
}

// This thread's requests for memory of the host that could not be met, since the allocator is in place.
uint64_t pg_refused_host_memory() { return refused; }

} // extern "C"
