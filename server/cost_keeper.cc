#include "server/cost_keeper.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using nlohmann::json;

constexpr size_t kMaxBytes = size_t{4} << 20;
constexpr size_t kMaxModels = 1000;
constexpr int64_t kMaxRows = 65536;
constexpr double kMaxSeconds = 1e6;
constexpr char kFormat[] = "denoised costs 1";

// One of "times": [rows, seconds].
std::optional<EvaluationTime> ParseTime(const json& value) {
  if (!value.is_array() || value.size() != 2 || !value[0].is_number_integer() ||
      !value[1].is_number()) {
    return std::nullopt;
  }
  const auto rows = value[0].get<int64_t>();
  const auto seconds = value[1].get<double>();
  if (rows < 1 || rows > kMaxRows || !(seconds > 0) || seconds > kMaxSeconds) return std::nullopt;
  return EvaluationTime{.rows = static_cast<int>(rows), .time = absl::Seconds(seconds)};
}

absl::StatusOr<std::vector<EvaluationTime>> ParseTimes(const json& values) {
  std::vector<EvaluationTime> times;
  if (!values.is_array()) return absl::InvalidArgumentError("times are no list");
  for (const json& value : values) {
    const auto time = ParseTime(value);
    if (!time) return absl::InvalidArgumentError("a time is not [rows, seconds]");
    times.push_back(*time);
  }
  return times;
}

std::shared_ptr<const PipelineReplicas> PipelinesOf(const LoadedModelHandle& loaded) {
  return {loaded, &loaded->pipelines};  // as requests name them
}

}  // namespace

CostKeeper::CostKeeper(std::filesystem::path file, std::string device, Engine* engine)
    : file_(std::move(file)), device_(std::move(device)), engine_(engine) {}

absl::Status CostKeeper::Load() {
  std::error_code error;
  if (file_.empty() || !std::filesystem::exists(file_, error)) return absl::OkStatus();
  const absl::Status read = Read();
  const MutexLock lock(mutex_);
  is_foreign_ = !read.ok();
  return read;
}

absl::Status CostKeeper::Read() {
  std::error_code error;
  if (!std::filesystem::is_regular_file(file_, error)) {
    return absl::InvalidArgumentError(absl::StrCat(file_.string(), " is not a file"));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file_.string(), kMaxBytes));
  ASSIGN_OR_RETURN(const json document, ParseStrictJsonObject(text));
  if (document.value("format", json()) != kFormat || !document.contains("models") ||
      !document["models"].is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat("it is not a file of costs: its format is not \"", kFormat, "\""));
  }
  Costs costs;
  for (const auto& [key, times] : document["models"].items()) {
    ASSIGN_OR_RETURN(costs[key], ParseTimes(times));
  }
  const MutexLock lock(mutex_);
  costs_ = std::move(costs);
  return absl::OkStatus();
}

std::string CostKeeper::KeyOf(const Model& model) const {
  return absl::StrCat(device_, ", ", model.version);
}

void CostKeeper::OnServe(const LoadedModelHandle& loaded) {
  const std::string key = KeyOf(*loaded->model);
  const MutexLock lock(mutex_);
  if (engine_ == nullptr) return;
  std::erase_if(served_, [](const auto& served) { return served.second.expired(); });
  served_[key] = loaded;
  if (const auto known = costs_.find(key); known != costs_.end()) {
    engine_->SetEvaluationTimes(PipelinesOf(loaded), known->second);
  }
  engine_->Measure(PipelinesOf(loaded));  // the device may be another one by now
}

void CostKeeper::Stop() {
  const MutexLock lock(mutex_);
  engine_ = nullptr;
}

absl::Status CostKeeper::Save() {
  const MutexLock lock(mutex_);
  if (file_.empty() || engine_ == nullptr || is_foreign_) return absl::OkStatus();
  for (const auto& [key, model] : served_) {
    const LoadedModelHandle loaded = model.lock();
    if (!loaded) continue;
    std::vector<EvaluationTime> times = engine_->EvaluationTimes(PipelinesOf(loaded));
    if (!times.empty()) costs_[key] = std::move(times);
  }
  while (costs_.size() > kMaxModels) costs_.erase(costs_.begin());
  json models = json::object();
  for (const auto& [key, times] : costs_) {
    json list = json::array();
    for (const auto& [rows, time] : times) list.push_back({rows, absl::ToDoubleSeconds(time)});
    models[key] = std::move(list);
  }
  return WriteFileAtomically(file_, json{{"format", kFormat}, {"models", models}}.dump(1) + "\n");
}

}  // namespace denoise
