// Every instrument of the server, in one place, injected into whatever measures.
//
// Names follow Prometheus: units last, counters end in _total. Labels are few and bounded: devices
// and status codes, never anything that a caller chooses. docs/observability.md has the table of all
// metrics, and a test compares it with what the server says.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "server/engine/engine.h"
#include "server/telemetry/activity.h"

namespace denoise {

// Why a Generate call has missed its deadline.
enum class DeadlineMiss {
  kLate,     // the deadline had passed, or there was no time to begin
  kRefused,  // it could not have been met
  kLoading,  // passed while a model or adapters were loaded
  kQueued,   // passed before the first evaluation
  kRunning,  // passed while the images were made
  kReading,  // passed while the results were sent
};

// What calls and connections hold of the server, a kind each, as /metrics names them.
enum class ObjectKind {
  kGrpcConnection,
  kHttpConnection,
  kHttpRequest,
  kHttpCall,  // of gRPC, for a request over HTTP
  kStream,    // a call whose answer is a stream
  kUpload,    // a call whose request is a stream
  kUnary,     // another call, until its answer is read
  kGeneration,
  kGenerationReader,
  kEngineRequest,
  kEngineImage,
};

// Thread-safe; nothing here blocks. Outlives the engine and the services.
class Telemetry final : public EngineObserver {
 public:
  // `devices` as the engine names them ("cpu", "cuda:0"), so that their series exist from the
  // start. `clock` outlives it.
  Telemetry(std::string_view version, const std::vector<std::string>& devices,
            const Clock& clock = Clock::Real());
  ~Telemetry() override;

  // EngineObserver
  void OnSubmit() override;
  void OnQueueDepth(int requests) override;
  void OnOutstandingCost(absl::Duration cost) override;
  void OnTurn(const std::string& device, const TurnReport& turn) override;
  void OnActiveRows(const std::string& device, int rows) override;
  void OnBatchFailed(const std::string& device, const std::string& what) override;
  void OnCaptureFailed(const std::string& device, const std::string& what) override;
  void OnEvaluation(const std::string& device, const EvaluationReport& report) override;
  void OnEncode(const std::string& device, absl::Duration duration) override;
  void OnDecode(const std::string& device, const DecodeReport& report) override;
  void OnDecodeQueue(const std::string& device, int images) override;
  void OnSlice(const std::string& device, absl::Duration duration) override;
  void OnTaskFailed(const std::string& device, const std::string& what) override;
  ObjectCount* RequestCount() override { return &count(ObjectKind::kEngineRequest); }
  ObjectCount* ImageCount() override { return &count(ObjectKind::kEngineImage); }

  // Counts the objects of a kind. What was created and not destroyed is alive, or has leaked.
  ObjectCount& count(ObjectKind kind);

  // For good. `what` is for the log.
  void DeviceFailed(const std::string& device, const std::string& what);
  void DeviceHangs(const std::string& device, bool hangs);

  // One generation, whoever reads it.
  void QueueWaited(absl::Duration wait);
  void ImageGenerated();
  void GenerationFinished(absl::StatusCode outcome);

  // Evaluations of single images that ended with `outcome` before they were done: made for nothing,
  // and not made.
  void EvaluationsLost(absl::StatusCode outcome, int64_t wasted, int64_t cancelled);

  // Frames for a reader of a generation, of which there may be several.
  void FrameSent();
  void FramesDropped(int frames);

  // One Generate call.
  void FirstFrameSent(absl::Duration since_request);
  void RequestFinished(absl::StatusCode outcome, absl::Duration elapsed);

  void RequestHadDeadline();
  void DeadlineMissed(DeadlineMiss cause);  // of a request that had one

  // Any call over gRPC, with HTTP's: "denoised.v1.Models/ListModels", "OK".
  void RpcFinished(const std::string& method, const std::string& outcome);

  // One Diffuse call.
  void DiffusionFinished(absl::StatusCode outcome);

  void Connections(int connections);  // now
  void HttpConnections(int connections);
  void HttpAnswered(std::string_view route, int status);
  // `reason`: "connections", "memory", "descriptors" or "protocol".
  void ConnectionRefused(const std::string& reason);

  void Models(int loaded, int broken);  // now
  void ModelMemory(int64_t bytes);      // now, on each device
  void ModelLoaded(absl::Duration duration);
  void ModelBroken();
  void ModelUnloaded();
  void AdapterMemory(int64_t bytes);  // now, copies on devices included
  void AdapterLoaded(bool ok);        // or not: it cannot be used

