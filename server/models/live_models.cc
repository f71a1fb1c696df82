#include "server/models/live_models.h"

#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "server/models/folder_fingerprint.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// A folder may be gone for a moment while another program replaces it.
constexpr int kMissingLooks = 2;

// When a model is tried again that failed for a reason outside its files, such as lack of memory.
constexpr absl::Duration kRetryDelay = absl::Seconds(30);

constexpr int64_t kMib = int64_t{1} << 20;

int64_t MibOf(int64_t bytes) { return (bytes + kMib - 1) / kMib; }

// What an entry is known by.
const std::string& KeyOf(const ModelEntry& entry) {
  return entry.id.empty() ? entry.name : entry.id;
}

std::string StateOf(const ModelEntry& entry) {
  if (entry.folder.ok()) return FingerprintOf(*entry.folder);
  return std::string(entry.folder.status().message());
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
      memory_(ModelMemory::Create(options_.memory_bytes_max)) {}

LiveModels::~LiveModels() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

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

void LiveModels::Loop() {
  const bool looks = options_.look_interval > absl::ZeroDuration();
  absl::Time next_look = looks ? clock_->Now() + options_.look_interval : absl::InfiniteFuture();
  while (!models_->stopped()) {
    if (clock_->Now() >= next_look) {
      Look().IgnoreError();  // was logged
      next_look = clock_->Now() + options_.look_interval;
    }
    if (const auto id = models_->NextWanted(*clock_, next_look)) LoadWanted(*id);
  }
}

void LiveModels::LoadWanted(const std::string& id) {
  const MutexLock lock(mutex_);
  if (const ModelHandle model = Current(id); !model || model->is_loaded()) return;
  const auto folder = folder_.Find(id);
  const absl::Status loaded = folder.ok() ? LoadFrom(id, *folder).status() : folder.status();
  if (!loaded.ok()) Fail(id, loaded);
}

absl::Status LiveModels::Look(bool at_once) {
  const MutexLock lock(mutex_);
  const absl::StatusOr<std::vector<ModelEntry>> entries = folder_.List();
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
  const std::string fingerprint = StateOf(entry);
  Seen& seen = seen_[KeyOf(entry)];
  seen.missing = 0;
  const bool at_rest = at_once || seen.latest == fingerprint;
  seen.latest = fingerprint;
  const bool is_tried = seen.tried == fingerprint && clock_->Now() < seen.retry;
  if (!at_rest || is_tried || models_->stopped()) return;
  seen = {.tried = fingerprint, .latest = fingerprint};
  const absl::Status taken =
      entry.folder.ok() ? Take(entry.id, *entry.folder) : entry.folder.status();
  if (!taken.ok()) Fail(KeyOf(entry), taken);
}

// Serves what a folder holds now. It is loaded where there is room, or where it replaces a loaded
// model.
absl::Status LiveModels::Take(const std::string& id, const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const ParsedModel parsed, ParsedModel::Open(folder));
  ASSIGN_OR_RETURN(const ModelHandle described, DescribeModel(parsed, id, options_.load));
  const ModelHandle current = Current(id);
  const bool is_loaded = current && current->is_loaded();
  if (is_loaded && current->version == described->version) {
    if (!models_->Status(id)->error.ok()) models_->Publish(current);  // a broken version is gone
    return absl::OkStatus();
  }
  if (is_loaded || HasRoom(described->memory_bytes)) {
    return LoadParsed(parsed, *described).status();
  }
  RETURN_IF_ERROR(CheckFits(described->memory_bytes));
  LogEvent(spdlog::level::info, "model found, to be loaded on demand",
           {{"model", ModelName(id)},
            {"version", described->version},
            {"memory_mib", MibOf(described->memory_bytes)},
            {"reason", "--model-memory is used up"}});
  models_->Publish(described);
  return absl::OkStatus();
}

absl::StatusOr<ModelHandle> LiveModels::LoadFrom(const std::string& id,
                                                 const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(const ParsedModel parsed, ParsedModel::Open(folder));
  ASSIGN_OR_RETURN(const ModelHandle described, DescribeModel(parsed, id, options_.load));
  return LoadParsed(parsed, *described);
}

absl::StatusOr<ModelHandle> LiveModels::LoadParsed(const ParsedModel& parsed,
                                                   const Model& described) {
  ASSIGN_OR_RETURN(ModelHandle model, LoadUnpublished(parsed, described));
  models_->Publish(model);
  return model;
}

absl::StatusOr<ModelHandle> LiveModels::LoadUnpublished(const ParsedModel& parsed,
                                                        const Model& described) {
  ASSIGN_OR_RETURN(ModelMemory::Reservation memory, MakeRoom(described.id, described.memory_bytes));
  const absl::Time start = clock_->Now();
  ASSIGN_OR_RETURN(ModelHandle model,
                   LoadModel(parsed, described.id, options_.load, std::move(memory)));
  if (options_.on_load) options_.on_load(true);
  LogEvent(spdlog::level::info, "model loaded",
           {{"model", ModelName(model->id)},
            {"version", model->version},
            {"parameters", model->spec.num_parameters},
            {"memory_mib", MibOf(model->memory_bytes)},
            {"source", model->source},
            {"seconds", absl::ToDoubleSeconds(clock_->Now() - start)}});
  return model;
}

