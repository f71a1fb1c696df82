#include "server/server.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "core/device/cuda_library.h"
#include "core/device/devices.h"
#include "core/files/file_watch.h"
#include "server/cores.h"
#include "server/cost_keeper.h"
#include "server/engine/engine.h"
#include "server/grpc_listener.h"
#include "server/http_listener.h"
#include "server/identity/access_control.h"
#include "server/jobs/store/state_dir.h"
#include "server/listener_options.h"
#include "server/migration/token_keys.h"
#include "server/models/adapter_library.h"
#include "server/models/live_models.h"
#include "server/models/model_repository.h"
#include "server/models/models_root.h"
#include "server/resource_looks.h"
#include "server/rpc/activity_service.h"
#include "server/rpc/image_generation_service.h"
#include "server/rpc/live_calls.h"
#include "server/rpc/models_service.h"
#include "server/rpc/work_pool.h"
#include "server/server_health.h"
#include "server/telemetry/access_log.h"
#include "server/telemetry/log.h"
#include "server/telemetry/resource_watch.h"
#include "server/telemetry/telemetry.h"
#include "server/telemetry/training_telemetry.h"
#include "server/training_services.h"

namespace denoise {
namespace {

// At least two, so that one picture that takes long to encode or decode does not hold up everybody.
constexpr int kMinPictureThreads = 2;
constexpr int kMaxPictureThreads = 4;
// For calls that wait for the disk, or for a model to be loaded.
constexpr int kDiskThreads = 2;
// For calls that load, publish, copy and delete models, which may wait for requests to end.
constexpr int kModelThreads = 2;
// How exactly --max-write-seconds is kept.
constexpr absl::Duration kCallWatchInterval = absl::Seconds(1);
// How often to look for new tokens and certificates.
constexpr absl::Duration kFileWatchInterval = absl::Seconds(2);
// How old the metrics of memory and disks may be.
constexpr absl::Duration kResourceInterval = absl::Seconds(5);
// What calls get beyond the drain to hand over their last bytes, and gRPC to close its connections.
constexpr absl::Duration kFlushTime = absl::Seconds(2);
// How late a device that hangs may be noticed.
constexpr absl::Duration kHangInterval = absl::Seconds(1);

at::ScalarType ParseDtype(const std::string& name) {
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  return at::kFloat;
}

Batching ParseBatching(const std::string& name) {
  if (name == "request") return Batching::kRequest;
  return name == "none" ? Batching::kNone : Batching::kEvaluation;
}

std::vector<std::string> Names(const std::vector<at::Device>& devices) {
  std::vector<std::string> names;
  for (const at::Device& device : devices) names.push_back(device.str());
  return names;
}

Engine::Options EngineOptions(const ServerFlags& flags, const std::vector<at::Device>& devices) {
  Engine::Options options;
  options.devices = devices;
  options.max_batch_rows = flags.max_batch_rows;
  options.max_active_rows = flags.max_active_rows;
  options.batching = ParseBatching(flags.batching);
  options.batch_efficiency = flags.batch_efficiency;
  options.queue_size = flags.queue_size;
  options.tenant_weights = {flags.tenant_weights.begin(), flags.tenant_weights.end()};
  options.tenant_queue_size = flags.tenant_queue_size;
  if (flags.tenant_max_seconds > 0) {
    options.tenant_cost_max = absl::Seconds(flags.tenant_max_seconds);
  }
  options.training_share = flags.training_share;
  if (flags.device_timeout_seconds > 0) {
    options.turn_time_max = absl::Seconds(flags.device_timeout_seconds);
  }
  options.cpu_threads = flags.threads > 0 ? flags.threads : UsableCores();
  return options;
}

RequestLimits Limits(const ServerFlags& flags) {
  return {.max_steps = flags.max_steps,
          .max_images = flags.max_images_per_request,
          .max_pixels = flags.max_pixels,
          .max_image_pixels = flags.max_image_pixels,
          .max_picture_pixels = flags.max_picture_pixels,
          .max_rows = flags.max_batch_rows,
          .max_frame_bytes = flags.max_frame_bytes};
}

// What another server with the same flags accepts as a message.
int64_t HandoverBytesMax(const ServerFlags& flags) {
  constexpr int64_t kEnvelopeBytes = 256;
  return flags.max_receive_bytes - kEnvelopeBytes;
}

// Everything works without it, but slower.
void WarnWithoutCudaModule(const std::vector<at::Device>& devices) {
  if (!devices.front().is_cuda()) return;
  const absl::Status module = CudaModuleStatus();
  if (module.ok()) return;
  LogEvent(spdlog::level::warn, "serving without CUDA graphs and pinned memory",
           {{"reason", std::string(module.message())}});
}

absl::Status CheckDtype(const ServerFlags& flags, const std::vector<at::Device>& devices) {
  bool any_half = ParseDtype(flags.dtype) == at::kHalf;
  for (const auto& [model, dtype] : flags.model_dtypes) any_half |= ParseDtype(dtype) == at::kHalf;
  if (any_half && devices.front().is_cpu()) {
    return absl::InvalidArgumentError(
        "--dtype float16 needs a CUDA device: use float32 or bfloat16");
  }
  return absl::OkStatus();
}

// Beside the training state, unless it is elsewhere or nowhere.
std::filesystem::path CostFileOf(const ServerFlags& flags) {
  if (!flags.cost_file.empty()) return flags.cost_file == "off" ? "" : flags.cost_file;
  return flags.state.empty() ? "" : std::filesystem::path(flags.state) / "costs.json";
}

// What the time of an evaluation depends on besides the model.
std::string DescribeDevices(const ServerFlags& flags, const std::vector<at::Device>& devices) {
  std::string text =
      devices.front().is_cpu()
          ? absl::StrCat("cpu, ", EngineOptions(flags, devices).cpu_threads, " threads")
          : std::string("cuda");
  absl::StrAppend(&text, ", ", flags.dtype);
  return text;
}

absl::Status CheckAddresses(const ServerFlags& flags) {
  RETURN_IF_ERROR(CheckListener(kListenFlag, flags.listen));
  return flags.http.empty() ? absl::OkStatus() : CheckListener(kHttpFlag, flags.http);
}

// The folder is opened for good once there is an engine. Its disk may be full: then only training
// is off.
absl::Status CheckState(const ServerFlags& flags) {
  if (flags.state.empty()) return absl::OkStatus();
  const absl::Status opened = StateDir::Open(flags.state).status();
  return absl::IsResourceExhausted(opened) ? absl::OkStatus() : opened;
}

ModelLoadOptions LoadOptions(const ServerFlags& flags, const std::vector<at::Device>& devices) {
  std::map<std::string, at::ScalarType, std::less<>> model_dtypes;
  for (const auto& [model, dtype] : flags.model_dtypes) model_dtypes[model] = ParseDtype(dtype);
  return {.devices = devices,
          .dtype = ParseDtype(flags.dtype),
          .model_dtypes = std::move(model_dtypes),
          .pipeline = {.batch_invariant = flags.batch_invariant,
                       .text_encoders_on_cpu = flags.text_encoders == "cpu"}};
}

AccessControl::Options AccessOptions(const ServerFlags& flags) {
  return {.tokens = flags.tokens,
          .jwks = flags.jwt_jwks,
          .jwt = {.issuer = flags.jwt_issuer,
                  .audience = flags.jwt_audience,
                  .leeway = absl::Seconds(flags.jwt_leeway_seconds)},
          .client_certificates = !flags.tls_client_ca.empty(),
          .certificate_scopes = Scopes::Parse(flags.tls_client_scopes).value_or(Scopes()),
          .tenant_header = flags.tenant_header};
}

// Null where there is none.
absl::StatusOr<std::unique_ptr<AccessLog>> OpenAccessLog(const ServerFlags& flags) {
  if (flags.access_log == "off") return nullptr;
  return AccessLog::Open({.file = flags.access_log == "stderr" ? "" : flags.access_log,
                          .file_bytes_max = static_cast<size_t>(flags.access_log_mib) << 20,
                          .old_files = static_cast<size_t>(flags.access_log_files)});
}

LiveModels::Options LiveModelsOptions(const ServerFlags& flags,
                                      const std::vector<at::Device>& devices, Telemetry* telemetry,
                                      CostKeeper* costs, Engine* engine) {
  return {.load = LoadOptions(flags, devices),
          .memory_bytes_max = int64_t{flags.model_memory_mib} << 20,
          .look_interval = absl::Seconds(flags.poll_models_seconds),
          .on_load =
              [telemetry, engine](std::optional<absl::Duration> duration) {
                duration ? telemetry->ModelLoaded(*duration) : telemetry->ModelBroken();
                if (!duration) engine->CheckDevices();  // which may be why
              },
          .on_unload = [telemetry] { telemetry->ModelUnloaded(); },
          .on_serve = [costs](const LoadedModelHandle& loaded) { costs->OnServe(loaded); },
          .on_memory = [telemetry](int64_t bytes) { telemetry->ModelMemory(bytes); }};
}

AdapterLibrary::Options AdapterOptions(const ServerFlags& flags,
                                       const std::vector<at::Device>& devices,
                                       Telemetry* telemetry) {
  return {.memory_bytes_max = int64_t{flags.adapter_memory_mib} << 20,
          .load = LoadOptions(flags, devices),
          .on_load = [telemetry](bool ok) { telemetry->AdapterLoaded(ok); },
          .on_memory = [telemetry](int64_t bytes) { telemetry->AdapterMemory(bytes); }};
}

}  // namespace

// Members are destroyed in reverse order, so that each outlives whatever points to it.
class Server::Impl {
 public:
  Impl(const ServerFlags& flags, const std::vector<at::Device>& devices, TokenKeys handover_keys,
       std::unique_ptr<AccessControl> access, std::unique_ptr<AccessLog> access_log,
       std::unique_ptr<FileWatch> file_watch)
      : access_(std::move(access)),
        access_log_(std::move(access_log)),
        telemetry_(DENOISED_VERSION, Names(devices)),
        health_(static_cast<int>(devices.size())),
        memory_(ProcessMemory(int64_t{flags.memory_limit_mib} << 20)),
        models_(
            {},
            [this](const ModelCounts& counts) { telemetry_.Models(counts.loaded, counts.failed); }),
        costs_(CostFileOf(flags), DescribeDevices(flags, devices), &engine_),
        live_models_(ModelsFolder(flags.models),
                     LiveModelsOptions(flags, devices, &telemetry_, &costs_, &engine_), &models_,
                     &Clock::Real()),
        adapter_catalog_(flags.models, flags.adapters),
        adapters_(&adapter_catalog_, AdapterOptions(flags, devices, &telemetry_)),
        adapter_reader_(&adapters_),
        pool_(std::clamp(UsableCores() / 2, kMinPictureThreads, kMaxPictureThreads)),
        disk_pool_(kDiskThreads),
        model_pool_(kModelThreads),
        samples_(int64_t{flags.max_unread_mib} << 20),
        call_watch_(kCallWatchInterval, &Clock::Real()),
        generations_({.submit =
                          [this](GenerationRequest request, std::shared_ptr<GenerationSink> sink) {
                            return engine_.Submit(std::move(request), std::move(sink));
                          },
                      .cancel = [this](Engine::Id id) { engine_.Cancel(id); },
                      .pause = [this](Engine::Id id) { engine_.Pause(id); },
                      .cost = [this](const auto& request) { return engine_.CostOf(request); },
                      .clock = &Clock::Real(),
                      .samples = &samples_,
                      .telemetry = &telemetry_,
                      .handover_bytes = handover_keys.empty() ? 0 : HandoverBytesMax(flags)},
                     {.keep_time = absl::Seconds(flags.keep_results_seconds),
                      .paused_keep_time = absl::Seconds(flags.paused_token_seconds),
                      .keep_bytes = int64_t{flags.keep_results_mib} << 20,
                      .detached = flags.max_detached}),
        engine_(WithReports(EngineOptions(flags, devices)), Clock::Real(), &telemetry_),
        generation_environment_{.calls = Calls(&pool_, flags),
                                .models = &models_,
                                .adapters = &adapter_reader_,
                                .generations = &generations_,
                                .fitting_evaluations =
                                    [this](const GenerationRequest& request) {
                                      return engine_.FittingEvaluations(request);
                                    },
                                .samples = &samples_,
                                .telemetry = &telemetry_,
                                .limits = Limits(flags),
                                .handover_keys = std::move(handover_keys),
                                .paused_lifetime = absl::Seconds(flags.paused_token_seconds)},
        image_generation_(generation_environment_),
        generations_service_(generation_environment_),
        activity_service_({.calls = Calls(&pool_, flags),
                           .activity = &telemetry_.activity(),
                           .engine = &engine_}),
        models_service_(&models_, flags.manage_models ? &live_models_ : nullptr, &adapter_catalog_,
                        Calls(&pool_, flags), &model_pool_, &disk_pool_),
        file_watch_(std::move(file_watch)) {
    telemetry_.QueueCapacity(flags.queue_size);
    resource_watch_.emplace(ResourceLooks(devices, flags.state, access_log_.get(), &telemetry_),
                            kResourceInterval, &Clock::Real());
    // On a thread of its own: what looks at a device's memory may hang with the device.
    hang_watch_.emplace(std::vector<ResourceWatch::Look>{[this] { engine_.LookForHangs(); }},
                        kHangInterval, &Clock::Real());
  }

