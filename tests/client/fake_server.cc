#include "tests/client/fake_server.h"

#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/image/image.h"
#include "core/sampling/options/sampler_overrides.h"
#include "core/sampling/options/scheduler_config.h"
#include "core/sampling/samplers/compile_plan.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "proto/conversion/plan_proto.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr int kWidth = 16, kHeight = 12, kChannels = 3;
constexpr int kDefaultSteps = 4, kMostSteps = 1000;
constexpr std::chrono::minutes kPatience{1};

// A disc on a ramp, the less noisy the further along; values leave [-1, 1] as raw samples may.
std::vector<float> Sample(int image_index, double progress) {
  std::vector<float> sample(kChannels * kHeight * kWidth);
  uint32_t random = 17u + 101u * static_cast<uint32_t>(image_index);
  for (int c = 0; c < kChannels; ++c) {
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        random = random * 1664525u + 1013904223u;
        const double noise = (random >> 8) / double(1 << 24) * 2 - 1;
        const bool inside = std::hypot(x - 8, y - 6) < 3 + image_index % 3;
        const double picture = inside ? (c == image_index % 3 ? 1.25 : -1) : x / 8.0 - 1;
        sample[(c * kHeight + y) * kWidth + x] =
            static_cast<float>(progress * picture + (1 - progress) * 1.5 * noise);
      }
    }
  }
  return sample;
}

v1::Image Encode(const std::vector<float>& sample, v1::Encoding encoding) {
  v1::Image image;
  image.set_channels(kChannels);
  image.set_height(kHeight);
  image.set_width(kWidth);
  image.set_encoding(encoding == v1::ENCODING_UNSPECIFIED ? v1::ENCODING_PNG : encoding);
  if (encoding == v1::ENCODING_RAW_FLOAT32) {
    image.set_data(sample.data(), sample.size() * sizeof(float));
    return image;
  }
  const ImageFormat format = encoding == v1::ENCODING_JPEG   ? ImageFormat::kJpeg
                             : encoding == v1::ENCODING_WEBP ? ImageFormat::kWebp
                                                             : ImageFormat::kPng;
  image.set_data(EncodeImage(ImageFromSample(sample, kChannels, kHeight, kWidth), format).value());
  return image;
}

// That are taken.
int Steps(const v1::GenerateRequest& request) {
  const int steps = request.sampler().has_steps() ? request.sampler().steps() : kDefaultSteps;
  if (!request.start().has_image()) return steps;
  return static_cast<int>(steps * request.start().image().strength());
}

int Count(const v1::GenerateRequest& request) { return request.has_count() ? request.count() : 1; }

std::vector<v1::FrameKind> Kinds(const v1::GenerateRequest& request) {
  std::vector<v1::FrameKind> kinds;
  for (const int kind : request.frames().kinds()) kinds.push_back(v1::FrameKind(kind));
  if (kinds.empty()) kinds.push_back(v1::FRAME_KIND_X0);
  return kinds;
}

v1::Accepted Accept(const v1::GenerateRequest& request) {
  v1::Accepted accepted;
  accepted.set_model(request.model());
  accepted.set_model_version("0123abcd");
  accepted.set_seed(request.has_seed() ? request.seed() : 18446744073709551615u);
  accepted.set_count(Count(request));
  *accepted.mutable_sampler() = request.sampler();
  if (request.sampler().sampler() == v1::SAMPLER_UNSPECIFIED) {
    accepted.mutable_sampler()->set_sampler(v1::SAMPLER_DDIM);
  }
  accepted.set_steps(Steps(request));
  accepted.set_evaluations(Steps(request));
  for (int step = Steps(request); step > 0; --step) accepted.add_timesteps(step * 10);
  return accepted;
}

v1::DiffuseAccepted Accept(const v1::DiffuseRequest& request) {
  v1::DiffuseAccepted accepted;
  accepted.set_model(request.model());
  accepted.set_model_version("0123abcd");
  accepted.set_seed(request.has_seed() ? request.seed() : 18446744073709551615u);
  accepted.set_mode(request.mode());
  accepted.add_levels()->set_alpha(1);
  for (const double timestep : request.timesteps()) {
    v1::DiffusionLevel& level = *accepted.add_levels();
    level.set_timestep(timestep);
    level.set_alpha(0.6);
    level.set_sigma(0.8);
  }
  return accepted;
}

