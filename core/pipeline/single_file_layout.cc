#include "core/pipeline/single_file_layout.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr std::string_view kUnetPrefix = "model.diffusion_model.";
constexpr std::string_view kVaePrefix = "first_stage_model.";
constexpr size_t kMaxTensorsNamed = 20;

// The order matters: a file is of the first family all of whose text encoders it has.
const std::vector<SingleFileFamily>& Families() {
  static const std::vector<SingleFileFamily> kFamilies = {
      {.name = "Stable Diffusion XL",
       .texts = {{.prefix = "conditioner.embedders.0.transformer.", .part = "text_encoder"},
                 {.prefix = "conditioner.embedders.1.model.",
                  .part = "text_encoder_2",
                  .is_open_clip = true,
                  .projection = true}},
       .pipelines = {"StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline",
                     "StableDiffusionXLInpaintPipeline"}},
      {.name = "Stable Diffusion XL refiner",
       .texts = {{.prefix = "conditioner.embedders.0.model.",
                  .part = "text_encoder_2",
                  .is_open_clip = true,
                  .projection = true}},
       .pipelines = {"StableDiffusionXLImg2ImgPipeline"}},
      {.name = "Stable Diffusion 2.x",
       .texts = {{.prefix = "cond_stage_model.model.",
                  .part = "text_encoder",
                  .is_open_clip = true,
                  .spare_layers = 1}},
       .pipelines = {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline",
                     "StableDiffusionInpaintPipeline"}},
      {.name = "Stable Diffusion 1.x",
       .texts = {{.prefix = "cond_stage_model.transformer.", .part = "text_encoder"}},
       .pipelines = {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline",
                     "StableDiffusionInpaintPipeline", "LatentConsistencyModelPipeline"}},
  };
  return kFamilies;
}

// Other files of weights, by what some of their names begin with or contain.
struct OtherKind {
  std::string_view mark;
  bool anywhere;  // not only at the beginning
  std::string_view text;
};

constexpr OtherKind kOtherKinds[] = {
    {"lora_unet_", false,
     "a LoRA, an addition to a model: put it into the folder that --adapters names"},
    {"lora_te", false,
     "a LoRA, an addition to a model: put it into the folder that --adapters names"},
    {".lora_A.", true,
     "a LoRA, an addition to a model: put it into the folder that --adapters names"},
    {".lora_down.", true,
     "a LoRA, an addition to a model: put it into the folder that --adapters names"},
    {".lora.down.", true,
     "a LoRA, an addition to a model: put it into the folder that --adapters names"},
    {".hada_w1_a", true, "a LoHa adapter, an addition to a model"},
    {".lokr_w1", true, "a LoKr adapter, an addition to a model"},
    {"control_model.", false, "a ControlNet, which is not supported"},
    {"controlnet_cond_embedding.", false, "a ControlNet, which is not supported"},
    {"joint_blocks.", true, "Stable Diffusion 3, which is not supported"},
    {"double_blocks.", true, "FLUX, which is not supported"},
    {"double_stream_blocks.", true, "a transformer with double blocks, which is not supported"},
    {"adaLN_modulation", true, "a diffusion transformer (DiT), which is not supported"},
    {"y_embedder.", true, "a diffusion transformer (PixArt), which is not supported"},
    {"time_stack.", true, "Stable Video Diffusion, which is not supported"},
    {"motion_modules.", true, "a motion module, an addition to a model"},
    {"emb_params", false, "a textual inversion embedding, an addition to a prompt"},
    {"clip_g", false, "a textual inversion embedding, an addition to a prompt"},
    {"down_blocks.", false,
     "the network of a folder in the diffusers layout; use the whole folder"},
    {"decoder.up_blocks.", false,
     "the VAE of a folder in the diffusers layout; use the whole folder"},
    {"decoder.up.", false, "a VAE alone"},
    {"text_model.", false, "a text encoder alone"},
    {"transformer.resblocks.", false, "a text encoder alone, in OpenCLIP's layout"},
    {"input_blocks.", false, "the network of a model alone, without its VAE and text encoders"},
};

bool HasPrefix(const SafetensorsHeader& header, std::string_view prefix) {
  const auto found = header.tensors.lower_bound(std::string(prefix));
  return found != header.tensors.end() && found->first.starts_with(prefix);
}

const OtherKind* FindOtherKind(const SafetensorsHeader& header) {
  for (const OtherKind& kind : kOtherKinds) {
    if (HasPrefix(header, kind.mark)) return &kind;
    if (!kind.anywhere) continue;
    for (const auto& [name, unused] : header.tensors) {
      if (name.find(kind.mark) != std::string::npos) return &kind;
    }
  }
  return nullptr;
}