  // What the models' thread calls uses the engine.
  ~Impl() {
    live_models_.StopAndWait();
    costs_.Stop();
  }

  // A server that trains may begin with nothing to serve.
  absl::Status LoadModels(const ServerFlags& flags) {
    if (const absl::Status costs = costs_.Load(); !costs.ok()) {
      LogEvent(spdlog::level::warn, "--cost-file is ignored and left as it is",
               {{"reason", std::string(costs.message())}});
    }
    if (const absl::Status started = live_models_.Start(); !started.ok()) {
      return absl::Status(started.code(), absl::StrCat("--models ", flags.models, ": ",
                                                       std::string(started.message())));
    }
    if (!flags.state.empty() || !models_.ListAfter("", 1, /*with_failed=*/false).empty()) {
      return absl::OkStatus();
    }
    const int broken = models_.counts().failed;
    return absl::NotFoundError(
        absl::StrCat("no model to serve: the folder of --models, ", flags.models, ", ",
                     broken == 0 ? WhatIsInPlaceOfModels(flags.models)
                                 : absl::StrCat("has no good model and broken ones: ", broken),
                     "; each model is a folder in the diffusers layout"));
  }

  absl::Status Listen(const ServerFlags& flags) {
    std::vector<NamedService> services = {
        {denoised::v1::ImageGeneration::service_full_name(), &image_generation_},
        {denoised::v1::Generations::service_full_name(), &generations_service_},
        {denoised::v1::Activity::service_full_name(), &activity_service_},
        {denoised::v1::Models::service_full_name(), &models_service_}};
    if (!flags.state.empty()) {
      RETURN_IF_ERROR(StartTraining(flags));
      for (NamedService& service : training_->services()) services.push_back(std::move(service));
    }
    ASSIGN_OR_RETURN(listener_, denoise::Listen(flags, services, &memory_, &telemetry_,
                                                access_.get(), access_log_.get()));
    health_.Publish(&listener_);
    if (flags.http.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(
        http_, HttpListener::Start(flags, {.channel = InProcessChannel(listener_),
                                           .services = listener_.services,
                                           .telemetry = &telemetry_,
                                           .pool = &pool_,
                                           .admit = [this] { return memory_.Admit(); },
                                           .liveness = [this] { return health_.Liveness(); },
                                           .readiness = [this] { return health_.Readiness(); },
                                           .access = access_.get(),
                                           .access_log = access_log_.get()}));
    return absl::OkStatus();
  }

  // Comes after Listen.
  void WatchTlsFiles(const ServerFlags& flags) {
    if (flags.tls_cert.empty()) return;
    const auto reload = [this, flags] {
      const absl::Status replaced = ReplaceTls(flags);
      LogEvent(replaced.ok() ? spdlog::level::info : spdlog::level::warn,
               replaced.ok() ? "file reloaded" : "new file refused",
               {{"flag", "--tls-cert"}, {"reason", std::string(replaced.message())}});
    };
    file_watch_->Add({flags.tls_cert, flags.tls_key, flags.tls_client_ca}, reload);
    ReplaceTls(flags).IgnoreError();  // they may have changed since Listen has read them
  }

  // Stop admitting, let training save what it has, let the engine finish, let the calls hand over
  // what they have, then close the connections. A call that only watches (health, reflection) does
  // not hold this up beyond the flush time.
  void Stop(absl::Time deadline) {
    if (!listener_.server) return;
    file_watch_.reset();
    health_.OnDraining();
    live_calls_.StartDraining();
    telemetry_.activity().WakeAll();
    live_models_.Stop();
    engine_.StartDraining();  // handovers do not wait for training to be saved
    if (training_) training_->Stop(deadline);
    engine_.Drain(deadline);
    if (const absl::Status saved = costs_.Save(); !saved.ok()) {
      LogEvent(spdlog::level::warn, "measured costs not kept",
               {{"reason", std::string(saved.message())}});
    }
    const absl::Time now = Clock::Real().Now();
    live_calls_.WaitUntilNone(std::max(deadline, now + kFlushTime));
    if (http_) http_->RefuseCalls();
    listener_.server->Shutdown(absl::ToChronoTime(Clock::Real().Now() + kFlushTime));
    listener_.server->Wait();
    if (http_) http_->WaitUntilAnswered(Clock::Real().Now() + kFlushTime);
    http_.reset();
    listener_.relay.reset();
    health_.Withdraw();
    listener_.server.reset();
  }

  const std::string& address() const { return listener_.address; }
  const std::string& http_address() const { return http_ ? http_->address() : no_address_; }

 private:
  Engine::Options WithReports(Engine::Options options) {
    options.on_device_failed = [this](const std::string& device, const std::string& what) {
      health_.OnDeviceFailed(device);
      telemetry_.DeviceFailed(device, what);
    };
    options.on_device_hangs = [this](const std::string& device, bool hangs) {
      health_.OnDeviceHangs(device, hangs);
      telemetry_.DeviceHangs(device, hangs);
    };
    return options;
  }

  absl::Status StartTraining(const ServerFlags& flags) {
    training_telemetry_.emplace(*telemetry_.registry());
    ASSIGN_OR_RETURN(training_, TrainingServices::Start(flags,
                                                        {.engine = &engine_,
                                                         .models = &models_,
                                                         .live_models = &live_models_,
                                                         .observer = &*training_telemetry_,
                                                         .clock = &Clock::Real()},
                                                        Calls(&disk_pool_, flags), &model_pool_));
    return absl::OkStatus();
  }

  absl::Status ReplaceTls(const ServerFlags& flags) {
    ASSIGN_OR_RETURN(const TlsFiles files, ReadTlsFiles(flags));
    RETURN_IF_ERROR(listener_.relay->ReplaceTls(files));
    telemetry_.CertificateExpires(ExpiryOf(files));
    return http_ ? http_->ReplaceTls(files) : absl::OkStatus();
  }

  // For calls that do their work on `pool`.
  CallEnvironment Calls(WorkPool* pool, const ServerFlags& flags) {
    return {.pool = pool,
            .clock = &Clock::Real(),
            .live_calls = &live_calls_,
            .call_watch = &call_watch_,
            .write_time_max = absl::Seconds(flags.max_write_seconds),
            .access = access_.get(),
            .counts = {.streams = &telemetry_.count(ObjectKind::kStream),
                       .uploads = &telemetry_.count(ObjectKind::kUpload),
                       .unary = &telemetry_.count(ObjectKind::kUnary)}};
  }

  const std::unique_ptr<AccessControl> access_;
  const std::unique_ptr<AccessLog> access_log_;  // null where there is none
  Telemetry telemetry_;
  ServerHealth health_;
  MemoryGuard memory_;
  ModelRepository models_;
  CostKeeper costs_;
  LiveModels live_models_;
  AdapterCatalog adapter_catalog_;
  AdapterLibrary adapters_;
  AdapterReader adapter_reader_;
  LiveCalls live_calls_{&Clock::Real(), [this] { return memory_.Admit(); }};
  WorkPool pool_;
  WorkPool disk_pool_;  // of training and lists: pictures of generations wait for no disk
  WorkPool model_pool_;
  SampleBudget samples_;
  CallWatch call_watch_;
  Generations generations_;  // outlives the engine, which reports to it until the end
  Engine engine_;
  const GenerationEnvironment generation_environment_;
  ImageGenerationService image_generation_;
  GenerationsService generations_service_;
  ActivityService activity_service_;
  ModelsService models_service_;
  std::optional<TrainingTelemetry> training_telemetry_;
  std::unique_ptr<TrainingServices> training_;  // null without --state
  GrpcListener listener_;
  std::unique_ptr<HttpListener> http_;  // null where there is none
  const std::string no_address_;
  std::unique_ptr<FileWatch> file_watch_;        // calls what is above
  std::optional<ResourceWatch> resource_watch_;  // the same
  std::optional<ResourceWatch> hang_watch_;      // the same
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerFlags& flags) {
  ASSIGN_OR_RETURN(const std::vector<at::Device> devices, ParseDevices(flags.device));
  WarnWithoutCudaModule(devices);
  RETURN_IF_ERROR(CheckDtype(flags, devices));
  // Models take a while to load, so what would be found out only afterwards is looked at before.
  RETURN_IF_ERROR(CheckAddresses(flags));
  RETURN_IF_ERROR(CheckState(flags));
  TokenKeys handover_keys;
  if (!flags.handover_key.empty()) {
    auto keys = ReadTokenKeys(flags.handover_key);
    if (!keys.ok()) {
      return absl::Status(keys.status().code(),
                          absl::StrCat("--handover-key: ", std::string(keys.status().message())));
    }
    handover_keys = *std::move(keys);
  }
  auto watch = std::make_unique<FileWatch>(kFileWatchInterval, &Clock::Real());
  ASSIGN_OR_RETURN(auto access, AccessControl::Open(AccessOptions(flags), *watch));
  ASSIGN_OR_RETURN(auto access_log, OpenAccessLog(flags));
  auto impl = std::make_unique<Impl>(flags, devices, std::move(handover_keys), std::move(access),
                                     std::move(access_log), std::move(watch));
  RETURN_IF_ERROR(impl->LoadModels(flags));
  RETURN_IF_ERROR(impl->Listen(flags));
  impl->WatchTlsFiles(flags);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { Stop(absl::InfinitePast()); }

const std::string& Server::address() const { return impl_->address(); }
const std::string& Server::http_address() const { return impl_->http_address(); }
void Server::Stop(absl::Time deadline) { impl_->Stop(deadline); }

}  // namespace denoise
