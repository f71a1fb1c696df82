#include "server/models/adapter_library.h"

#include <c10/core/ScalarType.h>

#include <algorithm>
#include <exception>
#include <optional>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "core/pipeline/adapter_file.h"
#include "server/models/adapter_files.h"
#include "server/models/folder_fingerprint.h"
#include "server/models/models_root.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kBesideModel[] = "loras";
constexpr absl::Duration kRetryDelay = absl::Seconds(1);
constexpr int64_t kMib = int64_t{1} << 20;
constexpr size_t kMaxBaseModelBytes = 100;

int64_t MibOf(int64_t bytes) { return (bytes + kMib - 1) / kMib; }

// What trainers call the model that they trained an adapter for.
std::string BaseModelOf(const SafetensorsHeader& header) {
  for (const char* key : {"ss_base_model_version", "modelspec.architecture"}) {
    const auto found = header.metadata.find(key);
    if (found != header.metadata.end() && !found->second.empty()) {
      return Escaped(std::string_view(found->second).substr(0, kMaxBaseModelBytes));
    }
  }
  return "";
}

// Of a file whatever it is for.
AdapterInfo InfoOf(const SafetensorsHeader& header) {
  AdapterInfo info{.base_model = BaseModelOf(header)};
  for (const auto& [name, entry] : header.tensors) {
    if (const auto kind = OtherAdapterKind(name)) {
      info.error = absl::InvalidArgumentError(
          absl::StrCat("is a ", std::string(*kind), ", which is not supported; only LoRA is"));
    }
    const auto parsed = ParseAdapterTensorName(name);
    if (!parsed || parsed->part == AdapterPart::kAlpha || entry.shape.empty()) continue;
    int64_t numbers = 1;
    for (const int64_t size : entry.shape) numbers *= size;
    info.num_parameters += numbers;
    if (parsed->part == AdapterPart::kDown) info.rank = std::max(info.rank, entry.shape.front());
  }
  if (info.num_parameters == 0 && info.error.ok()) {
    info.error = absl::InvalidArgumentError("holds no low-rank matrices");
  }
  return info;
}

absl::Status DoesNotLoad(const absl::Status& error) {
  return absl::Status(error.code(), absl::StrCat("does not load: ", error.message()));
}

// What is wrong with an adapter, in words that follow its name.
absl::Status DoesNotFit(const SafetensorsHeader& header, const absl::Status& error) {
  if (const absl::Status broken = InfoOf(header).error; !broken.ok()) return broken;
  const std::string base = BaseModelOf(header);
  const std::vector<FieldViolation> violations = GetFieldViolations(error);
  return absl::InvalidArgumentError(absl::StrCat(
      "does not fit this model",
      base.empty() ? "" : absl::StrCat(" (its file says that it is for ", base, ")"), ": ",
      violations.empty() ? std::string(error.message())
                         : absl::StrCat(violations[0].field, " ", violations[0].description)));
}

}  // namespace

AdapterLibrary::AdapterLibrary(Options options)
    : options_(std::move(options)),
      memory_(ModelMemory::Create(options_.memory_bytes_max, options_.on_memory)) {}

absl::StatusOr<std::shared_ptr<const Adapter>> AdapterLibrary::Load(const Model& model,
                                                                    const AdapterId& id) {
  DENOISE_DCHECK(model.adapters != nullptr);
  ASSIGN_OR_RETURN(const Version version, Find(model, id));
  absl::StatusOr<AdapterHandle> adapter = LoadVersion(model, version);
  // A file that somebody writes to while it is read may be a mixture of two.
  if (FingerprintOfFile(version.path) == version.stamp) return adapter;
  return UnavailableRetryAfter("an adapter's file is being replaced", kRetryDelay);
}

