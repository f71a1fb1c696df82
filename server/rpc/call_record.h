// What the log says of one call over gRPC, from its first byte to its last: its ids, its trace, and
// what its method adds.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_interceptor.h>

#include <atomic>
#include <initializer_list>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/resource_id.h"
#include "server/telemetry/access_log.h"
#include "server/telemetry/telemetry.h"
#include "server/telemetry/trace_context.h"

namespace denoise {

// With this metadata the HTTP side says which protocol its client speaks. Only the in-process
// channel is believed.
inline constexpr char kProtocolKey[] = "denoised-protocol";

// Thread-safe. Whoever still writes about the call holds it.
class CallRecord {
 public:
  using Field = std::pair<const char*, nlohmann::ordered_json>;

  // `method` is "denoised.v1.Models/ListModels".
  CallRecord(std::string method, absl::Time arrival);

  const std::string& id() const { return id_; }
  const std::string& method() const { return method_; }
  absl::Time arrival() const { return arrival_; }
  std::string trace_id() const ABSL_LOCKS_EXCLUDED(mutex_) { return trace().trace_id; }
  TraceContext trace() const ABSL_LOCKS_EXCLUDED(mutex_);

  // What the call brought along, before its method begins.
  void Begin(std::string_view traceparent, std::string_view protocol) ABSL_LOCKS_EXCLUDED(mutex_);
  // Continues this trace, unless the caller has sent one or the id is none.
  void JoinTrace(const std::string& trace_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Fields that only this method's lines of the access log have. Never what a caller would not want
  // others to read: no prompt, no picture, no credential.
  void Add(std::initializer_list<Field> fields) ABSL_LOCKS_EXCLUDED(mutex_);

  // The line of the access log for a call that ended so, with `reason` if there is one.
  nlohmann::ordered_json Line(std::string_view code, std::string_view reason, int64_t messages_sent,
                              absl::Time now) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const std::string id_ = NewRandomId();
  const std::string method_;
  const absl::Time arrival_;

  mutable Mutex mutex_;
  TraceContext trace_ ABSL_GUARDED_BY(mutex_) = BeginSpan("");
  std::string protocol_ ABSL_GUARDED_BY(mutex_) = "grpc";
  std::vector<Field> fields_ ABSL_GUARDED_BY(mutex_);
};

// Makes a record for each call of `services` (by full name), sends its trace back in a trailer, and
// counts and logs its end. Outlived by `telemetry`, `access_log` (either may be null) and `clock`.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> CallRecords(
    const std::vector<std::string>& services, Telemetry* telemetry, AccessLog* access_log,
    const Clock* clock = &Clock::Real());

// The record of the call; a new one without a method where nobody keeps records.
std::shared_ptr<CallRecord> RecordOf(const grpc::ServerContextBase& context);

// The values of a name of the call's metadata, joined as HTTP joins them. What is given twice is
// therefore not valid where a list is not: parts of a chain of proxies could each read another one.
std::string MetadataValue(const grpc::ServerContextBase& context, const std::string& name);

}  // namespace denoise
