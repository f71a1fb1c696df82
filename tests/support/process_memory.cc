#include "tests/support/process_memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

namespace denoise {
namespace {

double MebibytesOf(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double kilobytes = 0;
    if (word == key && status >> kilobytes) return kilobytes / 1024;
  }
  return 0;
}

}  // namespace

double ResidentMebibytes() { return MebibytesOf("VmRSS:"); }

double PeakMebibytes() { return MebibytesOf("VmHWM:"); }

void ResetPeakMemory() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;
}

}  // namespace denoise
