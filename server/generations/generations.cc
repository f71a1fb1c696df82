#include "server/generations/generations.h"

#include <google/protobuf/util/time_util.h>

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
#include "server/requests/field_checks.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

// Mutable fields are guarded by the mutex of Generations.
struct Generation {
  const std::string id;
  const int64_t number;  // in order of arrival
  const RequestDigest digest;
  const bool continues_without_readers;
  const bool kept;  // after its end
  const PictureEncoding encoding;
  const int64_t sample_bytes;  // of one picture
  const absl::Time arrival;
  GenerationLog log;

  SampleBudget::Reservation reservation;
  int readers = 0;
  std::optional<Engine::Id> engine_id;  // once the engine has it
  bool cancel_requested = false;
  bool indexed = false;    // it can be found
  int64_t kept_bytes = 0;  // that are counted for it
};

namespace {

constexpr char kPrefix[] = "generations/";
constexpr char kResourceType[] = "generation";

std::string NameOf(std::string_view id) { return std::string(kPrefix).append(id); }

int StepsTotal(const ResolvedRequest& resolved) {
  const int64_t steps = int64_t{resolved.accepted.steps()} * resolved.generation.count;
  return static_cast<int>(std::min<int64_t>(steps, std::numeric_limits<int>::max()));
}

// The most that a generation can hold: its images, as many frames as its log keeps, the picture
// that is on its way, the samples that it starts from and keeps, and what every call takes.
int64_t MostBytesHeld(const ResolvedRequest& resolved, const GenerationLog::Limits& limits) {
  const int64_t sample_bytes = SampleBytes(resolved.model->spec);
  int64_t frame_bytes = 0;
  if (resolved.generation.frames.every_n_steps > 0) {
    const int64_t kinds = static_cast<int64_t>(resolved.generation.frames.kinds.size());
    const int64_t frames = std::min<int64_t>(limits.frames, kinds * StepsTotal(resolved));
    frame_bytes = std::max(sample_bytes, std::min(frames * sample_bytes, limits.frame_bytes));
  }
  constexpr int kMostInputs = 4;
  return kCallBytes + (resolved.generation.count + 1 + kMostInputs) * sample_bytes + frame_bytes;
}

// A retry gets what runs or has succeeded; after a failure it tries again.
bool CanBeJoined(const Generation& generation) {
  const GenerationLog::Snapshot now = generation.log.snapshot();
  return now.ended ? now.status.ok() : !generation.cancel_requested;
}

v1::Generation::State StateOf(bool cancel_requested, const GenerationLog::Snapshot& now) {
  if (!now.ended) {
    if (cancel_requested) return v1::Generation::CANCELLING;
    return now.started ? v1::Generation::RUNNING : v1::Generation::QUEUED;
  }
  if (now.status.ok()) return v1::Generation::SUCCEEDED;
  return absl::IsCancelled(now.status) ? v1::Generation::CANCELLED : v1::Generation::FAILED;
}

std::string PublicError(const absl::Status& status) {
  if (WithholdsMessage(status)) return "internal error; the server's log explains it";
  return std::string(status.message());
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  return google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::ToUnixNanos(time));
}

absl::StatusOr<int64_t> ParseToken(const std::string& token) {
  ASSIGN_OR_RETURN(const std::string entry, ParsePageToken(token));
  int64_t number = std::numeric_limits<int64_t>::max();
  if (!entry.empty() && (!absl::SimpleAtoi(entry, &number) || number < 1)) return BadPageToken();
  return number;
}

// The generation may outlive every call that could report its end.
void LogEnd(const Generation& generation, int readers, const GenerationLog::End& end) {
  LogEvent(LevelOf(end.status), "generation finished",
           {{"generation", generation.id},
            {"model", generation.log.accepted().model()},
            {"code", absl::StatusCodeToString(end.status.code())},
            {"message", std::string(end.status.message())},
            {"readers", readers},
            {"seconds", absl::ToDoubleSeconds(end.elapsed)}});
}

}  // namespace

