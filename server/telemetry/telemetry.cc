#include "server/telemetry/telemetry.h"

#include <algorithm>
#include <utility>

#include "server/telemetry/log.h"

namespace denoise {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;
using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kCountBuckets = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128};
const Buckets kEvaluationSecondsBuckets = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                           0.1,    0.25,  0.5,    1,     2.5,  5,     10};
const Buckets kRequestSecondsBuckets = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,  2.5,
                                        5,    10,    25,   50,  100,  250, 500};

// Outcomes whose series exist from the start, so that a rate over them begins at zero.
constexpr absl::StatusCode kUsualOutcomes[] = {
    absl::StatusCode::kOk,          absl::StatusCode::kCancelled,
    absl::StatusCode::kNotFound,    absl::StatusCode::kInvalidArgument,
    absl::StatusCode::kUnavailable, absl::StatusCode::kDeadlineExceeded,
    absl::StatusCode::kInternal};

constexpr TurnReport::Kind kTurns[] = {TurnReport::Kind::kIdle,     TurnReport::Kind::kEncode,
                                       TurnReport::Kind::kEvaluate, TurnReport::Kind::kDecode,
                                       TurnReport::Kind::kTrain,    TurnReport::Kind::kMeasure,
                                       TurnReport::Kind::kFailed};

const char* TurnLabel(TurnReport::Kind kind) {
  switch (kind) {
    case TurnReport::Kind::kIdle:
      return "idle";
    case TurnReport::Kind::kEncode:
      return "encode";
    case TurnReport::Kind::kEvaluate:
      return "evaluate";
    case TurnReport::Kind::kDecode:
      return "decode";
    case TurnReport::Kind::kTrain:
      return "train";
    case TurnReport::Kind::kMeasure:
      return "measure";
    case TurnReport::Kind::kFailed:
      return "failed";
  }
  return "";
}

constexpr DeadlineMiss kDeadlineMisses[] = {DeadlineMiss::kLate,    DeadlineMiss::kRefused,
                                            DeadlineMiss::kLoading, DeadlineMiss::kQueued,
                                            DeadlineMiss::kRunning, DeadlineMiss::kReading};

const char* CauseLabel(DeadlineMiss cause) {
  switch (cause) {
    case DeadlineMiss::kLate:
      return "late";
    case DeadlineMiss::kRefused:
      return "refused";
    case DeadlineMiss::kLoading:
      return "loading";
    case DeadlineMiss::kQueued:
      return "queued";
    case DeadlineMiss::kRunning:
      return "running";
    case DeadlineMiss::kReading:
      return "reading";
  }
  return "";
}

constexpr char kLoaded[] = "loaded";
constexpr char kBroken[] = "broken";  // models
constexpr char kFailed[] = "failed";  // adapters

prometheus::Gauge& AddGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Family<prometheus::Gauge>& AddGauges(prometheus::Registry& registry, const char* name,
                                                 const char* help) {
  return BuildGauge().Name(name).Help(help).Register(registry);
}

prometheus::Counter& AddCounter(prometheus::Registry& registry, const char* name,
                                const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Family<prometheus::Counter>& AddCounters(prometheus::Registry& registry,
                                                     const char* name, const char* help) {
  return BuildCounter().Name(name).Help(help).Register(registry);
}

constexpr std::pair<ObjectKind, const char*> kObjectKinds[] = {
    {ObjectKind::kGrpcConnection, "grpc_connection"},
    {ObjectKind::kHttpConnection, "http_connection"},
    {ObjectKind::kHttpRequest, "http_request"},
    {ObjectKind::kHttpCall, "http_call"},
    {ObjectKind::kStream, "stream"},
    {ObjectKind::kUpload, "upload"},
    {ObjectKind::kUnary, "unary"},
    {ObjectKind::kGeneration, "generation"},
    {ObjectKind::kGenerationReader, "generation_reader"},
    {ObjectKind::kEngineRequest, "engine_request"},
    {ObjectKind::kEngineImage, "engine_image"}};

}  // namespace

