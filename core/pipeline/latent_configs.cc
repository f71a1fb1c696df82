#include "core/pipeline/latent_configs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/codec/create_codec.h"
#include "core/io/scheduler_of_index.h"

namespace denoise {
namespace {

// The files of one folder, remembered for its version.
class FileReader {
 public:
  explicit FileReader(const ModelFolder& folder) : folder_(folder) {}

  absl::StatusOr<std::string> Read(const std::string& file, size_t max_bytes) {
    ASSIGN_OR_RETURN(std::string text, folder_.ReadText(file, max_bytes));
    files_[file] = text;
    return text;
  }
  bool Has(const std::string& file) const { return folder_.HasFile(file); }
  std::map<std::string, std::string> TakeFiles() { return std::move(files_); }

 private:
  const ModelFolder& folder_;
  std::map<std::string, std::string> files_;
};

// The class of `component`, which must be one of `supported`.
absl::StatusOr<std::string> ClassOf(const PipelineIndex& index, const std::string& component,
                                    const std::vector<std::string>& supported) {
  const auto found = index.components.find(component);
  if (found == index.components.end()) {
    return InvalidField(component, absl::StrCat("must be there: a ", index.pipeline, " has one"));
  }
  if (std::find(supported.begin(), supported.end(), found->second) != supported.end()) {
    return found->second;
  }
  return InvalidField(component, absl::StrCat(Quoted(found->second), " is not supported; ",
                                              absl::StrJoin(supported, " and "),
                                              supported.size() == 1 ? " is" : " are"));
}

absl::Status RefuseOtherComponents(const PipelineIndex& index, const LatentFamily& family) {
  FieldViolations violations;
  for (const auto& [name, unused] : index.components) {
    const auto is_text = [&](const LatentFamily::TextPart& part) {
      return part.tokenizer == name || part.encoder == name;
    };
    if (name == kUnet || name == kScheduler || name == family.codec ||
        std::any_of(family.texts.begin(), family.texts.end(), is_text) ||
        std::find(kUnusedComponents.begin(), kUnusedComponents.end(), name) !=
            kUnusedComponents.end()) {
      continue;
    }
    violations.Add(Quoted(name),
                   absl::StrCat("a ", index.pipeline, " with this component is not supported"));
  }
  return violations.ToStatus();
}

absl::StatusOr<std::shared_ptr<const ClipTokenizer>> ReadTokenizer(const std::string& folder,
                                                                   FileReader& reader) {
  ClipTokenizerFiles files;
  for (const ClipTokenizerFile& file : kClipTokenizerFiles) {
    const std::string name = absl::StrCat(folder, "/", file.name);
    if (!reader.Has(name)) continue;
    ASSIGN_OR_RETURN(files.*file.text, reader.Read(name, kMaxTokenizerFileBytes));
  }
  return InFile(folder, ClipTokenizer::Parse(files));
}

absl::StatusOr<TextPart> ReadTextPart(const LatentFamily::TextPart& names, FileReader& reader) {
  TextPart part{.tokenizer = std::string(names.tokenizer), .encoder = std::string(names.encoder)};
  const std::string file = part.encoder + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  ASSIGN_OR_RETURN(part.config, InFile(file, ParseClipTextConfig(text)));
  ASSIGN_OR_RETURN(part.tokens, ReadTokenizer(part.tokenizer, reader));
  if (part.tokens->id_limit() > part.config.vocab_size) {
    return InFile(
        file, InvalidField("vocab_size",
                           absl::StrCat("is ", part.config.vocab_size, ", but ids of ",
                                        part.tokenizer, " reach ", part.tokens->id_limit() - 1)));
  }
  if (static_cast<int64_t>(part.tokens->max_length()) > part.config.max_position_embeddings) {
    return InFile(file, InvalidField("max_position_embeddings",
                                     absl::StrCat("is ", part.config.max_position_embeddings,
                                                  ", but texts of ", part.tokenizer, " have ",
                                                  part.tokens->max_length(), " tokens")));
  }
  return part;
}

absl::StatusOr<std::vector<TextPart>> ReadTexts(const PipelineIndex& index,
                                                const LatentFamily& family, FileReader& reader) {
  std::vector<TextPart> texts;
  for (const LatentFamily::TextPart& names : family.texts) {
    const std::string encoder(names.encoder);
    if (!index.components.contains(encoder)) continue;
    RETURN_IF_ERROR(
        InFile(kModelIndexFile,
               ClassOf(index, encoder, {"CLIPTextModel", "CLIPTextModelWithProjection"}).status()));
    ASSIGN_OR_RETURN(TextPart part, ReadTextPart(names, reader));
    if (!part.config.with_projection) {
      part.config.with_projection = index.components.at(encoder) == "CLIPTextModelWithProjection";
    }
    texts.push_back(std::move(part));
  }
  if (texts.empty() && !family.texts.empty()) {
    return InFile(kModelIndexFile, InvalidField("text_encoder", "must be there"));
  }
  return texts;
}

absl::StatusOr<decltype(LatentConfigs::network)> ReadNetwork(const PipelineIndex& index,
                                                             FileReader& reader) {
  ASSIGN_OR_RETURN(
      const std::string name,
      InFile(kModelIndexFile, ClassOf(index, kUnet, {"UNet2DConditionModel", "UNet2DModel"})));
  const std::string file = kUnetConfigFile;
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  if (name == "UNet2DModel") {
    ASSIGN_OR_RETURN(UNet2DConfig config, InFile(file, ParseUNet2DConfig(text)));
    return config;
  }
  ASSIGN_OR_RETURN(UNet2DConditionConfig config, InFile(file, ParseUNet2DConditionConfig(text)));
  return config;
}

absl::StatusOr<AutoencoderConfig> ReadCodec(const PipelineIndex& index, const LatentFamily& family,
                                            FileReader& reader) {
  const std::string component(family.codec);
  RETURN_IF_ERROR(
      InFile(kModelIndexFile,
             ClassOf(index, component, {"AutoencoderKL", "AutoencoderTiny", "VQModel"}).status()));
  const std::string file = component + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  return InFile(file, ParseAutoencoderConfig(text));
}

absl::StatusOr<SchedulerConfig> ReadScheduler(const PipelineIndex& index,
                                              const LatentFamily& family, FileReader& reader) {
  constexpr const char* file = kSchedulerConfigFile;
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  const auto named = index.components.find(kScheduler);
  if (named == index.components.end()) {
    return InFile(kModelIndexFile, InvalidField(kScheduler, "must be there"));
  }
  ASSIGN_OR_RETURN(SchedulerConfig scheduler,
                   ParseSchedulerOfIndex(named->second, kModelIndexFile, text, file));
  if (family.corrects_scheduler) {
    scheduler.sampler.steps_offset = 1;
    scheduler.sampler.clip_sample = false;
  }
  return scheduler;
}

// How many numbers the network takes beside the pooled text; 0 if the sizes are inconsistent.
int64_t NumTimeIds(const UNet2DConditionConfig& unet, const std::vector<TextPart>& texts) {
  if (!unet.text_time || texts.empty()) return 0;
  const int64_t left = unet.text_time->input_dim - texts.back().pooled_width();
  return left > 0 && left % unet.text_time->number_dim == 0 ? left / unet.text_time->number_dim : 0;
}

}  // namespace

absl::StatusOr<LatentConfigs> ReadLatentConfigs(const ModelFolder& folder,
                                                const LatentFamily& family) {
  FileReader reader(folder);
  LatentConfigs configs;
  ASSIGN_OR_RETURN(const std::string index, reader.Read(kModelIndexFile, kMaxPipelineConfigBytes));
  ASSIGN_OR_RETURN(configs.index, InFile(kModelIndexFile, ParsePipelineIndex(index)));
  RETURN_IF_ERROR(InFile(kModelIndexFile, RefuseOtherComponents(configs.index, family)));
  ASSIGN_OR_RETURN(configs.network, ReadNetwork(configs.index, reader));
  ASSIGN_OR_RETURN(configs.codec, ReadCodec(configs.index, family, reader));
  ASSIGN_OR_RETURN(configs.texts, ReadTexts(configs.index, family, reader));
  if (const auto* unet = std::get_if<UNet2DConditionConfig>(&configs.network)) {
    configs.options = {.sample_channels = CodecSpecOf(configs.codec).latent_channels,
                       .num_time_ids = NumTimeIds(*unet, configs.texts)};
  }
  ASSIGN_OR_RETURN(configs.scheduler, ReadScheduler(configs.index, family, reader));
  configs.files = reader.TakeFiles();
  return configs;
}

}  // namespace denoise