v1::Model ShapesModel() {
  v1::Model model;
  model.set_name("models/shapes");
  model.set_version("0123abcd");
  model.set_channels(kChannels);
  model.set_height(kHeight);
  model.set_width(kWidth);
  model.set_supports_guidance(true);
  model.set_parameter_count(1234567);
  model.mutable_default_sampler()->set_sampler(v1::SAMPLER_DDIM);
  model.set_num_train_timesteps(1000);
  model.set_prediction_type("epsilon");
  model.set_source("DDPMPipeline / UNet2DModel");
  for (const char* name : {"circle", "square"}) {
    v1::ModelClass* const entry = model.add_classes();
    entry->set_label(model.classes_size() - 1);
    entry->set_display_name(name);
  }
  return model;
}

v1::Model PlainModel() {
  v1::Model plain = ShapesModel();
  plain.set_name("models/plain");
  plain.clear_classes();
  plain.set_supports_guidance(false);
  return plain;
}

}  // namespace

class FakeServer::ImageGeneration : public v1::ImageGeneration::Service {
 public:
  explicit ImageGeneration(FakeServer& fake) : fake_(fake) {}

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateEvent>* writer) override {
    fake_.BeginCall(*request, *context);
    bool whole = true;
    const grpc::Status status = Answer(*context, *request, *writer, whole);
    fake_.EndCall(whole);
    return status;
  }

  grpc::Status Diffuse(grpc::ServerContext* context, const v1::DiffuseRequest* request,
                       grpc::ServerWriter<v1::DiffuseEvent>* writer) override {
    {
      const std::lock_guard lock(fake_.mutex_);
      fake_.diffusions_.push_back(*request);
    }
    if (fake_.ShouldFail(*context)) return RetryLaterStatus(fake_.pushback);
    if (!fake_.answer.ok()) return fake_.answer;
    const auto send = [&](v1::DiffuseEvent event) {
      if (fake_.edit_diffuse_event) fake_.edit_diffuse_event(event);
      return writer->Write(event);
    };
    v1::DiffuseEvent event;
    *event.mutable_accepted() = Accept(*request);
    const int levels = event.accepted().levels_size();
    bool sent = send(event);
    for (int level = 0; level < levels && sent; ++level) {
      for (int picture = 0; picture < request->pictures_size() && sent; ++picture) {
        v1::DiffusedFrame& frame = *event.mutable_frame();
        frame.set_picture_index(picture);
        frame.set_level_index(level);
        *frame.mutable_image() =
            Encode(Sample(picture, 1 - static_cast<double>(level) / levels), request->encoding());
        sent = send(event);
      }
    }
    event.mutable_finished()->set_frames(levels * request->pictures_size());
    return sent && send(event) ? fake_.end : grpc::Status::CANCELLED;
  }

  grpc::Status PlanSampler(grpc::ServerContext* context, const v1::PlanSamplerRequest* request,
                           v1::SamplerPlan* response) override {
    if (fake_.ShouldFail(*context)) return RetryLaterStatus(fake_.pushback);
    if (!fake_.answer.ok()) return fake_.answer;
    FieldViolations unknown;
    const SamplerOverrides overrides = SamplerFromProto(request->sampler(), unknown);
    const SamplerKind sampler = overrides.sampler.value_or(SamplerOptions().sampler);
    const ResolvedSampler resolved = ApplyOverrides(ClassDefaults(sampler), overrides, kMostSteps);
    *response = PlanToProto(CompilePlan(Schedule::Create({}).value(), resolved.options).value());
    response->set_model(request->model());
    response->set_model_version("0123abcd");
    *response->mutable_sampler() = SamplerToProto(EffectiveOverrides(resolved.options));
    if (fake_.edit_plan) fake_.edit_plan(*response);
    return grpc::Status::OK;
  }

 private:
  // Numbers the events of one stream. False once the client is gone.
  class Sender {
   public:
    Sender(FakeServer& fake, grpc::ServerWriter<v1::GenerateEvent>& writer)
        : fake_(fake), writer_(writer) {}

    bool operator()(v1::GenerateEvent event) {
      event.set_sequence(sequence_++);
      event.mutable_time()->set_seconds(1700000000);
      if (fake_.edit_event) fake_.edit_event(event);
      return writer_.Write(event);
    }

   private:
    FakeServer& fake_;
    grpc::ServerWriter<v1::GenerateEvent>& writer_;
    int64_t sequence_ = 0;
  };

  // `whole` becomes false where the client went away.
  grpc::Status Answer(grpc::ServerContext& context, const v1::GenerateRequest& request,
                      grpc::ServerWriter<v1::GenerateEvent>& writer, bool& whole) {
    if (fake_.ShouldFail(context)) return RetryLaterStatus(fake_.pushback);
    if (!fake_.answer.ok()) return fake_.answer;
    whole = SendEvents(context, request, writer);
    return whole ? fake_.end : grpc::Status::CANCELLED;
  }

  bool SendEvents(grpc::ServerContext& context, const v1::GenerateRequest& request,
                  grpc::ServerWriter<v1::GenerateEvent>& writer) {
    Sender send(fake_, writer);
    v1::GenerateEvent event;
    *event.mutable_accepted() = Accept(request);
    if (!send(event)) return false;
    event.mutable_queued()->set_position(2);
    if (!send(event)) return false;
    event.mutable_started()->mutable_queue_wait()->set_nanos(5000000);
    if (!send(event)) return false;
    if (fake_.never_ends) {
      WaitUntilCancelled(context);
      return false;
    }
    if (fake_.holds_calls) fake_.WaitForPermit();
    int frames = 0;
    for (int step = 1; step <= Steps(request); ++step) {
      if (!SendStep(context, request, step, send, frames)) return false;
    }
    for (int i = 0; i < Count(request); ++i) {
      if (!SendImage(request, i, send)) return false;
    }
    if (fake_.leaves_out_finished) return true;
    event.mutable_finished()->set_images(Count(request));
    event.mutable_finished()->set_frames_sent(frames);
    event.mutable_finished()->mutable_elapsed()->set_seconds(1);
    return send(event);
  }

  bool SendStep(grpc::ServerContext& context, const v1::GenerateRequest& request, int step,
                Sender& send, int& frames) {
    if (context.IsCancelled()) return false;
    v1::GenerateEvent event;
    v1::Progress& progress = *event.mutable_progress();
    progress.set_steps_done(step * Count(request));
    progress.set_steps_total(Steps(request) * Count(request));
    if (!send(event)) return false;
    const int every = request.frames().every_n_steps();
    if (every == 0 || (step % every != 0 && step != Steps(request))) return true;
    for (int i = 0; i < Count(request); ++i) {
      for (const v1::FrameKind kind : Kinds(request)) {
        if (!send(FrameOf(request, i, step, kind))) return false;
        ++frames;
      }
    }
    return true;
  }

  // The predicted x0 is halfway to the image from what x_t is.
  static v1::GenerateEvent FrameOf(const v1::GenerateRequest& request, int image_index, int step,
                                   v1::FrameKind kind) {
    const double progress = static_cast<double>(step) / Steps(request);
    v1::GenerateEvent event;
    v1::Frame& frame = *event.mutable_frame();
    frame.set_image_index(image_index);
    frame.set_step(step);
    frame.set_timestep((Steps(request) - step) * 10);
    frame.set_kind(kind);
    *frame.mutable_image() =
        Encode(Sample(image_index, kind == v1::FRAME_KIND_X0 ? (1 + progress) / 2 : progress),
               request.frames().encoding());
    return event;
  }

  bool SendImage(const v1::GenerateRequest& request, int index, Sender& send) {
    v1::GenerateEvent event;
    v1::GeneratedImage& image = *event.mutable_image();
    image.set_image_index(index);
    image.set_seed(request.seed() + index);
    *image.mutable_image() = Encode(Sample(index, 1), request.image_encoding());
    if (index == 0) image.mutable_image()->mutable_data()->append(fake_.extra_event_bytes, '\0');
    return send(event);
  }

  FakeServer& fake_;
};

