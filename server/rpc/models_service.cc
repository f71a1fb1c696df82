#include "server/rpc/models_service.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/paging.h"
#include "core/base/status_macros.h"
#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_overrides.h"
#include "proto/conversion/sampler_proto.h"
#include "server/requests/size_validation.h"
#include "server/rpc/event_stream.h"
#include "server/rpc/unary_answer.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

v1::Model::State StateToProto(LoadState state) {
  switch (state) {
    case LoadState::kLoaded:
      return v1::Model::LOADED;
    case LoadState::kLoading:
      return v1::Model::LOADING;
    case LoadState::kUnloaded:
      return v1::Model::UNLOADED;
    case LoadState::kFailed:
      break;
  }
  return v1::Model::FAILED;
}

absl::Status NotManaged() {
  return WithErrorReason(
      absl::PermissionDeniedError("this server does not let callers load, unload or delete models; "
                                  "it must be started with --manage-models for that"),
      "MODELS_NOT_MANAGED");
}

absl::StatusOr<std::string> ModelIdOf(const std::string& name) {
  if (const auto id = ParseModelName(name)) return *id;
  return InvalidField("name", "must be \"models/\" and a model's name");
}

// What the stream of a WatchModels call reads.
class WatchModelsSource final : public EventSource<v1::ModelEvent> {
 public:
  WatchModelsSource(LiveCalls* live_calls, ModelRepository* models, Call call)
      : live_calls_(live_calls), call_(std::move(call)), watcher_(models->Watch(call_.wake)) {}

  absl::StatusOr<Outcome> Next() override {
    RETURN_IF_ERROR(live_calls_->CheckNotDraining());
    v1::ModelEvent event;
    if (!is_complete_ && watcher_->complete()) {
      is_complete_ = true;
      event.mutable_complete();
      ++events_;
      return event;
    }
    const auto change = watcher_->Next();
    if (!change) return is_complete_ ? Outcome(Wait()) : Outcome(Again());
    if (change->status) {
      *event.mutable_model() = ModelToProto(*change->status);
    } else {
      event.set_removed(ModelName(change->id));
    }
    ++events_;
    return event;
  }

  void OnEnd(const absl::Status& status) override {
    LogEvent(LevelOf(status), "watch finished",
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"events", events_}});
  }

 private:
  LiveCalls* const live_calls_;
  const Call call_;
  const std::unique_ptr<ModelRepository::Watcher> watcher_;
  bool is_complete_ = false;
  int64_t events_ = 0;
};

// Every label but the one that stands for no class.
void AddClasses(const Model& model, v1::Model& proto) {
  for (int64_t label = 0; label < model.spec.num_class_embeds; ++label) {
    if (label == model.null_class_label) continue;
    auto& entry = *proto.add_classes();
    entry.set_label(static_cast<int32_t>(label));
    if (const auto name = model.id2label.find(label); name != model.id2label.end()) {
      entry.set_display_name(name->second);
    }
  }
}

}  // namespace

