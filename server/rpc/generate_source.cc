// The stream of Generate: resolves a request or opens a handover, waits for its model and adapters,
// and starts or joins the generation.
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/base/error_details.h"
#include "core/base/status_macros.h"
#include "proto/conversion/repeated_counts.h"
#include "server/migration/handover_state.h"
#include "server/migration/handover_token.h"
#include "server/requests/field_checks.h"
#include "server/requests/seed.h"
#include "server/requests/start_validation.h"
#include "server/rpc/generation_source.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

using Reader = std::unique_ptr<Generations::Reader>;

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
    return GenerationSource::Start();
  }

  void OnEnd(const absl::Status& status) override {
    environment_.telemetry->RequestFinished(status.code(), Elapsed());
    if (call_.deadline != absl::InfiniteFuture()) CountDeadline(status);
    if (!generation_reader_) call_.record->Add({{"model", model()}});
    GenerationSource::OnEnd(status);
  }

 protected:
  // Called again after every wake-up. nullptr: still waiting.
  absl::StatusOr<Reader> Attach() override {
    RETURN_IF_ERROR(OpenOnce());
    const RequestDigest digest = DigestOf(AsSent());
    ASSIGN_OR_RETURN(Reader joined, Join(digest));
    if (joined) return joined;
    ASSIGN_OR_RETURN(const bool adapters_known, PrepareAdapters());
    if (!adapters_known) return nullptr;
    RETURN_IF_ERROR(Refusal());  // without loading the model
    ASSIGN_OR_RETURN(const LoadedModelHandle loaded, AcquireFitting());
    if (!loaded) return nullptr;
    return StartNew(loaded, digest);
  }

  const char* event_of_end() const override { return "request finished"; }
  std::string model() const override { return request().model(); }

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
    if (!generation_reader_) {
      if (GetErrorReason(status) == kDeadlineTooShortReason) return DeadlineMiss::kRefused;
      return wait_ || adapter_wait_ ? DeadlineMiss::kLoading : DeadlineMiss::kLate;
    }
    const GenerationLog::Snapshot now = generation_reader_->snapshot();
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
      caller.presented = {accepted.seed(), accepted.model_version(), evaluations_presented_,
                          static_cast<int64_t>(request_.handover().size()), continued_->trace_id()};
    }
    return caller;
  }

  uint64_t Seed() const { return continued_ ? continued_->accepted().seed() : ChooseSeed(); }

  // Opens the handover that the caller presents, if any.
  absl::Status OpenOnce() {
    if (request_.handover().empty() || continued_) return absl::OkStatus();
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
    evaluations_presented_ = EvaluationsDone(*continued_);
    call_.record->JoinTrace(continued_->trace_id());
    return absl::OkStatus();
  }

  // The generation that there already is for the request; null where there is none.
  absl::StatusOr<Reader> Join(const RequestDigest& digest) {
    ASSIGN_OR_RETURN(Reader joined, environment_.generations->Join(Id(), digest, ThisCaller()));
    if (!joined) return nullptr;
    wait_.reset();
    adapter_wait_.reset();
    to_resolve_.Clear();
    if (continued_) continued_->clear_images_begun();  // the generation has its own
    return joined;
  }

  // The model in memory, of the version that the adapters were read for; null while it is being
  // loaded, or they are being read for another version.
  absl::StatusOr<LoadedModelHandle> AcquireFitting() {
    ASSIGN_OR_RETURN(LoadedModelHandle loaded, Acquire());
    if (!loaded || !adapter_wait_ || adapter_wait_->Suits(*loaded->model)) return loaded;
    ASSIGN_OR_RETURN(const bool suits_now, PrepareAdapters());
    if (!suits_now || adapter_wait_) return nullptr;
    return loaded;
  }

  absl::StatusOr<Reader> StartNew(const LoadedModelHandle& loaded, const RequestDigest& digest) {
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
  int64_t evaluations_presented_ = 0;          // that are done in there
  v1::GenerateRequest to_resolve_;             // then
  std::unique_ptr<ModelWait> wait_;            // for the request's model
  std::set<std::string> wanted_;               // the versions that were waited for
  std::unique_ptr<AdapterWait> adapter_wait_;  // for the adapters of the request
  absl::Status checked_;                       // what is wrong with the rest of it
  SampleBudget::Reservation reservation_;      // for the request, until it is resolved
};

}  // namespace

std::unique_ptr<GenerateEventSource> MakeGenerateSource(const GenerationEnvironment& environment,
                                                        const v1::GenerateRequest& request,
                                                        Call call) {
  return std::make_unique<GenerateSource>(environment, request, std::move(call));
}

}  // namespace denoise
