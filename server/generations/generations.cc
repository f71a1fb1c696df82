#include "server/generations/generations.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/paging.h"
#include "core/base/resource_id.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "proto/conversion/time_proto.h"
#include "server/generations/generation.h"
#include "server/generations/generation_registry.h"
#include "server/requests/field_checks.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

constexpr char kResourceType[] = "generation";
constexpr char kList[] = "generations";

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
  constexpr int kMostInputs = 4;
  return kCallBytes + (resolved.generation.count + 1 + kMostInputs) * sample_bytes + frame_bytes +
         HandoverBytes(resolved.generation, limits) + TokenBytes(request, resolved, limits);
}

// gRPC has the request, or else the token that holds it, which the call has opened. The generation
// has another copy if it may be handed over.
int64_t RequestBytesHeld(const v1::GenerateRequest& request, const GenerationLog::Limits& limits,
                         const Caller& caller) {
  const int64_t copies = (limits.handover_bytes > 0 ? 1 : 0) + (caller.presented ? 2 : 1);
  return copies * static_cast<int64_t>(request.ByteSizeLong()) +
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

absl::StatusOr<int64_t> ParseToken(const std::string& token) {
  ASSIGN_OR_RETURN(const std::string entry, ParsePageToken(kList, token));
  int64_t number = std::numeric_limits<int64_t>::max();
  if (!entry.empty() && (!absl::SimpleAtoi(entry, &number) || number < 1)) return BadPageToken();
  return number;
}

std::string FullNameOf(std::string_view id, const Caller& caller) {
  return FullName(caller.identity.tenant, GenerationName(id));
}

}  // namespace

Generations::Generations(const Environment& environment, const Limits& limits)
    : environment_(environment),
      limits_(limits),
      registry_(std::make_unique<GenerationRegistry>(
          GenerationRegistry::Limits{keep_times(), limits.keep_bytes, limits.expired_names},
          environment.clock, [this] { changed_.NotifyAll(); })),
      expirer_([this] { ExpireLoop(); }) {}

Generations::~Generations() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  expirer_.join();
}

KeepTimes Generations::keep_times() const { return {limits_.keep_time, limits_.paused_keep_time}; }

// --- Starting and joining

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

// --- The service

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Watch(
    const v1::WatchGenerationRequest& request, const Caller& caller) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name(), caller.identity));
  if (!request.has_resume_after()) return AddPayingReader(generation, -1, caller);
  const int64_t last = generation->log.snapshot().last_sequence;
  if (request.resume_after() < 0 || request.resume_after() > last) {
    return InvalidField("resume_after", absl::StrCat("must be between 0 and ", last,
                                                     ", the number of the latest event, is ",
                                                     request.resume_after()));
  }
  return AddPayingReader(generation, request.resume_after(), caller);
}

absl::StatusOr<v1::Generation> Generations::Get(const v1::GetGenerationRequest& request,
                                                const Identity& caller) {
  ListedGeneration listed;
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name(), caller));
    listed = ListedNow(generation);
  }
  return Describe(listed, caller, /*with_timesteps=*/true, keep_times());
}

absl::StatusOr<v1::ListGenerationsResponse> Generations::List(
    const v1::ListGenerationsRequest& request, const Identity& caller) {
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  const absl::StatusOr<int64_t> before = ParseToken(request.page_token());
  FieldViolations violations;
  violations.AddAll("", page_size.status());
  violations.AddAll("", before.status());
  RETURN_IF_ERROR(violations.ToStatus());

  // One more than the page holds, which says whether there is another page.
  std::vector<ListedGeneration> candidates;
  {
    const MutexLock lock(mutex_);
    for (const GenerationRef& generation :
         registry_->ListBefore(*before, static_cast<size_t>(*page_size) + 1, caller)) {
      candidates.push_back(ListedNow(generation));
    }
  }
  v1::ListGenerationsResponse response;
  size_t bytes = 0;
  int64_t last = 0;
  for (const ListedGeneration& candidate : candidates) {
    v1::Generation generation = Describe(candidate, caller, /*with_timesteps=*/false, keep_times());
    bytes += generation.ByteSizeLong();
    const int listed = response.generations_size();
    if (listed == *page_size || (listed > 0 && bytes > kMaxPageBytes)) {
      response.set_next_page_token(PageTokenAfter(kList, absl::StrCat(last)));
      break;
    }
    *response.add_generations() = std::move(generation);
    last = candidate.generation->number;
  }
  return response;
}