class FakeServer::Models : public v1::Models::Service {
 public:
  explicit Models(FakeServer& fake) : fake_(fake) {}

  grpc::Status ListModels(grpc::ServerContext* context, const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override {
    if (fake_.ShouldFail(*context)) return RetryLaterStatus(fake_.pushback);
    const std::vector<v1::Model> models = Listed(request->show_failed());
    size_t position = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    for (int i = 0; i < fake_.list_page_size && position < models.size(); ++i) {
      *response->add_models() = models[position++];
    }
    if (position < models.size()) response->set_next_page_token(absl::StrCat(position));
    return grpc::Status::OK;
  }

  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::Model* response) override {
    if (fake_.ShouldFail(*context)) return RetryLaterStatus(fake_.pushback);
    const std::lock_guard lock(fake_.mutex_);
    const auto model = fake_.served_.find(request->name());
    if (model == fake_.served_.end()) return NotFound(request->name());
    *response = model->second;
    return grpc::Status::OK;
  }

  grpc::Status WatchModels(grpc::ServerContext* context, const v1::WatchModelsRequest*,
                           ModelWriter* writer) override {
    if (fake_.ShouldFail(*context)) return RetryLaterStatus(fake_.pushback);
    if (fake_.watch_models) return fake_.watch_models(*context, *writer);
    v1::ModelEvent event;
    for (const v1::Model& model : Listed(/*show_failed=*/true)) {
      *event.mutable_model() = model;
      writer->Write(event);
    }
    event.mutable_complete();
    writer->Write(event);
    WaitUntilCancelled(*context);
    return grpc::Status::CANCELLED;
  }