Generations::Generations(const Environment& environment, const Limits& limits)
    : environment_(environment), limits_(limits), expirer_([this] { ExpireLoop(); }) {}

Generations::~Generations() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  expirer_.join();
}

// --- Starting and joining

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Join(
    const v1::GenerateRequest& request, const RequestDigest& digest, const Caller& caller) {
  if (request.request_id().empty()) return nullptr;
  const MutexLock lock(mutex_);
  return JoinExisting(request.request_id(), digest, caller);
}

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::JoinExisting(
    const std::string& id, const RequestDigest& digest, const Caller& caller) {
  ForgetExpired();
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || !CanBeJoined(*found->second)) return nullptr;
  const std::vector<std::string> differences = Differences(digest, found->second->digest);
  if (!differences.empty()) {
    return WithErrorReason(
        absl::AlreadyExistsError(absl::StrCat(
            "request_id ", id, " belongs to another request: it differs in ",
            absl::StrJoin(differences, ", "), ". Take another id for another request.")),
        "REQUEST_ID_IN_USE");
  }
  return AddPayingReader(found->second, -1, caller);
}

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Start(
    const v1::GenerateRequest& request, const RequestDigest& digest, ResolvedRequest resolved,
    const Caller& caller) {
  ASSIGN_OR_RETURN(SampleBudget::Reservation reservation,
                   environment_.samples->Reserve(static_cast<int64_t>(request.ByteSizeLong()) +
                                                 MostBytesHeld(resolved, {})));
  const GenerationRef generation = Make(request, digest, resolved, caller);
  std::unique_ptr<Reader> reader;
  GenerationRef replaced;  // one of this id that failed or was cancelled
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(reader, JoinExisting(generation->id, generation->digest, caller));
    if (reader) return reader;  // somebody was faster
    if (generation->continues_without_readers) RETURN_IF_ERROR(CountDetached());
    generation->reservation = std::move(reservation);
    replaced = AddToIndex(generation);
    reader = AddReader(generation, -1, caller);
  }
  const absl::Status submitted = Submit(generation, std::move(resolved.generation));
  {
    const MutexLock lock(mutex_);
    const bool restore = !submitted.ok() && generation->indexed && replaced;
    if (!submitted.ok()) RemoveFromIndex(generation);
    if (restore) AddToIndex(replaced);
    if (replaced) RetainOrForget(replaced);
  }
  if (submitted.ok()) return reader;
  generation->log.OnFinished(submitted);  // callers that joined meanwhile are refused, too
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

std::shared_ptr<Generation> Generations::Make(const v1::GenerateRequest& request,
                                              const RequestDigest& digest,
                                              ResolvedRequest& resolved, const Caller& caller) {
  const bool named = !request.request_id().empty();
  const bool detaches = request.on_disconnect() == v1::ON_DISCONNECT_DETACH;
  const std::string id = named ? request.request_id() : NewRandomId();
  resolved.accepted.set_generation(NameOf(id));
  // The caller's deadline ends the call. Whether that ends the generation, the caller has chosen.
  resolved.generation.deadline = detaches ? absl::InfiniteFuture() : caller.deadline;
  const int steps_total = StepsTotal(resolved);
  const int64_t number = next_number_++;
  return GenerationRef(new Generation{
      .id = id,
      .number = number,
      .digest = digest,
      .continues_without_readers = detaches,
      .kept = named || detaches,
      .encoding = {resolved.image_encoding, resolved.frame_encoding, resolved.frame_bytes_max},
      .sample_bytes = SampleBytes(resolved.model->spec),
      .arrival = caller.arrival,
      .log = GenerationLog(
          {.accepted = std::move(resolved.accepted),
           .steps_total = steps_total,
           .arrival = caller.arrival,
           .clock = environment_.clock,
           .on_started = [telemetry = environment_.telemetry](
                             const auto& started) { telemetry->QueueWaited(started.queue_wait); },
           .on_image = [telemetry = environment_.telemetry] { telemetry->ImageGenerated(); },
           .on_end = [this, number,
                      detaches](const auto& end) { OnEnd(number, detaches, end); }})});
}

