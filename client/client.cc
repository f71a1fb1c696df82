#include "client/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/connection.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "denoised/v1/models.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
namespace health = grpc::health::v1;

constexpr char kModelsPrefix[] = "models/";

}  // namespace

class Client::Impl {
 public:
  explicit Impl(ClientOptions options)
      : connection(std::move(options)),
        generation(v1::ImageGeneration::NewStub(connection.channel())),
        models(v1::Models::NewStub(connection.channel())),
        health_service(health::Health::NewStub(connection.channel())) {}

  // Constant after construction.
  const Connection connection;
  const std::unique_ptr<v1::ImageGeneration::Stub> generation;
  const std::unique_ptr<v1::Models::Stub> models;
  const std::unique_ptr<health::Health::Stub> health_service;
};

Client::Client(ClientOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

const ClientOptions& Client::options() const { return impl_->connection.options(); }

GenerateStream Client::Generate(const v1::GenerateRequest& request) {
  return Generate(request, options().generate_deadline);
}

GenerateStream Client::Generate(const v1::GenerateRequest& request, absl::Duration deadline) {
  return impl_->connection.Stream<v1::GenerateEvent>(
      *impl_->generation, &v1::ImageGeneration::Stub::Generate, request, deadline);
}

DiffuseStream Client::Diffuse(const v1::DiffuseRequest& request) {
  return impl_->connection.Stream<v1::DiffuseEvent>(*impl_->generation,
                                                    &v1::ImageGeneration::Stub::Diffuse, request,
                                                    options().generate_deadline);
}

absl::StatusOr<std::vector<v1::Model>> Client::ListModels() {
  return impl_->connection.ListAll<v1::Model, v1::ListModelsResponse>(
      *impl_->models, &v1::Models::Stub::ListModels, v1::ListModelsRequest(),
      &v1::ListModelsResponse::mutable_models);
}

absl::StatusOr<v1::Model> Client::GetModel(std::string_view name) {
  v1::GetModelRequest request;
  request.set_name(ModelResourceName(name));
  return impl_->connection.Call<v1::Model>(*impl_->models, &v1::Models::Stub::GetModel, request);
}

absl::StatusOr<v1::SamplerPlan> Client::PlanSampler(std::string_view model,
                                                    const v1::SamplerOptions& sampler) {
  v1::PlanSamplerRequest request;
  request.set_model(ModelResourceName(model));
  *request.mutable_sampler() = sampler;
  return impl_->connection.Call<v1::SamplerPlan>(*impl_->generation,
                                                 &v1::ImageGeneration::Stub::PlanSampler, request);
}

absl::StatusOr<Health> Client::CheckHealth(std::string_view service) {
  health::HealthCheckRequest request;
  request.set_service(std::string(service));
  auto response = impl_->connection.Call<health::HealthCheckResponse>(
      *impl_->health_service, &health::Health::Stub::Check, request);
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
