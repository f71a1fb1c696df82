#include "core/pipeline/pipeline_writer.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/files/atomic_file.h"
#include "core/files/atomic_folder.h"
#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/io/weights.h"
#include "core/pipeline/pipeline_index.h"

namespace denoise {
namespace {

// The index with the components in `ignored` declared absent, since their folders are not written.
std::string WithoutComponents(const std::string& index, const std::vector<std::string>& ignored) {
  auto json = nlohmann::ordered_json::parse(index);
  for (const std::string& component : ignored) json[component] = {nullptr, nullptr};
  return json.dump(2) + "\n";
}

// One tensor at a time, which is all that is ever in memory.
absl::Status WriteWeights(const std::filesystem::path& path, const Weights& weights) {
  std::map<std::string, SafetensorsWriter::TensorSpec> specs;
  for (const auto& [name, tensor] : weights.tensors) {
    specs[name] = {tensor.scalar_type(), tensor.sizes().vec()};
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(path, specs, WeightsMetadata()));
  for (const std::string& name : writer.order()) {
    ASSIGN_OR_RETURN(const at::Tensor tensor, InFile(weights.file, weights.tensors.at(name).Get()));
    RETURN_IF_ERROR(writer.Append(tensor));
  }
  return writer.Commit();
}

absl::Status Write(const std::filesystem::path& path, const ParsedPipeline& model) {
  ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(path));
  RETURN_IF_ERROR(WritePipelineTexts(folder, model.Texts(), model.description().ignored_parts));
  for (const PartDescription& part : model.description().parts) {
    const Weights* weights = model.FindWeights(part.name);
    if (weights == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat("there are no weights of ", part.name));
    }
    const std::string name = WeightsFileOf(part);
    RETURN_IF_ERROR(InFile(name, WriteWeights(folder.path() / name, *weights)));
  }
  return folder.Commit();
}

}  // namespace

absl::Status WritePipeline(const std::filesystem::path& folder, const ParsedPipeline& model) {
  return WithoutExceptions([&] { return Write(folder, model); });
}

absl::Status WritePipelineTexts(const AtomicFolder& folder,
                                std::map<std::string, std::string> texts,
                                const std::vector<std::string>& ignored) {
  if (!ignored.empty()) {
    std::string& index = texts.at(kModelIndexFile);
    index = WithoutComponents(index, ignored);
  }
  std::set<std::string> folders;
  for (const auto& [name, text] : texts) {
    const std::string parent = std::filesystem::path(name).parent_path().string();
    if (!parent.empty() && folders.insert(parent).second) {
      RETURN_IF_ERROR(folder.MakeFolder(parent));
    }
    RETURN_IF_ERROR(InFile(name, WriteFileAtomically(folder.path() / name, text)));
  }
  return absl::OkStatus();
}

std::string WeightsFileOf(const PartDescription& part) {
  const bool is_text = part.name.starts_with("text_encoder");
  return absl::StrCat(part.name, is_text ? "/model" : "/diffusion_pytorch_model", ".safetensors");
}

const std::map<std::string, std::string>& WeightsMetadata() {
  static const std::map<std::string, std::string> kMetadata = {{"format", "pt"}};
  return kMetadata;
}

}  // namespace denoise