absl::Status Generations::Submit(const GenerationRef& generation, GenerationRequest request) {
  const absl::StatusOr<Engine::Id> id = environment_.submit(
      std::move(request), std::shared_ptr<GenerationSink>(generation, &generation->log));
  RETURN_IF_ERROR(id.status());
  bool cancel = false;
  {
    const MutexLock lock(mutex_);
    generation->engine_id = *id;
    cancel = generation->cancel_requested;
  }
  if (cancel) environment_.cancel(*id);
  return absl::OkStatus();
}

// --- The service

absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::Watch(
    const v1::WatchGenerationRequest& request, const Caller& caller) {
  const MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name()));
  if (!request.has_resume_after()) return AddPayingReader(generation, -1, caller);
  const int64_t last = generation->log.snapshot().last_sequence;
  if (request.resume_after() < 0 || request.resume_after() > last) {
    return InvalidField("resume_after", absl::StrCat("must be between 0 and ", last,
                                                     ", the number of the latest event, is ",
                                                     request.resume_after()));
  }
  return AddPayingReader(generation, request.resume_after(), caller);
}

absl::StatusOr<v1::Generation> Generations::Get(const v1::GetGenerationRequest& request) {
  Listed listed;
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name()));
    listed = ListedNow(generation);
  }
  return Describe(listed, /*with_timesteps=*/true);
}

absl::StatusOr<v1::ListGenerationsResponse> Generations::List(
    const v1::ListGenerationsRequest& request) {
  const absl::StatusOr<int> page_size = PageSize(request.page_size());
  const absl::StatusOr<int64_t> before = ParseToken(request.page_token());
  FieldViolations violations;
  violations.AddAll("", page_size.status());
  violations.AddAll("", before.status());
  RETURN_IF_ERROR(violations.ToStatus());

  // One more than the page holds, which says whether there is another page.
  std::vector<Listed> candidates;
  {
    const MutexLock lock(mutex_);
    ForgetExpired();
    auto next = std::make_reverse_iterator(by_number_.lower_bound(*before));
    for (; next != by_number_.rend() && std::ssize(candidates) <= *page_size; ++next)
      candidates.push_back(ListedNow(next->second));
  }
  v1::ListGenerationsResponse response;
  size_t bytes = 0;
  int64_t last = 0;
  for (const Listed& candidate : candidates) {
    v1::Generation generation = Describe(candidate, /*with_timesteps=*/false);
    bytes += generation.ByteSizeLong();
    const int listed = response.generations_size();
    if (listed == *page_size || (listed > 0 && bytes > kMaxPageBytes)) {
      response.set_next_page_token(PageTokenAfter(absl::StrCat(last)));
      break;
    }
    *response.add_generations() = std::move(generation);
    last = candidate.generation->number;
  }
  return response;
}

absl::StatusOr<v1::Generation> Generations::Cancel(const v1::CancelGenerationRequest& request) {
  Listed listed;
  std::optional<Engine::Id> id;
  {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(const GenerationRef generation, Find(request.name()));
    if (generation->log.snapshot().ended) {
      return absl::FailedPreconditionError(
          absl::StrCat(request.name(), " has ended: there is nothing to cancel"));
    }
    generation->cancel_requested = true;
    id = generation->engine_id;
    listed = ListedNow(generation);
  }
  v1::Generation description = Describe(listed, /*with_timesteps=*/true);
  if (id) environment_.cancel(*id);
  return description;
}

