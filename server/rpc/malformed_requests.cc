#include "server/rpc/malformed_requests.h"

#include <google/protobuf/descriptor.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "core/base/thread_order.h"
#include "server/connections/log_limit.h"
#include "server/rpc/call_record.h"
#include "server/rpc/caller_identity.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

using grpc::experimental::InterceptionHookPoints;

class MalformedRequest final : public grpc::experimental::Interceptor {
 public:
  MalformedRequest(grpc::experimental::ServerRpcInfo* call, const AccessControl* access,
                   LogLimit& lines)
      : call_(call), method_(call->method()), access_(access), lines_(lines) {
    BeforeHandOver(this);
  }
  ~MalformedRequest() override { AfterHandOver(this); }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    AfterHandOver(this);
    // A method that exists says why when it refuses: only gRPC ends a call so. (It does so, too,
    // when the caller has gone before its message came.)
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS) &&
        methods->GetSendStatus().error_code() == grpc::StatusCode::UNIMPLEMENTED &&
        methods->GetSendStatus().error_message().empty()) {
      Refuse(*methods);
    }
    BeforeHandOver(this);
    methods->Proceed();
  }

 private:
  void Refuse(grpc::experimental::InterceptorBatchMethods& methods) const {
    const std::shared_ptr<CallRecord> record = RecordOf(*call_->server_context());
    const absl::Status status = WhyRefused();
    methods.ModifySendStatus(ToWireStatus(status, record->id()).status);
    methods.GetSendTrailingMetadata()->insert({kRequestIdTrailer, record->id()});
    const std::optional<int> lines_left_out = lines_.Take();
    if (!lines_left_out) return;
    LogEvent(spdlog::level::info, "request refused",
             {{"request", record->id()},
              {"trace_id", record->trace_id()},
              {"method", method_},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"lines_left_out", *lines_left_out}});
  }

  absl::Status WhyRefused() const {
    RETURN_IF_ERROR(IdentifyCaller(access_, *call_->server_context()).status());
    return absl::InvalidArgumentError(absl::StrCat(
        "the request did not arrive as a message that ", method_,
        " takes: is the client built from this server's .proto files, and is its text UTF-8?"));
  }

  grpc::experimental::ServerRpcInfo* const call_;
  const std::string method_;
  const AccessControl* const access_;
  LogLimit& lines_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Factory(const std::vector<std::string>& services, const AccessControl* access) : access_(access) {
    const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
    for (const std::string& name : services) {
      const auto* const service = pool.FindServiceByName(name);
      for (int i = 0; service != nullptr && i < service->method_count(); ++i)
        methods_.insert(absl::StrCat("/", name, "/", service->method(i)->name()));
    }
  }

  // Null: nothing is intercepted.
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    return methods_.contains(call->method()) ? new MalformedRequest(call, access_, lines_)
                                             : nullptr;
  }

 private:
  const AccessControl* const access_;
  std::set<std::string, std::less<>> methods_;  // "/package.Service/Method"
  LogLimit lines_{&Clock::Real()};              // which outlive the calls, as the server does
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MalformedRequests(
    const std::vector<std::string>& services, const AccessControl* access) {
  return std::make_unique<Factory>(services, access);
}

}  // namespace denoise
