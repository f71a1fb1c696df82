#include "server/models/live_models.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "core/pipeline/pixel_pipeline.h"
#include "server/engine/memory_errors.h"
#include "server/models/folder_fingerprint.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// A folder may be gone for a moment while another program replaces it.
constexpr int kMissingLooks = 2;

// When a model is tried again that failed for a reason outside its files, such as lack of memory.
constexpr absl::Duration kRetryDelay = absl::Seconds(30);

// Whoever waits for memory looks this often at what else there is to do.
constexpr absl::Duration kLongestWait = absl::Seconds(1);

constexpr int64_t kMib = int64_t{1} << 20;

int64_t MibOf(int64_t bytes) { return (bytes + kMib - 1) / kMib; }

// What an entry is known by.
const std::string& KeyOf(const ModelEntry& entry) {
  return entry.id.empty() ? entry.name : entry.id;
}

// Of its files and, where it is no model, of what it is instead.
std::string StateOf(const ModelEntry& entry) {
  if (entry.folder.ok()) return FingerprintOf(*entry.folder);
  return absl::StrCat(entry.folder.status().message(), " ", FingerprintOf(entry.path));
}

// Whether a device has no room for the model's weights.
bool IsOutOfMemory(const absl::Status& error) { return GetErrorReason(error) == kOutOfMemory; }

// `error` with the model before its message.
absl::Status NamesModel(const std::string& id, const absl::Status& error) {
  absl::Status named(error.code(), absl::StrCat(ModelName(id), " ", error.message()));
  error.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& payload) { named.SetPayload(url, payload); });
  return named;
}

// Whether the files are at fault, and not the machine.
bool IsOfTheFiles(const absl::Status& error) {
  return absl::IsInvalidArgument(error) || absl::IsNotFound(error) ||
         absl::IsFailedPrecondition(error) || absl::IsAlreadyExists(error);
}

}  // namespace

LiveModels::LiveModels(ModelsFolder folder, Options options, ModelRepository* models,
                       const Clock* clock)
    : folder_(std::move(folder)),
      options_(std::move(options)),
      models_(models),
      clock_(clock),
      memory_(ModelMemory::Create(options_.memory_bytes_max, options_.on_memory)) {}

LiveModels::~LiveModels() { StopAndWait(); }

