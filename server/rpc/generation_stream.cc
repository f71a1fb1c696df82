#include "server/rpc/generation_stream.h"

#include <c10/core/InferenceMode.h>

#include <exception>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "core/codec/latent_projection.h"
#include "proto/conversion/repeated_counts.h"
#include "proto/conversion/time_proto.h"
#include "server/migration/handover_state.h"
#include "server/migration/handover_token.h"
#include "server/requests/field_checks.h"
#include "server/requests/picture.h"
#include "server/requests/seed.h"
#include "server/requests/start_validation.h"
#include "server/rpc/generation_fields.h"
#include "server/rpc/handover_event.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

using Reader = std::unique_ptr<Generations::Reader>;

Caller ToCaller(const Call& call, bool takes_handover = false) {
  return {.arrival = call.arrival,
          .deadline = call.deadline,
          .takes_handover = takes_handover,
          .wake = call.wake,
          .identity = call.caller,
          .trace_id = call.record->trace_id()};
}

// What a stream has written so far.
struct Totals {
  int images = 0;
  int frames_sent = 0;
  int frames_too_large = 0;
};

// What a frame shows, [C, H, W] of the size of the images.
at::Tensor AtFullSize(const FrameUpdate& frame) {
  if (frame.scale == 1) return frame.sample;
  const c10::InferenceMode inference;
  return Upscale(frame.sample.unsqueeze(0), frame.scale, Upscaling::kBilinear)[0];
}

// From an event of the log to one of the contract. Encodes frames and images, which is slow.
// InvalidArgument where an encoding cannot hold a picture.
class ToContract {
 public:
  // Seals a handover; without a token where the caller gets none.
  using Seal = std::function<v1::Handover(const GenerationLog::Handover& handover)>;

  ToContract(const Generations::Reader& reader, const Totals& totals, Seal seal)
      : reader_(reader), totals_(totals), seal_(std::move(seal)) {}

  absl::StatusOr<v1::GenerateEvent> operator()(v1::Accepted accepted) const {
    v1::GenerateEvent event;
    *event.mutable_accepted() = std::move(accepted);
    event.mutable_accepted()->set_generation(reader_.name());
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const QueuePlace& place) const {
    v1::GenerateEvent event;
    event.mutable_queued()->set_position(place.position);
    if (place.expected_wait) {
      *event.mutable_queued()->mutable_expected_wait() = ToProto(*place.expected_wait);
    }
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::Started& started) const {
    v1::GenerateEvent event;
    *event.mutable_started()->mutable_queue_wait() = ToProto(started.queue_wait);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::Progress& progress) const {
    v1::GenerateEvent event;
    event.mutable_progress()->set_steps_done(progress.steps_done);
    event.mutable_progress()->set_steps_total(progress.steps_total);
    event.mutable_progress()->set_images_done(progress.images_done);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const FrameUpdate& frame) const {
    v1::GenerateEvent event;
    auto& proto = *event.mutable_frame();
    ASSIGN_OR_RETURN(*proto.mutable_image(),
                     EncodeSample(AtFullSize(frame), reader_.encoding().frame));
    proto.set_image_index(frame.image_index);
    proto.set_step(frame.step);
    proto.set_timestep(frame.timestep);
    proto.set_kind(frame.kind == FrameKind::kXt ? v1::FRAME_KIND_X_T : v1::FRAME_KIND_X0);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const ImageUpdate& image) const {
    v1::GenerateEvent event;
    auto& proto = *event.mutable_image();
    ASSIGN_OR_RETURN(*proto.mutable_image(), EncodeSample(image.sample, reader_.encoding().image));
    proto.set_image_index(image.image_index);
    proto.set_seed(image.seed);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::Handover& handover) const {
    v1::GenerateEvent event;
    *event.mutable_handover() = seal_(handover);
    return event;
  }

  absl::StatusOr<v1::GenerateEvent> operator()(const GenerationLog::End& end) const {
    RETURN_IF_ERROR(end.status);
    v1::GenerateEvent event;
    auto& finished = *event.mutable_finished();
    finished.set_images(totals_.images);
    finished.set_frames_sent(totals_.frames_sent);
    finished.set_frames_dropped(reader_.frames_missed() + totals_.frames_too_large);
    *finished.mutable_elapsed() = ToProto(end.elapsed);
    return event;
  }

 private:
  const Generations::Reader& reader_;
  const Totals& totals_;
  const Seal seal_;
};

