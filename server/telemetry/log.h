// The server's log: one line an event, key=value, on standard error.
//
//     time=2026-01-31T12:00:00.000Z level=info event="request finished" request=9f... code=OK
//     seconds=1.25
//
// Values from outside are quoted and escaped, so that a caller can neither break a line nor forge
// one. Thread-safe.
#pragma once

#include <spdlog/common.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace denoise {

struct LogField {
  LogField(std::string_view key, std::string_view value);
  LogField(std::string_view key, const char* value) : LogField(key, std::string_view(value)) {}
  LogField(std::string_view key, const std::string& value)
      : LogField(key, std::string_view(value)) {}
  LogField(std::string_view key, long long value);
  LogField(std::string_view key, long value) : LogField(key, static_cast<long long>(value)) {}
  LogField(std::string_view key, int value) : LogField(key, static_cast<long long>(value)) {}
  LogField(std::string_view key, unsigned long value)
      : LogField(key, static_cast<long long>(value)) {}
  LogField(std::string_view key, double value);

  std::string text;  // "key=value"
};

// The level of an event that ends with `status`: error where its message is kept from callers.
spdlog::level::level_enum LevelOf(const absl::Status& status);

// Once, before the first event. `level`: trace, debug, info, warn, error, critical or off.
void InitLog(const std::string& level);

void LogEvent(spdlog::level::level_enum level, std::string_view event,
              std::initializer_list<LogField> fields = {});

// `text` as a value: as it is where that is unambiguous, else in double quotes with escapes.
std::string QuoteLogValue(std::string_view text);

}  // namespace denoise