absl::Status LiveModels::Start() {
  if (const absl::Status status = folder_.Repair(); !status.ok()) {
    LogEvent(spdlog::level::warn, "the models folder could not be repaired",
             {{"reason", std::string(status.message())}});
  }
  RETURN_IF_ERROR(Look(/*at_once=*/true));
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void LiveModels::Stop() {
  memory_->Stop();
  models_->Stop();
}

void LiveModels::StopAndWait() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

void LiveModels::Loop() {
  absl::Time last_look = clock_->Now();
  std::set<std::string> not_yet;  // wanted models whose files are changing
  while (!models_->stopped()) {
    const absl::Time next_look = NextLook(last_look);
    if (clock_->Now() >= next_look) {
      Look().IgnoreError();  // was logged
      last_look = clock_->Now();
      not_yet.clear();
      continue;
    }
    const auto id = models_->NextWanted(*clock_, next_look, not_yet);
    if (!id) continue;
    const int64_t releases = memory_->releases();
    const Outcome outcome = LoadWanted(*id);
    if (outcome == Outcome::kNotYet) not_yet.insert(*id);
    if (outcome == Outcome::kNoMemory) {
      memory_->WaitForRelease(releases, *clock_, std::min(next_look, clock_->Now() + kLongestWait));
    }
  }
}

// Models that failed for want of memory, say, are tried again even if the folder is not followed.
absl::Time LiveModels::NextLook(absl::Time last_look) {
  const MutexLock lock(mutex_);
  absl::Time next = options_.look_interval > absl::ZeroDuration()
                        ? last_look + options_.look_interval
                        : absl::InfiniteFuture();
  for (const auto& [key, seen] : seen_) next = std::min(next, seen.retry);
  return next;
}

LiveModels::Outcome LiveModels::LoadWanted(const std::string& id) {
  const MutexLock lock(mutex_);
  const std::optional<ModelStatus> status = models_->StatusOfExactly(id);
  if (!status || status->state != LoadState::kLoading) return Outcome::kDone;
  const ModelRepository::Loading loading(models_, id);  // also if nobody waits for it any more
  const absl::StatusOr<Outcome> outcome = TryToLoad(id, *status);
  if (outcome.ok()) return *outcome;
  Fail(id, outcome.status());
  return Outcome::kDone;
}

absl::StatusOr<LiveModels::Outcome> LiveModels::TryToLoad(const std::string& id,
                                                          const ModelStatus& status) {
  const auto folder = folder_.Find(id);
  if (absl::IsNotFound(folder.status())) {  // the next looks say whether it is gone for good
    seen_[id].tried.clear();
    models_->EndWaits(id, ResourceNotFound("model", ModelName(id)));
    return Outcome::kDone;
  }
  RETURN_IF_ERROR(folder.status());
  const bool follows = options_.look_interval > absl::ZeroDuration();
  if (follows && FingerprintOf(*folder) != seen_[id].tried) return Outcome::kNotYet;
  std::optional<ModelMemory::Reservation> memory = MakeRoom(id, status.model->memory_bytes);
  if (!memory) return Outcome::kNoMemory;
  absl::Status loaded = CheckRoomFor(*status.model, options_.load);  // before files are read
  if (loaded.ok()) loaded = LoadFolder(id, *folder, status, *std::move(memory));
  if (follows && absl::IsAborted(loaded)) return Outcome::kNotYet;
  if (IsOutOfMemory(loaded) && UnloadIdle(id)) return Outcome::kNoMemory;
  RETURN_IF_ERROR(loaded);
  return Outcome::kDone;
}

absl::Status LiveModels::LoadFolder(const std::string& id, const std::filesystem::path& folder,
                                    const ModelStatus& status, ModelMemory::Reservation memory) {
  ASSIGN_OR_RETURN(const ParsedPipeline parsed, ReadUnchanged<ParsedPipeline>(folder));
  ASSIGN_OR_RETURN(ModelHandle model, DescribeModel(parsed, id, options_.load));
  if (model->memory_bytes != status.model->memory_bytes) {  // nobody follows the files
    RETURN_IF_ERROR(CheckFits(model->memory_bytes));
    models_->Describe(std::move(model));
    return absl::OkStatus();  // until it is the next that is wanted
  }
  ASSIGN_OR_RETURN(LoadedModelHandle loaded,
                   LoadParsed(parsed, std::move(model), std::move(memory)));
  Serve(std::move(loaded));
  return absl::OkStatus();
}

void LiveModels::Serve(LoadedModelHandle loaded) {
  models_->Publish(loaded);
  if (options_.on_serve) options_.on_serve(loaded);
}

absl::Status LiveModels::Look(bool at_once) {
  const MutexLock lock(mutex_);
  const absl::StatusOr<std::vector<ModelEntry>> entries = folder_.List();
  for (auto& [key, seen] : seen_) {
    if (seen.retry <= clock_->Now()) seen = {.latest = seen.latest};
  }
  if (!entries.ok()) {  // perhaps a volume that is not mounted now: its models stay
    const std::string error(entries.status().message());
    if (error != last_look_error_) {
      LogEvent(spdlog::level::err, "the models folder cannot be read", {{"reason", error}});
    }
    last_look_error_ = error;
    return entries.status();
  }
  last_look_error_.clear();
  for (auto& [key, seen] : seen_) ++seen.missing;
  for (const ModelEntry& entry : *entries) LookAt(entry, at_once);
  for (auto it = seen_.begin(); it != seen_.end();) {
    if (it->second.missing < (at_once ? 1 : kMissingLooks)) {
      ++it;
      continue;
    }
    LogEvent(spdlog::level::info, "model gone", {{"folder", it->first}});
    models_->Remove(it->first);
    it = seen_.erase(it);
  }
  return absl::OkStatus();
}

void LiveModels::LookAt(const ModelEntry& entry, bool at_once) {
  if (models_->stopped()) return;
  const std::string fingerprint = StateOf(entry);
  Seen& seen = seen_[KeyOf(entry)];
  seen.missing = 0;
  const bool at_rest = at_once || seen.latest == fingerprint;
  seen.latest = fingerprint;
  if (!at_rest || seen.tried == fingerprint) return;
  seen = Seen::Trying(fingerprint);
  const absl::Status taken =
      entry.folder.ok() ? Take(entry.id, *entry.folder) : entry.folder.status();
  if (absl::IsAborted(taken)) {
    seen.tried.clear();  // the next look sees what has changed
  } else if (!taken.ok()) {
    Fail(KeyOf(entry), taken);
  }
}

// Serves what a folder holds now.
absl::Status LiveModels::Take(const std::string& id, const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const ParsedPipeline configs, ParsedPipeline::OpenConfigs(folder));
  const int64_t bytes = MemoryBytes(configs.description(), id, options_.load);
  RETURN_IF_ERROR(CheckFits(bytes));
  ASSIGN_OR_RETURN(const ParsedPipeline parsed, ReadUnchanged<ParsedPipeline>(folder));
  ASSIGN_OR_RETURN(ModelHandle model, DescribeModel(parsed, id, options_.load));
  if (model->memory_bytes != bytes) return FilesHaveChanged();
  const std::optional<ModelStatus> current = models_->StatusOfExactly(id);
  if (!current || current->state != LoadState::kLoaded) return Add(parsed, model);
  if (current->model->version != model->version) return Replace(*current->model, parsed, model);
  models_->Describe(std::move(model));
  return absl::OkStatus();
}

