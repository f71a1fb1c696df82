// How a generation is started, or joined where there is one already.
#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error_details.h"
#include "core/base/resource_id.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "proto/conversion/time_proto.h"
#include "server/generations/generation.h"
#include "server/generations/generation_registry.h"
#include "server/generations/generations.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

int StepsTotal(const ResolvedRequest& resolved) {
  const int64_t steps = int64_t{resolved.accepted.steps()} * resolved.generation.count;
  return static_cast<int>(std::min<int64_t>(steps, std::numeric_limits<int>::max()));
}

// Of one image in progress.
int64_t StateBytes(const GenerationRequest& request) {
  return request.plan->slots * SampleBytes(request.shape);
}

// The most that all of them take in a handover.
int64_t HandoverBytes(const GenerationRequest& request, const GenerationLog::Limits& limits) {
  return std::min(limits.handover_bytes, request.count * StateBytes(request));
}

std::vector<int> ImagesBegun(const GenerationRequest& request) {
  std::vector<int> images;
  for (const ImageSnapshot& image : request.continues_from.images_begun) {
    images.push_back(image.image_index);
  }
  return images;
}

// The most that a token takes, which holds the states, the request and what it resolved to.
int64_t TokenBytes(const v1::GenerateRequest& request, const ResolvedRequest& resolved,
                   const GenerationLog::Limits& limits) {
  if (limits.handover_bytes == 0) return 0;
  return HandoverBytes(resolved.generation, limits) +
         static_cast<int64_t>(request.ByteSizeLong() + resolved.accepted.ByteSizeLong());
}

// The most that a generation can hold: its images, as many frames as its log keeps, the picture
// that is on its way, the samples that it starts from and keeps, the states of a handover and the
// token on its way, and what every call takes.
int64_t MostBytesHeld(const v1::GenerateRequest& request, const ResolvedRequest& resolved,
                      const GenerationLog::Limits& limits) {
  const int64_t sample_bytes =
      std::max(SampleBytes(resolved.picture), SampleBytes(resolved.generation.shape));
  int64_t frame_bytes = 0;
  if (resolved.generation.frames.every_n_steps > 0) {
    const int64_t kinds = static_cast<int64_t>(resolved.generation.frames.kinds.size());
    const int64_t frames = std::min<int64_t>(limits.frames, kinds * StepsTotal(resolved));
    frame_bytes = std::max(sample_bytes, std::min(frames * sample_bytes, limits.frame_bytes));
  }
  // Two noises to start between, or one picture; the picture and the mask of an inpainting.
  constexpr int kStartSamples = 2, kInpaintingSamples = 2;
  constexpr int kSamplesOnTheirWay = 1;
  const int samples =
      resolved.generation.count + kSamplesOnTheirWay + kStartSamples + kInpaintingSamples;
  return kCallBytes + samples * sample_bytes + frame_bytes +
         HandoverBytes(resolved.generation, limits) + TokenBytes(request, resolved, limits);
}

// Of a request: gRPC has it, or else the token that holds it.
int64_t RequestBytesHeld(const v1::GenerateRequest& request, const GenerationLog::Limits& limits,
                         const Caller& caller) {
  // Of a token, the request as its first caller sent it and as it is resolved here.
  const int64_t copies_of_call = caller.presented ? 2 : 1;
  const int64_t copies_of_generation = limits.handover_bytes > 0 ? 1 : 0;  // to hand it over
  return (copies_of_call + copies_of_generation) * static_cast<int64_t>(request.ByteSizeLong()) +
         (caller.presented ? caller.presented->bytes : 0);
}

// A request with an id keeps it. So does a generation that another server began.
std::string IdOf(const v1::GenerateRequest& request, const v1::Accepted& accepted) {
  if (!request.request_id().empty()) return request.request_id();
  if (!accepted.generation().empty()) return std::string(GenerationId(accepted.generation()));
  return NewRandomId();
}

