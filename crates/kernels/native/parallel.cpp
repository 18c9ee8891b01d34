// at::parallel_for is a template around OpenMP's pragmas: compiled without OpenMP it runs on one thread, and
// compiled with it the program would need a second OpenMP beside the one that libtorch brings under a name of its
// own. So libtorch's is called by the name of its entry point, which GCC's and LLVM's share.

#include "parallel.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <c10/util/ParallelGuard.h>
#include <dlfcn.h>

#include <algorithm>
#include <exception>
#include <mutex>

namespace protoguard {

namespace {

using Entry = void (*)(void (*work)(void *), void *data, unsigned threads, unsigned flags);
using Number = int (*)();

struct OpenMp {
  Entry entry = reinterpret_cast<Entry>(dlsym(RTLD_DEFAULT, "GOMP_parallel"));
  Number thread = reinterpret_cast<Number>(dlsym(RTLD_DEFAULT, "omp_get_thread_num"));
  Number threads = reinterpret_cast<Number>(dlsym(RTLD_DEFAULT, "omp_get_num_threads"));

  // Without it everything would run on one thread, several times as long, and nobody would know why.
  void check() const {
    TORCH_CHECK(entry != nullptr && thread != nullptr && threads != nullptr,
                "no OpenMP is loaded that has GOMP_parallel, omp_get_thread_num and omp_get_num_threads; libtorch's "
                "own is expected, or one thread");
  }
};

const OpenMp &open_mp() {
  static const OpenMp found;
  return found;
}

struct Region {
  int64_t count;
  const std::function<void(int64_t, int64_t)> &work;
  std::mutex mutex;
  std::exception_ptr failure;
};

void part(void *data) {
  auto &region = *static_cast<Region *>(data);
  // As many as were given, which may be fewer than were asked for.
  const int64_t thread = open_mp().thread(), threads = open_mp().threads();
  const int64_t begin = region.count * thread / threads, end = region.count * (thread + 1) / threads;
  if (begin == end) {
    return;
  }
  try {
    const at::internal::ThreadIdGuard numbered(static_cast<int>(thread));
    const c10::ParallelGuard inside(true);
    region.work(begin, end);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(region.mutex);
    region.failure = region.failure ? region.failure : std::current_exception();
  }
}

} // namespace

void in_parallel(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)> &work) {
  if (count <= 0) {
    return;
  }
  const int64_t least = std::max<int64_t>(1, grain), parts = (count + least - 1) / least;
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), parts);
  if (threads <= 1 || at::in_parallel_region()) {
    work(0, count);
    return;
  }
  open_mp().check();
  Region region{count, work, {}, nullptr};
  open_mp().entry(part, &region, static_cast<unsigned>(threads), 0);
  if (region.failure) {
    std::rethrow_exception(region.failure);
  }
}

} // namespace protoguard