// Loads it where there is room.
absl::Status LiveModels::Add(const ParsedPipeline& parsed, const ModelHandle& model) {
  const std::optional<ModelStatus> known = models_->StatusOfExactly(model->id);
  std::optional<ModelMemory::Reservation> memory = memory_->TryReserve(model->memory_bytes);
  if (!memory) {
    OnFound(*model, "--model-memory is used up");
    models_->Describe(model);
    return absl::OkStatus();
  }
  const ModelRepository::Loading loading(models_, model->id);
  models_->Describe(model);  // it is seen to be on its way
  absl::StatusOr<LoadedModelHandle> loaded = LoadParsed(parsed, model, *std::move(memory));
  if (loaded.ok()) {
    Serve(*std::move(loaded));
  } else if (IsOutOfMemory(loaded.status())) {
    OnFound(*model, std::string(loaded.status().message()));
    return absl::OkStatus();
  } else if (!absl::IsAborted(loaded.status()) && (!known || !known->model)) {
    models_->Fail(model->id, loaded.status());  // there is no older version of it
  }
  return loaded.status();
}

// Makes room for it. If the older version itself has to make room, then only once the new one has
// proved to be whole, and only where that is enough.
absl::Status LiveModels::Replace(const Model& older, const ParsedPipeline& parsed,
                                 const ModelHandle& model) {
  std::string why = "--model-memory is used up";
  if (std::optional<ModelMemory::Reservation> memory = MakeRoom(model->id, model->memory_bytes)) {
    const ModelRepository::Loading loading(models_, model->id);
    absl::StatusOr<LoadedModelHandle> loaded = LoadGivingWay(parsed, model, *std::move(memory));
    if (loaded.ok()) {
      Serve(*std::move(loaded));
      return absl::OkStatus();
    }
    const bool older_is_enough = CheckRoomFor(*model, options_.load, older.memory_bytes).ok();
    if (!IsOutOfMemory(loaded.status()) || !older_is_enough) return loaded.status();
    why = std::string(loaded.status().message());
  }
  RETURN_IF_ERROR(TryOnHost(parsed, *model));
  OnUnloaded(model->id, "replaced");
  OnFound(*model, why);
  models_->Describe(model);
  return absl::OkStatus();
}

void LiveModels::OnFound(const Model& model, const std::string& why) const {
  LogEvent(spdlog::level::info, "model found, to be loaded on demand",
           {{"model", ModelName(model.id)},
            {"version", model.version},
            {"memory_mib", MibOf(model.memory_bytes)},
            {"reason", why}});
}

absl::Status LiveModels::TryOnHost(const ParsedPipeline& parsed, const Model& model) const {
  ModelLoadOptions host = options_.load;
  host.devices = {at::Device(at::kCPU)};
  if (!CheckRoomFor(model, host).ok()) return absl::OkStatus();
  host.pipeline.placement = {.device = at::kCPU, .dtype = host.DtypeOf(model.id)};
  return parsed.Load(host.pipeline).status();
}

absl::StatusOr<LoadedModelHandle> LiveModels::LoadParsed(const ParsedPipeline& parsed,
                                                         ModelHandle model,
                                                         ModelMemory::Reservation memory) {
  const absl::Time start = clock_->Now();
  ASSIGN_OR_RETURN(LoadedModelHandle loaded,
                   LoadModel(parsed, std::move(model), options_.load, std::move(memory)));
  const absl::Duration duration = clock_->Now() - start;
  if (options_.on_load) options_.on_load(duration);
  LogEvent(spdlog::level::info, "model loaded",
           {{"model", ModelName(loaded->model->id)},
            {"version", loaded->model->version},
            {"parameters", loaded->model->spec.num_parameters},
            {"memory_mib", MibOf(loaded->model->memory_bytes)},
            {"source", loaded->model->source},
            {"seconds", absl::ToDoubleSeconds(duration)}});
  return loaded;
}