// Over all images, what another server has done.
int StepsDone(const ResolvedRequest& resolved) {
  const Continuation& done = resolved.generation.continues_from;
  const std::vector<Evaluation>& evaluations = resolved.generation.plan->evaluations;
  int64_t steps =
      int64_t{resolved.accepted.steps()} * static_cast<int64_t>(done.images_done.size());
  for (const ImageSnapshot& image : done.images_begun) {
    const auto end = evaluations.begin() + image.trajectory.evaluations_done;
    steps +=
        std::count_if(evaluations.begin(), end, [](const Evaluation& e) { return e.ends_step; });
  }
  return static_cast<int>(std::min<int64_t>(steps, std::numeric_limits<int>::max()));
}

std::string FullNameOf(std::string_view id, const Caller& caller) {
  return FullName(caller.identity.tenant, GenerationName(id));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Join(const std::string& id,
                                                                       const RequestDigest& digest,
                                                                       const Caller& caller) {
  if (id.empty()) return nullptr;
  const MutexLock lock(mutex_);
  return JoinExisting(id, digest, caller);
}

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::JoinExisting(
    const std::string& id, const RequestDigest& digest, const Caller& caller) {
  const GenerationRef found = registry_->Find(FullNameOf(id, caller));
  if (!found || !CanBeJoined(*found)) return nullptr;
  const std::vector<std::string> differences = Differences(digest, found->digest);
  if (!differences.empty()) {
    return WithErrorReason(
        absl::AlreadyExistsError(absl::StrCat(
            "request_id ", id, " belongs to another request: it differs in ",
            absl::StrJoin(differences, ", "), ". Take another id for another request.")),
        "REQUEST_ID_IN_USE");
  }
  if (caller.presented && !IsSameGeneration(*caller.presented, *found)) {
    return WithErrorReason(
        absl::AlreadyExistsError(absl::StrCat(
            GenerationName(id),
            " has begun again on this server, with another seed or another version of the model. "
            "Present the token to another server, or once this generation is no longer kept.")),
        "REQUEST_ID_IN_USE");
  }
  if (caller.presented && ContinuesPause(*caller.presented, *found)) return nullptr;
  return AddPayingReader(found, -1, caller);
}

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Start(
    const v1::GenerateRequest& request, const RequestDigest& digest, ResolvedRequest resolved,
    const Caller& caller) {
  const GenerationLog::Limits log_limits = LogLimitsOf(request);
  ASSIGN_OR_RETURN(SampleBudget::Reservation reservation,
                   environment_.samples->Reserve(RequestBytesHeld(request, log_limits, caller) +
                                                 MostBytesHeld(request, resolved, log_limits)));
  const GenerationRef generation = Make(request, digest, resolved, log_limits, caller);
  std::unique_ptr<Reader> reader;
  GenerationRef replaced;  // one of this id that failed or was cancelled, or is continued now
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(reader, JoinExisting(generation->id, generation->digest, caller));
    if (reader) return reader;  // somebody was faster
    if (generation->continues_without_readers) RETURN_IF_ERROR(CountDetached());
    generation->reservation = std::move(reservation);
    replaced = registry_->Add(generation);
    reader = AddReader(generation, -1, caller);
  }
  const absl::Status submitted = Submit(generation, std::move(resolved.generation));
  {
    const MutexLock lock(mutex_);
    if (!submitted.ok() && generation->continues_without_readers) --detached_;
    const bool restore = !submitted.ok() && generation->indexed && replaced;
    if (!submitted.ok()) registry_->Remove(generation);
    if (restore) registry_->Add(replaced);
    if (replaced) registry_->RetainOrForget(replaced);
  }
  if (submitted.ok()) return reader;
  generation->log.Refuse(submitted);  // callers that joined meanwhile are refused, too
  return submitted;
}

// One caller's detached generations must not fill the queue for hours.
absl::Status Generations::CountDetached() {
  constexpr absl::Duration kRetryDelay = absl::Seconds(5);
  if (detached_ >= limits_.detached) {
    return UnavailableRetryAfter(
        absl::StrCat(detached_,
                     " detached generations are queued or running, the maximum "
                     "(--max-detached). Cancel one, or retry later."),
        kRetryDelay);
  }
  ++detached_;
  return absl::OkStatus();
}

