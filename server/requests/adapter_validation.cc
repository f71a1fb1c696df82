#include "server/requests/adapter_validation.h"

#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;

constexpr int kMaxAdapters = 4;
constexpr double kMaxScale = 100;

std::string FieldOf(int index, std::string_view field) {
  return absl::StrCat("adapters[", index, "].", std::string(field));
}

double ScaleOf(const denoised::v1::AppliedAdapter& adapter) {
  return adapter.has_scale() ? adapter.scale() : 1;
}

// Whether the fault is the request's, or that of a file that it names.
bool IsViolation(const absl::Status& status) {
  return absl::IsInvalidArgument(status) || absl::IsNotFound(status);
}

}  // namespace

void CheckAdapters(const GenerateRequest& request, FieldViolations& violations) {
  if (request.adapters_size() > kMaxAdapters) {
    violations.Add("adapters", absl::StrCat("must be at most ", kMaxAdapters, ", are ",
                                            request.adapters_size()));
    return;
  }
  std::set<std::string> seen;
  for (int i = 0; i < request.adapters_size(); ++i) {
    const auto& adapter = request.adapters(i);
    if (!ParseAdapterName(adapter.name())) {
      violations.Add(FieldOf(i, "name"), kAdapterNameRule);
    } else if (!seen.insert(adapter.name()).second) {
      violations.Add(FieldOf(i, "name"), "is given twice");
    }
    if (!(std::abs(ScaleOf(adapter)) <= kMaxScale)) {
      violations.Add(FieldOf(i, "scale"), absl::StrCat("must be between -", kMaxScale, " and ",
                                                       kMaxScale, ", is ", adapter.scale()));
    }
  }
}

absl::StatusOr<AppliedAdapters> LoadAdapters(const GenerateRequest& request, const Model& model,
                                             AdapterLibrary& library) {
  FieldViolations violations;
  CheckAdapters(request, violations);
  AppliedAdapters adapters;
  if (!violations.empty() || model.adapters == nullptr) return adapters;
  for (int i = 0; i < request.adapters_size(); ++i) {
    const auto& requested = request.adapters(i);
    absl::StatusOr<std::shared_ptr<const Adapter>> adapter =
        library.Load(model, *ParseAdapterName(requested.name()));
    if (adapter.ok()) {
      adapters.push_back({*std::move(adapter), ScaleOf(requested)});
    } else if (IsViolation(adapter.status())) {
      violations.Add(FieldOf(i, "name"),
                     absl::StrCat(Quoted(requested.name()), " ", adapter.status().message()));
    } else {
      return adapter.status();
    }
  }
  if (!violations.empty()) return violations.ToStatus();
  return adapters;
}

void AddAdapters(const GenerateRequest& request, denoised::v1::Accepted& accepted) {
  for (const auto& requested : request.adapters()) {
    auto& adapter = *accepted.add_adapters();
    adapter.set_name(requested.name());
    adapter.set_scale(ScaleOf(requested));
  }
}

}  // namespace denoise
