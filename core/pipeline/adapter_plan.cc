#include "core/pipeline/adapter_plan.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/base/utf8.h"
#include "core/json/strict_json.h"

namespace denoise {
namespace {

using Json = nlohmann::json;
using Layer = AdapterLayerNames::Layer;
using Shape = std::vector<int64_t>;

constexpr char kMetadata[] = "lora_adapter_metadata";
constexpr size_t kMaxViolations = 20;

// The tensors of one layer; empty names are not there.
struct Pieces {
  std::string down, up, alpha;

  std::string& operator[](AdapterPart part) {
    switch (part) {
      case AdapterPart::kDown:
        return down;
      case AdapterPart::kUp:
        return up;
      case AdapterPart::kAlpha:
        return alpha;
    }
    return alpha;
  }
};

int64_t NumbersOf(const SafetensorsHeader::Entry& entry) {
  int64_t numbers = 1;
  for (const int64_t size : entry.shape) numbers *= size;
  return numbers;
}

bool IsFloat(const std::string& dtype) {
  return dtype == "F64" || dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

bool IsInteger(const std::string& dtype) {
  return dtype == "I64" || dtype == "I32" || dtype == "I16" || dtype == "I8" || dtype == "U8";
}

// What adapters of the library say about one component.
struct ComponentMetadata {
  std::optional<double> alpha;
  bool root_of_rank = false;                              // Kalajdzievski 2023
  std::vector<std::pair<std::string, double>> of_layers;  // alphas by the ends of layers' names

  // nullopt: two ends of the layer's name have different alphas, and JSON keeps no order.
  std::optional<double> AlphaOf(std::string_view layer, int64_t rank) const {
    std::optional<double> found;
    for (const auto& [end, value] : of_layers) {
      if (layer != end && !layer.ends_with("." + end)) continue;
      if (found && *found != value) return std::nullopt;
      found = value;
    }
    return found ? *found : alpha.value_or(static_cast<double>(rank));
  }
};

class Planner {
 public:
  Planner(const SafetensorsHeader& header, const AdapterTarget& target)
      : header_(header), target_(target), names_(target) {}

  absl::StatusOr<AdapterPlan> Plan() {
    RETURN_IF_ERROR(ReadMetadata());
    for (const auto& [name, entry] : header_.tensors) Sort(name, entry);
    AdapterPlan plan;
    plan.texts.resize(target_.texts.size());
    for (const auto& [layer, pieces] : pieces_) PlanLayer(*layer, pieces, plan);
    RETURN_IF_ERROR(violations_.ToStatus());
    if (pieces_.empty()) return absl::InvalidArgumentError("holds no low-rank matrices");
    return plan;
  }

 private:
  void Violate(std::string_view name, std::string_view description) {
    if (violations_.violations().size() < kMaxViolations) {
      violations_.Add(Escaped(name), description);
    }
  }

  std::string ComponentName(size_t component) const {
    return component == 0 ? "unet" : target_.texts[component - 1].component;
  }

  absl::Status ReadMetadata();
  void ReadComponent(const Json& object, size_t component);
  void ReadAlphas(const std::string& key, const Json& pattern, ComponentMetadata& metadata);
  // Puts a tensor among the pieces of its layer.
  void Sort(const std::string& name, const SafetensorsHeader::Entry& entry);
  void PlanLayer(const Layer& layer, const Pieces& pieces, AdapterPlan& plan);
  // The rank of a pair whose shapes fit the layer; nullopt after a violation.
  std::optional<int64_t> CheckShapes(const Layer& layer, const Pieces& pieces);

  const SafetensorsHeader& header_;
  const AdapterTarget& target_;
  const AdapterLayerNames names_;
  std::vector<ComponentMetadata> metadata_;
  struct ByLayer {
    bool operator()(const Layer* a, const Layer* b) const {
      return std::pair(a->component, a->name) < std::pair(b->component, b->name);
    }
  };
  std::map<const Layer*, Pieces, ByLayer> pieces_;
  FieldViolations violations_;
};

absl::Status Planner::ReadMetadata() {
  metadata_.resize(1 + target_.texts.size());
  const auto found = header_.metadata.find(kMetadata);
  if (found == header_.metadata.end()) return absl::OkStatus();
  const absl::StatusOr<Json> object = ParseStrictJsonObject(found->second);
  if (!object.ok()) return InvalidField(kMetadata, std::string(object.status().message()));
  for (size_t i = 0; i < metadata_.size(); ++i) ReadComponent(*object, i);
  return violations_.ToStatus();
}

void Planner::ReadComponent(const Json& object, size_t component) {
  const auto find = [&](const std::string& key) -> const Json* {
    const auto found = object.find(ComponentName(component) + "." + key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
  };
  const auto field = [&](const char* key) {
    return absl::StrCat(kMetadata, ".", ComponentName(component), ".", key);
  };
  const auto is_set = [&](const char* key) {
    const Json* value = find(key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) Violate(field(key), "must be true or false");
    return value->is_boolean() && value->get<bool>();
  };
  ComponentMetadata& metadata = metadata_[component];
  if (const Json* alpha = find("lora_alpha")) {
    if (!alpha->is_number()) return Violate(field("lora_alpha"), "must be a number");
    metadata.alpha = alpha->get<double>();
  }
  metadata.root_of_rank = is_set("use_rslora");
  if (is_set("use_dora")) Violate(field("use_dora"), "is a DoRA, which is not supported");
  if (is_set("lora_bias")) Violate(field("lora_bias"), "is not supported");
  if (const Json* pattern = find("alpha_pattern")) {
    ReadAlphas(field("alpha_pattern"), *pattern, metadata);
  }
}

void Planner::ReadAlphas(const std::string& key, const Json& pattern, ComponentMetadata& metadata) {
  if (!pattern.is_object()) return Violate(key, "must be an object");
  for (const auto& [name, alpha] : pattern.items()) {
    if (!alpha.is_number()) return Violate(key, "must hold numbers");
    // The library takes them for regular expressions, and the ends of names are what it writes.
    if (name.find_first_of("*+?[](){}|^$\\") != std::string::npos) {
      return Violate(key, absl::StrCat(Quoted(name), " must be the name of a layer"));
    }
    metadata.of_layers.emplace_back(name, alpha.get<double>());
  }
}

void Planner::Sort(const std::string& name, const SafetensorsHeader::Entry& entry) {
  if (const auto kind = OtherAdapterKind(name)) {
    return Violate(name, absl::StrCat("is part of a ", std::string(*kind),
                                      ", which is not supported; only LoRA is"));
  }
  const std::optional<AdapterTensorName> parsed = ParseAdapterTensorName(name);
  if (!parsed) return Violate(name, "is not part of a LoRA");
  const Layer* layer = names_.Find(*parsed);
  if (layer == nullptr) {
    return Violate(name,
                   "belongs to a layer that the model does not have; is the adapter for "
                   "another one?");
  }
  // Trainers that keep alphas as whole numbers write them so.
  const bool is_number = parsed->part == AdapterPart::kAlpha && IsInteger(entry.dtype);
  if (!IsFloat(entry.dtype) && !is_number) {
    return Violate(
        name, absl::StrCat("is of dtype ", entry.dtype, "; adapters are F64, F32, F16 or BF16"));
  }
  std::string& piece = pieces_[layer][parsed->part];
  if (!piece.empty()) {
    return Violate(name, absl::StrCat("changes the same layer as ", Quoted(piece)));
  }
  piece = name;
}

// Without ones at the end, but for the first two numbers.
Shape Trimmed(Shape shape) {
  while (shape.size() > 2 && shape.back() == 1) shape.pop_back();
  return shape;
}

std::string Shown(const Shape& shape) { return absl::StrCat("[", absl::StrJoin(shape, ", "), "]"); }

std::optional<int64_t> Planner::CheckShapes(const Layer& layer, const Pieces& pieces) {
  const Shape weight = Trimmed(*layer.shape);
  const Shape& down = header_.tensors.at(pieces.down).shape;
  const Shape& up = header_.tensors.at(pieces.up).shape;
  const int64_t rank = down.empty() ? 0 : down.front();
  if (rank < 1 || rank > kMaxAdapterRank) {
    Violate(pieces.down, absl::StrCat("must have a rank between 1 and ", kMaxAdapterRank,
                                      ", has shape ", Shown(down)));
    return std::nullopt;
  }
  Shape wanted_down = weight;
  wanted_down.front() = rank;
  const Shape wanted_up = {weight.front(), rank};
  const auto check = [&](const std::string& name, const Shape& shape, const Shape& wanted) {
    if (Trimmed(shape) == wanted && shape.size() <= 4) return true;
    Violate(name, absl::StrCat("has shape ", Shown(shape), ", must have ", Shown(wanted),
                               " for this model; is the adapter for another one?"));
    return false;
  };
  const bool down_fits = check(pieces.down, down, wanted_down);
  return check(pieces.up, up, wanted_up) && down_fits ? std::optional(rank) : std::nullopt;
}

void Planner::PlanLayer(const Layer& layer, const Pieces& pieces, AdapterPlan& plan) {
  if (pieces.down.empty() || pieces.up.empty()) {
    const std::string& there = !pieces.down.empty() ? pieces.down
                               : !pieces.up.empty() ? pieces.up
                                                    : pieces.alpha;
    return Violate(there, absl::StrCat("has no ", pieces.down.empty() ? "down" : "up",
                                       "-projection beside it"));
  }
  const std::optional<int64_t> rank = CheckShapes(layer, pieces);
  if (!rank) return;
  if (!pieces.alpha.empty()) {
    const Shape& shape = header_.tensors.at(pieces.alpha).shape;
    if (std::any_of(shape.begin(), shape.end(), [](int64_t size) { return size != 1; })) {
      return Violate(pieces.alpha, "must be one number");
    }
  }
  const ComponentMetadata& metadata = metadata_[layer.component];
  const auto of_rank = static_cast<double>(*rank);
  const std::optional<double> alpha = metadata.AlphaOf(layer.name, *rank);
  if (!alpha) {
    return Violate(pieces.down, "has two alphas in the alpha_pattern of the file's metadata");
  }
  for (const std::string* name : {&pieces.down, &pieces.up}) {
    plan.num_parameters += NumbersOf(header_.tensors.at(*name));
  }
  PlannedPairs& pairs = layer.component == 0 ? plan.network : plan.texts[layer.component - 1];
  pairs[std::string(layer.name)] = {
      .down = pieces.down,
      .up = pieces.up,
      .alpha = pieces.alpha,
      .alpha_value = *alpha,
      .divisor = metadata.root_of_rank ? std::sqrt(of_rank) : of_rank};
}

// What trainers call the model that they trained an adapter for.
std::string BaseModelOf(const SafetensorsHeader& header) {
  constexpr size_t kMaxBytes = 100;
  for (const char* key : {"ss_base_model_version", "modelspec.architecture"}) {
    const auto found = header.metadata.find(key);
    if (found == header.metadata.end() || found->second.empty()) continue;
    const bool is_short_text = found->second.size() <= kMaxBytes && IsUtf8(found->second);
    return is_short_text ? found->second : Escaped(found->second.substr(0, kMaxBytes / 4));
  }
  return "";
}

}  // namespace

absl::StatusOr<AdapterPlan> PlanAdapter(const SafetensorsHeader& header,
                                        const AdapterTarget& target) {
  return Planner(header, target).Plan();
}

AdapterSummary Summarize(const SafetensorsHeader& header) {
  AdapterSummary summary{.base_model = BaseModelOf(header)};
  for (const auto& [name, entry] : header.tensors) {
    if (const auto kind = OtherAdapterKind(name)) {
      summary.error = absl::InvalidArgumentError(
          absl::StrCat("is a ", std::string(*kind), ", which is not supported; only LoRA is"));
    }
    const auto parsed = ParseAdapterTensorName(name);
    if (!parsed || parsed->part == AdapterPart::kAlpha || entry.shape.empty()) continue;
    summary.num_parameters += NumbersOf(entry);
    if (parsed->part != AdapterPart::kDown) continue;
    summary.rank = std::min(std::max(summary.rank, entry.shape.front()), kMaxAdapterRank);
  }
  if (summary.num_parameters == 0 && summary.error.ok()) {
    summary.error = absl::InvalidArgumentError("holds no low-rank matrices");
  }
  return summary;
}

}  // namespace denoise