absl::Status LiveModels::CheckFits(int64_t bytes) const {
  if (memory_->Holds(bytes)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("its weights take ", MibOf(bytes), " MiB, and --model-memory allows ",
                   options_.memory_bytes_max / kMib, " MiB for all models"));
}

bool LiveModels::HasRoom(int64_t bytes) const {
  return options_.memory_bytes_max == 0 ||
         models_->counts().loaded_bytes + bytes <= options_.memory_bytes_max;
}

// Unloads what has not been used for longest, an older version of the model itself last, and waits
// until requests have let go of enough.
absl::StatusOr<ModelMemory::Reservation> LiveModels::MakeRoom(const std::string& id,
                                                              int64_t bytes) {
  RETURN_IF_ERROR(CheckFits(bytes));
  while (!HasRoom(bytes)) {
    std::optional<std::string> unloaded = models_->UnloadLeastRecentlyUsed(/*kept=*/id);
    if (!unloaded && models_->Unload(id)) unloaded = id;
    if (!unloaded) break;
    if (options_.on_unload) options_.on_unload();
    LogEvent(spdlog::level::info, "model unloaded",
             {{"model", ModelName(*unloaded)}, {"to_load", ModelName(id)}});
  }
  std::optional<ModelMemory::Reservation> memory = memory_->Reserve(bytes);
  if (!memory) return DrainingError();
  return *std::move(memory);
}

absl::StatusOr<ModelHandle> LiveModels::Load(const std::string& id) {
  const MutexLock lock(mutex_);
  if (models_->stopped()) return DrainingError();
  std::string found = id;
  auto folder = folder_.Find(id);
  if (absl::IsNotFound(folder.status())) {
    const auto status = models_->Status(id);  // a version, perhaps
    if (!status.ok()) return status.status();
    found = status->id;
    folder = folder_.Find(found);
  }
  const absl::Status loaded = folder.ok() ? LoadIfNew(found, *folder) : folder.status();
  if (!loaded.ok()) Fail(found, loaded);
  if (absl::IsUnavailable(loaded)) return loaded;
  return models_->Find(found);
}

absl::Status LiveModels::LoadIfNew(const std::string& id, const std::filesystem::path& folder) {
  const std::string fingerprint = FingerprintOf(folder);
  const ModelHandle current = Current(id);
  Seen& seen = seen_[id];
  if (current && current->is_loaded() && seen.tried == fingerprint) return absl::OkStatus();
  seen = {.tried = fingerprint, .latest = fingerprint};
  return LoadFrom(id, folder).status();
}

absl::StatusOr<ModelStatus> LiveModels::Unload(const std::string& id) {
  ASSIGN_OR_RETURN(const ModelStatus status, models_->Status(id));
  if (models_->Unload(status.id)) {
    if (options_.on_unload) options_.on_unload();
    LogEvent(spdlog::level::info, "model unloaded", {{"model", ModelName(status.id)}});
  }
  return models_->Status(status.id);
}

absl::Status LiveModels::Delete(const std::string& id) {
  const MutexLock lock(mutex_);
  const absl::Status deleted = folder_.Delete(id);
  if (absl::IsNotFound(deleted)) return ResourceNotFound("model", ModelName(id));
  if (absl::IsInvalidArgument(deleted)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the folder ", deleted.message(), "; remove it by hand"));
  }
  RETURN_IF_ERROR(deleted);
  LogEvent(spdlog::level::info, "model deleted", {{"model", ModelName(id)}});
  seen_.erase(id);
  models_->Remove(id);
  return absl::OkStatus();
}

absl::StatusOr<ModelHandle> LiveModels::Install(const std::string& id,
                                                const ModelsFolder::Writer& write) {
  const MutexLock lock(mutex_);
  const auto load = [&](const std::filesystem::path& folder) -> absl::StatusOr<ModelHandle> {
    ASSIGN_OR_RETURN(const ParsedModel parsed, ParsedModel::Open(folder));
    ASSIGN_OR_RETURN(const ModelHandle described, DescribeModel(parsed, id, options_.load));
    return LoadUnpublished(parsed, *described);
  };
  ASSIGN_OR_RETURN(ModelHandle model, folder_.Install(id, write, load));
  const auto folder = folder_.Find(id);
  if (folder.ok()) {
    const std::string fingerprint = FingerprintOf(*folder);
    seen_[id] = {.tried = fingerprint, .latest = fingerprint};
  }
  models_->Publish(model);
  return model;
}

// The model of exactly that id, if there is one that has been readable.
ModelHandle LiveModels::Current(const std::string& id) const {
  const auto status = models_->Status(id);
  return status.ok() && status->id == id ? status->model : nullptr;
}

void LiveModels::Fail(const std::string& name, const absl::Status& error) {
  if (absl::IsUnavailable(error)) return;  // the server stops
  if (!IsOfTheFiles(error)) seen_[name].retry = clock_->Now() + kRetryDelay;
  if (options_.on_load) options_.on_load(false);
  LogEvent(spdlog::level::err, "model left out",
           {{"folder", name}, {"reason", std::string(error.message())}});
  models_->Fail(name, error);
}

}  // namespace denoise
