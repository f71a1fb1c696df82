#include "core/pipeline/new_pipeline.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/codec/create_codec.h"
#include "core/io/model_folder.h"
#include "core/io/safetensors.h"
#include "core/nn/unet2d.h"
#include "core/nn/unet2d_condition.h"
#include "core/pipeline/latent_configs.h"
#include "core/pipeline/latent_description.h"
#include "core/pipeline/latent_family.h"
#include "core/pipeline/pipeline_index.h"
#include "core/pipeline/pipeline_writer.h"
#include "core/pipeline/published_configs.h"
#include "core/text/encoders/clip_text_encoder.h"
#include "core/text/tokenizers/byte_tokenizer.h"

namespace denoise {
namespace {

using Texts = std::map<std::string, std::string>;

absl::StatusOr<PipelineIndex> ReadIndex(const Texts& texts) {
  const auto index = texts.find(kModelIndexFile);
  if (index != texts.end()) return InFile(kModelIndexFile, ParsePipelineIndex(index->second));
  return absl::InvalidArgumentError(absl::StrCat("there is no ", kModelIndexFile));
}

absl::StatusOr<const LatentFamily*> FamilyOf(const PipelineIndex& index) {
  if (const LatentFamily* family = FindLatentFamily(index.pipeline)) return family;
  return InFile(kModelIndexFile,
                InvalidField("_class_name", absl::StrCat(Quoted(index.pipeline),
                                                         " is no pipeline of a latent model")));
}

// The components that a new model goes without.
std::vector<std::string> UnusedComponents(const PipelineIndex& index) {
  std::vector<std::string> unused;
  for (const std::string_view name : kUnusedComponents) {
    if (index.components.contains(std::string(name))) unused.emplace_back(name);
  }
  return unused;
}

nn::WeightInitializer InitializerOf(const std::string& part, const LatentConfigs& configs) {
  const auto text = std::find_if(configs.texts.begin(), configs.texts.end(),
                                 [&](const TextPart& each) { return each.encoder == part; });
  if (text != configs.texts.end()) return ClipTextInitializer(text->config);
  if (part != kUnet) return CodecInitializer(configs.codec);
  const auto* unet = std::get_if<UNet2DConfig>(&configs.network);
  return unet != nullptr
             ? UNet2DInitializer(*unet)
             : UNet2DConditionInitializer(std::get<UNet2DConditionConfig>(configs.network));
}

absl::Status WriteNewWeights(const std::filesystem::path& file, const PartDescription& part,
                             const nn::WeightInitializer& initializer, uint64_t seed,
                             const NewPipelineOptions& options) {
  std::map<std::string, SafetensorsWriter::TensorSpec> specs;
  for (auto& [name, shape] : initializer.Shapes()) specs[name] = {options.dtype, shape};
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(file, specs, WeightsMetadata()));
  int64_t written = 0;
  const auto report = [&] {
    return options.progress ? options.progress(part, written) : absl::OkStatus();
  };
  // All have one dtype, so the writer, too, wants them in the order of their names.
  const auto append = [&](const std::string&, const at::Tensor& tensor) -> absl::Status {
    RETURN_IF_ERROR(writer.Append(tensor.to(options.dtype)));
    written += tensor.numel();
    return report();
  };
  RETURN_IF_ERROR(report());
  RETURN_IF_ERROR(initializer.MakeEach(seed, append));
  return writer.Commit();
}

absl::Status Write(const std::filesystem::path& path, const Texts& texts,
                   const NewPipelineOptions& options) {
  ASSIGN_OR_RETURN(const PipelineIndex index, ReadIndex(texts));
  ASSIGN_OR_RETURN(const LatentFamily* family, FamilyOf(index));
  ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(path));
  RETURN_IF_ERROR(WritePipelineTexts(folder, texts, UnusedComponents(index)));
  ASSIGN_OR_RETURN(const ModelFolder model, ModelFolder::Open(folder.path()));
  ASSIGN_OR_RETURN(const LatentConfigs configs, ReadLatentConfigs(model, *family));
  ASSIGN_OR_RETURN(const PipelineDescription description, DescribeLatentModel(configs, *family));
  uint64_t seed = options.seed;
  for (const PartDescription& part : description.parts) {
    const std::string file = WeightsFileOf(part);
    RETURN_IF_ERROR(
        InFile(file, WriteNewWeights(folder.path() / file, part, InitializerOf(part.name, configs),
                                     seed++, options)));
  }
  return folder.Commit();
}

absl::StatusOr<ClipTokenizerFiles> ReadTokenizer(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  ClipTokenizerFiles files;
  bool any = false;
  for (const ClipTokenizerFile& file : kClipTokenizerFiles) {
    if (!folder.HasFile(file.name)) continue;
    ASSIGN_OR_RETURN(files.*file.text, folder.ReadText(file.name, kMaxTokenizerFileBytes));
    any = true;
  }
  if (any) return files;
  return absl::NotFoundError("the folder of the tokenizer holds no vocab.json or tokenizer.json");
}

}  // namespace

absl::Status WriteNewPipeline(const std::filesystem::path& folder, const Texts& texts,
                              const NewPipelineOptions& options) {
  return WithoutExceptions([&] { return Write(folder, texts, options); });
}

absl::StatusOr<Texts> PublishedTexts(std::string_view name,
                                     const std::filesystem::path& tokenizer) {
  const Texts* configs = FindPublishedConfigs(name);
  if (configs == nullptr) {
    return absl::NotFoundError(absl::StrCat("there is no model ", Quoted(name), "; choose ",
                                            absl::StrJoin(PublishedConfigNames(), " or ")));
  }
  ClipTokenizerFiles files = ByteTokenizerFiles();
  if (!tokenizer.empty()) {
    ASSIGN_OR_RETURN(files, ReadTokenizer(tokenizer));
  }
  Texts texts = *configs;
  ASSIGN_OR_RETURN(const PipelineIndex index, ReadIndex(texts));
  ASSIGN_OR_RETURN(const LatentFamily* family, FamilyOf(index));
  for (const LatentFamily::TextPart& part : family->texts) {
    for (const ClipTokenizerFile& file : kClipTokenizerFiles) {
      const std::string path = absl::StrCat(std::string(part.tokenizer), "/", file.name);
      if (files.*file.text) texts[path] = *(files.*file.text);
    }
  }
  return texts;
}

}  // namespace denoise
