#include "core/pipeline/latent_pipeline.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"
#include "core/codec/create_codec.h"
#include "core/io/model_folder.h"
#include "core/io/weights.h"
#include "core/nn/unet2d.h"
#include "core/nn/unet2d_condition.h"
#include "core/pipeline/clip_prompts.h"
#include "core/pipeline/pipeline_index.h"
#include "core/pipeline/single_file.h"

namespace denoise {
namespace {

constexpr size_t kVersionDigits = 32;  // 128 bits

constexpr char kUnet[] = "unet";
constexpr char kScheduler[] = "scheduler";
constexpr char kDiffusersStem[] = "diffusion_pytorch_model";
constexpr char kTransformersStem[] = "model";

// Components that pipelines work without: they judge pictures, or encode ones that guide.
constexpr std::array<std::string_view, 3> kUnusedComponents = {
    "safety_checker", "feature_extractor", "image_encoder"};

using NetworkConfig = std::variant<UNet2DConditionConfig, UNet2DConfig>;

// `parsed`, with the file in its error.
template <typename Value>
absl::StatusOr<Value> Named(const std::string& file, absl::StatusOr<Value> parsed) {
  if (!parsed.ok()) return InFile(file, parsed.status());
  return parsed;
}

// The most that the weights of `parameters` numbers can take in files: every one in the widest
// type, the names, and as much again for what is not used.
size_t MaxWeightsBytes(int64_t parameters) {
  constexpr size_t kHeaderBytes = size_t{100} << 20;
  return 2 * static_cast<size_t>(parameters) * sizeof(double) + kHeaderBytes;
}

// The parameters of a text encoder.
int64_t CountTextParameters(const ClipTextConfig& config) {
  const int64_t width = config.hidden_size, inner = config.intermediate_size;
  const int64_t attention = 4 * width * (width + 1), norm = 2 * width;
  const int64_t mlp = 2 * width * inner + inner + width;
  const int64_t embeddings = (config.vocab_size + config.max_position_embeddings) * width;
  return embeddings + config.num_hidden_layers * (attention + mlp + 2 * norm) + norm +
         (config.with_projection.value_or(false) ? config.projection_dim * width : 0);
}

// One text encoder and its tokenizer.
struct TextPart {
  std::string tokenizer;  // names of their folders
  std::string encoder;
  std::shared_ptr<const ClipTokenizer> tokens;
  ClipTextConfig config;