// The end of a stream whose caller has a token: no wait is needed before it is presented.
absl::Status HandedOver() {
  return UnavailableRetryAfter(
      "the server has handed the generation over; present the token to another server",
      absl::ZeroDuration());
}

// What both calls share: attach to a generation, then send what its log says.
class GenerationSource : public GenerateEventSource {
 public:
  GenerationSource(const GenerationEnvironment& environment, Call call)
      : environment_(environment), call_(std::move(call)) {}

  absl::StatusOr<Outcome> Next() override {
    if (!reader_) {
      ASSIGN_OR_RETURN(reader_, Attach());
      if (!reader_) return Wait();
    }
    if (!failure_.ok()) return EndWithFailure();
    std::optional<GenerationLog::Event> event = reader_->Next();
    if (event) return MakeOutcome(*std::move(event));
    if (!reader_->over()) return Wait();
    // A reader that resumed at the end of a failed generation has seen no event that says so.
    RETURN_IF_ERROR(reader_->status());
    return Over();
  }

  // The call succeeded if `finished` was already on its way.
  std::optional<absl::Status> OnCallerGone() override {
    if (finished_sent_) return absl::OkStatus();
    if (reader_ && !reader_->Leave()) return std::nullopt;
    return CallerGone();
  }

  void OnEnd(const absl::Status&) override {
    environment_.telemetry->FramesDropped(FramesDropped());
  }

 protected:
  // Null if the call will be woken and has to ask again.
  virtual absl::StatusOr<Reader> Attach() = 0;
  virtual void OnFirstFrame() {}
  // Whether the caller continues on another server what this one hands over when it drains.
  virtual bool takes_handover() const { return false; }

  // Of the call's end.
  void Log(const char* event, const std::string& subject, const absl::Status& status) const {
    Record();
    LogEvent(LevelOf(status), event,
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"origin_trace_id", reader_ ? reader_->origin_trace_id() : ""},
              {"generation", reader_ ? reader_->full_name() : ""},
              {"model", subject},
              {"code", absl::StatusCodeToString(status.code())},
              {"message", std::string(status.message())},
              {"images", totals_.images},
              {"frames_sent", totals_.frames_sent},
              {"frames_dropped", FramesDropped()},
              {"seconds", absl::ToDoubleSeconds(Elapsed())}});
  }

  void Record() const {
    CallRecord& record = *call_.record;
    if (reader_) {
      record.Add(
          {{"generation", reader_->full_name()}, {"origin_trace_id", reader_->origin_trace_id()}});
      AddSettings(reader_->accepted(), record);
      AddProgress(reader_->snapshot(), record);
    }
    if (first_frame_) {
      record.Add({{"first_frame_seconds", absl::ToDoubleSeconds(*first_frame_)}});
    }
    record.Add({{"images_sent", totals_.images},
                {"frames_sent", totals_.frames_sent},
                {"frames_dropped", FramesDropped()}});
  }

  int FramesDropped() const {
    return totals_.frames_too_large + (reader_ ? reader_->frames_missed() : 0);
  }
  absl::Duration Elapsed() const { return environment_.calls.clock->Now() - call_.arrival; }

  const GenerationEnvironment& environment_;
  const Call call_;
  Reader reader_;

 private:
  absl::StatusOr<Outcome> MakeOutcome(GenerationLog::Event event) {
    const int64_t sequence = event.sequence;
    const absl::Time time = event.time;
    const bool ends = std::holds_alternative<GenerationLog::End>(event.what);
    absl::StatusOr<v1::GenerateEvent> made = Make(std::move(event));
    if (!made.ok() && ends) return handed_over_ ? HandedOver() : made.status();
    if (!made.ok()) {  // a picture that cannot be encoded is no fault of the caller's
      failure_ = absl::InternalError(made.status().message());
      return EndWithFailure();
    }
    v1::GenerateEvent& proto = *made;
    if (proto.has_handover() && proto.handover().token().empty()) return Again();
    if (IsTooLarge(proto)) {
      ++totals_.frames_too_large;
      return Again();
    }
    Count(proto);
    proto.set_sequence(sequence);
    *proto.mutable_time() = ToProto(time);
    return std::move(proto);
  }

  // LibTorch throws if a sample is malformed, and anything may throw if memory runs out.
  absl::StatusOr<v1::GenerateEvent> Make(GenerationLog::Event event) const {
    try {
      const auto seal = [&](const GenerationLog::Handover& handover) {
        const bool gets_token = handover.paused || takes_handover();
        return gets_token ? SealEvent(handover, event.sequence, event.time, *reader_, environment_)
                          : v1::Handover();
      };
      return std::visit(ToContract(*reader_, totals_, seal), std::move(event.what));
    } catch (const std::exception& error) {
      return absl::InternalError(absl::StrCat("cannot make an event: ", error.what()));
    }
  }

  // Other readers would fail in the same way, so this one leaves as if its caller had gone.
  absl::StatusOr<Outcome> EndWithFailure() {
    if (!reader_->Leave()) return Wait();
    return failure_;
  }

  bool IsTooLarge(const v1::GenerateEvent& event) const {
    return event.has_frame() && event.frame().image().data().size() >
                                    static_cast<size_t>(reader_->encoding().frame_bytes_max);
  }

  void Count(const v1::GenerateEvent& event) {
    if (event.has_image()) {
      ++totals_.images;
    } else if (event.has_frame()) {
      if (totals_.frames_sent++ == 0) {
        first_frame_ = Elapsed();
        OnFirstFrame();
      }
      environment_.telemetry->FrameSent();
    } else if (event.has_handover()) {
      handed_over_ = !event.handover().paused();
    } else if (event.has_finished()) {
      finished_sent_ = true;
    }
  }

  Totals totals_;
  std::optional<absl::Duration> first_frame_;  // from the call's arrival to the first that was sent
  absl::Status failure_;                       // an event could not be made
  bool finished_sent_ = false;
  bool handed_over_ = false;  // to a caller who continues on another server
};

