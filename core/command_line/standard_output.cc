#include "core/command_line/standard_output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include "absl/strings/str_cat.h"

namespace denoise {

absl::Status FlushStandardOutput() {
  errno = 0;
  std::cout.flush();
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good())
    return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("cannot write to standard output", errno != 0 ? ": " : "",
                                         errno != 0 ? std::strerror(errno) : ""));
}

}  // namespace denoise
