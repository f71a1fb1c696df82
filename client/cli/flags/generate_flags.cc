#include "client/cli/flags/generate_flags.h"

#include <CLI/Validators.hpp>
#include <initializer_list>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cli/flags/model_lookup.h"
#include "client/cli/flags/sampler_flags.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/command_line/usage_error.h"
#include "core/image/image.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kPrompt[] = "Prompt";
constexpr char kSize[] = "Size";
constexpr char kGuidance[] = "Guidance";
constexpr char kFrames[] = "Frames";
constexpr char kOutput[] = "Output";
constexpr char kStart[] = "Start";
constexpr char kInpainting[] = "Inpainting";
constexpr char kReturn[] = "Coming back";
constexpr char kSharing[] = "Sharing the device";

// Pictures are sent as they are.
absl::StatusOr<std::string> PictureFile(const std::string& bytes) { return bytes; }

// The values of a .npy file as ENCODING_RAW_FLOAT32 has them.
absl::StatusOr<std::string> NpyFile(const std::string& bytes) {
  ASSIGN_OR_RETURN(const NpyArray array, DecodeNpy(bytes));
  return std::string(reinterpret_cast<const char*>(array.values.data()),
                     array.values.size() * sizeof(float));
}

FlagTable ModelRow() {
  return {{"-m,--model", "model", "The model to use. Default: the only one that is served"}};
}

FlagTable CountRow() {
  return {{"-n,--count", "count", "How many images to generate. Default: 1"}};
}

FlagTable ClassRows() {
  return {{"-c,--class-label",
           "class_label",
           "The class to generate, by name or index; `denoise models NAME` lists them",
           "Options",
           {.value = "NAME|INDEX", .from_model = SetClassLabel}},
          {"--class-weights",
           "class_weights",
           "Blend several classes, each with its weight: animals=0.7,food=0.3",
           "Options",
           {.value = "CLASS=WEIGHT,...", .from_model = SetClassWeights}}};
}

// An empty prompt is one, too.
FlagTable PromptRows() {
  const FlagForm words = {.value = kFreeText};
  return {{"-p,--prompt", "prompt", "What to generate, in words, with a text-to-image model",
           kPrompt, words},
          {"--negative-prompt", "negative_prompt", "What guidance leads away from", kPrompt, words},
          {"--prompt-syntax", "prompt_syntax",
           "weighted: (words), (words:1.3) and [words] weigh parts of a prompt; literal: they are "
           "text. Default: weighted",
           kPrompt},
          {"--clip-skip", "clip_skip",
           "How many of the text encoder's last layers to leave out. Default: 0", kPrompt},
          {"--prompt-2", "prompt_2",
           "What the second text encoder reads, where the model has two. Default: the prompt",
           kPrompt, words},
          {"--negative-prompt-2", "negative_prompt_2", "The same for the negative prompt", kPrompt,
           words}};
}

FlagTable AdapterRow() {
  return {{"--lora",
           "adapters.name",
           "Apply this adapter (LoRA), with scale 1 unless you choose another; up to four times. "
           "`denoise adapters` lists them",
           kPrompt,
           {.value = "NAME=SCALE", .from_model = SetAdapter}}};
}

FlagTable SizeRows() {
  return {
      {"-H,--height", "height",
       "Height of the images in pixels, where the model lets you choose. Default: the model's",
       kSize},
      {"-W,--width", "width", "Their width", kSize},
      {"--original-height", "size_conditioning.original_height",
       "SDXL: the height that the picture is to look as if it had at first. Default: the image's",
       kSize},
      {"--original-width", "size_conditioning.original_width", "The same for the width", kSize},
      {"--crop-top", "size_conditioning.crop_top",
       "SDXL: how far from the top it is to look cropped. Default: 0", kSize},
      {"--crop-left", "size_conditioning.crop_left", "The same from the left", kSize},
      {"--target-height", "size_conditioning.target_height",
       "SDXL: the height that it is to look made for. Default: the image's", kSize},
      {"--target-width", "size_conditioning.target_width", "The same for the width", kSize},
      {"--aesthetic-score", "size_conditioning.aesthetic_score",
       "SDXL refiner: how pleasing the image is to be. Default: 6", kSize},
      {"--negative-aesthetic-score", "size_conditioning.negative_aesthetic_score",
       "The same for what guidance leads away from. Default: 2.5", kSize}};
}

