#include "server/telemetry/access_log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

std::shared_ptr<spdlog::sinks::sink> MakeSink(const AccessLog::Options& options) {
  if (options.file.empty()) return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  return std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
      options.file.string(), options.file_bytes_max, options.old_files);
}

}  // namespace

std::string LogTime(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

absl::StatusOr<std::unique_ptr<AccessLog>> AccessLog::Open(const Options& options) {
  try {
    return std::unique_ptr<AccessLog>(new AccessLog(options));
  } catch (const spdlog::spdlog_ex& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("--access-log: the file cannot be opened: ", error.what()));
  }
}

AccessLog::AccessLog(const Options& options)
    : writer_(std::make_shared<spdlog::details::thread_pool>(options.lines_max, 1)),
      logger_(std::make_shared<spdlog::async_logger>(
          "access", MakeSink(options), writer_, spdlog::async_overflow_policy::overrun_oldest)) {
  logger_->set_formatter(
      std::make_unique<spdlog::pattern_formatter>("%v", spdlog::pattern_time_type::utc));
  logger_->flush_on(spdlog::level::info);
}

// The thread ends once it has written everything.
AccessLog::~AccessLog() { logger_.reset(); }

void AccessLog::Write(const nlohmann::ordered_json& line) {
  const std::string text = line.dump(/*indent=*/-1, /*indent_char=*/' ', /*ensure_ascii=*/false,
                                     nlohmann::ordered_json::error_handler_t::replace);
  logger_->log(spdlog::level::info, spdlog::string_view_t(text));
}

int64_t AccessLog::lines_dropped() const {
  return static_cast<int64_t>(writer_->overrun_counter());
}

}  // namespace denoise