absl::StatusOr<AdapterLibrary::Version> AdapterLibrary::Find(const Model& model,
                                                             const AdapterId& id) const {
  if (!id.model.empty() && id.model != model.id) {
    return absl::InvalidArgumentError("belongs to another model");
  }
  absl::StatusOr<fs::path> file = absl::NotFoundError("");
  if (const auto folder = FindModel(options_.models, model.id); folder.ok()) {
    file = FindAdapterFile(*folder / kBesideModel, id.adapter);
  }
  if (!file.ok() && id.model.empty() && !options_.adapters.empty()) {
    file = FindAdapterFile(options_.adapters, id.adapter);
  }
  if (file.ok()) return Version{*file, FingerprintOfFile(*file)};
  return absl::InvalidArgumentError("is no adapter of this server; `denoise adapters` lists them");
}

absl::StatusOr<AdapterLibrary::AdapterHandle> AdapterLibrary::LoadVersion(const Model& model,
                                                                          const Version& version) {
  const Key key(version.path.string(), model.adapters->signature);
  {
    const MutexLock lock(mutex_);
    while (true) {
      if (AdapterHandle loaded = FindLoaded(key, version.stamp)) return loaded;
      if (!reading_.contains(key)) break;
      read_.Wait(mutex_);
    }
    reading_.insert(key);
  }
  const absl::Cleanup done = [&] {
    const MutexLock lock(mutex_);
    reading_.erase(key);
    read_.NotifyAll();
  };
  absl::StatusOr<AdapterHandle> adapter = Read(model, version);
  if (options_.on_load) options_.on_load(adapter.ok());
  LogEvent(adapter.ok() ? spdlog::level::info : spdlog::level::warn,
           adapter.ok() ? "adapter loaded" : "adapter does not load",
           {{"file", Escaped(version.path.filename().string())},
            {"model", model.id},
            {"reason", std::string(adapter.status().message())}});
  if (!adapter.ok()) return adapter;
  const MutexLock lock(mutex_);
  loaded_.remove_if([&](const Loaded& loaded) { return loaded.key == key; });  // its old version
  loaded_.push_front({key, version.stamp, *adapter});
  return adapter;
}

absl::StatusOr<AdapterLibrary::AdapterHandle> AdapterLibrary::Read(const Model& model,
                                                                   const Version& version) {
  try {
    const absl::StatusOr<SafetensorsFile> opened =
        SafetensorsFile::Open(version.path, kMaxAdapterBytes);
    if (!opened.ok()) return DoesNotLoad(opened.status());
    const SafetensorsFile& file = *opened;
    const absl::StatusOr<AdapterPlan> plan = PlanAdapter(file.header(), *model.adapters);
    if (!plan.ok()) return DoesNotFit(file.header(), plan.status());
    ASSIGN_OR_RETURN(ModelMemory::Reservation memory, Reserve(plan->num_parameters));
    absl::StatusOr<AdapterHandle> adapter = ReadAdapter(
        file, *plan, std::make_shared<const ModelMemory::Reservation>(std::move(memory)));
    if (!adapter.ok()) return DoesNotLoad(adapter.status());
    return adapter;
  } catch (const std::exception&) {  // LibTorch's; its text may hold a stack trace
    return UnavailableRetryAfter("there is no memory for the adapter", kRetryDelay);
  }
}

absl::StatusOr<ModelMemory::Reservation> AdapterLibrary::Reserve(int64_t num_parameters) {
  int64_t bytes = num_parameters * static_cast<int64_t>(sizeof(float));
  for (const at::Device& device : options_.devices) {
    if (device.is_cpu() && options_.dtype == at::kFloat) continue;  // needs no copy
    bytes += num_parameters * static_cast<int64_t>(c10::elementSize(options_.dtype));
  }
  if (!memory_->Holds(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("takes ", MibOf(bytes), " MiB, but the server has ",
                     MibOf(options_.memory_bytes_max), " MiB for adapters (--adapter-memory)"));
  }
  const MutexLock lock(mutex_);
  while (true) {
    if (auto memory = memory_->TryReserve(bytes)) return *std::move(memory);
    if (!DropLeastRecentlyUsed()) {
      return UnavailableRetryAfter(
          "the adapters of running requests take all the memory for "
          "adapters (--adapter-memory)",
          kRetryDelay);
    }
  }
}

