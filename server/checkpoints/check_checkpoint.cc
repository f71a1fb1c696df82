#include "server/checkpoints/check_checkpoint.h"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/io/safetensors_dtype.h"
#include "core/io/weights.h"
#include "core/pipeline/single_file_layout.h"
#include "server/models/model_loader.h"
#include "server/models/models_root.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> DtypesOf(const Weights& weights) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : weights.tensors) {
    if (const auto* dtype = FindDtype(tensor.scalar_type())) names.emplace(dtype->name);
  }
  return {names.begin(), names.end()};
}

void Describe(const PipelineDescription& description, CheckpointReport& report) {
  report.family = description.source;
  report.ignored_keys = description.ignored_keys;
  report.ignored_parts = description.ignored_parts;
  report.parts.clear();
  for (const PartDescription& part : description.parts) report.parts.push_back({part, {}});
}

// Loads `model` as a server does, and adds what its files hold to `report`.
absl::Status TryToLoad(const ParsedPipeline& model, CheckpointReport& report) {
  Describe(model.description(), report);
  for (PartReport& part : report.parts) {
    if (const Weights* weights = model.FindWeights(part.part.name))
      part.dtypes = DtypesOf(*weights);
  }
  RETURN_IF_ERROR(DescribeModel(model, "model", {}).status());
  return model.Load({}).status();
}

absl::Status CheckFolder(const fs::path& folder, CheckpointReport& report) {
  ASSIGN_OR_RETURN(const ParsedPipeline configs, ParsedPipeline::OpenConfigs(folder));
  Describe(configs.description(), report);
  ASSIGN_OR_RETURN(const ParsedPipeline model, ParsedPipeline::Open(folder));
  return TryToLoad(model, report);
}

CheckpointReport ReportFolder(std::string name, const absl::StatusOr<fs::path>& folder) {
  CheckpointReport report{.name = std::move(name)};
  report.status = folder.ok() ? CheckFolder(*folder, report) : folder.status();
  return report;
}

std::string_view ClassOf(const SingleFileFamily& family, const std::string& part) {
  if (part == "unet") return "UNet2DConditionModel";
  if (part == "vae") return "AutoencoderKL";
  const auto text = std::find_if(family.texts.begin(), family.texts.end(),
                                 [&](const auto& candidate) { return candidate.part == part; });
  return text != family.texts.end() && text->projection ? "CLIPTextModelWithProjection"
                                                        : "CLIPTextModel";
}

std::vector<std::string> DtypesOf(const SafetensorsHeader& header, const PartOrigins& origins) {
  std::set<std::string> names;
  for (const auto& [name, origin] : origins) names.insert(header.tensors.at(origin.original).dtype);
  return {names.begin(), names.end()};
}

// Fills in what the file itself tells.
void DescribeLayout(const SafetensorsHeader& header, SingleFileLayout layout,
                    CheckpointReport& report) {
  KeepUsedText(layout);
  report.family = layout.family->name;
  report.ignored_tensors = layout.ignored;
  for (const auto& [part, origins] : layout.parts) {
    report.parts.push_back(
        {{part, std::string(ClassOf(*layout.family, part)), CountPartParameters(header, origins)},
         DtypesOf(header, origins)});
  }
}

// Names the first tensor of a dtype that holds no weights.
absl::Status CheckDtypes(const SafetensorsFile& file, const SingleFileLayout& layout) {
  for (const auto& [part, origins] : layout.parts) {
    for (const auto& [name, origin] : origins) {
      RETURN_IF_ERROR(file.Find(origin.original).status());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLayout(const fs::path& path, CheckpointReport& report) {
  ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  ASSIGN_OR_RETURN(SingleFileLayout layout, ReadSingleFileLayout(file.header()));
  DescribeLayout(file.header(), layout, report);
  return CheckDtypes(file, layout);
}

CheckpointReport ReportFile(const fs::path& path, const std::optional<fs::path>& configs) {
  CheckpointReport report{.name = Escaped(path.filename().string()),
                          .is_file = true,
                          .names_only = !configs.has_value()};
  report.status = WithoutExceptions([&] { return CheckLayout(path, report); });
  if (!report.status.ok() || !configs) return report;
  const auto model = ParsedPipeline::OpenSingleFile(path, *configs);
  report.status = model.ok() ? TryToLoad(*model, report) : model.status();
  return report;
}

// The models in `root`; empty if it holds none that is one.
std::vector<ModelEntry> ModelsIn(const fs::path& root) {
  absl::StatusOr<std::vector<ModelEntry>> entries = ListModels(root);
  if (!entries.ok()) return {};
  const bool any = std::any_of(entries->begin(), entries->end(),
                               [](const ModelEntry& entry) { return entry.folder.ok(); });
  return any ? *std::move(entries) : std::vector<ModelEntry>();
}

}  // namespace

int64_t CheckpointReport::num_parameters() const {
  int64_t parameters = 0;
  for (const PartReport& part : parts) parameters += part.part.num_parameters;
  return parameters;
}

int64_t CheckpointReport::MemoryBytes(at::ScalarType dtype) const {
  int64_t bytes = 0;
  for (const PartReport& part : parts) bytes += part.part.MemoryBytes(dtype);
  return bytes;
}

std::vector<CheckpointReport> CheckCheckpoints(const fs::path& path,
                                               const std::optional<fs::path>& configs) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return {ReportFile(path, configs)};
  std::vector<CheckpointReport> reports;
  for (const ModelEntry& entry : ModelsIn(path)) {
    reports.push_back(ReportFolder(entry.name, entry.folder));
  }
  if (reports.empty()) {
    const fs::path folder = fs::absolute(path / ".", error).lexically_normal().parent_path();
    reports.push_back(ReportFolder(Escaped(folder.filename().string()), FindModelFiles(folder)));
  }
  return reports;
}

}  // namespace denoise
