// Which distributed trace a call belongs to, as W3C Trace Context has it
// (https://www.w3.org/TR/trace-context): callers send it in `traceparent`, and every line that the
// log has of the call carries its ids. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace denoise {

inline constexpr char kTraceparentKey[] = "traceparent";

// Hexadecimal, in lower case.
struct TraceContext {
  std::string trace_id;   // 32 digits
  std::string span_id;    // 16 digits: this call
  std::string parent_id;  // 16 digits: the caller's span; empty where the trace begins here
  std::string flags;      // 2 digits, as the caller sent them

  bool operator==(const TraceContext&) const = default;
};

// What a caller's header says; nullopt where it is missing or not valid. The span id is the
// caller's, and there is no parent.
std::optional<TraceContext> ParseTraceparent(std::string_view header);

// The span of a call that came with this header, of which the value may be empty or anything: a
// caller's trace continues, and where there is none, one begins.
TraceContext BeginSpan(std::string_view traceparent);

// The header that passes the trace on, with this span as the parent of what follows.
std::string TraceparentOf(const TraceContext& trace);

}  // namespace denoise
