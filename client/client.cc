#include "client/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "client/connection.h"
#include "client/handover_follower.h"
#include "denoised/v1/generations.grpc.pb.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "denoised/v1/models.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
namespace health = grpc::health::v1;

constexpr std::string_view kModelsPrefix = "models/";
constexpr std::string_view kAdaptersPrefix = "adapters/";
constexpr std::string_view kBesideModel = "/adapters/";  // behind the model's name
constexpr std::string_view kGenerationsPrefix = "generations/";

std::string WithPrefix(std::string_view prefix, std::string_view name) {
  return name.starts_with(prefix) ? std::string(name) : std::string(prefix).append(name);
}

std::string WithoutPrefix(std::string_view prefix, std::string_view name) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  return std::string(name);
}

}  // namespace

class Client::Impl {
 public:
  explicit Impl(ClientOptions options)
      : connection(std::move(options)),
        generation(v1::ImageGeneration::NewStub(connection.channel())),
        generations(v1::Generations::NewStub(connection.channel())),
        models(v1::Models::NewStub(connection.channel())),
        health_service(health::Health::NewStub(connection.channel())) {}

  // Constant after construction.
  const Connection connection;
  const std::unique_ptr<v1::ImageGeneration::Stub> generation;
  const std::unique_ptr<v1::Generations::Stub> generations;
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
  v1::GenerateRequest accepting = request;
  if (request.handover().empty())
    accepting.set_accept_handover(true);  // else it has no other field
  auto call = impl_->connection.Start<v1::GenerateEvent>(
      *impl_->generation, &v1::ImageGeneration::Stub::Generate, accepting, deadline);
  FollowHandovers(*call, absl::Now() + deadline);
  return GenerateStream(std::move(call));
}

// The stream may outlive the client, but not its channel.
void Client::FollowHandovers(GenerateStream::Call& call, absl::Time deadline) const {
  const auto follower = std::make_shared<HandoverFollower>();
  const std::shared_ptr<v1::ImageGeneration::Stub> stub =
      v1::ImageGeneration::NewStub(impl_->connection.channel());
  call.is_news = [follower](v1::GenerateEvent& event) { return follower->IsNews(event); };
  call.continue_after =
      [follower, stub, deadline, options = impl_->connection.options()](
          const absl::Status& status,
          grpc::ClientContext& context) -> std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> {
    const std::optional<v1::GenerateRequest> request = follower->Continue(status);
    if (!request) return nullptr;
    Connection::Prepare(options, context, deadline - absl::Now());
    return stub->Generate(&context, *request);
  };
}

GenerateStream Client::WatchGeneration(std::string_view name, std::optional<int64_t> resume_after) {
  v1::WatchGenerationRequest request;
  request.set_name(GenerationResourceName(name));
  if (resume_after) request.set_resume_after(*resume_after);
  return impl_->connection.Stream<v1::GenerateEvent>(*impl_->generations,
                                                     &v1::Generations::Stub::WatchGeneration,
                                                     request, options().generate_deadline,
                                                     /*may_be_empty=*/request.has_resume_after());
}

absl::StatusOr<v1::Generation> Client::GetGeneration(std::string_view name) {
  v1::GetGenerationRequest request;
  request.set_name(GenerationResourceName(name));
  return impl_->connection.Call<v1::Generation>(*impl_->generations,
                                                &v1::Generations::Stub::GetGeneration, request);
}

absl::StatusOr<std::vector<v1::Generation>> Client::ListGenerations() {
  return impl_->connection.ListAll<v1::Generation, v1::ListGenerationsResponse>(
      *impl_->generations, &v1::Generations::Stub::ListGenerations, v1::ListGenerationsRequest(),
      &v1::ListGenerationsResponse::mutable_generations);
}

absl::StatusOr<v1::Generation> Client::CancelGeneration(std::string_view name) {
  v1::CancelGenerationRequest request;
  request.set_name(GenerationResourceName(name));
  return impl_->connection.Call<v1::Generation>(*impl_->generations,
                                                &v1::Generations::Stub::CancelGeneration, request);
}