FlagTable SeedRow() {
  return {{"-s,--seed",
           "seed",
           "Image i is generated from seed S + i. Default: the server chooses and reports it",
           "Options",
           {.value = "S"}}};
}

FlagTable GuidanceRows() {
  return {{"-g,--guidance-scale", "guidance.scale",
           "How strongly images follow the prompt or the class; 1 leaves the prediction as it is. "
           "Default: the model's, or no guidance",
           kGuidance},
          {"--guidance-rescale", "guidance.rescale",
           "How much of the contrast that guidance adds is taken out again, 0 to 1. Default: 0",
           kGuidance},
          {"--guidance-min", "guidance.timestep_min", "Guide only at this timestep and above",
           kGuidance},
          {"--guidance-max", "guidance.timestep_max", "Guide only at this timestep and below",
           kGuidance},
          {"--guidance-sigma-min", "guidance.sigma_min",
           "Guide only at this noise level (sigma / alpha) and above", kGuidance},
          {"--guidance-sigma-max", "guidance.sigma_max", "Guide only at this noise level and below",
           kGuidance}};
}

FlagTable FrameRows() {
  return {{"-f,--frames", "frames.every_n_steps",
           "Save a frame after every N-th step and after the last. Default: 0, no frames", kFrames},
          {"--frame-kind",
           "frames.kinds",
           "x0: the finished image as the network predicts it; x_t: the noisy image; x_t,x0: both, "
           "side by side",
           kFrames,
           {.value = "KIND,KIND", .preset = "x0"}},
          {"--frame-encoding",
           "frames.encoding",
           "The file format of frames",
           kFrames,
           {.preset = "png"}},
          {"--frame-max-bytes", "frames.max_bytes",
           "Skip frames of more bytes than this. Default: the server's limit", kFrames},
          {"--no-last-frame", "frames.skip_last",
           "Save no frame after the last step: it shows the finished image", kFrames}};
}

MessageFlag FormatRow(const char* field, const char* help, const char* group) {
  return {"--format", field, help, group, {.preset = "png"}};
}

FlagTable ImageFormatRow() {
  return {FormatRow("image_encoding",
                    "The file format of images; npy is the float32 sample itself, [C, H, W], not "
                    "clipped",
                    kOutput)};
}

FlagTable StartRows() {
  return {
      {"--init",
       "start.image.picture.data",
       "Start from this picture (PNG, JPEG or WebP) with noise added",
       kStart,
       {.value = "FILE", .from_file = PictureFile}},
      {"--strength",
       "start.image.strength",
       "The fraction of the steps that run on the picture. Low values keep it, 1 replaces it",
       kStart,
       {.preset = "0.8"}},
      {"--branch",
       "start.frame.sample",
       "Continue from this frame of another generation: an x_t frame, as .npy",
       kStart,
       {.value = "FILE", .from_file = NpyFile}},
      {"--branch-step", "start.frame.step", "The step after which that frame was saved", kStart},
      {"--from-seed",
       "start.noise.from.seed",
       "Start from the noise of this seed",
       kStart,
       {.value = "S"}},
      {"--noise",
       "start.noise.from.sample",
       "Start from this noise, as .npy",
       kStart,
       {.value = "FILE", .from_file = NpyFile}},
      {"--to-seed",
       "start.noise.to.seed",
       "Spread the images evenly between that noise and the noise of this seed",
       kStart,
       {.value = "S"}},
      {"--noise-to",
       "start.noise.to.sample",
       "The same, with the noise of a .npy file",
       kStart,
       {.value = "FILE", .from_file = NpyFile}},
      {"--variation", "start.noise.variation",
       "How far to go from there towards each image's own noise, 0 to 1. Default: 0", kStart},
      {"--invert",
       "start.inversion.picture.data",
       "Find the noise that turns into this picture; writes it as image-0.npy",
       kStart,
       {.value = "FILE", .from_file = PictureFile}}};
}