  grpc::Status LoadModel(grpc::ServerContext* context, const v1::LoadModelRequest* request,
                         v1::Model* response) override {
    if (fake_.loads_never_end) {
      WaitUntilCancelled(*context);
      return grpc::Status::CANCELLED;
    }
    return Manage("load", request->name(), [&](v1::Model& model) {
      if (model.state() == v1::Model::FAILED) {
        return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, model.error());
      }
      model.set_state(v1::Model::LOADED);
      *response = model;
      return grpc::Status::OK;
    });
  }

  grpc::Status UnloadModel(grpc::ServerContext*, const v1::UnloadModelRequest* request,
                           v1::Model* response) override {
    return Manage("unload", request->name(), [&](v1::Model& model) {
      model.set_state(v1::Model::UNLOADED);
      *response = model;
      return grpc::Status::OK;
    });
  }

  grpc::Status DeleteModel(grpc::ServerContext*, const v1::DeleteModelRequest* request,
                           google::protobuf::Empty*) override {
    return Manage("delete", request->name(), [&](v1::Model&) {
      fake_.served_.erase(request->name());
      return grpc::Status::OK;
    });
  }

 private:
  static grpc::Status NotFound(const std::string& name) {
    google::rpc::ResourceInfo info;
    info.set_resource_type("denoised.v1.Model");
    info.set_resource_name(name);
    return StatusWithDetail(grpc::StatusCode::NOT_FOUND, "no such model", info);
  }

  std::vector<v1::Model> Listed(bool show_failed) const {
    const std::lock_guard lock(fake_.mutex_);
    std::vector<v1::Model> models;
    for (const auto& [name, model] : fake_.served_) {
      if (show_failed || model.state() != v1::Model::FAILED) models.push_back(model);
    }
    return models;
  }

  // What `change` answers for the model.
  template <class Change>
  grpc::Status Manage(const char* call, const std::string& name, Change change) {
    const std::lock_guard lock(fake_.mutex_);
    fake_.model_calls_.push_back(absl::StrCat(call, " ", name));
    if (!fake_.manages_models) {
      return grpc::Status(
          grpc::StatusCode::PERMISSION_DENIED,
          "this server does not let callers load, unload or delete models; it must be "
          "started with --manage-models for that");
    }
    const auto model = fake_.served_.find(name);
    return model == fake_.served_.end() ? NotFound(name) : change(model->second);
  }

  FakeServer& fake_;
};