absl::Status LooksLike(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("looks like ", std::string(what),
                   ". Single files of whole models of Stable Diffusion 1.x, 2.x and XL are read"));
}

const SingleFileFamily* FindFamily(const SafetensorsHeader& header) {
  for (const SingleFileFamily& family : Families()) {
    if (std::all_of(family.texts.begin(), family.texts.end(),
                    [&](const auto& text) { return HasPrefix(header, text.prefix); })) {
      return &family;
    }
  }
  return nullptr;
}

absl::StatusOr<const SingleFileFamily*> Recognize(const SafetensorsHeader& header) {
  if (const OtherKind* kind = FindOtherKind(header)) return LooksLike(kind->text);
  const bool unet = HasPrefix(header, kUnetPrefix), vae = HasPrefix(header, kVaePrefix);
  const SingleFileFamily* family = FindFamily(header);
  if (unet && vae && family != nullptr) return family;
  if (!unet && !vae && family == nullptr) {
    return LooksLike(header.tensors.empty()
                         ? "a file without tensors"
                         : absl::StrCat("no model that is known: its first tensor is ",
                                        Quoted(header.tensors.begin()->first)));
  }
  std::string missing = unet ? "" : "no network (model.diffusion_model.)";
  for (const auto& [there, what] :
       {std::pair{vae, "no VAE (first_stage_model.)"},
        std::pair{family != nullptr, "no text encoder (cond_stage_model., conditioner.)"}}) {
    if (!there) absl::StrAppend(&missing, missing.empty() ? "" : " and ", what);
  }
  return LooksLike(absl::StrCat("a part of a model: it holds ", missing));
}

// The names behind `prefix`.
std::set<std::string> NamesUnder(const SafetensorsHeader& header, std::string_view prefix) {
  std::set<std::string> names;
  for (auto at = header.tensors.lower_bound(std::string(prefix));
       at != header.tensors.end() && at->first.starts_with(prefix); ++at) {
    names.insert(at->first.substr(prefix.size()));
  }
  return names;
}

// Buffers within the parts that are computed, not learned, or that training alone reads.
bool IsUnused(std::string_view name) {
  constexpr std::string_view kEndings[] = {"position_ids", "logit_scale", "attn_mask"};
  if (name.starts_with("first_stage_model.loss.")) return true;
  if (name.starts_with("first_stage_model.model_ema.")) return true;
  return std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

// What keeps a tensor of `shape` from taking `form`; empty if nothing does.
std::string WrongShape(const std::vector<int64_t>& shape, TensorForm form) {
  switch (form) {
    case TensorForm::kWhole:
      return "";
    case TensorForm::kMatrix:
      if (shape.size() >= 2 &&
          std::all_of(shape.begin() + 2, shape.end(), [](int64_t size) { return size == 1; })) {
        return "";
      }
      return "must be a matrix or a 1x1 convolution";
    case TensorForm::kTransposed:
      return shape.size() == 2 ? "" : "must be a matrix";
    case TensorForm::kQuery:
    case TensorForm::kKey:
    case TensorForm::kValue:
      return !shape.empty() && shape[0] % 3 == 0 ? "" : "must have rows for q, k and v";
  }
  return "";
}

// Fills a layout in, tensor by tensor.
class LayoutReader {
 public:
  LayoutReader(const SafetensorsHeader& header, const SingleFileFamily& family) : header_(header) {
    layout_.family = &family;
  }

  absl::StatusOr<SingleFileLayout> Read();

 private:
  TranslatedNames Translate(std::string_view name, std::string& part) const;
  void Add(const std::string& original, const SafetensorsHeader::Entry& entry);
  void AddNames(const std::string& original, const SafetensorsHeader::Entry& entry,
                const std::string& part, TranslatedNames names);
  void Refuse(std::string_view name, std::string_view why);

  const SafetensorsHeader& header_;
  UNetLevels unet_;
  size_t vae_levels_ = 0;
  SingleFileLayout layout_;
  FieldViolations violations_;
  size_t refused_ = 0;
};

void LayoutReader::Refuse(std::string_view name, std::string_view why) {
  if (++refused_ <= kMaxTensorsNamed) violations_.Add(Escaped(name), why);
}

TranslatedNames LayoutReader::Translate(std::string_view name, std::string& part) const {
  if (name.starts_with(kUnetPrefix)) {
    part = "unet";
    return TranslateUNetName(name.substr(kUnetPrefix.size()), unet_);
  }
  if (name.starts_with(kVaePrefix)) {
    part = "vae";
    return TranslateAutoencoderName(name.substr(kVaePrefix.size()), vae_levels_);
  }
  for (const SingleFileFamily::Text& text : layout_.family->texts) {
    if (!name.starts_with(text.prefix)) continue;
    part = text.part;
    const std::string_view rest = name.substr(text.prefix.size());
    return text.is_open_clip ? TranslateOpenClipName(rest) : TranslateClipName(rest);
  }
  return {};
}

void LayoutReader::AddNames(const std::string& original, const SafetensorsHeader::Entry& entry,
                            const std::string& part, TranslatedNames names) {
  for (TranslatedName& name : names) {
    if (const std::string wrong = WrongShape(entry.shape, name.form); !wrong.empty()) {
      return Refuse(original, wrong);
    }
    const auto [at, is_new] =
        layout_.parts[part].try_emplace(std::move(name.name), TensorOrigin{original, name.form});
    if (!is_new) {
      return Refuse(original, absl::StrCat("is the same tensor as ", Quoted(at->second.original)));
    }
  }
}

void LayoutReader::Add(const std::string& original, const SafetensorsHeader::Entry& entry) {
  std::string part;
  TranslatedNames names = IsUnused(original) ? TranslatedNames() : Translate(original, part);
  if (!names.empty()) return AddNames(original, entry, part, std::move(names));
  if (!part.empty()) return Refuse(original, absl::StrCat("is not a tensor of a ", part));
  const size_t dot = IsUnused(original) ? std::string::npos : original.find('.');
  ++layout_.ignored[Escaped(dot == std::string::npos ? original : original.substr(0, dot + 1))];
}

absl::StatusOr<SingleFileLayout> LayoutReader::Read() {
  if (auto levels = FindUNetLevels(NamesUnder(header_, kUnetPrefix))) {
    unet_ = *std::move(levels);
  } else {
    return InvalidField("model.diffusion_model.", "has no input_blocks of a UNet");
  }
  vae_levels_ = CountAutoencoderLevels(NamesUnder(header_, kVaePrefix));
  for (const auto& [name, entry] : header_.tensors) Add(name, entry);
  if (refused_ > kMaxTensorsNamed) {
    violations_.Add("...", absl::StrCat("and ", refused_ - kMaxTensorsNamed, " more tensors"));
  }
  RETURN_IF_ERROR(violations_.ToStatus());
  const auto first =
      header_.tensors.find(absl::StrCat(std::string(kUnetPrefix), "input_blocks.0.0.weight"));
  if (first == header_.tensors.end() || first->second.shape.size() != 4) {
    return InvalidField("model.diffusion_model.input_blocks.0.0.weight",
                        "must be a convolution, the UNet's first");
  }
  layout_.unet_channels = first->second.shape[1];
  return std::move(layout_);
}

}  // namespace

