#include "server/rpc/malformed_requests.h"

#include <google/protobuf/descriptor.h>

#include <functional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/resource_id.h"
#include "server/rpc/status_mapping.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

using grpc::experimental::InterceptionHookPoints;

class MalformedRequest final : public grpc::experimental::Interceptor {
 public:
  explicit MalformedRequest(grpc::experimental::ServerRpcInfo* call) : method_(call->method()) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    // A method that exists says why when it refuses: only gRPC ends a call so.
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS) &&
        methods->GetSendStatus().error_code() == grpc::StatusCode::UNIMPLEMENTED &&
        methods->GetSendStatus().error_message().empty()) {
      Refuse(*methods);
    }
    methods->Proceed();
  }

 private:
  void Refuse(grpc::experimental::InterceptorBatchMethods& methods) const {
    const std::string id = NewRandomId();
    const absl::Status status = absl::InvalidArgumentError(absl::StrCat(
        "the bytes of the request are not a message that ", method_,
        " takes: is the client built from this server's .proto files, and is its text UTF-8?"));
    methods.ModifySendStatus(ToWireStatus(status, id).status);
    methods.GetSendTrailingMetadata()->insert({kRequestIdTrailer, id});
    LogEvent(spdlog::level::info, "request refused",
             {{"request", id},
              {"method", method_},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())}});
  }

  const std::string method_;
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit Factory(const std::vector<std::string>& services) {
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
    return methods_.contains(call->method()) ? new MalformedRequest(call) : nullptr;
  }

 private:
  std::set<std::string, std::less<>> methods_;  // "/package.Service/Method"
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MalformedRequests(
    const std::vector<std::string>& services) {
  return std::make_unique<Factory>(services);
}

}  // namespace denoise
