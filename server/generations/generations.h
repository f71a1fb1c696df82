// The generations that run, and those whose results are kept.
//
// A Generate call starts a generation, or joins the one that has its request_id. The engine runs
// it, its log (generation_log.h) records what happened, and streams read that log. Once the last
// reader has left, it is cancelled or continues, as its caller chose. After its end it is kept for
// a while if a caller can come back to it: if it has a request_id or was started with DETACH; and, if
// it was paused, for as long as its token is good.
//
// Memory: while a generation runs, and until its readers have left, it holds what SampleBudget
// reserved for it before it began. After that its result, or the state of a pause, counts against
// Limits::keep_bytes, and the oldest make room for new ones. A reader that comes then reserves it
// again. Every reader but the first also reserves the largest event that it may get on its own,
// which is a picture or the token of a pause.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/object_count.h"
#include "denoised/v1/generations.pb.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/engine/engine.h"
#include "server/generations/generation_log.h"
#include "server/identity/identity.h"
#include "server/requests/request_digest.h"
#include "server/requests/request_validation.h"
#include "server/requests/sample_budget.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

struct Generation;         // one of them; generation.h
struct KeepTimes;          // of those that have ended; generation.h
class GenerationRegistry;  // which can be found, and what is kept; generation_registry.h

// "photo-1" for "generations/photo-1" and for itself.
std::string_view GenerationId(std::string_view name);

// What a token says of the generation that it continues.
struct Presented {
  uint64_t seed;
  std::string model_version;
  int64_t evaluations_done;   // of single images, that need not be made again
  int64_t bytes;              // of the token, which gRPC holds until the call is over
  std::string trace_id = {};  // of the call that began the generation
};

// The call that wants to read a generation.
struct Caller {
  absl::Time arrival;
  absl::Time deadline = absl::InfiniteFuture();
  bool takes_handover = false;  // would continue the generation on another server
  // Called when there is something to read. Any thread may call it, at any time.
  std::function<void()> wake;
  Identity identity = Anyone();
  std::string trace_id = {};                          // for the log
  std::optional<Presented> presented = std::nullopt;  // where it brings a token
};

// How the pictures of a generation are sent.
struct PictureEncoding {
  denoised::v1::Encoding image;
  denoised::v1::Encoding frame;
  int frame_bytes_max;  // larger frames, once encoded, are left out
};

// Thread-safe. Outlives the engine and its readers.
class Generations {
 public:
  struct Environment {
    // The engine's: Engine::Submit, Engine::Cancel and Engine::Pause.
    std::function<absl::StatusOr<Engine::Id>(GenerationRequest, std::shared_ptr<GenerationSink>)>
        submit;
    std::function<void(Engine::Id)> cancel;
    std::function<void(Engine::Id)> pause;
    // Engine::CostOf. May be null: then nobody is told what a generation costs.
    std::function<std::optional<absl::Duration>(const GenerationRequest&)> cost = nullptr;
    const Clock* clock;
    SampleBudget* samples;
    Telemetry* telemetry;
    // The most that a handover may take, with the request in it. 0: generations are not handed over.
    int64_t handover_bytes = 0;
  };
  struct Limits {
    absl::Duration keep_time = absl::Minutes(10);           // after a generation's end
    absl::Duration paused_keep_time = absl::Hours(7 * 24);  // after a pause
    int64_t keep_bytes = 256 << 20;                         // of all results that are kept
    size_t expired_names = 16384;                           // that are remembered
    int detached = 32;                                      // that wait or run
  };

  // A stream's part in a generation. Used by one thread at a time.
  class Reader {
   public:
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // As GenerationLog::Reader's.
    std::optional<GenerationLog::Event> Next() { return events_->Next(); }
    bool over() const { return events_->over(); }
    int frames_missed() const { return events_->frames_missed(); }

    const std::string& full_name() const;              // for the log
    const std::string& name() const { return name_; }  // what the caller calls the generation
    const PictureEncoding& encoding() const;
    const denoised::v1::Accepted& accepted() const;
    // Of a generation that may be handed over; else null, and without a field.
    const SamplerPlan* plan() const;
    const denoised::v1::GenerateRequest& request() const;  // as its first caller sent it
    const std::string& tenant() const;                     // whose it is
    // Of the call that began the generation, here or on another server.
    const std::string& origin_trace_id() const;
    // The generation as the caller sees it.
    denoised::v1::Generation Describe() const;

    // How the generation ended; OK while it runs.
    absl::Status status() const;
    // Where it stands.
    GenerationLog::Snapshot snapshot() const;

    // The caller has gone. Returns false if this cancelled the generation and the engine still
    // holds it: the caller is woken when the engine has released it.
    bool Leave();

