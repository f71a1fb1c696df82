#include "server/requests/adapter_validation.h"

#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;

constexpr int kMaxAdapters = 4;
constexpr double kMaxScale = 100;
// How often files are looked for that are replaced while they are read.
constexpr int kAttempts = 3;
constexpr absl::Duration kRetryDelay = absl::Seconds(1);

std::string FieldOf(int index, std::string_view field) {
  return absl::StrCat("adapters[", index, "].", std::string(field));
}

double ScaleOf(const denoised::v1::AppliedAdapter& adapter) {
  return adapter.has_scale() ? adapter.scale() : 1;
}

// The id in a name, whose model may be named without its version.
std::optional<AdapterId> IdOf(const std::string& name, const GenerateRequest& request,
                              const Model& model) {
  std::optional<AdapterId> id = ParseAdapterName(name);
  if (id && !id->model.empty() && ModelName(id->model) == request.model()) id->model = model.id;
  return id;
}

struct Found {
  std::vector<AdapterFile> files;
  std::vector<double> scales;  // of each
};

// The files of the adapters, as they are now, but for those with malformed names.
absl::StatusOr<Found> FindFiles(const GenerateRequest& request, const Model& model,
                                AdapterCatalog& catalog) {
  FieldViolations violations;
  Found found;
  std::set<std::string> seen;
  for (int i = 0; i < request.adapters_size(); ++i) {
    const std::string& name = request.adapters(i).name();
    const std::optional<AdapterId> id = IdOf(name, request, model);
    if (!id) continue;
    absl::StatusOr<AdapterFile> file = catalog.Find(model, *id);
    absl::Status status = file.status();
    if (status.ok()) status = catalog.CountParameters(*file, model).status();
    if (!status.ok() && !IsOfTheAdapter(status)) return status;
    if (!status.ok()) {
      violations.Add(FieldOf(i, "name"), absl::StrCat(Quoted(name), " ", status.message()));
    } else if (!seen.insert(file->path.string()).second) {
      violations.Add(FieldOf(i, "name"), absl::StrCat(Quoted(name), " is given twice"));
    } else {
      found.files.push_back(*std::move(file));
      found.scales.push_back(ScaleOf(request.adapters(i)));
    }
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return found;
}

}  // namespace

void CheckAdapters(const GenerateRequest& request, FieldViolations& violations) {
  if (request.adapters_size() > kMaxAdapters) {
    violations.Add("adapters", absl::StrCat("has ", request.adapters_size(), " entries; at most ",
                                            kMaxAdapters, " are allowed"));
    return;
  }
  for (int i = 0; i < request.adapters_size(); ++i) {
    const auto& adapter = request.adapters(i);
    if (!ParseAdapterName(adapter.name())) violations.Add(FieldOf(i, "name"), kAdapterNameRule);
    if (!(std::abs(ScaleOf(adapter)) <= kMaxScale)) {
      violations.Add(FieldOf(i, "scale"), absl::StrCat("must be between -", kMaxScale, " and ",
                                                       kMaxScale, ", is ", adapter.scale()));
    }
  }
}

absl::Status CheckAdapterFiles(const GenerateRequest& request, const Model& model,
                               AdapterCatalog& catalog) {
  if (model.adapters == nullptr || request.adapters_size() > kMaxAdapters) return absl::OkStatus();
  return FindFiles(request, model, catalog).status();
}

absl::StatusOr<RequestedAdapters> LoadAdapters(const GenerateRequest& request, const Model& model,
                                               AdapterLibrary& library,
                                               const AdapterLibrary::IsCancelled& is_cancelled) {
  if (model.adapters == nullptr || request.adapters_size() > kMaxAdapters) {
    return RequestedAdapters();
  }
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const absl::StatusOr<Found> found = FindFiles(request, model, library.catalog());
    if (absl::IsAborted(found.status())) continue;
    RETURN_IF_ERROR(found.status());
    absl::StatusOr<std::vector<LoadedAdapter>> loaded =
        library.Load(model, found->files, is_cancelled);
    if (absl::IsAborted(loaded.status())) continue;
    if (absl::IsInvalidArgument(loaded.status())) {
      return InvalidField("adapters", std::string(loaded.status().message()));
    }
    RETURN_IF_ERROR(loaded.status());
    RequestedAdapters adapters;
    for (size_t i = 0; i < loaded->size(); ++i) {
      adapters.push_back({std::move((*loaded)[i]), found->scales[i]});
    }
    return adapters;
  }
  return UnavailableRetryAfter("an adapter's file is being replaced", kRetryDelay);
}

AppliedAdapters ToApplied(const RequestedAdapters& adapters) {
  AppliedAdapters applied;
  for (const RequestedAdapter& requested : adapters) {
    if (requested.scale != 0) applied.push_back({requested.loaded.adapter, requested.scale});
  }
  return applied;
}

void AddAdapters(const RequestedAdapters& adapters, denoised::v1::Accepted& accepted) {
  for (const RequestedAdapter& requested : adapters) {
    auto& adapter = *accepted.add_adapters();
    adapter.set_name(AdapterName(requested.loaded.id));
    adapter.set_version(requested.loaded.version);
    adapter.set_scale(requested.scale);
  }
}

}  // namespace denoise