FlagTable InpaintingRows() {
  return {{"--inpaint",
           "inpainting.picture.data",
           "Generate part of this picture anew and keep the rest",
           kInpainting,
           {.value = "FILE", .from_file = PictureFile}},
          {"--mask",
           "inpainting.mask.data",
           "A picture that is white where --inpaint generates and black where it keeps; see "
           "--mask-channel",
           kInpainting,
           {.value = "FILE", .from_file = PictureFile}},
          {"--mask-channel", "inpainting.mask_channel",
           "Which channel of --mask selects the pixels to replace. lightness: white parts are "
           "replaced; transparency: transparent parts are. Default: lightness",
           kInpainting},
          {"--repaint-jump", "inpainting.jump_length",
           "RePaint: how many steps each jump goes back. Default: 10", kInpainting},
          {"--repaint-times", "inpainting.resamples",
           "RePaint: how often these steps are taken. Default: 1, no jumps", kInpainting}};
}

FlagTable ReturnRows() {
  return {{"--request-id",
           "request_id",
           "Join the generation with this id if it is running or kept, otherwise start it",
           kReturn,
           {.value = "ID"}},
          {"--on-disconnect", "on_disconnect",
           "What happens when nobody reads the generation any more. Default: cancel; with "
           "--request-id or --detach: detach, which lets it continue",
           kReturn}};
}

FlagTable SharingRows() {
  return {{"--priority", "priority",
           "interactive: somebody waits; normal; batch: it may take its time. Default: normal",
           kSharing},
          {"--allow-fewer-steps", "allow_fewer_steps",
           "If --deadline is too short for the steps, run as many as fit instead of failing",
           kSharing}};
}

// The flags that decide which picture a seed becomes.
FlagTable PictureRows() {
  return Join({ClassRows(), PromptRows(), AdapterRow(), SizeRows(), SamplerFlags("sampler"),
               GuidanceRows()});
}

void Need(CLI::App& app, std::initializer_list<const char*> flags, const char* needed) {
  for (const char* flag : flags) app.get_option(flag)->needs(app.get_option(needed));
}

// Each flag of one list refuses each of the other.
void Exclude(CLI::App& app, std::initializer_list<const char*> flags,
             std::initializer_list<const char*> others) {
  for (const char* flag : flags) {
    for (const char* other : others) app.get_option(flag)->excludes(app.get_option(other));
  }
}

// What goes with what among PictureRows.
void RelatePictureFlags(CLI::App& app) {
  Exclude(app, {"--class-weights"}, {"--class-label"});
  Need(app,
       {"--guidance-rescale", "--guidance-min", "--guidance-max", "--guidance-sigma-min",
        "--guidance-sigma-max"},
       "--guidance-scale");
  Exclude(app, {"--guidance-sigma-min", "--guidance-sigma-max"},
          {"--guidance-min", "--guidance-max"});
}

// What the oneofs of the request do not say already.
void RelateStartFlags(CLI::App& app) {
  Need(app, {"--strength"}, "--init");
  Need(app, {"--branch"}, "--branch-step");
  Need(app, {"--branch-step"}, "--branch");
  Need(app, {"--mask", "--mask-channel", "--repaint-jump", "--repaint-times"}, "--inpaint");
  Exclude(app, {"--invert"}, {"--format", "--inpaint"});
}

// For CLI11: what is wrong with the path, or nothing.
std::string CheckAnimationSuffix(const std::string& path) {
  const bool known =
      absl::EndsWithIgnoreCase(path, ".webp") || absl::EndsWithIgnoreCase(path, ".gif");
  return known ? "" : "must end with .webp or .gif; is " + path;
}

void AddAnimationFlag(CLI::App& app, std::string& animation) {
  app.add_option("--animation", animation,
                 "Write the animation to this .webp or .gif file. Default: denoising.webp in --out")
      ->type_name("FILE")
      ->check(CLI::Validator(CheckAnimationSuffix, ""))
      ->group(kFrames);
}

bool IsGiven(const GenerateFlags& flags, const char* field) { return flags.given.contains(field); }