absl::StatusOr<LoadedModelHandle> LiveModels::LoadGivingWay(const ParsedPipeline& parsed,
                                                            const ModelHandle& model,
                                                            ModelMemory::Reservation memory) {
  while (true) {
    absl::StatusOr<LoadedModelHandle> loaded = LoadParsed(parsed, model, std::move(memory));
    if (!IsOutOfMemory(loaded.status()) || !UnloadIdle(model->id)) return loaded;
    std::optional<ModelMemory::Reservation> again = memory_->TryReserve(model->memory_bytes);
    if (!again) return loaded;
    memory = *std::move(again);
  }
}

absl::Status LiveModels::CheckFits(int64_t bytes) const {
  if (memory_->Holds(bytes)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("its weights take ", MibOf(bytes), " MiB, and --model-memory allows ",
                   options_.memory_bytes_max / kMib, " MiB for all models"));
}

// Unloads models that nobody uses, the longest unused first. If that is not enough, also those in
// use, until what is left in the repository leaves room: their memory comes when requests are done.
std::optional<ModelMemory::Reservation> LiveModels::MakeRoom(const std::string& id, int64_t bytes) {
  using Which = ModelRepository::Which;
  while (true) {
    std::optional<ModelMemory::Reservation> memory = memory_->TryReserve(bytes);
    if (memory) return memory;
    if (UnloadIdle(id)) continue;
    std::optional<std::string> unloaded;
    if (models_->counts().loaded_bytes + bytes > options_.memory_bytes_max) {
      unloaded = models_->UnloadLeastRecentlyUsed(Which::kAny, /*kept=*/id);
    }
    if (!unloaded) return std::nullopt;
    OnUnloaded(*unloaded, absl::StrCat("room for ", ModelName(id)));
  }
}

bool LiveModels::UnloadIdle(const std::string& id) {
  const auto unloaded = models_->UnloadLeastRecentlyUsed(ModelRepository::Which::kIdle, id);
  if (unloaded) OnUnloaded(*unloaded, absl::StrCat("room for ", ModelName(id)));
  return unloaded.has_value();
}

void LiveModels::OnUnloaded(const std::string& id, const std::string& why) {
  if (options_.on_unload) options_.on_unload();
  LogEvent(spdlog::level::info, "model unloaded", {{"model", ModelName(id)}, {"reason", why}});
}

absl::Status LiveModels::CheckGoesOn(const IsCancelled& is_cancelled) const {
  if (models_->stopped()) return DrainingError();
  if (is_cancelled && is_cancelled()) return absl::CancelledError("the caller has gone");
  return absl::OkStatus();
}

absl::Status LiveModels::Load(const std::string& id, const IsCancelled& is_cancelled) {
  RETURN_IF_ERROR(CheckGoesOn(is_cancelled));
  ASSIGN_OR_RETURN(const std::string newest, NewestOf(id));
  const ModelRepository::Loading loading(models_, newest);
  while (true) {
    RETURN_IF_ERROR(CheckGoesOn(is_cancelled));
    const int64_t releases = memory_->releases();
    ASSIGN_OR_RETURN(const Outcome outcome, TryToLoadNewest(newest));
    if (outcome == Outcome::kDone) return absl::OkStatus();
    memory_->WaitForRelease(releases, *clock_, clock_->Now() + kLongestWait);
  }
}

// The id itself if it has a folder, otherwise that of the version that it stands for.
absl::StatusOr<std::string> LiveModels::NewestOf(const std::string& id) const {
  if (!absl::IsNotFound(folder_.Find(id).status())) return id;
  ASSIGN_OR_RETURN(const ModelStatus status, models_->Status(id));
  return status.id;
}