absl::StatusOr<v1::PauseGenerationResponse> Client::PauseGeneration(std::string_view name) {
  v1::PauseGenerationRequest request;
  request.set_name(GenerationResourceName(name));
  return impl_->connection.Call<v1::PauseGenerationResponse>(
      *impl_->generations, &v1::Generations::Stub::PauseGeneration, request,
      options().generate_deadline);
}

DiffuseStream Client::Diffuse(const v1::DiffuseRequest& request) {
  return impl_->connection.Stream<v1::DiffuseEvent>(*impl_->generation,
                                                    &v1::ImageGeneration::Stub::Diffuse, request,
                                                    options().generate_deadline);
}

absl::StatusOr<std::vector<v1::Model>> Client::ListModels(bool show_failed) {
  v1::ListModelsRequest request;
  request.set_show_failed(show_failed);
  return impl_->connection.ListAll<v1::Model, v1::ListModelsResponse>(
      *impl_->models, &v1::Models::Stub::ListModels, std::move(request),
      &v1::ListModelsResponse::mutable_models);
}

absl::StatusOr<v1::Model> Client::GetModel(std::string_view name) {
  v1::GetModelRequest request;
  request.set_name(ModelResourceName(name));
  return impl_->connection.Call<v1::Model>(*impl_->models, &v1::Models::Stub::GetModel, request);
}

absl::StatusOr<std::vector<v1::Adapter>> Client::ListAdapters(std::string_view model) {
  v1::ListAdaptersRequest request;
  if (!model.empty()) request.set_model(ModelResourceName(model));
  return impl_->connection.ListAll<v1::Adapter, v1::ListAdaptersResponse>(
      *impl_->models, &v1::Models::Stub::ListAdapters, std::move(request),
      &v1::ListAdaptersResponse::mutable_adapters);
}

ModelStream Client::WatchModels() {
  return impl_->connection.Stream<v1::ModelEvent>(*impl_->models, &v1::Models::Stub::WatchModels,
                                                  v1::WatchModelsRequest(),
                                                  options().generate_deadline);
}

absl::StatusOr<v1::Model> Client::LoadModel(std::string_view name) {
  v1::LoadModelRequest request;
  request.set_name(ModelResourceName(name));
  return impl_->connection.Call<v1::Model>(*impl_->models, &v1::Models::Stub::LoadModel, request,
                                           options().generate_deadline);
}

absl::StatusOr<v1::Model> Client::UnloadModel(std::string_view name) {
  v1::UnloadModelRequest request;
  request.set_name(ModelResourceName(name));
  return impl_->connection.Call<v1::Model>(*impl_->models, &v1::Models::Stub::UnloadModel, request);
}

absl::Status Client::DeleteModel(std::string_view name) {
  v1::DeleteModelRequest request;
  request.set_name(ModelResourceName(name));
  return impl_->connection
      .Call<google::protobuf::Empty>(*impl_->models, &v1::Models::Stub::DeleteModel, request)
      .status();
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

std::string ModelResourceName(std::string_view name) { return WithPrefix(kModelsPrefix, name); }
std::string ShortModelName(std::string_view name) { return WithoutPrefix(kModelsPrefix, name); }

std::string AdapterResourceName(std::string_view name) {
  const size_t slash = name.find('/');
  if (slash == std::string_view::npos || name.starts_with(kAdaptersPrefix)) {
    return WithPrefix(kAdaptersPrefix, name);
  }
  if (name.starts_with(kModelsPrefix)) return std::string(name);
  return absl::StrCat(ModelResourceName(name.substr(0, slash)), "/",
                      WithPrefix(kAdaptersPrefix, name.substr(slash + 1)));
}
std::string ShortAdapterName(std::string_view name) {
  const size_t at = name.rfind(kBesideModel);
  if (!name.starts_with(kModelsPrefix) || at == std::string_view::npos) {
    return WithoutPrefix(kAdaptersPrefix, name);
  }
  return absl::StrCat(ShortModelName(name.substr(0, at)), "/",
                      std::string(name.substr(at + kBesideModel.size())));
}

std::string GenerationResourceName(std::string_view name) {
  return WithPrefix(kGenerationsPrefix, name);
}
std::string ShortGenerationName(std::string_view name) {
  return WithoutPrefix(kGenerationsPrefix, name);
}

}  // namespace denoise