// "--frames 0" turns frames off, and with them what is said about frames.
absl::Status CheckFrames(const GenerateFlags& flags) {
  if (flags.request.frames().every_n_steps() != 0) return absl::OkStatus();
  FieldViolations violations;
  for (const char* field :
       {"frames.kinds", "frames.encoding", "frames.max_bytes", "frames.skip_last"}) {
    if (IsGiven(flags, field)) violations.Add(field, "needs --frames of at least 1");
  }
  if (!flags.animation.empty()) violations.Add("--animation", "needs --frames of at least 1");
  return violations.ToStatus();
}

// A picture may be its own mask.
absl::Status CheckMask(const GenerateFlags& flags) {
  const bool masks_itself =
      flags.request.inpainting().mask_channel() == v1::MASK_CHANNEL_TRANSPARENCY;
  if (!IsGiven(flags, "inpainting.picture.data") || IsGiven(flags, "inpainting.mask.data") ||
      masks_itself) {
    return absl::OkStatus();
  }
  return InvalidField("inpainting.picture.data",
                      "needs --mask, or --mask-channel transparency where it has a hole itself");
}

}  // namespace

const FlagTable& GenerateTable() {
  static const auto* const table = new FlagTable(
      Join({ModelRow(), CountRow(), SeedRow(), PictureRows(), FrameRows(), ImageFormatRow(),
            StartRows(), InpaintingRows(), SharingRows(), ReturnRows()}));
  return *table;
}

const FlagTable& DiffuseTable() {
  static const auto* const table = new FlagTable{
      {"pictures",
       "pictures.data",
       "PNG, JPEG or WebP files; cropped and resized to the size of the model's images",
       "Options",
       {.value = "FILE", .required = true, .from_file = PictureFile}},
      {"-m,--model", "model",
       "The model whose noise schedule to use. Default: the only one served"},
      {"--steps", "steps",
       "How many frames, evenly spaced over the schedule as far as it has timesteps. Default: 9"},
      {"--timesteps", "timesteps", "Frames at exactly these timesteps, ascending"},
      {"--mode",
       "mode",
       "closed-form: each frame straight from the picture, q(x_t | x_0), with one noise; "
       "step-by-step: q(x_t | x_{t-1}), with fresh noise at every timestep",
       "Options",
       {.preset = "closed-form"}},
      {"-s,--seed",
       "seed",
       "Picture i gets the noise of seed S + i. Default: the server chooses and reports it",
       "Options",
       {.value = "S"}},
      FormatRow("encoding", "The file format of frames; npy is x_t itself, float32, [C, H, W]",
                kOutput)};
  return *table;
}

const FlagTable& RoundTripTable() {
  static const auto* const table = new FlagTable(Join(
      {{{"picture",
         "start.image.picture.data",
         "A PNG, JPEG or WebP file; cropped and resized to the size of the model's images",
         "Options",
         {.value = "FILE", .required = true, .from_file = PictureFile}},
        {"--strength",
         "start.image.strength",
         "How far into noise to go, as a fraction of the steps. At 1 nothing of the picture is "
         "left; low values come back to nearly the same picture",
         "Options",
         {.preset = "1"}}},
       ModelRow(),
       SeedRow(),
       PictureRows(),
       ImageFormatRow()}));
  return *table;
}

const FlagTable& SweepAxisTable() {
  static const auto* const table = new FlagTable(Join({{{"-s,--seed",
                                                         "seed",
                                                         "The seed of every picture",
                                                         "Options",
                                                         {.value = "S", .preset = "0"}}},
                                                       PictureRows()}));
  return *table;
}

const FlagTable& SweepTable() {
  static const auto* const table = new FlagTable(Join({ModelRow(), SweepAxisTable()}));
  return *table;
}

CLI::Option* AddOverwriteFlag(CLI::App& app, bool& overwrite, const char* what) {
  return app.add_flag("--overwrite", overwrite,
                      absl::StrCat("Replace what an earlier run wrote to ", what));
}

void AddOutputFlags(CLI::App& app, OutputFlags& flags) {
  app.add_option("-o,--out", flags.out,
                 "The folder to write to; created if missing. Default: out; if that holds another "
                 "run, out-2, and so on")
      ->type_name("DIR")
      ->group(kOutput);
  AddOverwriteFlag(app, flags.overwrite)->group(kOutput);
  app.add_flag("--json", flags.json, "Print one line of JSON per event and nothing else")
      ->group(kOutput);
}