namespace {

v1::Model Describe(const Model& model) {
  v1::Model proto;
  proto.set_version(model.version);
  const SampleShape picture = PictureShapeOf(model, model.spec.sample);
  proto.set_channels(static_cast<int32_t>(picture.channels));
  proto.set_height(static_cast<int32_t>(picture.height));
  proto.set_width(static_cast<int32_t>(picture.width));
  proto.set_size_multiple(static_cast<int32_t>(model.size_multiple()));
  proto.set_takes_prompts(model.prompts != nullptr);
  if (model.guidance_scale != 1) proto.set_default_guidance_scale(model.guidance_scale);
  AddClasses(model, proto);
  proto.set_supports_guidance(model.can_be_guided());
  proto.set_parameter_count(model.spec.num_parameters);
  *proto.mutable_default_sampler() = SamplerToProto(EffectiveOverrides(model.default_sampler));
  proto.set_num_train_timesteps(model.schedule.num_train_timesteps());
  proto.set_prediction_type(std::string(NameOf(model.default_sampler.prediction_type)));
  proto.set_source(model.source);
  proto.set_memory_bytes(model.memory_bytes);
  proto.set_takes_adapters(model.adapters != nullptr);
  return proto;
}

v1::Adapter AdapterToProto(const AdapterInfo& info) {
  v1::Adapter proto;
  proto.set_name(AdapterName(info.id));
  for (const std::string& model : info.models) proto.add_models(ModelName(model));
  proto.set_rank(static_cast<int32_t>(info.summary.rank));
  proto.set_parameter_count(info.summary.num_parameters);
  proto.set_file_bytes(info.file_bytes);
  proto.set_base_model(info.summary.base_model);
  proto.set_error(std::string(info.summary.error.message()));
  return proto;
}

// Those that an adapter of the answer may fit.
absl::StatusOr<std::vector<ModelHandle>> ModelsOf(const ModelRepository& models,
                                                  const v1::ListAdaptersRequest& request) {
  if (!request.model().empty()) {
    const auto id = ParseModelName(request.model());
    if (!id) return InvalidField("model", "must be \"models/\" and a model's name");
    ASSIGN_OR_RETURN(ModelHandle model, models.Find(*id));
    return std::vector<ModelHandle>{std::move(model)};
  }
  std::vector<ModelHandle> all;
  constexpr size_t kAll = std::numeric_limits<size_t>::max();
  for (ModelStatus& status : models.ListAfter("", kAll, /*with_failed=*/false)) {
    all.push_back(std::move(status.model));
  }
  return all;
}

// What a page token is bound to.
std::string_view ListOf(const v1::ListModelsRequest& request) {
  return request.show_failed() ? "models and failed ones" : "models";
}

}  // namespace

v1::Model ModelToProto(const ModelStatus& status) {
  v1::Model proto = status.model ? Describe(*status.model) : v1::Model();
  proto.set_name(ModelName(status.id));
  proto.set_state(StateToProto(status.state));
  proto.set_error(std::string(status.error.message()));
  return proto;
}

absl::StatusOr<v1::ListModelsResponse> ListModels(const ModelRepository& models,
                                                  const v1::ListModelsRequest& request) {
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  const absl::StatusOr<std::string> after = ParsePageToken(ListOf(request), request.page_token());
  FieldViolations violations;
  violations.AddAll("", page_size.status());
  violations.AddAll("", after.status());
  RETURN_IF_ERROR(violations.ToStatus());

  // One more than the page holds tells whether another follows.
  std::vector<ModelStatus> page =
      models.ListAfter(*after, *page_size + 1, /*with_failed=*/request.show_failed());
  const bool more = page.size() > static_cast<size_t>(*page_size);
  if (more) page.pop_back();
  v1::ListModelsResponse response;
  for (const ModelStatus& model : page) *response.add_models() = ModelToProto(model);
  if (more) response.set_next_page_token(PageTokenAfter(ListOf(request), page.back().id));
  return response;
}

absl::StatusOr<v1::ListAdaptersResponse> ListAdapters(const ModelRepository& models,
                                                      AdapterCatalog& adapters,
                                                      const v1::ListAdaptersRequest& request,
                                                      const std::function<bool()>& is_cancelled) {
  const std::string list = "adapters of " + request.model();
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  const absl::StatusOr<std::string> after = ParsePageToken(list, request.page_token());
  FieldViolations violations;
  violations.AddAll("", page_size.status());
  violations.AddAll("", after.status());
  RETURN_IF_ERROR(violations.ToStatus());
  if (is_cancelled()) return CallerGone();
  ASSIGN_OR_RETURN(const std::vector<ModelHandle> fitted, ModelsOf(models, request));
  ASSIGN_OR_RETURN(const std::vector<AdapterFile> files, adapters.List(fitted));

  v1::ListAdaptersResponse response;
  size_t bytes = 0;
  for (const AdapterFile& file : files) {
    if (AdapterName(file.id) <= *after) continue;
    if (is_cancelled()) return CallerGone();
    const AdapterInfo info = adapters.Describe(file, fitted);
    if (!request.model().empty() && info.models.empty()) continue;
    v1::Adapter adapter = AdapterToProto(info);
    bytes += adapter.ByteSizeLong();
    const int listed = response.adapters_size();
    if (listed == *page_size || (listed > 0 && bytes > kMaxPageBytes)) {
      response.set_next_page_token(PageTokenAfter(list, response.adapters(listed - 1).name()));
      break;
    }
    *response.add_adapters() = std::move(adapter);
  }
  return response;
}