class Telemetry::CountInMetrics final : public ObjectCount {
 public:
  CountInMetrics(prometheus::Counter& created, prometheus::Counter& destroyed)
      : created_(created), destroyed_(destroyed) {}
  void OnCreated() override { created_.Increment(); }
  void OnDestroyed() override { destroyed_.Increment(); }

 private:
  prometheus::Counter& created_;
  prometheus::Counter& destroyed_;
};

prometheus::Histogram& Telemetry::AddHistogram(const char* name, const char* help,
                                               const Buckets& buckets) {
  return BuildHistogram().Name(name).Help(help).Register(*registry_).Add({}, buckets);
}

Telemetry::Telemetry(std::string_view version, const std::vector<std::string>& devices,
                     const Clock& clock)
    : registry_(std::make_shared<prometheus::Registry>()),
      activity_(devices, clock),
      queue_depth_(AddGauge(*registry_, "denoised_queue_depth", "Requests that have not started.")),
      queue_capacity_(AddGauge(*registry_, "denoised_queue_capacity",
                               "Requests that may wait to start (--queue-size).")),
      outstanding_cost_seconds_(AddGauge(*registry_, "denoised_outstanding_cost_seconds",
                                         "Device time that accepted requests still need.")),
      active_rows_(BuildGauge()
                       .Name("denoised_active_rows")
                       .Help("Rows in the denoising loop.")
                       .Register(*registry_)),
      device_failed_(BuildGauge()
                         .Name("denoised_device_failed")
                         .Help("1 once the device has failed for good, until the server restarts.")
                         .Register(*registry_)),
      device_hanging_(BuildGauge()
                          .Name("denoised_device_hanging")
                          .Help("1 while the device takes longer over one turn than "
                                "--device-timeout-seconds.")
                          .Register(*registry_)),
      evaluations_(AddCounters(*registry_, "denoised_evaluations_total", "Batched network calls.")),
      padded_rows_(AddCounters(*registry_, "denoised_padded_rows_total",
                               "Rows computed for nothing, so that a captured graph could be "
                               "replayed. None on CPUs.")),
      turn_seconds_(AddCounters(*registry_, "denoised_turn_seconds_total",
                                "What devices spend their time on. Counts when a turn ends.")),
      failed_batches_(AddCounters(*registry_, "denoised_failed_batches_total",
                                  "Batches that failed and were evaluated image by image.")),
      guidance_rows_saved_(AddCounters(*registry_, "denoised_guidance_rows_saved_total",
                                       "Unconditional rows that intervals of guidance left out.")),
      overhead_seconds_(AddCounters(*registry_, "denoised_worker_overhead_seconds_total",
                                    "Worker time outside network calls while it had rows.")),
      training_seconds_(AddCounters(*registry_, "denoised_training_seconds_total",
                                    "Worker time in slices of training jobs.")),
      failed_tasks_(AddCounters(*registry_, "denoised_failed_tasks_total",
                                "Training jobs that were removed because a slice failed.")),
      rows_per_evaluation_(AddHistogram("denoised_rows_per_evaluation",
                                        "Rows that shared a network call.", kCountBuckets)),
      trajectories_per_evaluation_(AddHistogram("denoised_trajectories_per_evaluation",
                                                "Images that shared a network call.",
                                                kCountBuckets)),
      evaluation_seconds_(AddHistogram("denoised_evaluation_seconds", "Time of a network call.",
                                       kEvaluationSecondsBuckets)),
      encode_seconds_(AddHistogram("denoised_encode_seconds",
                                   "Time of a turn that encodes prompts or pictures.",
                                   kEvaluationSecondsBuckets)),
      decode_seconds_(AddHistogram("denoised_decode_seconds",
                                   "Time that a device takes to decode an image.",
                                   kEvaluationSecondsBuckets)),
      decode_wait_seconds_(AddHistogram("denoised_decode_wait_seconds",
                                        "What a denoised image waits for the device until it is "
                                        "decoded.",
                                        kEvaluationSecondsBuckets)),
      decode_queue_(BuildGauge()
                        .Name("denoised_decode_queue")
                        .Help("Images that are denoised and not decoded yet.")
                        .Register(*registry_)),
      queue_wait_seconds_(AddHistogram("denoised_queue_wait_seconds",
                                       "From acceptance to a request's first evaluation.",
                                       kRequestSecondsBuckets)),
      time_to_first_frame_seconds_(AddHistogram("denoised_time_to_first_frame_seconds",
                                                "From a request's arrival to its first frame.",
                                                kRequestSecondsBuckets)),
      request_seconds_(AddHistogram("denoised_request_seconds",
                                    "From a request's arrival to its end.",
                                    kRequestSecondsBuckets)),
      requests_(AddCounters(*registry_, "denoised_requests_total",
                            "Generate calls that ended, by status code.")),
      generations_(AddCounters(*registry_, "denoised_generations_total",
                               "Generations that ended, by status code. Several Generate calls can "
                               "share one, and it can outlive its call.")),
      evaluations_wasted_(AddCounters(*registry_, "denoised_evaluations_wasted_total",
                                      "Evaluations of single images that were not finished, "
                                      "because their generation ended with this status code.")),
      evaluations_cancelled_(AddCounters(*registry_, "denoised_evaluations_cancelled_total",
                                         "Evaluations of single images that were not made, because "
                                         "their generation ended with this status code.")),
      requests_with_deadline_(AddCounter(*registry_, "denoised_requests_with_deadline_total",
                                         "Generate calls that ended and had a deadline.")),
      deadline_misses_(AddCounters(*registry_, "denoised_deadline_misses_total",
                                   "Generate calls that missed their deadline, by where it passed: "
                                   "late (on arrival), refused (could not have been met), loading, "
                                   "queued, running, reading.")),
      rpcs_(AddCounters(*registry_, "denoised_rpcs_total",
                        "Calls that ended, over gRPC and HTTP, by method and status code.")),
      diffusions_(AddCounters(*registry_, "denoised_diffusions_total",
                              "Diffuse calls that ended, by status code.")),
      frames_sent_(
          AddCounter(*registry_, "denoised_frames_sent_total", "Frames written, to all readers.")),
      frames_dropped_(AddCounter(*registry_, "denoised_frames_dropped_total",
                                 "Frames left out: a slow reader, or over the size limit.")),
      images_(AddCounter(*registry_, "denoised_images_total", "Finished images.")),
      connections_(AddGauge(*registry_, "denoised_connections", "Open connections of gRPC.")),
      http_connections_(
          AddGauge(*registry_, "denoised_http_connections", "Open connections of HTTP.")),
      http_requests_(AddCounters(*registry_, "denoised_http_requests_total",
                                 "HTTP requests answered, by route and status. Streams have status "
                                 "200, however they end.")),
      refused_connections_(AddCounters(*registry_, "denoised_connections_refused_total",
                                       "Connections refused or closed, by what they exceeded.")),
      models_loaded_(AddGauge(*registry_, "denoised_models_loaded", "Models in memory.")),
      models_broken_(AddGauge(*registry_, "denoised_models_broken",
                              "Model folders whose newest files do not load.")),
      model_memory_bytes_(AddGauge(*registry_, "denoised_model_memory_bytes",
                                   "Memory that the weights of models take on each device, also of "
                                   "those that only running requests still use.")),
      model_loads_(AddCounters(*registry_, "denoised_model_loads_total",
                               "Models that were loaded into memory, or found to be broken.")),
      model_load_seconds_(AddHistogram("denoised_model_load_seconds",
                                       "Time to load a model into memory.",
                                       kRequestSecondsBuckets)),
      model_unloads_(AddCounter(*registry_, "denoised_model_unloads_total",
                                "Models whose memory was given up, to make room or on request.")),
      adapter_memory_bytes_(AddGauge(*registry_, "denoised_adapter_memory_bytes",
                                     "Memory that adapters take, copies on devices included.")),
      adapter_loads_(AddCounters(*registry_, "denoised_adapter_loads_total",
                                 "Adapters that were read into memory, or could not be.")),
      device_memory_free_bytes_(AddGauges(*registry_, "denoised_device_memory_free_bytes",
                                          "Memory that a device has left; of the CPU, what the "
                                          "process may still take.")),
      device_memory_size_bytes_(AddGauges(*registry_, "denoised_device_memory_size_bytes",
                                          "Memory that a device has; of the CPU, what the machine "
                                          "or the control group has.")),
      state_free_bytes_(
          AddGauges(*registry_, "denoised_state_free_bytes", "Room left on the disk of --state.")),
      state_size_bytes_(
          AddGauges(*registry_, "denoised_state_size_bytes", "Size of the disk of --state.")),
      certificate_expiry_(AddGauges(*registry_, "denoised_tls_certificate_expiry_timestamp_seconds",
                                    "When the first certificate of --tls-cert expires.")),
      access_log_lines_dropped_(AddCounter(*registry_, "denoised_access_log_lines_dropped_total",
                                           "Lines of the access log that came faster than they "
                                           "could be written.")) {
  BuildGauge()
      .Name("denoised_build_info")
      .Help("Always 1; the labels say what runs.")
      .Register(*registry_)
      .Add({{"version", std::string(version)}})
      .Set(1);
  for (const std::string& device : devices) {
    active_rows_.Add({{"device", device}});
    device_failed_.Add({{"device", device}});
    device_hanging_.Add({{"device", device}});
    decode_queue_.Add({{"device", device}});
    evaluations_.Add({{"device", device}});
    padded_rows_.Add({{"device", device}});
    for (const TurnReport::Kind kind : kTurns) {
      turn_seconds_.Add({{"device", device}, {"turn", TurnLabel(kind)}});
    }
    failed_batches_.Add({{"device", device}});
    guidance_rows_saved_.Add({{"device", device}});
    overhead_seconds_.Add({{"device", device}});
    training_seconds_.Add({{"device", device}});
    failed_tasks_.Add({{"device", device}});
  }
  // In this order: read while objects come and go, no more are destroyed than were created.
  auto& destroyed = AddCounters(*registry_, "denoised_call_states_destroyed_total",
                                "State of calls and connections that is gone again, by kind.");
  auto& created = AddCounters(*registry_, "denoised_call_states_created_total",
                              "State of calls and connections that there was, by kind. What was "
                              "not destroyed since is in use.");
  for (const auto& [kind, name] : kObjectKinds) {
    counts_[kind] = std::make_unique<CountInMetrics>(created.Add({{"kind", name}}),
                                                     destroyed.Add({{"kind", name}}));
  }
  for (absl::StatusCode outcome : kUsualOutcomes) {
    requests_.Add({{"outcome", absl::StatusCodeToString(outcome)}});
    generations_.Add({{"outcome", absl::StatusCodeToString(outcome)}});
    if (outcome != absl::StatusCode::kOk) {
      evaluations_wasted_.Add({{"outcome", absl::StatusCodeToString(outcome)}});
      evaluations_cancelled_.Add({{"outcome", absl::StatusCodeToString(outcome)}});
    }
    diffusions_.Add({{"outcome", absl::StatusCodeToString(outcome)}});
  }
  for (const DeadlineMiss cause : kDeadlineMisses) {
    deadline_misses_.Add({{"cause", CauseLabel(cause)}});
  }
  for (const char* const reason : {"connections", "memory", "descriptors", "protocol"}) {
    refused_connections_.Add({{"reason", reason}});
  }
  for (const char* const outcome : {kLoaded, kBroken}) model_loads_.Add({{"outcome", outcome}});
  for (const char* const outcome : {kLoaded, kFailed}) adapter_loads_.Add({{"outcome", outcome}});
}

