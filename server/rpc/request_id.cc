#include "server/rpc/request_id.h"

#include <random>

#include "absl/strings/str_cat.h"

namespace denoise {

std::string NewRequestId() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  return absl::StrCat(absl::Hex(generator(), absl::kZeroPad16));
}

}  // namespace denoise
