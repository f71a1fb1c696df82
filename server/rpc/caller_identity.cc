#include "server/rpc/caller_identity.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/thread_order.h"

namespace denoise {
namespace {

using grpc::experimental::InterceptionHookPoints;

// No client can send metadata of this name: it begins with a colon.
constexpr char kMethodKey[] = ":denoised-method";

class MethodName final : public grpc::experimental::Interceptor {
 public:
  explicit MethodName(const char* method) : method_(method) { BeforeHandOver(this); }
  ~MethodName() override { AfterHandOver(this); }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    AfterHandOver(this);
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      auto& metadata = *methods->GetRecvInitialMetadata();
      metadata.erase(kMethodKey);
      metadata.emplace(kMethodKey, method_);
    }
    BeforeHandOver(this);
    methods->Proceed();
  }

 private:
  const std::string method_;  // which lives as long as the call does
};

class Factory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override {
    return new MethodName(call->method());
  }
};

// The values of a name, as HTTP joins them. Credentials that are given twice are therefore not
// valid: parts of a chain of proxies could each read another one.
std::string ValueOf(const grpc::ServerContextBase& context, const std::string& name) {
  std::string joined;
  const auto [begin, end] = context.client_metadata().equal_range(name);
  for (auto entry = begin; entry != end; ++entry) {
    absl::StrAppend(&joined, entry == begin ? "" : ",",
                    absl::string_view(entry->second.data(), entry->second.size()));
  }
  return joined;
}

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MethodNames() {
  return std::make_unique<Factory>();
}

absl::StatusOr<Identity> IdentifyCaller(const AccessControl* access,
                                        const grpc::ServerContextBase& context) {
  if (access == nullptr) return Anyone();
  Credentials credentials;
  credentials.authorization = ValueOf(context, "authorization");
  credentials.certificate = access->peer_certificates().NameOf(context.peer());
  credentials.sealed = ValueOf(context, kSealedIdentityKey);
  if (!access->tenant_header().empty()) {
    credentials.tenant = ValueOf(context, access->tenant_header());
  }
  return access->Admit(ValueOf(context, kMethodKey), credentials);
}

}  // namespace denoise