absl::StatusOr<SingleFileLayout> ReadSingleFileLayout(const SafetensorsHeader& header) {
  ASSIGN_OR_RETURN(const SingleFileFamily* family, Recognize(header));
  return LayoutReader(header, *family).Read();
}

void KeepTextLayers(std::string_view part, int64_t layers, bool projection,
                    SingleFileLayout& layout) {
  PartOrigins& origins = layout.parts[std::string(part)];
  std::set<std::string> left_out;  // q, k and v come of the same tensor
  for (auto at = origins.begin(); at != origins.end();) {
    const std::optional<size_t> layer = TextLayerOf(at->first);
    const bool unused = layer ? static_cast<int64_t>(*layer) >= layers
                              : at->first == kTextProjection && !projection;
    if (unused) left_out.insert(at->second.original);
    at = unused ? origins.erase(at) : std::next(at);
  }
  for (const std::string& name : left_out) ++layout.ignored[Escaped(name)];
}

void KeepUsedText(SingleFileLayout& layout) {
  for (const SingleFileFamily::Text& text : layout.family->texts) {
    KeepTextLayers(text.part, CountTextLayers(layout, text.part) - text.spare_layers,
                   text.projection, layout);
  }
}

int64_t CountTextLayers(const SingleFileLayout& layout, std::string_view part) {
  const auto found = layout.parts.find(std::string(part));
  if (found == layout.parts.end()) return 0;
  size_t layers = 0;
  for (const auto& [name, unused] : found->second) {
    if (const auto layer = TextLayerOf(name)) layers = std::max(layers, *layer + 1);
  }
  return static_cast<int64_t>(layers);
}

int64_t CountPartParameters(const SafetensorsHeader& header, const PartOrigins& part) {
  int64_t parameters = 0;
  for (const auto& [name, origin] : part) {
    int64_t numbers = 1;
    for (const int64_t size : header.tensors.at(origin.original).shape) numbers *= size;
    const bool is_third = origin.form == TensorForm::kQuery || origin.form == TensorForm::kKey ||
                          origin.form == TensorForm::kValue;
    parameters += is_third ? numbers / 3 : numbers;
  }
  return parameters;
}

}  // namespace denoise