  void QueueCapacity(int requests);
  void DeviceMemory(const std::string& device, int64_t free_bytes, int64_t total_bytes);
  void StateDisk(int64_t free_bytes, int64_t total_bytes);  // of --state
  void CertificateExpires(absl::Time time);                 // of --tls-cert
  void AccessLogLinesDropped(int64_t lines);                // since the start

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }
  // The same as it happens.
  Activity& activity() { return activity_; }

 private:
  prometheus::Histogram& AddHistogram(const char* name, const char* help,
                                      const prometheus::Histogram::BucketBoundaries& buckets);

  class CountInMetrics;

  const std::shared_ptr<prometheus::Registry> registry_;
  Activity activity_;
  std::map<ObjectKind, std::unique_ptr<CountInMetrics>> counts_;  // constant after construction

  prometheus::Gauge& queue_depth_;
  prometheus::Gauge& queue_capacity_;
  prometheus::Gauge& outstanding_cost_seconds_;
  prometheus::Family<prometheus::Gauge>& active_rows_;
  prometheus::Family<prometheus::Gauge>& device_failed_;
  prometheus::Family<prometheus::Gauge>& device_hanging_;
  prometheus::Family<prometheus::Counter>& evaluations_;
  prometheus::Family<prometheus::Counter>& padded_rows_;
  prometheus::Family<prometheus::Counter>& turn_seconds_;
  prometheus::Family<prometheus::Counter>& failed_batches_;
  prometheus::Family<prometheus::Counter>& guidance_rows_saved_;
  prometheus::Family<prometheus::Counter>& overhead_seconds_;
  prometheus::Family<prometheus::Counter>& training_seconds_;
  prometheus::Family<prometheus::Counter>& failed_tasks_;
  prometheus::Histogram& rows_per_evaluation_;
  prometheus::Histogram& trajectories_per_evaluation_;
  prometheus::Histogram& evaluation_seconds_;
  prometheus::Histogram& encode_seconds_;
  prometheus::Histogram& decode_seconds_;
  prometheus::Histogram& decode_wait_seconds_;
  prometheus::Family<prometheus::Gauge>& decode_queue_;

  prometheus::Histogram& queue_wait_seconds_;
  prometheus::Histogram& time_to_first_frame_seconds_;
  prometheus::Histogram& request_seconds_;
  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Counter>& generations_;
  prometheus::Family<prometheus::Counter>& evaluations_wasted_;
  prometheus::Family<prometheus::Counter>& evaluations_cancelled_;
  prometheus::Counter& requests_with_deadline_;
  prometheus::Family<prometheus::Counter>& deadline_misses_;
  prometheus::Family<prometheus::Counter>& rpcs_;
  prometheus::Family<prometheus::Counter>& diffusions_;
  prometheus::Counter& frames_sent_;
  prometheus::Counter& frames_dropped_;
  prometheus::Counter& images_;

  prometheus::Gauge& connections_;
  prometheus::Gauge& http_connections_;
  prometheus::Family<prometheus::Counter>& http_requests_;
  prometheus::Family<prometheus::Counter>& refused_connections_;
  prometheus::Gauge& models_loaded_;
  prometheus::Gauge& models_broken_;
  prometheus::Gauge& model_memory_bytes_;
  prometheus::Family<prometheus::Counter>& model_loads_;
  prometheus::Histogram& model_load_seconds_;
  prometheus::Counter& model_unloads_;
  prometheus::Gauge& adapter_memory_bytes_;
  prometheus::Family<prometheus::Counter>& adapter_loads_;

  prometheus::Family<prometheus::Gauge>& device_memory_free_bytes_;
  prometheus::Family<prometheus::Gauge>& device_memory_size_bytes_;
  // Without series until they are known.
  prometheus::Family<prometheus::Gauge>& state_free_bytes_;
  prometheus::Family<prometheus::Gauge>& state_size_bytes_;
  prometheus::Family<prometheus::Gauge>& certificate_expiry_;
  prometheus::Counter& access_log_lines_dropped_;

  Mutex mutex_;
  std::map<std::string, TurnReport> turns_ ABSL_GUARDED_BY(mutex_);  // the present one, by device
  int64_t lines_dropped_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace denoise