// Of the model's folder.
absl::StatusOr<LiveModels::Outcome> LiveModels::TryToLoadNewest(const std::string& id) {
  const MutexLock lock(mutex_);
  const auto folder = folder_.Find(id);
  if (absl::IsNotFound(folder.status())) return ResourceNotFound("model", ModelName(id));
  RETURN_IF_ERROR(folder.status());
  const std::string fingerprint = FingerprintOf(*folder);
  std::optional<ModelStatus> status = models_->StatusOfExactly(id);
  if (!status || status->state == LoadState::kFailed || seen_[id].tried != fingerprint) {
    seen_[id] = Seen::Trying(fingerprint);
    const absl::Status taken = Take(id, *folder);
    if (absl::IsAborted(taken)) return Outcome::kNotYet;
    if (!taken.ok()) Fail(id, taken);
    status = models_->StatusOfExactly(id);
  }
  if (!status) return ResourceNotFound("model", ModelName(id));
  if (!status->error.ok()) {
    return DoesNotLoad(id, status->error);
  }
  if (status->state == LoadState::kLoaded) return Outcome::kDone;
  absl::StatusOr<Outcome> outcome = TryToLoad(id, *status);
  if (!outcome.ok()) Fail(id, outcome.status());
  if (!outcome.ok() && IsOfTheFiles(outcome.status())) {
    return DoesNotLoad(id, outcome.status());
  }
  RETURN_IF_ERROR(outcome.status());
  status = models_->StatusOfExactly(id);
  const bool is_loaded = status && status->state == LoadState::kLoaded;
  return *outcome == Outcome::kDone && !is_loaded ? Outcome::kNotYet : *outcome;
}

absl::StatusOr<ModelStatus> LiveModels::Unload(const std::string& id) {
  RETURN_IF_ERROR(CheckGoesOn(nullptr));
  ASSIGN_OR_RETURN(const ModelStatus status, models_->Status(id));
  if (models_->Unload(status.id)) OnUnloaded(status.id, "requested");
  return models_->Status(status.id);
}

absl::Status LiveModels::Delete(const std::string& id, const IsCancelled& is_cancelled) {
  const MutexLock changing_lock(changing_);
  RETURN_IF_ERROR(CheckGoesOn(is_cancelled));
  const absl::Status deleted = folder_.Delete(id);
  if (absl::IsNotFound(deleted)) return ResourceNotFound("model", ModelName(id));
  if (absl::IsInvalidArgument(deleted)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the folder ", deleted.message(), "; remove it by hand"));
  }
  RETURN_IF_ERROR(deleted);
  LogEvent(spdlog::level::info, "model deleted", {{"model", ModelName(id)}});
  const MutexLock lock(mutex_);
  seen_.erase(id);
  models_->Remove(id);
  return absl::OkStatus();
}

absl::StatusOr<ModelHandle> LiveModels::Install(const std::string& id,
                                                const ModelDescription& description,
                                                const ModelsFolder::Writer& write,
                                                const IsCancelled& is_cancelled) {
  const int64_t bytes = MemoryBytes(DescribePixelPipeline(description), id, options_.load);
  RETURN_IF_ERROR(CheckFits(bytes));
  std::optional<ModelMemory::Reservation> memory;
  while (!memory) {
    RETURN_IF_ERROR(CheckGoesOn(is_cancelled));
    const int64_t releases = memory_->releases();
    memory = MakeRoom(/*id=*/"", bytes);
    if (!memory) memory_->WaitForRelease(releases, *clock_, clock_->Now() + kLongestWait);
  }
  const MutexLock changing_lock(changing_);
  LoadedModelHandle loaded;
  const auto load = [&](const std::filesystem::path& folder) -> absl::Status {
    const MutexLock lock(mutex_);
    ASSIGN_OR_RETURN(const ParsedPipeline parsed, ParsedPipeline::Open(folder));
    ASSIGN_OR_RETURN(ModelHandle model, DescribeModel(parsed, id, options_.load));
    ASSIGN_OR_RETURN(loaded, LoadGivingWay(parsed, std::move(model), *std::move(memory)));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(folder_.Install(id, write, load));
  const MutexLock lock(mutex_);
  if (const auto folder = folder_.Find(id); folder.ok()) {
    seen_[id] = Seen::Trying(FingerprintOf(*folder));
  }
  Serve(loaded);
  return loaded->model;
}

void LiveModels::Fail(const std::string& name, const absl::Status& error) {
  if (models_->stopped()) return;  // nobody waits any more
  if (options_.on_load) options_.on_load(std::nullopt);
  LogEvent(spdlog::level::err, "model left out",
           {{"folder", name}, {"reason", std::string(error.message())}});
  if (IsOfTheFiles(error)) return models_->Fail(name, error);
  seen_[name].retry = clock_->Now() + kRetryDelay;
  const std::optional<ModelStatus> status = models_->StatusOfExactly(name);
  if (!status || !status->model) return models_->Fail(name, error);
  if (IsOutOfMemory(error)) return models_->EndWaits(name, NamesModel(name, error));
  models_->EndWaits(name, UnavailableRetryAfter(
                              absl::StrCat(ModelName(name), " cannot be loaded now"), kRetryDelay));
}

}  // namespace denoise
