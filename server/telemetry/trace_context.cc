#include "server/telemetry/trace_context.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/resource_id.h"

namespace denoise {
namespace {

// version "-" trace-id "-" parent-id "-" flags
constexpr size_t kVersionEnd = 2, kTraceEnd = 35, kSpanEnd = 52, kLength = 55;
constexpr std::string_view kOurVersion = "00";
constexpr std::string_view kInvalidVersion = "ff";
constexpr char kNoFlags[] = "00";

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// An id of zeros is none.
bool IsId(std::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

// Never zero in practice, and random as the standard asks.
std::string NewSpanId() {
  std::string id;
  do {
    id = NewRandomId();
  } while (!IsId(id));
  return id;
}

}  // namespace

std::optional<TraceContext> ParseTraceparent(std::string_view header) {
  if (header.size() < kLength || header[kVersionEnd] != '-' || header[kTraceEnd] != '-' ||
      header[kSpanEnd] != '-') {
    return std::nullopt;
  }
  const std::string_view version = header.substr(0, kVersionEnd);
  const std::string_view trace_id = header.substr(kVersionEnd + 1, kTraceEnd - kVersionEnd - 1);
  const std::string_view span_id = header.substr(kTraceEnd + 1, kSpanEnd - kTraceEnd - 1);
  const std::string_view flags = header.substr(kSpanEnd + 1, kLength - kSpanEnd - 1);
  if (!IsHex(version) || version == kInvalidVersion || !IsId(trace_id) || !IsId(span_id) ||
      !IsHex(flags)) {
    return std::nullopt;
  }
  // Later versions may add fields behind a dash.
  const bool is_longer = header.size() > kLength;
  if (is_longer && (version == kOurVersion || header[kLength] != '-')) return std::nullopt;
  return TraceContext{.trace_id = std::string(trace_id),
                      .span_id = std::string(span_id),
                      .parent_id = "",
                      .flags = std::string(flags)};
}

TraceContext BeginSpan(std::string_view traceparent) {
  std::optional<TraceContext> caller = ParseTraceparent(traceparent);
  if (!caller) {
    return {.trace_id = absl::StrCat(NewSpanId(), NewSpanId()),
            .span_id = NewSpanId(),
            .parent_id = "",
            .flags = kNoFlags};
  }
  caller->parent_id = std::exchange(caller->span_id, NewSpanId());
  return *std::move(caller);
}

std::string TraceparentOf(const TraceContext& trace) {
  return absl::StrCat(std::string(kOurVersion), "-", trace.trace_id, "-", trace.span_id, "-",
                      trace.flags);
}

}  // namespace denoise
