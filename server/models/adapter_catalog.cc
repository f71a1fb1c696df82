#include "server/models/adapter_catalog.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/check.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/pipeline/adapter_file.h"
#include "server/models/adapter_files.h"
#include "server/models/folder_fingerprint.h"
#include "server/models/models_root.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kBesideModel[] = "loras";
constexpr size_t kMaxIndexed = 20'000;  // files, about 1 KB each

// Whether trying again soon may help.
bool IsTransient(const absl::Status& error) {
  return absl::IsResourceExhausted(error) || absl::IsUnavailable(error) || absl::IsAborted(error) ||
         absl::IsDeadlineExceeded(error);
}

absl::StatusOr<SafetensorsFile> Open(const AdapterFile& file) {
  return WithoutExceptions([&] { return SafetensorsFile::Open(file.path, kMaxAdapterBytes); });
}

// Of a file; its permissions are its own fault, too.
absl::Status DoesNotLoad(const absl::Status& error) {
  return absl::InvalidArgumentError(absl::StrCat("does not load: ", error.message()));
}

absl::Status DoesNotFit(const AdapterSummary& summary, const absl::Status& error) {
  const std::string base =
      summary.base_model.empty()
          ? ""
          : absl::StrCat(" (its file says that it is for ", summary.base_model, ")");
  const std::vector<FieldViolation> violations = GetFieldViolations(error);
  return absl::InvalidArgumentError(absl::StrCat(
      "does not fit this model", base, ": ",
      violations.empty() ? std::string(error.message())
                         : absl::StrCat(violations[0].field, " ", violations[0].description)));
}

// What the header in `file` says, without what models say of it.
absl::StatusOr<int64_t> Count(const SafetensorsFile& file, const AdapterSummary& summary,
                              const AdapterTarget& target) {
  return WithoutExceptions([&]() -> absl::StatusOr<int64_t> {
    RETURN_IF_ERROR(summary.error);
    const absl::StatusOr<AdapterPlan> plan = PlanAdapter(file.header(), target);
    if (!plan.ok()) return DoesNotFit(summary, plan.status());
    return plan->num_parameters;
  });
}

absl::Status AddFiles(const fs::path& folder, const std::string& model,
                      std::vector<AdapterFile>& files) {
  ASSIGN_OR_RETURN(const std::vector<std::string> ids, ListAdapterIds(folder));
  for (const std::string& id : ids) {
    const auto path = FindAdapterFile(folder, id);
    if (!path.ok()) continue;  // it has just been removed
    files.push_back({{model, id}, *path, FingerprintOfFile(*path)});
  }
  return absl::OkStatus();
}

}  // namespace

bool IsOfTheAdapter(const absl::Status& error) {
  return absl::IsInvalidArgument(error) || absl::IsNotFound(error) ||
         absl::IsFailedPrecondition(error) || absl::IsPermissionDenied(error) ||
         absl::IsOutOfRange(error);
}

AdapterCatalog::AdapterCatalog(fs::path models, fs::path adapters)
    : models_(std::move(models)), adapters_(std::move(adapters)) {
  if (adapters_.empty()) return;
  if (const auto skipped = SkippedEntries(adapters_); !skipped.empty()) {
    LogEvent(spdlog::level::warn, "entries of --adapters that are no adapters",
             {{"skipped", absl::StrJoin(skipped, "; ")}});
  }
}

absl::StatusOr<AdapterFile> AdapterCatalog::Find(const Model& model, const AdapterId& id) const {
  if (!id.model.empty() && id.model != model.id) {
    return absl::InvalidArgumentError("belongs to another model");
  }
  if (const auto folder = FindModel(models_, model.id); folder.ok()) {
    const auto file = FindAdapterFile(*folder / kBesideModel, id.adapter);
    if (file.ok()) return AdapterFile{{model.id, id.adapter}, *file, FingerprintOfFile(*file)};
  }
  if (id.model.empty() && !adapters_.empty()) {
    const auto file = FindAdapterFile(adapters_, id.adapter);
    if (file.ok()) return AdapterFile{id, *file, FingerprintOfFile(*file)};
  }
  return absl::InvalidArgumentError("does not exist; `denoise adapters` lists those that do");
}

