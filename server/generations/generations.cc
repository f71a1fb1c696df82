#include "server/generations/generations.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/paging.h"
#include "core/base/status_macros.h"
#include "server/generations/generation.h"
#include "server/generations/generation_registry.h"
#include "server/requests/field_checks.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

constexpr char kResourceType[] = "generation";
constexpr char kList[] = "generations";

absl::StatusOr<int64_t> ParseToken(const std::string& token) {
  ASSIGN_OR_RETURN(const std::string entry, ParsePageToken(kList, token));
  int64_t number = std::numeric_limits<int64_t>::max();
  if (!entry.empty() && (!absl::SimpleAtoi(entry, &number) || number < 1)) return BadPageToken();
  return number;
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
    const GenerationLog::Snapshot now = generation->log.snapshot();
    if (now.paused && now.ended) return GiveUp(generation, caller);
    if (now.ended) {
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

// Its token is still good elsewhere, for who has it.
v1::Generation Generations::GiveUp(const GenerationRef& paused, const Identity& caller) {
  v1::Generation description =
      Describe(ListedNow(paused), caller, /*with_timesteps=*/true, keep_times());
  description.set_state(v1::Generation::CANCELLED);
  description.clear_expire_time();
  registry_->Remove(paused);
  registry_->RetainOrForget(paused);
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