absl::StatusOr<Generations::GenerationRef> Generations::Find(const std::string& name) {
  const std::string_view id =
      std::string_view(name).substr(std::min(name.size(), sizeof(kPrefix) - 1));
  if (!name.starts_with(kPrefix) || !IsValidRequestId(id)) {
    return InvalidField("name", "must be \"generations/\" and the id of a generation");
  }
  ForgetExpired();
  if (const auto found = by_id_.find(id); found != by_id_.end()) return found->second;
  if (expired_ids_.contains(id)) {
    return WithErrorReason(
        ResourceNotFound(kResourceType, name,
                         absl::StrCat(name, " has ended, and its result is no longer kept")),
        "GENERATION_EXPIRED");
  }
  return WithErrorReason(ResourceNotFound(kResourceType, name), "GENERATION_NOT_FOUND");
}

Generations::Listed Generations::ListedNow(const GenerationRef& generation) const {
  return {generation, generation->readers, generation->cancel_requested};
}

v1::Generation Generations::Describe(const Listed& listed, bool with_timesteps) const {
  const Generation& generation = *listed.generation;
  const GenerationLog::Snapshot now = generation.log.snapshot();
  v1::Generation proto;
  proto.set_name(NameOf(generation.id));
  proto.set_state(StateOf(listed.cancel_requested, now));
  if (proto.state() == v1::Generation::FAILED) proto.set_error(PublicError(now.status));
  *proto.mutable_accepted() = generation.log.accepted();
  if (!with_timesteps) proto.mutable_accepted()->clear_timesteps();
  proto.set_on_disconnect(generation.continues_without_readers ? v1::ON_DISCONNECT_DETACH
                                                               : v1::ON_DISCONNECT_CANCEL);
  proto.mutable_progress()->set_steps_done(now.progress.steps_done);
  proto.mutable_progress()->set_steps_total(now.progress.steps_total);
  proto.mutable_progress()->set_images_done(now.progress.images_done);
  proto.set_last_sequence(now.last_sequence);
  proto.set_readers(listed.readers);
  *proto.mutable_create_time() = ToProto(generation.arrival);
  if (now.started) *proto.mutable_start_time() = ToProto(*now.started);
  if (now.ended) *proto.mutable_end_time() = ToProto(*now.ended);
  if (now.ended && generation.kept)
    *proto.mutable_expire_time() = ToProto(*now.ended + limits_.keep_time);
  return proto;
}

// --- Readers

Generations::Reader::Reader(Generations* generations, std::shared_ptr<Generation> generation,
                            int64_t after, const Caller& caller)
    : generations_(generations),
      generation_(std::move(generation)),
      events_(generation_->log.Attach(after, caller.wake)) {}

Generations::Reader::~Reader() {
  if (!left_) generations_->RemoveReader(generation_);
  generations_->OnReaderDestroyed(generation_);
}

absl::Status Generations::Reader::status() const { return generation_->log.snapshot().status; }
const std::string& Generations::Reader::id() const { return generation_->id; }
const PictureEncoding& Generations::Reader::encoding() const { return generation_->encoding; }

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

// Reserves what a call takes, and the picture that is on its way; of a kept result the first reader
// takes on the whole.
absl::StatusOr<std::unique_ptr<Generations::Reader>> Generations::AddPayingReader(
    const GenerationRef& generation, int64_t after, const Caller& caller) {
  ASSIGN_OR_RETURN(SampleBudget::Reservation reservation,
                   environment_.samples->Reserve(kCallBytes + generation->sample_bytes));
  if (generation->kept_bytes > 0) {
    ASSIGN_OR_RETURN(generation->reservation,
                     environment_.samples->Reserve(generation->kept_bytes));
    kept_bytes_ -= std::exchange(generation->kept_bytes, 0);
  }
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
    if (generation->readers == 0 && !generation->continues_without_readers && !ended &&
        !generation->cancel_requested) {
      generation->cancel_requested = true;
      to_cancel = generation->engine_id;
    }
    cancelling = generation->cancel_requested && !ended;
  }
  if (to_cancel) environment_.cancel(*to_cancel);
  return cancelling;
}

// --- What is kept, and for how long

void Generations::OnReaderDestroyed(const GenerationRef& generation) {
  const MutexLock lock(mutex_);
  RetainOrForget(generation);
}