// Besides the states, a handover holds the request and what it resolved to.
GenerationLog::Limits Generations::LogLimitsOf(const v1::GenerateRequest& request) const {
  constexpr int64_t kOtherBytes = 64 << 10;
  GenerationLog::Limits limits;
  if (request.accept_handover()) {
    const int64_t rest = static_cast<int64_t>(request.ByteSizeLong()) + kOtherBytes;
    limits.handover_bytes = std::max<int64_t>(0, environment_.handover_bytes - rest);
  }
  return limits;
}

GenerationRef Generations::Make(const v1::GenerateRequest& request, const RequestDigest& digest,
                                ResolvedRequest& resolved, const GenerationLog::Limits& log_limits,
                                const Caller& caller) {
  const bool named = !request.request_id().empty();
  const bool detaches = request.on_disconnect() == v1::ON_DISCONNECT_DETACH;
  const std::string id = IdOf(request, resolved.accepted);
  resolved.generation.name = FullNameOf(id, caller);
  resolved.generation.tenant = caller.identity.tenant;
  resolved.accepted.set_generation(GenerationName(id));
  // The caller's deadline ends the call. Whether that ends the generation, the caller has chosen.
  resolved.generation.deadline = detaches ? absl::InfiniteFuture() : caller.deadline;
  const auto cost = environment_.cost ? environment_.cost(resolved.generation) : std::nullopt;
  if (cost) *resolved.accepted.mutable_cost() = ToProto(*cost);
  const int steps_total = StepsTotal(resolved), steps_done = StepsDone(resolved);
  const bool may_move = log_limits.handover_bytes > 0;
  const int64_t number = next_number_++;
  const bool has_origin = caller.presented && !caller.presented->trace_id.empty();
  const EndingGeneration ending{
      .number = number,
      .detached = detaches,
      .full_name = resolved.generation.name,
      .trace_id = caller.trace_id,
      .origin_trace_id = has_origin ? caller.presented->trace_id : caller.trace_id,
      .model = resolved.accepted.model()};
  return GenerationRef(new Generation{
      .id = id,
      .tenant = caller.identity.tenant,
      .trace_id = ending.trace_id,
      .origin_trace_id = ending.origin_trace_id,
      .full_name = resolved.generation.name,
      .number = number,
      .digest = digest,
      .continues_without_readers = detaches,
      .kept = named || detaches,
      .encoding = {resolved.image_encoding, resolved.frame_encoding, resolved.frame_bytes_max},
      .sample_bytes = SampleBytes(resolved.picture),
      .plan = may_move ? resolved.generation.plan : nullptr,
      .request = may_move ? request : v1::GenerateRequest(),
      .accepts_handover = request.accept_handover(),
      .token_bytes = TokenBytes(request, resolved, log_limits),
      .arrival = caller.arrival,
      .log = GenerationLog(
          {.accepted = std::move(resolved.accepted),
           .steps_total = steps_total,
           .first_sequence = resolved.first_sequence,
           .steps_done = steps_done,
           .images_done = resolved.generation.continues_from.images_done,
           .images_begun = ImagesBegun(resolved.generation),
           .state_bytes = StateBytes(resolved.generation),
           .arrival = caller.arrival,
           .clock = environment_.clock,
           .limits = log_limits,
           .on_started = [telemetry = environment_.telemetry](
                             const auto& started) { telemetry->QueueWaited(started.queue_wait); },
           .on_image = [telemetry = environment_.telemetry] { telemetry->ImageGenerated(); },
           .on_ending = [this, ending](const auto& end) { OnEnding(ending, end); },
           .on_ended = [this, number] { OnEnded(number); }}),
      .counted = CountedObject(&environment_.telemetry->count(ObjectKind::kGeneration))});
}

absl::Status Generations::Submit(const GenerationRef& generation, GenerationRequest request) {
  const absl::StatusOr<Engine::Id> id = environment_.submit(
      std::move(request), std::shared_ptr<GenerationSink>(generation, &generation->log));
  RETURN_IF_ERROR(id.status());
  bool cancel = false, pause = false;
  {
    const MutexLock lock(mutex_);
    generation->engine_id = *id;
    cancel = generation->cancel_requested;
    pause = generation->pause_requested;
  }
  if (cancel) environment_.cancel(*id);
  if (pause) environment_.pause(*id);
  return absl::OkStatus();
}

}  // namespace denoise