absl::StatusOr<v1::Generation> Generations::Cancel(const v1::CancelGenerationRequest& request,
                                                   const Identity& caller) {
  ListedGeneration listed;
  std::optional<Engine::Id> id;
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name(), caller));
    if (generation->log.snapshot().ended) {
      return absl::FailedPreconditionError(
          absl::StrCat(request.name(), " has ended: there is nothing to cancel"));
    }
    if (generation->pause_requested) {
      return absl::FailedPreconditionError(
          absl::StrCat(request.name(), " is being paused: throw its token away instead"));
    }
    generation->cancel_requested = true;
    id = generation->engine_id;
    listed = ListedNow(generation);
  }
  v1::Generation description = Describe(listed, caller, /*with_timesteps=*/true, keep_times());
  if (id) environment_.cancel(*id);
  return description;
}

absl::StatusOr<GenerationRef> Generations::Find(const std::string& name, const Identity& caller) {
  const OwnedName owned = OwnedNameFrom(caller, name);
  const std::string_view id =
      std::string_view(owned.name).substr(std::min(owned.name.size(), kGenerationPrefix.size()));
  if (!owned.name.starts_with(kGenerationPrefix) || !IsValidRequestId(id)) {
    return InvalidField("name", "must be \"generations/\" and the id of a generation");
  }
  const bool is_seen = caller.Sees(owned.tenant);
  GenerationRef found = is_seen ? registry_->Find(owned.full()) : nullptr;
  if (found) return found;
  if (is_seen && registry_->HasExpired(owned.full())) {
    return WithErrorReason(
        ResourceNotFound(kResourceType, name,
                         absl::StrCat(name, " has ended, and its result is no longer kept")),
        "GENERATION_EXPIRED");
  }
  return WithErrorReason(ResourceNotFound(kResourceType, name), "GENERATION_NOT_FOUND");
}

// --- Readers

Generations::Reader::Reader(Generations* generations, std::shared_ptr<Generation> generation,
                            int64_t after, const Caller& caller)
    : generations_(generations),
      counted_(&generations->environment_.telemetry->count(ObjectKind::kGenerationReader)),
      generation_(std::move(generation)),
      caller_(caller.identity),
      name_(NameFor(caller.identity, generation_->full_name)),
      events_(generation_->log.Attach(after, caller.wake, caller.takes_handover)) {}

Generations::Reader::~Reader() {
  if (!left_) generations_->RemoveReader(generation_);
  generations_->OnReaderDestroyed(generation_);
}

absl::Status Generations::Reader::status() const { return snapshot().status; }
GenerationLog::Snapshot Generations::Reader::snapshot() const {
  return generation_->log.snapshot();
}
const std::string& Generations::Reader::full_name() const { return generation_->full_name; }
const PictureEncoding& Generations::Reader::encoding() const { return generation_->encoding; }
const v1::Accepted& Generations::Reader::accepted() const { return generation_->log.accepted(); }
const SamplerPlan* Generations::Reader::plan() const { return generation_->plan.get(); }
const v1::GenerateRequest& Generations::Reader::request() const { return generation_->request; }
const std::string& Generations::Reader::tenant() const { return generation_->tenant; }
const std::string& Generations::Reader::origin_trace_id() const {
  return generation_->origin_trace_id;
}