// On a device's thread.
void Generations::OnEnd(int64_t number, bool detached, const GenerationLog::End& end) {
  GenerationRef generation;
  int readers = 0;
  {
    const MutexLock lock(mutex_);
    if (detached) --detached_;
    const auto found = by_number_.find(number);
    if (found == by_number_.end()) return;  // refused, or cancelled and replaced
    generation = found->second;
    readers = generation->readers;
    RetainOrForget(generation);
  }
  environment_.telemetry->GenerationFinished(end.status.code());
  LogEnd(*generation, readers, end);
}

// Returns the one that had this id, which can no longer be found.
std::shared_ptr<Generation> Generations::AddToIndex(const GenerationRef& generation) {
  GenerationRef replaced;
  if (const auto older = by_id_.find(generation->id); older != by_id_.end()) {
    replaced = older->second;
    RemoveFromIndex(replaced);
  }
  by_id_[generation->id] = generation;
  by_number_[generation->number] = generation;
  generation->indexed = true;
  return replaced;
}

void Generations::RemoveFromIndex(const GenerationRef& generation) {
  if (!std::exchange(generation->indexed, false)) return;
  by_id_.erase(generation->id);
  by_number_.erase(generation->number);
  expiries_.erase({ExpiryOf(*generation), generation->number});
}

// Once it has ended and has no readers, its result is kept or it is forgotten.
void Generations::RetainOrForget(const GenerationRef& generation) {
  const GenerationLog::Snapshot now = generation->log.snapshot();
  if (!now.ended) return;
  if (generation->indexed && generation->kept) {
    expiries_.emplace(ExpiryOf(*generation), generation->number);
    changed_.NotifyAll();
  }
  if (generation->readers > 0) return;
  generation->reservation = {};
  if (!generation->indexed || !generation->kept) return Forget(generation);
  if (generation->kept_bytes == 0) {
    generation->kept_bytes = kCallBytes + now.sample_bytes +
                             static_cast<int64_t>(generation->log.accepted().ByteSizeLong());
    kept_bytes_ += generation->kept_bytes;
  }
  ForgetExpired();
}

void Generations::Forget(const GenerationRef& generation) {
  kept_bytes_ -= std::exchange(generation->kept_bytes, 0);
  if (!generation->indexed) return;
  forgotten_.push_back(generation);
  changed_.NotifyAll();
  RemoveFromIndex(generation);
  if (!expired_ids_.insert(generation->id).second) return;
  expired_.push_back(generation->id);
  if (expired_.size() <= limits_.expired_names) return;
  expired_ids_.erase(expired_.front());
  expired_.pop_front();
}

// The oldest results that nobody reads go, too, while there are too many. Readers keep what they
// read.
void Generations::ForgetExpired() {
  const absl::Time now = environment_.clock->Now();
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    Forget(GenerationRef(by_number_.at(expiries_.begin()->second)));
  }
  for (auto next = expiries_.begin();
       next != expiries_.end() && kept_bytes_ > limits_.keep_bytes;) {
    const GenerationRef oldest = by_number_.at((next++)->second);
    if (oldest->kept_bytes > 0) Forget(oldest);
  }
}

// Forgets what has expired where no call comes that would, and frees what is forgotten.
void Generations::ExpireLoop() {
  std::vector<GenerationRef> to_free;
  while (true) {
    to_free.clear();
    const MutexLock lock(mutex_);
    ForgetExpired();
    while (!stopping_ && forgotten_.empty()) {
      environment_.clock->WaitUntil(
          changed_, mutex_, expiries_.empty() ? absl::InfiniteFuture() : expiries_.begin()->first);
      ForgetExpired();
    }
    if (stopping_) return;
    to_free.swap(forgotten_);
  }
}

absl::Time Generations::ExpiryOf(const Generation& generation) const {
  return generation.log.snapshot().ended.value_or(absl::InfinitePast()) + limits_.keep_time;
}

}  // namespace denoise