// The command itself refuses the flags of a request beside it: the help would name them all.
void AddResumeFlag(CLI::App& app, std::string& resume) {
  CLI::Option* const flag =
      app.add_option("--resume", resume,
                     "Continue the generation whose token `denoise generations pause` has written "
                     "to this file; no flag of a request goes with it")
          ->type_name("FILE")
          ->group(kReturn);
  for (const char* other : {"--detach", "--animation"}) flag->excludes(app.get_option(other));
}

void AddGenerateFlags(CLI::App& app, GenerateFlags& flags) {
  AddMessageFlags(app, flags.request, GenerateTable(), &flags.given);
  AddAnimationFlag(app, flags.animation);
  AddOutputFlags(app, flags.output);
  app.add_flag("--no-picture", flags.output.no_picture, "Show no pictures in the terminal")
      ->group(kOutput);
  RelatePictureFlags(app);
  app.add_flag("--detach", flags.detach,
               "Start the generation, print its name for `denoise watch`, and exit")
      ->group(kReturn);
  Exclude(app, {"--detach"},
          {"--on-disconnect", "--out", "--overwrite", "--animation", "--no-picture"});
  Need(app,
       {"--frame-kind", "--frame-encoding", "--frame-max-bytes", "--no-last-frame", "--animation"},
       "--frames");
  RelateStartFlags(app);
  AddResumeFlag(app, flags.resume);
  AddConnectionFlags(app, flags.connection);
}

void AddRoundTripFlags(CLI::App& app, GenerateFlags& flags) {
  AddMessageFlags(app, flags.request, RoundTripTable(), &flags.given);
  AddOutputFlags(app, flags.output);
  app.add_flag("--no-picture", flags.output.no_picture, "Show no pictures in the terminal")
      ->group(kOutput);
  RelatePictureFlags(app);
  AddConnectionFlags(app, flags.connection);
}

void AddSweepFlags(CLI::App& app, GenerateFlags& flags) {
  AddMessageFlags(app, flags.request, SweepTable(), &flags.given);
  RelatePictureFlags(app);
  AddConnectionFlags(app, flags.connection);
}

void AddSweepAxisFlags(CLI::App& app, GenerateFlags& flags) {
  AddMessageFlags(app, flags.request, SweepAxisTable(), &flags.given);
  RelatePictureFlags(app);
}

absl::StatusOr<v1::GenerateRequest> BuildGenerateRequest(const FlagTable& table,
                                                         const GenerateFlags& flags,
                                                         const v1::Model& model) {
  v1::GenerateRequest request = flags.request;
  request.set_model(model.name());
  request.mutable_sampler();
  GivenFlags given = flags.given;
  if (!model.takes_prompts() && IsGiven(flags, "prompt")) {
    return InvalidField(
        "prompt",
        absl::StrCat("must be absent: this model takes no prompts",
                     model.classes().empty() ? "" : ". Choose a class with --class-label"));
  }
  if (IsGiven(flags, "class_label")) {
    given.erase("class_weights");  // a sweep's axis over a blend
  } else if (!IsGiven(flags, "class_weights") && !model.classes().empty()) {
    return InvalidField("class_label",
                        absl::StrCat("is required; the classes are: ", ClassNames(model)));
  }
  if (model.takes_prompts() && !IsGiven(flags, "prompt")) {
    return InvalidField("prompt", "is required: this model makes images from text");
  }
  RETURN_IF_ERROR(CheckFrames(flags));
  RETURN_IF_ERROR(CheckMask(flags));
  if (request.frames().every_n_steps() == 0) request.clear_frames();
  RETURN_IF_ERROR(CompleteMessage(table, given, model, request));
  if (request.start().has_inversion()) request.set_image_encoding(v1::ENCODING_RAW_FLOAT32);
  // A command with an id is meant to be run again.
  if (flags.detach || (!request.request_id().empty() && !IsGiven(flags, "on_disconnect"))) {
    request.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  }
  if (request.image_encoding() == v1::ENCODING_UNSPECIFIED) {
    request.set_image_encoding(v1::ENCODING_PNG);
  }
  return request;
}

}  // namespace denoise