Telemetry::~Telemetry() = default;

ObjectCount& Telemetry::count(ObjectKind kind) { return *counts_.at(kind); }

void Telemetry::OnQueueDepth(int requests) { queue_depth_.Set(requests); }

void Telemetry::OnOutstandingCost(absl::Duration cost) {
  outstanding_cost_seconds_.Set(absl::ToDoubleSeconds(cost));
}

void Telemetry::OnSubmit() { activity_.QueueChanged(); }

void Telemetry::OnTurn(const std::string& device, const TurnReport& turn) {
  activity_.TurnBegan(device, turn);
  active_rows_.Add({{"device", device}}).Set(turn.active_rows);  // a turn may never end
  const MutexLock lock(mutex_);
  const auto [entry, is_first] = turns_.try_emplace(device, TurnReport());
  if (!is_first) {
    const absl::Duration elapsed = turn.began - entry->second.began;
    turn_seconds_.Add({{"device", device}, {"turn", TurnLabel(entry->second.kind)}})
        .Increment(std::max(0.0, absl::ToDoubleSeconds(elapsed)));  // the clock may be set back
  }
  entry->second = {.kind = turn.kind, .began = turn.began};
}

void Telemetry::OnActiveRows(const std::string& device, int rows) {
  active_rows_.Add({{"device", device}}).Set(rows);
}

