#include "tests/e2e/caller_channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/client_interceptor.h>

namespace denoise {
namespace {

using grpc::experimental::InterceptionHookPoints;

class AddMetadata final : public grpc::experimental::Interceptor {
 public:
  explicit AddMetadata(const Metadata& metadata) : metadata_(metadata) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      for (const auto& entry : metadata_) methods->GetSendInitialMetadata()->insert(entry);
    }
    methods->Proceed();
  }

 private:
  const Metadata& metadata_;
};

class Factory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit Factory(Metadata metadata) : metadata_(std::move(metadata)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo*) override {
    return new AddMetadata(metadata_);
  }

 private:
  const Metadata metadata_;
};

}  // namespace

std::shared_ptr<grpc::Channel> ChannelWith(
    const std::string& address, const Metadata& metadata,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> factories;
  factories.push_back(std::make_unique<Factory>(metadata));
  return grpc::experimental::CreateCustomChannelWithInterceptors(
      address, credentials ? credentials : grpc::InsecureChannelCredentials(), {},
      std::move(factories));
}

}  // namespace denoise