   private:
    friend class Generations;
    Reader(Generations* generations, std::shared_ptr<Generation> generation, int64_t after,
           const Caller& caller);

    Generations* const generations_;
    const CountedObject counted_;
    const std::shared_ptr<Generation> generation_;
    const Identity caller_;
    const std::string name_;
    std::unique_ptr<GenerationLog::Reader> events_;
    SampleBudget::Reservation reservation_;  // beside what the generation holds
    bool left_ = false;
    bool cancelled_ = false;
  };

  Generations(const Environment& environment, const Limits& limits);
  ~Generations();
  Generations(const Generations&) = delete;
  Generations& operator=(const Generations&) = delete;

  // A reader of the caller's generation called `id`, if there is one that runs, has succeeded or is
  // paused; else null, as for an empty id, and for a token that continues the pause: one of that
  // pause or of a later one. So an older token and a retry get what the first caller got, with the
  // token of the latest pause, and no work is repeated. ALREADY_EXISTS where the generation is of
  // another request or, for a token, has another seed or model version. `digest` is that of the
  // request.
  absl::StatusOr<std::unique_ptr<Reader>> Join(const std::string& id, const RequestDigest& digest,
                                               const Caller& caller) ABSL_LOCKS_EXCLUDED(mutex_);

  // Starts the request, which was resolved to `resolved`, or joins one that was started meanwhile.
  // Errors are those of Join, Engine::Submit and SampleBudget::Reserve.
  absl::StatusOr<std::unique_ptr<Reader>> Start(const denoised::v1::GenerateRequest& request,
                                                const RequestDigest& digest,
                                                ResolvedRequest resolved, const Caller& caller)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The service Generations. What the caller does not see is NotFound, as what there is not.
  absl::StatusOr<std::unique_ptr<Reader>> Watch(const denoised::v1::WatchGenerationRequest& request,
                                                const Caller& caller) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<denoised::v1::Generation> Get(const denoised::v1::GetGenerationRequest& request,
                                               const Identity& caller) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<denoised::v1::ListGenerationsResponse> List(
      const denoised::v1::ListGenerationsRequest& request, const Identity& caller)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<denoised::v1::Generation> Cancel(
      const denoised::v1::CancelGenerationRequest& request, const Identity& caller)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Requests that the engine hands the generation over, and returns a reader whose log will say it;
  // or that says it already, of a generation that is paused.
  absl::StatusOr<std::unique_ptr<Reader>> Pause(const denoised::v1::PauseGenerationRequest& request,
                                                const Caller& caller) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  using GenerationRef = std::shared_ptr<Generation>;

  // What is reported of a generation that ends. It can outlive every call that would report it, and
  // its registration: one of the same name takes the place of one that is being cancelled.
  struct EndingGeneration {
    int64_t number;
    bool detached;
    std::string full_name;
    std::string trace_id;
    std::string origin_trace_id;
    std::string model;
  };

  GenerationRef Make(const denoised::v1::GenerateRequest& request, const RequestDigest& digest,
                     ResolvedRequest& resolved, const GenerationLog::Limits& log_limits,
                     const Caller& caller);
  GenerationLog::Limits LogLimitsOf(const denoised::v1::GenerateRequest& request) const;
  absl::StatusOr<std::unique_ptr<Reader>> JoinExisting(const std::string& id,
                                                       const RequestDigest& digest,
                                                       const Caller& caller)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Submit(const GenerationRef& generation, GenerationRequest request)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Forgets a paused generation; describes it as cancelled.
  denoised::v1::Generation GiveUp(const GenerationRef& paused, const Identity& caller)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<GenerationRef> Find(const std::string& name, const Identity& caller)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::unique_ptr<Reader> AddReader(const GenerationRef& generation, int64_t after,
                                    const Caller& caller) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<std::unique_ptr<Reader>> AddPayingReader(const GenerationRef& generation,
                                                          int64_t after, const Caller& caller)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckPausable(const std::string& name, const Generation& generation,
                             const GenerationLog::Snapshot& now) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool RemoveReader(const GenerationRef& generation) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnReaderDestroyed(const GenerationRef& generation) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnding(const EndingGeneration& generation, const GenerationLog::End& end)
      ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnded(int64_t number) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CountDetached() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ExpireLoop() ABSL_LOCKS_EXCLUDED(mutex_);
  KeepTimes keep_times() const;

  const Environment environment_;
  const Limits limits_;
  std::atomic<int64_t> next_number_ = 1;

  Mutex mutex_;
  CondVar changed_;
  const std::unique_ptr<GenerationRegistry> registry_ ABSL_PT_GUARDED_BY(mutex_);
  int detached_ ABSL_GUARDED_BY(mutex_) = 0;  // that wait or run
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread expirer_;
};

}  // namespace denoise