void Telemetry::OnBatchFailed(const std::string& device, const std::string& what) {
  failed_batches_.Add({{"device", device}}).Increment();
  LogEvent(spdlog::level::warn, "batch failed, evaluating its images one by one",
           {{"device", device}, {"error", what}});
}

void Telemetry::OnCaptureFailed(const std::string& device, const std::string& what) {
  LogEvent(spdlog::level::warn, "graph not captured, evaluating without it",
           {{"device", device}, {"error", what}});
}

void Telemetry::OnEvaluation(const std::string& device, const EvaluationReport& report) {
  evaluations_.Add({{"device", device}}).Increment();
  guidance_rows_saved_.Add({{"device", device}}).Increment(report.rows_saved);
  padded_rows_.Add({{"device", device}}).Increment(report.rows_padded);
  overhead_seconds_.Add({{"device", device}})
      .Increment(std::max(0.0, absl::ToDoubleSeconds(report.total - report.network)));
  rows_per_evaluation_.Observe(report.rows);
  trajectories_per_evaluation_.Observe(report.trajectories);
  evaluation_seconds_.Observe(absl::ToDoubleSeconds(report.network));
  activity_.Evaluated(device, report.rows);
}

void Telemetry::OnEncode(const std::string&, absl::Duration duration) {
  encode_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void Telemetry::OnDecode(const std::string&, const DecodeReport& report) {
  decode_seconds_.Observe(absl::ToDoubleSeconds(report.decoding));
  decode_wait_seconds_.Observe(std::max(0.0, absl::ToDoubleSeconds(report.waiting)));
}

void Telemetry::OnDecodeQueue(const std::string& device, int images) {
  decode_queue_.Add({{"device", device}}).Set(images);
}

void Telemetry::OnSlice(const std::string& device, absl::Duration duration) {
  training_seconds_.Add({{"device", device}})
      .Increment(std::max(0.0, absl::ToDoubleSeconds(duration)));
}

void Telemetry::OnTaskFailed(const std::string& device, const std::string& what) {
  failed_tasks_.Add({{"device", device}}).Increment();
  LogEvent(spdlog::level::err, "a training job failed in its slice, and runs no more",
           {{"device", device}, {"error", what}});
}

void Telemetry::DeviceFailed(const std::string& device, const std::string& what) {
  device_failed_.Add({{"device", device}}).Set(1);
  LogEvent(spdlog::level::err, "a device has failed for good; restart the server to use it again",
           {{"device", device}, {"error", what}});
}

void Telemetry::DeviceHangs(const std::string& device, bool hangs) {
  device_hanging_.Add({{"device", device}}).Set(hangs ? 1 : 0);
  if (hangs) {
    LogEvent(spdlog::level::err, "a device hangs; restart the server unless it answers soon",
             {{"device", device}});
  } else {
    LogEvent(spdlog::level::warn, "a device that hung has answered", {{"device", device}});
  }
}

void Telemetry::QueueWaited(absl::Duration wait) {
  queue_wait_seconds_.Observe(absl::ToDoubleSeconds(wait));
  activity_.QueueWaited(wait);
}

void Telemetry::FirstFrameSent(absl::Duration since_request) {
  time_to_first_frame_seconds_.Observe(absl::ToDoubleSeconds(since_request));
  activity_.FirstFrameSent(since_request);
}

void Telemetry::FrameSent() { frames_sent_.Increment(); }
void Telemetry::FramesDropped(int frames) { frames_dropped_.Increment(frames); }

void Telemetry::ImageGenerated() {
  images_.Increment();
  activity_.ImageGenerated();
}

void Telemetry::RequestFinished(absl::StatusCode outcome, absl::Duration elapsed) {
  requests_.Add({{"outcome", absl::StatusCodeToString(outcome)}}).Increment();
  request_seconds_.Observe(absl::ToDoubleSeconds(elapsed));
  if (outcome == absl::StatusCode::kOk) activity_.RequestSucceeded(elapsed);
}

void Telemetry::GenerationFinished(absl::StatusCode outcome) {
  generations_.Add({{"outcome", absl::StatusCodeToString(outcome)}}).Increment();
}

void Telemetry::EvaluationsLost(absl::StatusCode outcome, int64_t wasted, int64_t cancelled) {
  if (outcome == absl::StatusCode::kOk) return;
  const std::string label = absl::StatusCodeToString(outcome);
  evaluations_wasted_.Add({{"outcome", label}}).Increment(static_cast<double>(wasted));
  evaluations_cancelled_.Add({{"outcome", label}}).Increment(static_cast<double>(cancelled));
}

void Telemetry::RequestHadDeadline() { requests_with_deadline_.Increment(); }

void Telemetry::DeadlineMissed(DeadlineMiss cause) {
  deadline_misses_.Add({{"cause", CauseLabel(cause)}}).Increment();
}

void Telemetry::RpcFinished(const std::string& method, const std::string& outcome) {
  rpcs_.Add({{"method", method}, {"outcome", outcome}}).Increment();
}

void Telemetry::Connections(int connections) { connections_.Set(connections); }
void Telemetry::HttpConnections(int connections) { http_connections_.Set(connections); }

void Telemetry::HttpAnswered(std::string_view route, int status) {
  http_requests_.Add({{"route", std::string(route)}, {"status", std::to_string(status)}})
      .Increment();
}

void Telemetry::ConnectionRefused(const std::string& reason) {
  refused_connections_.Add({{"reason", reason}}).Increment();
}

void Telemetry::DiffusionFinished(absl::StatusCode outcome) {
  diffusions_.Add({{"outcome", absl::StatusCodeToString(outcome)}}).Increment();
}

void Telemetry::Models(int loaded, int broken) {
  models_loaded_.Set(loaded);
  models_broken_.Set(broken);
}

void Telemetry::ModelMemory(int64_t bytes) { model_memory_bytes_.Set(static_cast<double>(bytes)); }

void Telemetry::ModelLoaded(absl::Duration duration) {
  model_loads_.Add({{"outcome", kLoaded}}).Increment();
  model_load_seconds_.Observe(absl::ToDoubleSeconds(duration));
}

void Telemetry::ModelBroken() { model_loads_.Add({{"outcome", kBroken}}).Increment(); }

void Telemetry::ModelUnloaded() { model_unloads_.Increment(); }

void Telemetry::AdapterMemory(int64_t bytes) {
  adapter_memory_bytes_.Set(static_cast<double>(bytes));
}

void Telemetry::AdapterLoaded(bool ok) {
  adapter_loads_.Add({{"outcome", ok ? kLoaded : kFailed}}).Increment();
}

void Telemetry::QueueCapacity(int requests) { queue_capacity_.Set(requests); }

void Telemetry::DeviceMemory(const std::string& device, int64_t free_bytes, int64_t total_bytes) {
  device_memory_free_bytes_.Add({{"device", device}}).Set(static_cast<double>(free_bytes));
  device_memory_size_bytes_.Add({{"device", device}}).Set(static_cast<double>(total_bytes));
}

void Telemetry::StateDisk(int64_t free_bytes, int64_t total_bytes) {
  state_free_bytes_.Add({}).Set(static_cast<double>(free_bytes));
  state_size_bytes_.Add({}).Set(static_cast<double>(total_bytes));
}

void Telemetry::CertificateExpires(absl::Time time) {
  certificate_expiry_.Add({}).Set(static_cast<double>(absl::ToUnixSeconds(time)));
}

void Telemetry::AccessLogLinesDropped(int64_t lines) {
  const MutexLock lock(mutex_);
  access_log_lines_dropped_.Increment(static_cast<double>(lines - lines_dropped_));
  lines_dropped_ = lines;
}

}  // namespace denoise
