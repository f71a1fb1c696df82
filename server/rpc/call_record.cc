#include "server/rpc/call_record.h"

#include <google/protobuf/descriptor.h>

#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/thread_order.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace denoise {
namespace {

using grpc::experimental::InterceptionHookPoints;

// gRPC 1.51 passes nothing from an interceptor to a callback method but metadata. No client can
// send metadata of this name: it begins with a colon.
constexpr char kRecordKey[] = ":denoised-record";

// How gRPC calls the peer of its in-process channel.
constexpr std::string_view kInProcessPeer = "unknown";

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

std::string ValueOf(const Metadata& metadata, const std::string& name) {
  std::string joined;
  const auto [begin, end] = metadata.equal_range(name);
  for (auto entry = begin; entry != end; ++entry) {
    absl::StrAppend(&joined, entry == begin ? "" : ",",
                    absl::string_view(entry->second.data(), entry->second.size()));
  }
  return joined;
}

class CallInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallInterceptor(grpc::experimental::ServerRpcInfo* call, std::string method, Telemetry* telemetry,
                  AccessLog* access_log, const Clock* clock)
      : call_(call),
        telemetry_(telemetry),
        access_log_(access_log),
        clock_(clock),
        record_(std::make_shared<CallRecord>(std::move(method), clock->Now())) {
    BeforeHandOver(this);
  }
  ~CallInterceptor() override {
    AfterHandOver(this);
    if (!ended_) End(grpc::Status(grpc::StatusCode::CANCELLED, ""));
  }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    AfterHandOver(this);
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Begin(*methods->GetRecvInitialMetadata());
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      ++messages_sent_;
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      methods->GetSendTrailingMetadata()->insert(
          {kTraceparentKey, TraceparentOf(record_->trace())});
      End(methods->GetSendStatus());
    }
    BeforeHandOver(this);
    methods->Proceed();
  }

 private:
  void Begin(Metadata& metadata) {
    const bool in_process = call_->server_context()->peer() == kInProcessPeer;
    record_->Begin(ValueOf(metadata, kTraceparentKey),
                   in_process ? ValueOf(metadata, kProtocolKey) : "");
    metadata.erase(kRecordKey);
    const std::shared_ptr<CallRecord>* const record = &record_;
    std::memcpy(address_, &record, sizeof(record));
    metadata.emplace(kRecordKey, grpc::string_ref(address_, sizeof(address_)));
  }

  void End(const grpc::Status& status) {
    ended_ = true;
    const std::string code =
        absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code()));
    if (telemetry_ != nullptr) telemetry_->RpcFinished(record_->method(), code);
    if (access_log_ == nullptr) return;
    access_log_->Write(record_->Line(code, ReasonOf(status), messages_sent_, clock_->Now()));
  }

  static std::string ReasonOf(const grpc::Status& status) {
    google::rpc::Status wire;
    google::rpc::ErrorInfo info;
    if (status.ok() || !wire.ParseFromString(status.error_details())) return "";
    for (const google::protobuf::Any& detail : wire.details()) {
      if (detail.UnpackTo(&info)) return info.reason();
    }
    return "";
  }

  grpc::experimental::ServerRpcInfo* const call_;
  Telemetry* const telemetry_;
  AccessLog* const access_log_;
  const Clock* const clock_;
  const std::shared_ptr<CallRecord> record_;
  char address_[sizeof(const std::shared_ptr<CallRecord>*)] = {};  // of record_
  std::atomic<int64_t> messages_sent_ = 0;
  bool ended_ = false;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Factory(const std::vector<std::string>& services, Telemetry* telemetry, AccessLog* access_log,
          const Clock* clock)
      : telemetry_(telemetry), access_log_(access_log), clock_(clock) {
    const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
    for (const std::string& name : services) {
      const auto* const service = pool.FindServiceByName(name);
      for (int i = 0; service != nullptr && i < service->method_count(); ++i) {
        methods_.insert(absl::StrCat("/", name, "/", service->method(i)->name()));
      }
    }
  }

  // Null: nothing is intercepted. Probes and reflection are no calls that anybody asks about.
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    const std::string method = call->method();
    if (!methods_.contains(method)) return nullptr;
    return new CallInterceptor(call, method.substr(1), telemetry_, access_log_, clock_);
  }

 private:
  Telemetry* const telemetry_;
  AccessLog* const access_log_;
  const Clock* const clock_;
  std::set<std::string, std::less<>> methods_;  // "/package.Service/Method"
};

}  // namespace

CallRecord::CallRecord(std::string method, absl::Time arrival)
    : method_(std::move(method)), arrival_(arrival) {}

TraceContext CallRecord::trace() const {
  const MutexLock lock(mutex_);
  return trace_;
}

void CallRecord::Begin(std::string_view traceparent, std::string_view protocol) {
  const MutexLock lock(mutex_);
  trace_ = BeginSpan(traceparent);
  if (!protocol.empty()) protocol_ = std::string(protocol);
}

void CallRecord::JoinTrace(const std::string& trace_id) {
  const MutexLock lock(mutex_);
  TraceContext joined = trace_;
  joined.trace_id = trace_id;
  if (trace_.parent_id.empty() && ParseTraceparent(TraceparentOf(joined))) {
    trace_ = std::move(joined);
  }
}

void CallRecord::Add(std::initializer_list<Field> fields) {
  const MutexLock lock(mutex_);
  fields_.insert(fields_.end(), fields.begin(), fields.end());
}

nlohmann::ordered_json CallRecord::Line(std::string_view code, std::string_view reason,
                                        int64_t messages_sent, absl::Time now) const {
  const MutexLock lock(mutex_);
  nlohmann::ordered_json line = {{"time", LogTime(now)},
                                 {"method", method_},
                                 {"protocol", protocol_},
                                 {"code", code},
                                 {"seconds", absl::ToDoubleSeconds(now - arrival_)},
                                 {"request", id_},
                                 {"trace_id", trace_.trace_id},
                                 {"span_id", trace_.span_id}};
  if (!trace_.parent_id.empty()) line["parent_span_id"] = trace_.parent_id;
  line["trace_flags"] = trace_.flags;
  if (!reason.empty()) line["reason"] = reason;
  line["messages_sent"] = messages_sent;
  for (const auto& [name, value] : fields_) line[name] = value;
  return line;
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> CallRecords(
    const std::vector<std::string>& services, Telemetry* telemetry, AccessLog* access_log,
    const Clock* clock) {
  return std::make_unique<Factory>(services, telemetry, access_log, clock);
}

std::shared_ptr<CallRecord> RecordOf(const grpc::ServerContextBase& context) {
  const auto entry = context.client_metadata().find(kRecordKey);
  if (entry == context.client_metadata().end()) {
    return std::make_shared<CallRecord>("", Clock::Real().Now());
  }
  const std::shared_ptr<CallRecord>* record = nullptr;
  std::memcpy(&record, entry->second.data(), sizeof(record));
  return *record;
}

std::string MetadataValue(const grpc::ServerContextBase& context, const std::string& name) {
  return ValueOf(context.client_metadata(), name);
}

}  // namespace denoise