absl::StatusOr<v1::Model> GetModel(const ModelRepository& models,
                                   const v1::GetModelRequest& request) {
  ASSIGN_OR_RETURN(const std::string id, ModelIdOf(request.name()));
  ASSIGN_OR_RETURN(const ModelStatus status, models.Status(id));
  return ModelToProto(status);
}

grpc::ServerUnaryReactor* ModelsService::ListModels(grpc::CallbackServerContext* context,
                                                    const v1::ListModelsRequest* request,
                                                    v1::ListModelsResponse* response) {
  return Answer(environment_, context, response,
                [&](const Identity&) { return denoise::ListModels(*models_, *request); });
}

grpc::ServerUnaryReactor* ModelsService::ListAdapters(grpc::CallbackServerContext* context,
                                                      const v1::ListAdaptersRequest* request,
                                                      v1::ListAdaptersResponse* response) {
  return AnswerOnPool(
      disk_environment_, context, response,
      [this, context, request](const Identity&) -> absl::StatusOr<v1::ListAdaptersResponse> {
        RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
        return denoise::ListAdapters(*models_, *adapters_, *request,
                                     [context] { return context->IsCancelled(); });
      });
}

grpc::ServerUnaryReactor* ModelsService::GetModel(grpc::CallbackServerContext* context,
                                                  const v1::GetModelRequest* request,
                                                  v1::Model* response) {
  return Answer(environment_, context, response,
                [&](const Identity&) { return denoise::GetModel(*models_, *request); });
}

grpc::ServerWriteReactor<v1::ModelEvent>* ModelsService::WatchModels(
    grpc::CallbackServerContext* context, const v1::WatchModelsRequest*) {
  return new EventStream<v1::ModelEvent>(environment_, context, [&](Call call) {
    return std::make_unique<WatchModelsSource>(environment_.live_calls, models_, std::move(call));
  });
}

// Answers with `work(id, is_cancelled)`, on the environment's pool.
template <class Request, class Response, class Work>
grpc::ServerUnaryReactor* ModelsService::Manage(const CallEnvironment& environment,
                                                grpc::CallbackServerContext* context,
                                                const Request* request, Response* response,
                                                Work work) {
  if (managed_ == nullptr) {
    return Answer(environment, context, response,
                  [](const Identity&) { return absl::StatusOr<Response>(NotManaged()); });
  }
  return AnswerOnPool(environment, context, response,
                      [this, context, request, work](const Identity&) -> absl::StatusOr<Response> {
                        RETURN_IF_ERROR(environment_.live_calls->AdmitNewCall());
                        ASSIGN_OR_RETURN(const std::string id, ModelIdOf(request->name()));
                        return work(id, [context] { return context->IsCancelled(); });
                      });
}

grpc::ServerUnaryReactor* ModelsService::LoadModel(grpc::CallbackServerContext* context,
                                                   const v1::LoadModelRequest* request,
                                                   v1::Model* response) {
  return Manage(
      managing_environment_, context, request, response,
      [this](const std::string& id, const auto& is_cancelled) { return Load(id, is_cancelled); });
}

absl::StatusOr<v1::Model> ModelsService::Load(const std::string& id,
                                              const LiveModels::IsCancelled& is_cancelled) {
  RETURN_IF_ERROR(managed_->Load(id, is_cancelled));
  ASSIGN_OR_RETURN(const ModelStatus status, models_->Status(id));
  return ModelToProto(status);
}

grpc::ServerUnaryReactor* ModelsService::UnloadModel(grpc::CallbackServerContext* context,
                                                     const v1::UnloadModelRequest* request,
                                                     v1::Model* response) {
  return Manage(environment_, context, request, response,
                [this](const std::string& id, const auto&) -> absl::StatusOr<v1::Model> {
                  ASSIGN_OR_RETURN(const ModelStatus status, managed_->Unload(id));
                  return ModelToProto(status);
                });
}

grpc::ServerUnaryReactor* ModelsService::DeleteModel(grpc::CallbackServerContext* context,
                                                     const v1::DeleteModelRequest* request,
                                                     google::protobuf::Empty* response) {
  return Manage(managing_environment_, context, request, response,
                [this](const std::string& id,
                       const auto& is_cancelled) -> absl::StatusOr<google::protobuf::Empty> {
                  RETURN_IF_ERROR(managed_->Delete(id, is_cancelled));
                  return google::protobuf::Empty();
                });
}

}  // namespace denoise