class GenerateSource final : public GenerationSource {
 public:
  GenerateSource(const GenerationEnvironment& environment, const v1::GenerateRequest& request,
                 Call call)
      : GenerationSource(environment, std::move(call)), request_(request) {}

  // Requests that bring pictures along are resolved on the pool: decoding takes a while.
  absl::Status Start() override {
    RETURN_IF_ERROR(CheckRepeatedCounts(request_));
    if (!request_.handover().empty()) RETURN_IF_ERROR(CheckPresented(request_));
    if (IsSlowToResolve(request_) || request_.allow_fewer_steps()) {
      ASSIGN_OR_RETURN(reservation_, environment_.samples->Reserve(
                                         static_cast<int64_t>(request_.ByteSizeLong())));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(reader_, Attach());
    return absl::OkStatus();
  }

  void OnEnd(const absl::Status& status) override {
    GenerationSource::OnEnd(status);
    environment_.telemetry->RequestFinished(status.code(), Elapsed());
    if (call_.deadline != absl::InfiniteFuture()) CountDeadline(status);
    if (!reader_) call_.record->Add({{"model", request().model()}});
    Log("request finished", request().model(), status);
  }

 protected:
  absl::StatusOr<Reader> Attach() override {
    if (!request_.handover().empty() && !continued_) RETURN_IF_ERROR(Open());
    const RequestDigest digest = DigestOf(AsSent());
    ASSIGN_OR_RETURN(Reader joined, environment_.generations->Join(Id(), digest, ThisCaller()));
    if (joined) {
      wait_.reset();
      adapter_wait_.reset();
      return joined;
    }
    ASSIGN_OR_RETURN(const bool is_ready, PrepareAdapters());
    if (!is_ready) return nullptr;
    RETURN_IF_ERROR(Refusal());  // without loading the model
    ASSIGN_OR_RETURN(const LoadedModelHandle loaded, Acquire());
    if (!loaded) return nullptr;
    if (adapter_wait_ && !adapter_wait_->Suits(*loaded->model)) {
      ASSIGN_OR_RETURN(const bool suits_now, PrepareAdapters());
      if (!suits_now || adapter_wait_) return nullptr;
    }
    ASSIGN_OR_RETURN(const RequestedAdapters adapters, Adapters());
    ASSIGN_OR_RETURN(ResolvedRequest resolved, Resolve(loaded, adapters));
    adapter_wait_.reset();
    reservation_ = {};  // what was held for the request alone must not stand in its own way
    LogEvent(spdlog::level::debug, "request resolved",
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"model", request().model()},
              {"count", resolved.generation.count},
              {"evaluations", resolved.accepted.evaluations()},
              {"seed", std::to_string(resolved.generation.seed)}});
    ASSIGN_OR_RETURN(Reader started, environment_.generations->Start(
                                         AsSent(), digest, std::move(resolved), ThisCaller()));
    if (continued_) Continued(*started);
    return started;
  }

  void OnFirstFrame() override { environment_.telemetry->FirstFrameSent(Elapsed()); }

  bool takes_handover() const override { return AsSent().accept_handover(); }

 private:
  // The request as its first caller sent it, and as it is resolved here.
  const v1::GenerateRequest& AsSent() const {
    return continued_ ? continued_->request() : request_;
  }
  const v1::GenerateRequest& request() const { return continued_ ? to_resolve_ : request_; }

  void CountDeadline(const absl::Status& status) const {
    environment_.telemetry->RequestHadDeadline();
    if (absl::IsDeadlineExceeded(status)) environment_.telemetry->DeadlineMissed(WhyLate(status));
  }

  DeadlineMiss WhyLate(const absl::Status& status) const {
    if (!reader_) {
      if (GetErrorReason(status) == kDeadlineTooShortReason) return DeadlineMiss::kRefused;
      return wait_ || adapter_wait_ ? DeadlineMiss::kLoading : DeadlineMiss::kLate;
    }
    const GenerationLog::Snapshot now = reader_->snapshot();
    if (!now.started) return DeadlineMiss::kQueued;
    return now.ended && now.status.ok() ? DeadlineMiss::kReading : DeadlineMiss::kRunning;
  }

  // The generation that it may join; empty where only a new one will do.
  std::string Id() const {
    return continued_ ? std::string(GenerationId(continued_->accepted().generation()))
                      : request_.request_id();
  }

  Caller ThisCaller() const {
    Caller caller = ToCaller(call_, AsSent().accept_handover());
    if (continued_) {
      const v1::Accepted& accepted = continued_->accepted();
      caller.presented = {accepted.seed(), accepted.model_version(), continued_->next_sequence(),
                          static_cast<int64_t>(request_.handover().size()), continued_->trace_id()};
    }
    return caller;
  }

  uint64_t Seed() const { return continued_ ? continued_->accepted().seed() : ChooseSeed(); }

  // Opens the handover that the caller presents.
  absl::Status Open() {
    if (environment_.handover_keys.empty()) {
      return absl::FailedPreconditionError(
          "this server cannot continue a generation: it has no key for tokens. Send the token to a "
          "server of the deployment that it comes from, give this server the same --handover-key, "
          "or send the request again without handover");
    }
    ASSIGN_OR_RETURN(continued_,
                     OpenHandover(request_.handover(), call_.caller.tenant,
                                  environment_.calls.clock->Now(), environment_.handover_keys));
    to_resolve_ = RequestToResolve(*continued_);
    call_.record->JoinTrace(continued_->trace_id());
    return absl::OkStatus();
  }

  void Continued(const Generations::Reader& started) {
    continued_->clear_images_begun();  // which the engine has now
    LogEvent(spdlog::level::info, "generation continued",
             {{"request", call_.record->id()},
              {"trace_id", call_.record->trace_id()},
              {"origin_trace_id", started.origin_trace_id()},
              {"generation", started.full_name()},
              {"evaluations_done", started.accepted().evaluations_done()}});
  }

  // The model in memory; null while it is being loaded.
  absl::StatusOr<LoadedModelHandle> Acquire() {
    while (true) {
      if (!wait_) {
        ASSIGN_OR_RETURN(wait_, Want());
      }
      const auto result = wait_->result();
      if (!result) return nullptr;
      // Nor must a slow reader keep the weights: from here on they are the engine's.
      wait_.reset();
      if (result->ok()) return *result;
      // Its name may stand for another version by now.
      const auto model = FindModel(request().model(), *environment_.models);
      if (!model.ok() || wanted_.contains((*model)->id)) return result->status();
    }
  }

  // Whether it is known which adapters the request has; if not, they are being read.
  absl::StatusOr<bool> PrepareAdapters() {
    if (request().adapters().empty()) return true;
    const auto model = FindModel(request().model(), *environment_.models);
    if (!model.ok() || (*model)->adapters == nullptr) {  // which is said elsewhere
      adapter_wait_.reset();
      return true;
    }
    if (!adapter_wait_ || !adapter_wait_->Suits(**model)) {
      using What = AdapterReader::What;
      checked_ = CheckRequest(request(), model, environment_.limits);
      ASSIGN_OR_RETURN(adapter_wait_,
                       environment_.adapters->Read(checked_.ok() ? What::kWeights : What::kHeaders,
                                                   *model, request(), call_.wake));
    }
    return adapter_wait_->result().has_value();
  }

  absl::StatusOr<ResolvedRequest> Resolve(const LoadedModelHandle& loaded,
                                          const RequestedAdapters& adapters) const {
    ASSIGN_OR_RETURN(
        ResolvedRequest resolved,
        ResolveRequest(request(), loaded->model, environment_.limits, Seed(), adapters));
    RunOn(loaded, resolved);
    if (continued_) RETURN_IF_ERROR(ContinueFrom(*continued_, resolved));
    if (continued_ || !request_.allow_fewer_steps()) return resolved;
    const int fitting = environment_.fitting_evaluations(resolved.generation);
    if (fitting >= resolved.accepted.evaluations()) return resolved;
    const auto steps =
        StepsWithin(request_, *loaded->model, environment_.limits, adapters, fitting);
    if (!steps) return resolved;  // the engine says why it refuses it
    v1::GenerateRequest fewer = request_;
    fewer.mutable_sampler()->set_steps(*steps);
    ASSIGN_OR_RETURN(ResolvedRequest reduced,
                     ResolveRequest(fewer, loaded->model, environment_.limits,
                                    resolved.generation.seed, adapters));
    RunOn(loaded, reduced);
    reduced.accepted.set_steps_requested(resolved.accepted.steps());
    return reduced;
  }

  void RunOn(const LoadedModelHandle& loaded, ResolvedRequest& resolved) const {
    resolved.generation.pipelines = {loaded, &loaded->pipelines};  // keeps the whole model alive
    resolved.generation.deadline = call_.deadline;
    resolved.generation.tenant = call_.caller.tenant;
  }

  // All that is wrong with a request that has adapters.
  absl::Status Refusal() const {
    const absl::Status adapters = Adapters().status();
    if (checked_.ok()) return adapters;
    if (GetFieldViolations(adapters).empty()) return checked_;
    FieldViolations violations;
    violations.AddAll("", checked_);
    violations.AddAll("", adapters);
    return violations.ToStatus();
  }

  absl::StatusOr<RequestedAdapters> Adapters() const {
    const auto result = adapter_wait_ ? adapter_wait_->result() : std::nullopt;
    return result ? *result : RequestedAdapters();
  }

  // A bad request loads nothing.
  absl::StatusOr<std::unique_ptr<ModelWait>> Want() {
    const auto model = FindModel(request().model(), *environment_.models);
    if (!model.ok() || !IsLoaded((*model)->id)) {
      RETURN_IF_ERROR(CheckRequest(request(), model, environment_.limits));
    }
    wanted_.insert((*model)->id);
    return environment_.models->Acquire((*model)->id, call_.wake);
  }

  bool IsLoaded(const std::string& id) const {
    const auto status = environment_.models->StatusOfExactly(id);
    return status && status->state == LoadState::kLoaded;
  }

  const v1::GenerateRequest& request_;
  std::optional<HandoverState> continued_;     // what request_ presents, once it is open
  v1::GenerateRequest to_resolve_;             // then
  std::unique_ptr<ModelWait> wait_;            // for the request's model
  std::set<std::string> wanted_;               // the versions that were waited for
  std::unique_ptr<AdapterWait> adapter_wait_;  // for the adapters of the request
  absl::Status checked_;                       // what is wrong with the rest of it
  SampleBudget::Reservation reservation_;      // for the request, until it is resolved
};

class WatchSource final : public GenerationSource {
 public:
  WatchSource(const GenerationEnvironment& environment, const v1::WatchGenerationRequest& request,
              Call call)
      : GenerationSource(environment, std::move(call)), request_(request) {}

  absl::Status Start() override {
    ASSIGN_OR_RETURN(reader_, Attach());
    return absl::OkStatus();
  }

  void OnEnd(const absl::Status& status) override {
    GenerationSource::OnEnd(status);
    Log("watch finished", "", status);
  }

 protected:
  absl::StatusOr<Reader> Attach() override {
    return environment_.generations->Watch(request_, ToCaller(call_));
  }

 private:
  const v1::WatchGenerationRequest& request_;
};

}  // namespace

std::unique_ptr<GenerateEventSource> MakeGenerateSource(const GenerationEnvironment& environment,
                                                        const v1::GenerateRequest& request,
                                                        Call call) {
  return std::make_unique<GenerateSource>(environment, request, std::move(call));
}

std::unique_ptr<GenerateEventSource> MakeWatchSource(const GenerationEnvironment& environment,
                                                     const v1::WatchGenerationRequest& request,
                                                     Call call) {
  return std::make_unique<WatchSource>(environment, request, std::move(call));
}

}  // namespace denoise
