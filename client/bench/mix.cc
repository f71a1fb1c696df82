#include "client/bench/mix.h"

#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

constexpr size_t kMostEntries = 64;
constexpr size_t kMostChoices = 1000;
constexpr double kLargestWeight = 1e6;
constexpr int64_t kLargestSeed = std::numeric_limits<int32_t>::max();

constexpr const char* kPrompts[] = {
    "a photograph of a red fox in the snow",
    "a watercolor painting of a harbor at dawn, with fishing boats and gulls",
    "a wooden chair",
    "an isometric drawing of a small library, with shelves, lamps and a reading desk by the window",
};

void ReadPrompts(ConfigReader& reader, std::vector<std::string>& prompts) {
  const nlohmann::json* const list = reader.Find("prompts");
  if (list == nullptr) return;
  if (reader.Has("prompt")) return reader.Violate("prompts", "cannot be combined with prompt");
  if (!list->is_array() || list->empty() || list->size() > kMostChoices) {
    return reader.Violate("prompts", absl::StrCat("must be a list of 1 to ", kMostChoices));
  }
  for (const nlohmann::json& prompt : *list) {
    if (!prompt.is_string()) return reader.Violate("prompts", "must be a list of strings");
    prompts.push_back(prompt.get<std::string>());
  }
}

absl::StatusOr<MixEntry> ParseEntry(const nlohmann::json& object) {
  if (!object.is_object()) return absl::InvalidArgumentError("must be an object");
  MixEntry entry;
  ConfigReader reader(object, ConfigReader::Null::kValue);
  reader.Read("weight", entry.weight);
  if (!(entry.weight > 0 && entry.weight <= kLargestWeight)) {
    reader.Violate("weight", absl::StrCat("must be above 0 and at most ", kLargestWeight));
  }
  ReadLoadRequest(reader, entry.request);
  ReadPrompts(reader, entry.prompts);
  reader.Read("class_labels", entry.class_labels, kMostChoices,
              {0, std::numeric_limits<int32_t>::max()});
  RETURN_IF_ERROR(reader.Finish("an entry of a mix"));
  return entry;
}

MixEntry DefaultEntry(double weight, int steps) {
  constexpr int kFrameEvery = 5;
  MixEntry entry{.weight = weight};
  entry.request.entry = absl::StrCat(steps, " steps");
  entry.request.request.mutable_sampler()->set_steps(steps);
  entry.request.request.mutable_frames()->set_every_n_steps(kFrameEvery);
  return entry;
}

const MixEntry& DrawEntry(const Mix& mix, SeededRandom& random) {
  const double total =
      std::accumulate(mix.begin(), mix.end(), 0.0,
                      [](double sum, const MixEntry& entry) { return sum + entry.weight; });
  double left = random.Uniform() * total;
  for (const MixEntry& entry : mix) {
    left -= entry.weight;
    if (left < 0) return entry;
  }
  return mix.back();
}

}  // namespace

absl::StatusOr<Mix> ParseMix(std::string_view json) {
  ASSIGN_OR_RETURN(const nlohmann::json list, ParseStrictJson(json));
  if (!list.is_array() || list.empty() || list.size() > kMostEntries) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be a JSON list of 1 to ", kMostEntries, " entries"));
  }
  Mix mix;
  std::set<std::string> names;
  FieldViolations violations;
  for (size_t i = 0; i < list.size(); ++i) {
    absl::StatusOr<MixEntry> entry = ParseEntry(list[i]);
    violations.AddAll(absl::StrCat("[", i, "]."), entry.status());
    if (!entry.ok()) continue;
    if (!names.insert(entry->request.entry).second) {
      violations.Add(absl::StrCat("[", i, "].name"),
                     absl::StrCat("must differ from the others; is ", entry->request.entry));
    }
    mix.push_back(*std::move(entry));
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return mix;
}

Mix DefaultMix() {
  return {DefaultEntry(4, 5), DefaultEntry(3, 10), DefaultEntry(2, 20), DefaultEntry(1, 50)};
}

void CompleteEntry(const denoised::v1::Model& model, MixEntry& entry) {
  entry.request.request.set_model(model.name());
  const bool has_prompt = entry.request.request.has_prompt() || !entry.prompts.empty();
  if (model.takes_prompts() && !has_prompt) {
    entry.prompts.assign(std::begin(kPrompts), std::end(kPrompts));
  }
  const bool has_class = entry.request.request.has_class_label() || !entry.class_labels.empty();
  if (has_class) return;
  for (const denoised::v1::ModelClass& one : model.classes()) {
    entry.class_labels.push_back(one.label());
  }
}

LoadRequest DrawRequest(const Mix& mix, SeededRandom& random) {
  const MixEntry& entry = DrawEntry(mix, random);
  LoadRequest load = entry.request;
  if (!entry.prompts.empty()) {
    load.request.set_prompt(entry.prompts[random.Below(entry.prompts.size())]);
  }
  if (!entry.class_labels.empty()) {
    load.request.set_class_label(
        static_cast<int32_t>(entry.class_labels[random.Below(entry.class_labels.size())]));
  }
  if (!load.request.has_seed()) load.request.set_seed(random.Below(kLargestSeed));
  return load;
}

}  // namespace denoise