FakeServer::FakeServer(const std::vector<grpc::Service*>& more)
    : image_generation_(std::make_unique<ImageGeneration>(*this)),
      models_(std::make_unique<Models>(*this)) {
  for (const v1::Model& model : {PlainModel(), ShapesModel()}) SetModel(model);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(image_generation_.get());
  builder.RegisterService(models_.get());
  for (grpc::Service* const service : more) builder.RegisterService(service);
  server_ = builder.BuildAndStart();
  address_ = absl::StrCat("127.0.0.1:", port);
  SetServing(true);
}

void FakeServer::SetServing(bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(v1::ImageGeneration::service_full_name(),
                                                     serving);
}

FakeServer::~FakeServer() { Stop(); }

void FakeServer::Stop() { server_->Shutdown(std::chrono::system_clock::now()); }

void FakeServer::SetModel(const v1::Model& model) {
  const std::lock_guard lock(mutex_);
  served_[model.name()] = model;
}

std::vector<std::string> FakeServer::model_calls() const {
  const std::lock_guard lock(mutex_);
  return model_calls_;
}

std::vector<v1::GenerateRequest> FakeServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

std::vector<v1::DiffuseRequest> FakeServer::diffusions() const {
  const std::lock_guard lock(mutex_);
  return diffusions_;
}

std::vector<std::string> FakeServer::metadata(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> values;
  for (const auto& of_call : metadata_) {
    const auto found = of_call.find(key);
    values.push_back(found == of_call.end() ? "" : found->second);
  }
  return values;
}

int FakeServer::cancelled_calls() const {
  const std::lock_guard lock(mutex_);
  return cancelled_calls_;
}

int FakeServer::most_open_calls() const {
  const std::lock_guard lock(mutex_);
  return most_open_calls_;
}

bool FakeServer::WaitForRequests(size_t count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return requests_.size() >= count; });
}

bool FakeServer::WaitForCancelledCalls(int count) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kPatience, [&] { return cancelled_calls_ >= count; });
}

void FakeServer::LetOneCallFinish() {
  const std::lock_guard lock(mutex_);
  ++permits_;
  changed_.notify_all();
}

void FakeServer::WaitForPermit() {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kPatience, [&] { return permits_ > 0; });
  --permits_;
}

void FakeServer::BeginCall(const v1::GenerateRequest& request, const grpc::ServerContext& context) {
  const std::lock_guard lock(mutex_);
  requests_.push_back(request);
  std::map<std::string, std::string>& metadata = metadata_.emplace_back();
  for (const auto& [key, value] : context.client_metadata()) {
    metadata[{key.data(), key.size()}] = {value.data(), value.size()};
  }
  most_open_calls_ = std::max(most_open_calls_, ++open_calls_);
  changed_.notify_all();
}

void FakeServer::EndCall(bool whole) {
  const std::lock_guard lock(mutex_);
  --open_calls_;
  if (!whole) ++cancelled_calls_;
  changed_.notify_all();
}

bool FakeServer::ShouldFail(grpc::ServerContext& context) {
  if (failures_before_success.fetch_sub(1) <= 0) {
    failures_before_success = 0;
    return false;
  }
  if (sends_pushback) {
    context.AddTrailingMetadata("grpc-retry-pushback-ms",
                                absl::StrCat(absl::ToInt64Milliseconds(pushback)));
  }
  return true;
}

void WaitUntilCancelled(const grpc::ServerContext& context) {
  while (!context.IsCancelled()) absl::SleepFor(absl::Milliseconds(2));
}

grpc::Status StatusWithDetail(grpc::StatusCode code, const std::string& message,
                              const google::protobuf::Message& detail) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  status.add_details()->PackFrom(detail);
  return grpc::Status(code, message, status.SerializeAsString());
}

grpc::Status BadRequestStatus(const std::vector<std::pair<std::string, std::string>>& violations) {
  google::rpc::BadRequest bad_request;
  for (const auto& [field, description] : violations) {
    auto* const violation = bad_request.add_field_violations();
    violation->set_field(field);
    violation->set_description(description);
  }
  return StatusWithDetail(grpc::StatusCode::INVALID_ARGUMENT, "invalid request", bad_request);
}

grpc::Status RetryLaterStatus(absl::Duration delay) {
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(delay));
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(delay) % 1000000000));
  return StatusWithDetail(grpc::StatusCode::UNAVAILABLE, "the queue is full", retry);
}

}  // namespace denoise