AdapterCatalog::Indexed AdapterCatalog::Known(const AdapterFile& file) const {
  const MutexLock lock(mutex_);
  const auto found = index_.find(file.path.string());
  return found != index_.end() && found->second.stamp == file.stamp ? found->second : Indexed();
}

void AdapterCatalog::Remember(const AdapterFile& file, Indexed indexed) {
  const MutexLock lock(mutex_);
  if (index_.size() >= kMaxIndexed) index_.clear();
  index_[file.path.string()] = std::move(indexed);
}

absl::StatusOr<int64_t> AdapterCatalog::CountParameters(const AdapterFile& file,
                                                        const Model& model) {
  DENOISE_DCHECK(model.adapters != nullptr);
  Indexed indexed = Known(file);
  absl::StatusOr<int64_t> count = CountOf(file, model, indexed);
  if (count.ok() || IsOfTheAdapter(count.status())) Remember(file, std::move(indexed));
  return count;
}

absl::StatusOr<int64_t> AdapterCatalog::CountOf(const AdapterFile& file, const Model& model,
                                                Indexed& indexed) {
  if (!indexed.stamp.empty() && !indexed.summary.error.ok()) return indexed.summary.error;
  const std::string& signature = model.adapters->signature;
  const auto known = indexed.fits.find(signature);
  if (known != indexed.fits.end()) return known->second;

  const absl::StatusOr<SafetensorsFile> opened = Summarized(file, indexed);
  RETURN_IF_ERROR(opened.status());
  absl::StatusOr<int64_t> count = Count(*opened, indexed.summary, *model.adapters);
  if (count.ok() || IsOfTheAdapter(count.status())) indexed.fits.insert_or_assign(signature, count);
  return count;
}

absl::StatusOr<SafetensorsFile> AdapterCatalog::Summarized(const AdapterFile& file,
                                                           Indexed& indexed) {
  absl::StatusOr<SafetensorsFile> opened = Open(file);
  if (!opened.ok() && IsTransient(opened.status())) return opened.status();
  // What may be the fault of a network or a disk is looked at again next time.
  if (opened.ok() || IsOfTheAdapter(opened.status())) indexed.stamp = file.stamp;
  if (!opened.ok()) return indexed.summary.error = DoesNotLoad(opened.status());
  indexed.summary = Summarize(opened->header());
  indexed.file_bytes = static_cast<int64_t>(opened->size());
  return opened;
}

absl::StatusOr<std::vector<AdapterFile>> AdapterCatalog::List(
    const std::vector<ModelHandle>& models) const {
  std::vector<AdapterFile> files;
  if (!adapters_.empty()) RETURN_IF_ERROR(AddFiles(adapters_, "", files));
  for (const ModelHandle& model : models) {
    const auto folder = FindModel(models_, model->id);
    if (!folder.ok()) continue;
    if (const auto added = AddFiles(*folder / kBesideModel, model->id, files); !added.ok()) {
      LogEvent(spdlog::level::warn, "a model's folder of adapters cannot be read",
               {{"model", ModelName(model->id)}, {"reason", std::string(added.message())}});
    }
  }
  std::sort(files.begin(), files.end(), [](const AdapterFile& a, const AdapterFile& b) {
    return AdapterName(a.id) < AdapterName(b.id);
  });
  return files;
}

AdapterInfo AdapterCatalog::Describe(const AdapterFile& file,
                                     const std::vector<ModelHandle>& models) {
  Indexed indexed = Known(file);
  absl::Status error =
      indexed.stamp.empty() ? Summarized(file, indexed).status() : absl::OkStatus();
  AdapterInfo info{.id = file.id};
  for (const ModelHandle& model : models) {
    if (model->adapters == nullptr) continue;
    if (!file.id.model.empty() && file.id.model != model->id) continue;
    const auto count = CountOf(file, *model, indexed);
    if (count.ok()) info.models.push_back(model->id);
    if (!count.ok() && !IsOfTheAdapter(count.status())) error = count.status();
  }
  info.summary = indexed.summary;
  info.file_bytes = indexed.file_bytes;
  if (!error.ok() && !IsOfTheAdapter(error)) {
    info.summary.error = absl::UnavailableError("cannot be read now; list it again later");
  }
  if (!indexed.stamp.empty()) Remember(file, std::move(indexed));
  return info;
}

}  // namespace denoise
