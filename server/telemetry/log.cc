#include "server/telemetry/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/error_details.h"

namespace denoise {
namespace {

// A value longer than this says nothing more to a reader.
constexpr size_t kMaxValueLength = 1024;

bool IsPlain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '_' || c == '-' || c == '+' || c == ':' || c == '/' || c == ',' || c == '[' ||
         c == ']';
}

}  // namespace

spdlog::level::level_enum LevelOf(const absl::Status& status) {
  return WithholdsMessage(status) ? spdlog::level::err : spdlog::level::info;
}

std::string QuoteLogValue(std::string_view text) {
  bool plain = !text.empty();
  for (char c : text) plain = plain && IsPlain(c);
  if (plain && text.size() <= kMaxValueLength) return std::string(text);
  const size_t length = std::min(text.size(), kMaxValueLength);
  return absl::StrCat("\"",
                      absl::StrReplaceAll(absl::CEscape({text.data(), length}), {{"\\'", "'"}}),
                      length < text.size() ? "..." : "", "\"");
}

LogField::LogField(std::string_view key, std::string_view value)
    : text(std::string(key) + "=" + QuoteLogValue(value)) {}
LogField::LogField(std::string_view key, long long value)
    : text(std::string(key) + "=" + std::to_string(value)) {}
LogField::LogField(std::string_view key, double value)
    : text(std::string(key) + absl::StrCat("=", value)) {}

void InitLog(const std::string& level) {
  auto logger = std::make_shared<spdlog::logger>("denoised",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::make_unique<spdlog::pattern_formatter>(
      "time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc));
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::trace);
  spdlog::set_default_logger(std::move(logger));
}

void LogEvent(spdlog::level::level_enum level, std::string_view event,
              std::initializer_list<LogField> fields) {
  if (!spdlog::should_log(level)) return;
  std::string line = "event=" + QuoteLogValue(event);
  for (const LogField& field : fields) line.append(" ").append(field.text);
  spdlog::log(level, spdlog::string_view_t(line));
}

}  // namespace denoise