AdapterLibrary::AdapterHandle AdapterLibrary::FindLoaded(const Key& key, const std::string& stamp) {
  const auto found = std::find_if(loaded_.begin(), loaded_.end(), [&](const Loaded& loaded) {
    return loaded.key == key && loaded.stamp == stamp;
  });
  if (found == loaded_.end()) return nullptr;
  loaded_.splice(loaded_.begin(), loaded_, found);
  return found->adapter;
}

// Of those that no request uses; false if there is none.
bool AdapterLibrary::DropLeastRecentlyUsed() {
  const auto idle = std::find_if(loaded_.rbegin(), loaded_.rend(), [](const Loaded& loaded) {
    return loaded.adapter.use_count() == 1;
  });
  if (idle == loaded_.rend()) return false;
  loaded_.erase(std::next(idle).base());
  return true;
}

std::vector<AdapterInfo> AdapterLibrary::List(const std::vector<ModelHandle>& models) {
  std::vector<AdapterInfo> adapters;
  std::set<std::string> paths;
  if (!options_.adapters.empty()) ListFolder(options_.adapters, "", models, adapters, paths);
  for (const ModelHandle& model : models) {
    const auto folder = FindModel(options_.models, model->id);
    if (folder.ok()) ListFolder(*folder / kBesideModel, model->id, {model}, adapters, paths);
  }
  {
    const MutexLock lock(mutex_);
    std::erase_if(index_, [&](const auto& entry) { return !paths.contains(entry.first); });
  }
  std::sort(adapters.begin(), adapters.end(), [](const AdapterInfo& a, const AdapterInfo& b) {
    return AdapterName(a.id) < AdapterName(b.id);
  });
  return adapters;
}

void AdapterLibrary::ListFolder(const fs::path& folder, const std::string& model,
                                const std::vector<ModelHandle>& models,
                                std::vector<AdapterInfo>& adapters, std::set<std::string>& paths) {
  const auto ids = ListAdapterIds(folder);
  if (!ids.ok()) {
    LogEvent(spdlog::level::warn, "a folder of adapters cannot be read",
             {{"model", model}, {"reason", std::string(ids.status().message())}});
    return;
  }
  for (const std::string& id : *ids) {
    const auto file = FindAdapterFile(folder, id);
    if (!file.ok()) continue;  // it has just been removed
    AdapterInfo info = Describe({*file, FingerprintOfFile(*file)}, models);
    info.id = {model, id};
    paths.insert(file->string());
    adapters.push_back(std::move(info));
  }
}

AdapterInfo AdapterLibrary::Describe(const Version& version,
                                     const std::vector<ModelHandle>& models) {
  const std::string path = version.path.string();
  Indexed indexed;
  {
    const MutexLock lock(mutex_);
    const auto found = index_.find(path);
    if (found != index_.end() && found->second.stamp == version.stamp) indexed = found->second;
  }
  std::optional<absl::StatusOr<SafetensorsHeader>> header;  // read when it is needed
  const auto read = [&]() -> const absl::StatusOr<SafetensorsHeader>& {
    if (!header) header = ReadAdapterHeader(version.path);
    return *header;
  };
  if (indexed.stamp.empty()) {
    indexed.stamp = version.stamp;
    indexed.info = read().ok() ? InfoOf(**header) : AdapterInfo{.error = read().status()};
    std::error_code error;
    indexed.info.file_bytes = static_cast<int64_t>(fs::file_size(version.path, error));
    if (error) indexed.info.file_bytes = 0;
  }
  AdapterInfo info = indexed.info;
  for (const ModelHandle& model : models) {
    if (!info.error.ok() || model->adapters == nullptr) continue;
    const std::string& signature = model->adapters->signature;
    auto fits = indexed.fits.find(signature);
    if (fits == indexed.fits.end()) {
      const bool ok = read().ok() && PlanAdapter(**header, *model->adapters).ok();
      fits = indexed.fits.emplace(signature, ok).first;
    }
    if (fits->second) info.models.push_back(model->id);
  }
  const MutexLock lock(mutex_);
  index_[path] = std::move(indexed);
  return info;
}

}  // namespace denoise
