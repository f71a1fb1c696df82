#include "client/bench/workload.h"

#include <cmath>
#include <map>
#include <utility>

#include "client/client.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr size_t kSampleSize = 1000;

// Calls `visit` with the LoadRequest of each entry of a mix, or of each request of a trace.
template <class Source, class Visit>
void ForEachLoad(Source& source, Visit visit) {
  if (auto* const mix = std::get_if<Mix>(&source)) {
    for (auto& entry : *mix) visit(entry.request);
  } else {
    for (auto& traced : std::get<Trace>(source)) visit(traced.load);
  }
}

// Each model is looked up once.
class ModelCache {
 public:
  explicit ModelCache(const Workload::FindModel& find) : find_(find) {}

  absl::StatusOr<denoised::v1::Model> Find(const std::string& name) {
    const auto known = models_.find(name);
    if (known != models_.end()) return known->second;
    ASSIGN_OR_RETURN(const denoised::v1::Model model, find_(name));
    return models_[name] = model;
  }

 private:
  const Workload::FindModel& find_;
  std::map<std::string, denoised::v1::Model> models_;
};

}  // namespace

Workload::Workload(Mix mix, const TraceLimits& limits, uint64_t seed)
    : source_(std::move(mix)), limits_(limits), seed_(seed) {}

Workload::Workload(Trace recorded) : source_(std::move(recorded)) {}

bool Workload::HasTenants() const {
  bool has_tenants = false;
  ForEachLoad(source_, [&](const LoadRequest& load) { has_tenants |= !load.tenant.empty(); });
  return has_tenants;
}

void Workload::SetDefaultDeadline(absl::Duration deadline) {
  ForEachLoad(source_, [&](LoadRequest& load) {
    if (load.deadline == absl::InfiniteDuration()) load.deadline = deadline;
  });
}

absl::Status Workload::Resolve(const FindModel& find_model) {
  if (std::exchange(resolved_, true)) return absl::OkStatus();
  ModelCache models(find_model);
  if (Mix* const mix = std::get_if<Mix>(&source_)) {
    for (MixEntry& entry : *mix) {
      ASSIGN_OR_RETURN(const auto model, models.Find(entry.request.request.model()));
      CompleteEntry(model, entry);
    }
    return absl::OkStatus();
  }
  for (TracedRequest& traced : std::get<Trace>(source_)) {
    ASSIGN_OR_RETURN(const auto model, models.Find(traced.load.request.model()));
    traced.load.request.set_model(model.name());
  }
  return absl::OkStatus();
}

absl::StatusOr<Trace> Workload::Sample() const {
  if (const Mix* const mix = std::get_if<Mix>(&source_)) {
    return GenerateTrace(*mix, 1, {.requests = kSampleSize}, seed_);
  }
  return std::get<Trace>(source_);
}

absl::StatusOr<Trace> Workload::AtRate(double rate) const {
  if (const Mix* const mix = std::get_if<Mix>(&source_)) {
    return GenerateTrace(*mix, rate, limits_, seed_);
  }
  const Trace& recorded = std::get<Trace>(source_);
  const double own_rate = MeanRate(recorded);
  if (std::isfinite(own_rate)) return SpeedUp(recorded, rate / own_rate);
  return absl::InvalidArgumentError(
      "the trace has no rate to change: all of its requests arrive at the start");
}

}  // namespace denoise