  int64_t pooled_width() const {
    return config.with_projection.value_or(true) ? config.projection_dim : config.hidden_size;
  }
};

struct Configs {
  PipelineIndex index;
  NetworkConfig network;
  UNet2DConditionOptions options;  // of a UNet2DCondition
  AutoencoderConfig codec;
  std::vector<TextPart> texts;
  std::map<std::string, std::string> files;  // the texts of all configurations, by name
};

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
  return Named(folder, ClipTokenizer::Parse(files));
}

absl::StatusOr<TextPart> ReadTextPart(const LatentFamily::TextPart& names, FileReader& reader) {
  TextPart part{.tokenizer = std::string(names.tokenizer), .encoder = std::string(names.encoder)};
  const std::string file = part.encoder + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  ASSIGN_OR_RETURN(part.config, Named(file, ParseClipTextConfig(text)));
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

absl::StatusOr<NetworkConfig> ReadNetwork(const PipelineIndex& index, FileReader& reader) {
  absl::StatusOr<std::string> name = ClassOf(index, kUnet, {"UNet2DConditionModel", "UNet2DModel"});
  if (!name.ok()) return InFile(kModelIndexFile, name.status());
  const std::string file = "unet/config.json";
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  if (*name == "UNet2DModel") {
    ASSIGN_OR_RETURN(UNet2DConfig config, Named(file, ParseUNet2DConfig(text)));
    return config;
  }
  ASSIGN_OR_RETURN(UNet2DConditionConfig config, Named(file, ParseUNet2DConditionConfig(text)));
  return config;
}

absl::StatusOr<AutoencoderConfig> ReadCodec(const PipelineIndex& index, const LatentFamily& family,
                                            FileReader& reader) {
  const std::string component(family.codec);
  const absl::StatusOr<std::string> name =
      ClassOf(index, component, {"AutoencoderKL", "AutoencoderTiny", "VQModel"});
  if (!name.ok()) return InFile(kModelIndexFile, name.status());
  const std::string file = component + "/config.json";
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  return Named(file, ParseAutoencoderConfig(text));
}

absl::StatusOr<SchedulerConfig> ReadScheduler(const LatentFamily& family, FileReader& reader) {
  const std::string file = "scheduler/scheduler_config.json";
  ASSIGN_OR_RETURN(const std::string text, reader.Read(file, kMaxPipelineConfigBytes));
  ASSIGN_OR_RETURN(SchedulerConfig scheduler, Named(file, ParseSchedulerConfig(text)));
  if (family.corrects_scheduler) {
    scheduler.sampler.steps_offset = 1;
    scheduler.sampler.clip_sample = false;
  }
  return scheduler;
}

// How many numbers beside the pooled text the network is told. 0 where the sizes make no sense.
int64_t NumTimeIds(const UNet2DConditionConfig& unet, const std::vector<TextPart>& texts) {
  if (!unet.text_time || texts.empty()) return 0;
  const int64_t left = unet.text_time->input_dim - texts.back().pooled_width();
  return left > 0 && left % unet.text_time->number_dim == 0 ? left / unet.text_time->number_dim : 0;
}

absl::StatusOr<NetworkSpec> SpecOf(const Configs& configs) {
  if (const auto* unet = std::get_if<UNet2DConfig>(&configs.network)) return NetworkSpecOf(*unet);
  const auto& unet = std::get<UNet2DConditionConfig>(configs.network);
  ASSIGN_OR_RETURN(NetworkSpec spec, NetworkSpecOf(unet, configs.options));
  spec.num_parameters = CountUNet2DConditionParameters(unet);
  return spec;
}

// Checks that the parts, each valid by itself, fit together.
absl::Status CheckConsistency(const NetworkSpec& network, const CodecSpec& codec,
                              const std::vector<TextPart>& texts) {
  if (network.sample.channels != codec.latent_channels) {
    return InvalidField(
        "in_channels",
        absl::StrCat("the network denoises ", network.sample.channels,
                     " channels, but the codec's latents have ", codec.latent_channels));
  }
  if (network.condition_channels != 0 && network.condition_channels != codec.latent_channels + 1) {
    return InvalidField("in_channels",
                        absl::StrCat("must be ", codec.latent_channels, ", or ",
                                     2 * codec.latent_channels + 1, " where the network inpaints"));
  }
  if (network.num_time_ids != 0 && network.num_time_ids != 5 && network.num_time_ids != 6) {
    return InvalidField("projection_class_embeddings_input_dim",
                        "must leave 6 numbers beside the pooled text, or 5 for a refiner");
  }
  if (!texts.empty() && network.num_class_embeds > 0) {
    return InvalidField("num_class_embeds", "must be null: models that read text have no classes");
  }
  for (const TextPart& part : texts) {
    if (part.tokens->max_length() == texts.front().tokens->max_length()) continue;
    return InvalidField(
        "model_max_length",
        absl::StrCat("of ", part.tokenizer, " is ", part.tokens->max_length(), ", but that of ",
                     texts.front().tokenizer, " is ", texts.front().tokens->max_length()));
  }
  int64_t text_width = 0;
  for (const TextPart& part : texts) text_width += part.config.hidden_size;
  if (network.text_width != text_width) {
    return InvalidField("cross_attention_dim",
                        absl::StrCat("is ", network.text_width, ", but the text encoders' states ",
                                     "have ", text_width, " numbers"));
  }
  if (network.pooled_text_width > 0 && network.pooled_text_width != texts.back().pooled_width()) {
    return InvalidField(
        "projection_class_embeddings_input_dim",
        absl::StrCat("leaves ", network.pooled_text_width, " for the pooled text, which has ",
                     texts.back().pooled_width()));
  }
  return absl::OkStatus();
}

std::vector<std::string> IgnoredKeysOf(const Configs& configs, const LatentFamily& family,
                                       const SchedulerConfig& scheduler) {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& file, const std::vector<std::string>& keys) {
    if (!keys.empty()) lines.push_back(absl::StrCat(file, ": ", absl::StrJoin(keys, ", ")));
  };
  std::visit([&](const auto& unet) { add("unet/config.json", unet.ignored_keys); },
             configs.network);
  add(std::string(family.codec) + "/config.json", IgnoredKeys(configs.codec));
  for (const TextPart& part : configs.texts) {
    add(part.encoder + "/config.json", part.config.ignored_keys);
  }
  add("scheduler/scheduler_config.json", scheduler.ignored_keys);
  return lines;
}

std::shared_ptr<const PromptReader> MakePromptReader(const PipelineIndex& index,
                                                     const std::vector<TextPart>& texts) {
  if (texts.empty()) return nullptr;
  std::vector<std::shared_ptr<const ClipTokenizer>> tokenizers;
  int64_t layers = texts.front().config.num_hidden_layers;
  for (const TextPart& part : texts) {
    tokenizers.push_back(part.tokens);
    layers = std::min(layers, part.config.num_hidden_layers);
  }
  const auto zeros = index.switches.find("force_zeros_for_empty_prompt");
  return std::make_shared<const PromptReader>(std::move(tokenizers),
                                              zeros != index.switches.end() && zeros->second,
                                              std::max<int64_t>(layers - 2, 0));
}

std::vector<PartDescription> PartsOf(const Configs& configs, const LatentFamily& family,
                                     const NetworkSpec& network) {
  const auto class_of = [&](const std::string& part) { return configs.index.components.at(part); };
  const std::string codec(family.codec);
  std::vector<PartDescription> parts = {
      {kUnet, class_of(kUnet), network.num_parameters},
      {codec, class_of(codec), CountCodecParameters(configs.codec)}};
  for (const TextPart& part : configs.texts) {
    parts.push_back({part.encoder, class_of(part.encoder), CountTextParameters(part.config)});
  }
  return parts;
}

// The layers of the network and of the text encoders; null where the network reads no text.
std::shared_ptr<const AdapterTarget> MakeAdapterTarget(const Configs& configs) {
  const auto* unet = std::get_if<UNet2DConditionConfig>(&configs.network);
  if (unet == nullptr) return nullptr;
  AdapterTarget target{.network = UNet2DConditionLayers(*unet)};
  for (const TextPart& part : configs.texts) {
    target.texts.push_back({part.encoder, ClipTextLayers(part.config)});
  }
  return std::make_shared<const AdapterTarget>(std::move(target));
}

absl::StatusOr<PipelineDescription> Describe(const Configs& configs, const LatentFamily& family,
                                             SchedulerConfig scheduler) {
  ASSIGN_OR_RETURN(const NetworkSpec network, Named("unet/config.json", SpecOf(configs)));
  const CodecSpec codec = CodecSpecOf(configs.codec);
  RETURN_IF_ERROR(InFile("unet/config.json", CheckConsistency(network, codec, configs.texts)));
  SetImageSize(network.sample.height, network.sample.width, scheduler);
  ASSIGN_OR_RETURN(Schedule schedule,
                   Named("scheduler/scheduler_config.json", Schedule::Create(scheduler.schedule)));
  PipelineDescription description{
      .source = absl::StrCat(configs.index.pipeline, " / ", configs.index.components.at(kUnet)),
      .network = network,
      .codec = codec,
      .scheduler = std::move(scheduler),
      .schedule = std::move(schedule),
      .prompts = MakePromptReader(configs.index, configs.texts),
      .guidance_scale = family.guidance_scale,
      .parts = PartsOf(configs, family, network),
      .adapters = MakeAdapterTarget(configs)};
  if (!configs.index.library_version.empty()) {
    absl::StrAppend(&description.source, ", diffusers ", configs.index.library_version);
  }
  for (const PartDescription& part : description.parts) {
    description.num_parameters += part.num_parameters;
  }
  for (const std::string_view part : kUnusedComponents) {
    if (configs.index.components.contains(std::string(part))) {
      description.ignored_parts.emplace_back(part);
    }
  }
  description.ignored_keys = IgnoredKeysOf(configs, family, description.scheduler);
  return description;
}

class LatentParts final : public PipelineParts {
 public:
  LatentParts(const LatentFamily& family, Configs configs, PipelineDescription description)
      : family_(family), configs_(std::move(configs)), description_(std::move(description)) {}

