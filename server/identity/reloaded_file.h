// What a file says, read again when it changes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "core/base/mutex.h"
#include "core/base/read_file.h"
#include "core/files/file_watch.h"
#include "server/telemetry/log.h"

namespace denoise {

// Thread-safe.
template <class Value>
class ReloadedFile {
 public:
  using Parse = absl::StatusOr<Value> (*)(std::string_view text);

  // `flag` names the file for the operator. Does nothing where `path` is empty.
  ReloadedFile(std::string flag, std::filesystem::path path, Parse parse)
      : flag_(std::move(flag)), path_(std::move(path)), parse_(parse) {}

  // Reads the file, and from now on whenever it changes. A broken one is logged, and the value stays
  // what it was. InvalidArgument names the flag. `watch` goes away before this.
  absl::Status Open(FileWatch& watch) {
    if (path_.empty()) return absl::OkStatus();
    watch.Add({path_}, [this] { Reload(); });
    return Load();
  }

  // Null before Open and where there is no file.
  std::shared_ptr<const Value> value() const ABSL_LOCKS_EXCLUDED(mutex_) {
    const MutexLock lock(mutex_);
    return value_;
  }

 private:
  static constexpr size_t kMaxBytes = 16 << 20;

  void Reload() {
    const absl::Status loaded = Load();
    if (loaded.ok()) return LogEvent(spdlog::level::info, "file reloaded", {{"flag", flag_}});
    LogEvent(spdlog::level::warn, "new file refused",
             {{"flag", flag_}, {"reason", std::string(loaded.message())}});
  }

  absl::Status Load() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::error_code error;
    const bool is_empty = std::filesystem::file_size(path_, error) == 0 && !error;
    const absl::StatusOr<std::string> text =
        is_empty ? std::string() : ReadFile(path_.string(), kMaxBytes);
    absl::StatusOr<Value> parsed = text.ok() ? parse_(*text) : text.status();
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(flag_, ": ", parsed.status().message()));
    }
    auto value = std::make_shared<const Value>(*std::move(parsed));
    const MutexLock lock(mutex_);
    value_ = std::move(value);
    return absl::OkStatus();
  }

  const std::string flag_;
  const std::filesystem::path path_;
  const Parse parse_;
  mutable Mutex mutex_;
  std::shared_ptr<const Value> value_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace denoise