v1::Generation Generations::Reader::Describe() const {
  ListedGeneration listed;
  {
    const MutexLock lock(generations_->mutex_);
    listed = ListedNow(generation_);
  }
  return denoise::Describe(listed, caller_, /*with_timesteps=*/true, generations_->keep_times());
}

bool Generations::Reader::Leave() {
  if (!left_) cancelled_ = generations_->RemoveReader(generation_);
  left_ = true;
  return !cancelled_ || generation_->log.snapshot().ended;
}

std::unique_ptr<Generations::Reader> Generations::AddReader(const GenerationRef& generation,
                                                            int64_t after, const Caller& caller) {
  ++generation->readers;
  return std::unique_ptr<Reader>(new Reader(this, generation, after, caller));
}

// Reserves what a call takes, and the event that is on its way; of a kept result the first reader
// takes on the whole.
absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::AddPayingReader(
    const GenerationRef& generation, int64_t after, const Caller& caller) {
  ASSIGN_OR_RETURN(SampleBudget::Reservation reservation,
                   environment_.samples->Reserve(kCallBytes + LargestEventBytes(*generation)));
  RETURN_IF_ERROR(registry_->TakeFromKept(*generation, *environment_.samples));
  std::unique_ptr<Reader> reader = AddReader(generation, after, caller);
  reader->reservation_ = std::move(reservation);
  return reader;
}

// Returns whether the generation is being cancelled, now or since before.
bool Generations::RemoveReader(const GenerationRef& generation) {
  std::optional<Engine::Id> to_cancel;
  bool cancelling = false;
  {
    const MutexLock lock(mutex_);
    --generation->readers;
    const bool ended = generation->log.snapshot().ended.has_value();
    const bool continues = generation->continues_without_readers || generation->pause_requested;
    if (generation->readers == 0 && !continues && !ended && !generation->cancel_requested) {
      generation->cancel_requested = true;
      to_cancel = generation->engine_id;
    }
    cancelling = generation->cancel_requested && !ended;
  }
  if (to_cancel) environment_.cancel(*to_cancel);
  return cancelling;
}

// --- What is over

void Generations::OnReaderDestroyed(const GenerationRef& generation) {
  const MutexLock lock(mutex_);
  registry_->RetainOrForget(generation);
}

// Both on a device's thread. What a reader of the end asks next, it finds counted.
void Generations::OnEnding(const EndingGeneration& generation, const GenerationLog::End& end) {
  int readers = 0;
  {
    const MutexLock lock(mutex_);
    if (generation.detached) --detached_;
    const GenerationRef registered = registry_->FindNumber(generation.number);
    if (registered) readers = registered->readers;
  }
  environment_.telemetry->GenerationFinished(end.status.code());
  environment_.telemetry->EvaluationsLost(end.status.code(), end.evaluations_wasted,
                                          end.evaluations_cancelled);
  LogEvent(LevelOf(end.status), "generation finished",
           {{"generation", generation.full_name},
            {"trace_id", generation.trace_id},
            {"origin_trace_id", generation.origin_trace_id},
            {"model", generation.model},
            {"code", absl::StatusCodeToString(end.status.code())},
            {"message", std::string(end.status.message())},
            {"readers", readers},
            {"seconds", absl::ToDoubleSeconds(end.elapsed)}});
}

void Generations::OnEnded(int64_t number) {
  const MutexLock lock(mutex_);
  const GenerationRef generation = registry_->FindNumber(number);
  if (generation) registry_->RetainOrForget(generation);
}

// Forgets what has expired where no call comes that would, and frees what is forgotten.
void Generations::ExpireLoop() {
  std::vector<GenerationRef> to_free;
  while (true) {
    to_free.clear();
    const MutexLock lock(mutex_);
    registry_->ForgetExpired();
    while (!stopping_ && !registry_->has_forgotten()) {
      environment_.clock->WaitUntil(changed_, mutex_, registry_->next_expiry());
      registry_->ForgetExpired();
    }
    if (stopping_) return;
    to_free = registry_->TakeForgotten();
  }
}

}  // namespace denoise