  const PipelineDescription& description() const override { return description_; }
  std::string Version() const override;
  absl::StatusOr<Pipeline> Load(const PipelineOptions& options) const override {
    return WithoutExceptions([&] { return LoadParts(options); });
  }

  std::map<std::string, std::string> Texts() const override { return configs_.files; }
  const Weights* FindWeights(const std::string& part) const override {
    const auto found = weights_.find(part);
    return found == weights_.end() ? nullptr : &found->second;
  }

  absl::Status ReadWeights(const ModelFolder& folder);
  absl::Status ReadWeights(const SingleFileWeights& source);

 private:
  absl::StatusOr<Pipeline> LoadParts(const PipelineOptions& options) const;
  absl::StatusOr<std::shared_ptr<const Network>> LoadNetwork(const PipelineOptions& options) const;
  absl::StatusOr<std::shared_ptr<const Codec>> LoadCodec(const PipelineOptions& options) const;

  int64_t NetworkParameters() const { return description_.network.num_parameters; }

  const LatentFamily& family_;
  const Configs configs_;
  const PipelineDescription description_;
  std::map<std::string, Weights> weights_;  // by component
};

// `made` from `weights`, with their file in errors; weights that are not finite are an error.
template <typename Value>
absl::StatusOr<Value> Checked(const Weights& weights, absl::StatusOr<Value> made) {
  if (!made.ok()) return InFile(weights.file, made.status());
  RETURN_IF_ERROR(InFile(weights.file, CheckFinite(weights.tensors)));
  return made;
}

// Encodes and decodes on the way, and so shows whether the codec works.
absl::StatusOr<LatentProjection> FitPreview(const Codec& codec) {
  const c10::InferenceMode inference;
  LatentProjection preview = FitLatentProjection(codec, ProbeOptions());
  if (preview.weight().isfinite().all().item<bool>() &&
      preview.bias().isfinite().all().item<bool>()) {
    return preview;
  }
  return absl::InvalidArgumentError("the codec's output is not finite");
}

absl::Status CheckTextStates(const PromptEncoder& prompts, std::shared_ptr<const Prompt> prompt) {
  const c10::InferenceMode inference;
  const SharedCondition told = prompts.Encode(
      {std::make_shared<const Condition>(Condition{.prompt = std::move(prompt)})})[0];
  if (told->text_states.isfinite().all().item<bool>() &&
      (!told->pooled_text.defined() || told->pooled_text.isfinite().all().item<bool>())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("the output of the text encoders is not finite");
}

absl::Status LatentParts::ReadWeights(const ModelFolder& folder) {
  const auto read = [&](const std::string& component, const char* stem,
                        int64_t parameters) -> absl::Status {
    ASSIGN_OR_RETURN(weights_[component],
                     LoadWeights(folder, component + "/", stem, MaxWeightsBytes(parameters)));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read(kUnet, kDiffusersStem, NetworkParameters()));
  RETURN_IF_ERROR(
      read(std::string(family_.codec), kDiffusersStem, CountCodecParameters(configs_.codec)));
  for (const TextPart& part : configs_.texts) {
    RETURN_IF_ERROR(read(part.encoder, kTransformersStem, CountTextParameters(part.config)));
  }
  return absl::OkStatus();
}

absl::Status LatentParts::ReadWeights(const SingleFileWeights& source) {
  const std::string name = Escaped(source.file.filename().string());
  const auto read = [&]() -> absl::StatusOr<std::map<std::string, Weights>> {
    ASSIGN_OR_RETURN(
        const SafetensorsFile file,
        SafetensorsFile::Open(source.file, MaxWeightsBytes(description_.num_parameters)));
    ASSIGN_OR_RETURN(SingleFileLayout layout, ReadSingleFileLayout(file.header()));
    SingleFileConfigs configs{.pipeline = configs_.index.pipeline};
    if (const auto* unet = std::get_if<UNet2DConditionConfig>(&configs_.network)) {
      configs.unet_channels = unet->in_channels;
    }
    for (const TextPart& part : configs_.texts) {
      configs.texts.push_back({part.encoder, part.config.num_hidden_layers,
                               part.config.with_projection.value_or(false)});
    }
    return LoadSingleFile(file, std::move(layout), configs, name);
  };
  ASSIGN_OR_RETURN(weights_, Named(name, read()));
  return absl::OkStatus();
}

std::string LatentParts::Version() const {
  Sha256 hash;
  for (const auto& [name, text] : configs_.files) hash.AddPart(name, text);
  for (const auto& [component, weights] : weights_) {
    for (const auto& [name, file] : weights.files) hash.AddPart(name, file.bytes());
  }
  return hash.Finish().substr(0, kVersionDigits);
}

absl::StatusOr<Pipeline> LatentParts::LoadParts(const PipelineOptions& options) const {
  Pipeline pipeline;
  ASSIGN_OR_RETURN(pipeline.network, LoadNetwork(options));
  ASSIGN_OR_RETURN(pipeline.codec, LoadCodec(options));
  ASSIGN_OR_RETURN(LatentProjection preview, FitPreview(*pipeline.codec));
  pipeline.preview = std::make_shared<const LatentProjection>(std::move(preview));
  std::vector<std::shared_ptr<const ClipTextEncoder>> encoders;
  for (const TextPart& part : configs_.texts) {
    const Weights& weights = weights_.at(part.encoder);
    ASSIGN_OR_RETURN(auto encoder,
                     Checked(weights, ClipTextEncoder::Create(part.config, weights.tensors)));
    encoders.push_back(std::move(encoder));
  }
  if (!encoders.empty()) {
    pipeline.prompts = ClipPrompts(std::move(encoders), family_.states, at::kCPU);
    RETURN_IF_ERROR(CheckTextStates(*pipeline.prompts, description_.prompts->Empty()));
  }
  return pipeline;
}

absl::StatusOr<std::shared_ptr<const Network>> LatentParts::LoadNetwork(
    const PipelineOptions& options) const {
  const Weights& weights = weights_.at(kUnet);
  if (const auto* unet = std::get_if<UNet2DConfig>(&configs_.network)) {
    return Checked(weights, CreateUNet2D(*unet, weights.tensors,
                                         {.batch_invariant = options.batch_invariant}));
  }
  UNet2DConditionOptions network = configs_.options;
  network.batch_invariant = options.batch_invariant;
  return Checked(weights, CreateUNet2DCondition(std::get<UNet2DConditionConfig>(configs_.network),
                                                weights.tensors, network));
}

absl::StatusOr<std::shared_ptr<const Codec>> LatentParts::LoadCodec(
    const PipelineOptions& options) const {
  const Weights& weights = weights_.at(std::string(family_.codec));
  return Checked(weights, CreateCodec(configs_.codec, weights.tensors,
                                      {.batch_invariant = options.batch_invariant,
                                       .use_statistics = family_.codec_statistics}));
}

absl::StatusOr<Configs> ReadConfigs(const LatentFamily& family, FileReader& reader) {
  Configs configs;
  ASSIGN_OR_RETURN(const std::string index, reader.Read(kModelIndexFile, kMaxPipelineConfigBytes));
  ASSIGN_OR_RETURN(configs.index, Named(kModelIndexFile, ParsePipelineIndex(index)));
  RETURN_IF_ERROR(InFile(kModelIndexFile, RefuseOtherComponents(configs.index, family)));
  ASSIGN_OR_RETURN(configs.network, ReadNetwork(configs.index, reader));
  ASSIGN_OR_RETURN(configs.codec, ReadCodec(configs.index, family, reader));
  ASSIGN_OR_RETURN(configs.texts, ReadTexts(configs.index, family, reader));
  if (const auto* unet = std::get_if<UNet2DConditionConfig>(&configs.network)) {
    configs.options = {.sample_channels = CodecSpecOf(configs.codec).latent_channels,
                       .num_time_ids = NumTimeIds(*unet, configs.texts)};
  }
  return configs;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PipelineParts>> OpenLatentParts(
    const std::filesystem::path& path, const LatentFamily& family, const WeightsSource& source) {
  ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Open(path));
  FileReader reader(folder);
  ASSIGN_OR_RETURN(Configs configs, ReadConfigs(family, reader));
  ASSIGN_OR_RETURN(SchedulerConfig scheduler, ReadScheduler(family, reader));
  configs.files = reader.TakeFiles();
  ASSIGN_OR_RETURN(PipelineDescription description,
                   Describe(configs, family, std::move(scheduler)));
  auto parts = std::make_shared<LatentParts>(family, std::move(configs), std::move(description));
  if (std::holds_alternative<FolderWeights>(source)) RETURN_IF_ERROR(parts->ReadWeights(folder));
  if (const auto* single = std::get_if<SingleFileWeights>(&source)) {
    RETURN_IF_ERROR(parts->ReadWeights(*single));
  }
  return parts;
}

}  // namespace denoise
