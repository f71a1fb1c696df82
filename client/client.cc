#include "client/client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/server_stream_call.h"
#include "client/status_from_grpc.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "denoised/v1/models.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
namespace health = grpc::health::v1;

constexpr char kModelsPrefix[] = "models/";
constexpr int kPageSize = 1000;
constexpr int kMostPages = 1000;
constexpr absl::Duration kLongestDeadline = absl::Hours(24 * 365);

std::shared_ptr<grpc::ChannelCredentials> Credentials(const ClientOptions& options) {
  if (!options.tls.has_value()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = options.tls->root_certificates;
  return grpc::SslCredentials(ssl);
}

void SetDeadline(grpc::ClientContext& context, absl::Duration deadline) {
  if (deadline > kLongestDeadline) return;  // infinite, or past what the clock can say
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(deadline));
}

}  // namespace

class Client::Impl {
 public:
  explicit Impl(ClientOptions client_options)
      : options(std::move(client_options)),
        channel(grpc::CreateCustomChannel(options.address, Credentials(options),
                                          ToChannelArguments(options))),
        generation(v1::ImageGeneration::NewStub(channel)),
        models(v1::Models::NewStub(channel)),
        health_service(health::Health::NewStub(channel)) {}

  // Calls `method` of `stub` within the deadline for unary calls.
  template <typename Response, typename Stub, typename Method, typename Request>
  absl::StatusOr<Response> Call(Stub& stub, Method method, const Request& request) const {
    grpc::ClientContext context;
    SetDeadline(context, options.unary_deadline);
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return StatusFromGrpc(status, options.address);
    return response;
  }

  // Starts the server-streaming `method` of image generation.
  template <typename Event, typename Method, typename Request>
  ServerStream<Event> Stream(Method method, const Request& request, absl::Duration deadline) const {
    auto call = std::make_unique<typename ServerStream<Event>::Call>();
    call->context = std::make_unique<grpc::ClientContext>();
    SetDeadline(*call->context, deadline);
    call->address = options.address;
    call->reader = (generation.get()->*method)(call->context.get(), request);
    return ServerStream<Event>(std::move(call));
  }

  // Constant after construction.
  const ClientOptions options;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::ImageGeneration::Stub> generation;
  const std::unique_ptr<v1::Models::Stub> models;
  const std::unique_ptr<health::Health::Stub> health_service;
};

Client::Client(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const ClientOptions& Client::options() const { return impl_->options; }

GenerateStream Client::Generate(const v1::GenerateRequest& request) {
  return Generate(request, impl_->options.generate_deadline);
}

GenerateStream Client::Generate(const v1::GenerateRequest& request, absl::Duration deadline) {
  return impl_->Stream<v1::GenerateEvent>(&v1::ImageGeneration::Stub::Generate, request, deadline);
}

DiffuseStream Client::Diffuse(const v1::DiffuseRequest& request) {
  return impl_->Stream<v1::DiffuseEvent>(&v1::ImageGeneration::Stub::Diffuse, request,
                                         impl_->options.generate_deadline);
}

absl::StatusOr<std::vector<v1::Model>> Client::ListModels() {
  std::vector<v1::Model> models;
  v1::ListModelsRequest request;
  request.set_page_size(kPageSize);
  for (int pages = 0; pages < kMostPages; ++pages) {
    auto page =
        impl_->Call<v1::ListModelsResponse>(*impl_->models, &v1::Models::Stub::ListModels, request);
    if (!page.ok()) return page.status();
    for (v1::Model& model : *page->mutable_models()) models.push_back(std::move(model));
    if (page->next_page_token().empty()) return models;
    request.set_page_token(page->next_page_token());
  }
  return absl::InternalError("the server's list of models does not end");
}

absl::StatusOr<v1::Model> Client::GetModel(std::string_view name) {
  v1::GetModelRequest request;
  request.set_name(ModelResourceName(name));
  return impl_->Call<v1::Model>(*impl_->models, &v1::Models::Stub::GetModel, request);
}

absl::StatusOr<v1::SamplerPlan> Client::PlanSampler(std::string_view model,
                                                    const v1::SamplerOptions& sampler) {
  v1::PlanSamplerRequest request;
  request.set_model(ModelResourceName(model));
  *request.mutable_sampler() = sampler;
  return impl_->Call<v1::SamplerPlan>(*impl_->generation, &v1::ImageGeneration::Stub::PlanSampler,
                                      request);
}

absl::StatusOr<Health> Client::CheckHealth(std::string_view service) {
  health::HealthCheckRequest request;
  request.set_service(std::string(service));
  auto response = impl_->Call<health::HealthCheckResponse>(*impl_->health_service,
                                                           &health::Health::Stub::Check, request);
  if (absl::IsNotFound(response.status())) {
    return absl::NotFoundError(
        absl::StrCat("the server has no service \"", request.service(), "\""));
  }
  if (!response.ok()) return response.status();
  switch (response->status()) {
    case health::HealthCheckResponse::SERVING:
      return Health::kServing;
    case health::HealthCheckResponse::NOT_SERVING:
      return Health::kNotServing;
    default:
      return Health::kUnknown;
  }
}

std::string ModelResourceName(std::string_view name) {
  return kModelsPrefix + ShortModelName(name);
}

std::string ShortModelName(std::string_view name) {
  constexpr std::string_view kPrefix = kModelsPrefix;
  if (name.substr(0, kPrefix.size()) == kPrefix) name.remove_prefix(kPrefix.size());
  return std::string(name);
}

}  // namespace denoise
