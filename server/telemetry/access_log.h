// The access log: one line of JSON for every call, for machines to read.
#pragma once

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace denoise {

// How the log writes a time: 2026-01-31T12:00:00.000Z.
std::string LogTime(absl::Time time);

// Thread-safe. A line costs its caller no wait: a thread of its own writes. Where lines come faster
// than the disk takes them, the oldest are dropped and counted.
class AccessLog {
 public:
  struct Options {
    std::filesystem::path file;  // empty: standard error
    // A file of this size gets another name, as calls.log becomes calls.1.log and that calls.2.log,
    // and a new one begins.
    size_t file_bytes_max = 64 << 20;
    size_t old_files = 4;     // that are kept
    size_t lines_max = 8192;  // that wait to be written
  };

  // InvalidArgument where the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<AccessLog>> Open(const Options& options);
  ~AccessLog();  // writes what waits

  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // Text from outside may be in any encoding; what is not UTF-8 is replaced.
  void Write(const nlohmann::ordered_json& line);

  int64_t lines_dropped() const;

 private:
  explicit AccessLog(const Options& options);

  const std::shared_ptr<spdlog::details::thread_pool> writer_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace denoise
