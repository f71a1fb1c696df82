#include "client/cli/flags/generate_flags.h"

#include <CLI/Validators.hpp>

#include "absl/strings/match.h"
#include "client/cli/flags/sampler_flags.h"

namespace denoise {
namespace {

// For CLI11: what is wrong with the path, or nothing.
std::string CheckAnimationSuffix(const std::string& path) {
  const bool known =
      absl::EndsWithIgnoreCase(path, ".webp") || absl::EndsWithIgnoreCase(path, ".gif");
  return known ? "" : "must end with .webp or .gif; is " + path;
}

void AddClassAndSeedFlags(CLI::App& app, GenerateFlags& flags) {
  CLI::Option* const class_label =
      app.add_option("-c,--class-label", flags.class_label,
                     "What to make: a class by its name or index, as `denoise models` lists them")
          ->type_name("NAME|INDEX");
  app.add_option("--class-weights", flags.class_weights,
                 "A blend of classes, each with its weight: animals=0.7,food=0.3")
      ->type_name("CLASS=WEIGHT,...")
      ->excludes(class_label);
  app.add_option("-s,--seed", flags.seed,
                 "Image i is made from seed S + i. Default: the server chooses, and says which")
      ->check(CLI::Validator(CLI::NonNegativeNumber).description(""))
      ->type_name("S");
}

void AddGuidanceFlags(CLI::App& app, GenerateFlags& flags) {
  CLI::Option* const scale =
      app.add_option("-g,--guidance-scale", flags.guidance_scale,
                     "How strongly the class draws; 1 is the class alone. Default: no guidance")
          ->group("Guidance");
  const auto add = [&](const char* flag, auto& value, const char* help) {
    return app.add_option(flag, value, help)->needs(scale)->group("Guidance");
  };
  add("--guidance-rescale", flags.guidance_rescale,
      "Undo the contrast that guidance adds: 0, the default, not at all, to 1, all of it");
  CLI::Option* const timesteps[] = {
      add("--guidance-min", flags.guidance_min, "Guide at this timestep and above only"),
      add("--guidance-max", flags.guidance_max, "Guide at this timestep and below only")};
  CLI::Option* const sigmas[] = {add("--guidance-sigma-min", flags.guidance_sigma_min,
                                     "Guide at this noise level, sigma / alpha, and above only"),
                                 add("--guidance-sigma-max", flags.guidance_sigma_max,
                                     "Guide at this noise level and below only")};
  for (CLI::Option* const sigma : sigmas) {
    for (CLI::Option* const timestep : timesteps) sigma->excludes(timestep);
  }
}

void AddFrameFlags(CLI::App& app, GenerateFlags& flags) {
  CLI::Option* const frames =
      app.add_option("-f,--frames", flags.frames,
                     "Keep a picture after every N-th step. 0, the default: none")
          ->type_name("N")
          ->group("Frames");
  app.add_option("--frame-kind", flags.frame_kinds,
                 "x0: what the network predicts the finished image to be; x_t: the noisy image;\n"
                 "x_t,x0: both, side by side")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"x0", "x_t"}))
      ->type_name("KIND[,KIND]")
      ->capture_default_str()
      ->needs(frames)
      ->group("Frames");
  app.add_option("--frame-encoding", flags.frame_encoding, "The file format of frames")
      ->check(CLI::IsMember({"png", "jpeg", "webp", "npy"}))
      ->capture_default_str()
      ->needs(frames)
      ->group("Frames");
  app.add_option("--frame-max-bytes", flags.frame_max_bytes,
                 "Leave out frames larger than this. Default: the server's limit")
      ->needs(frames)
      ->group("Frames");
  app.add_option("--animation", flags.animation,
                 "Write the animation to this .webp or .gif file. Default: denoising.webp in --out")
      ->type_name("FILE")
      ->check(CLI::Validator(CheckAnimationSuffix, ""))
      ->needs(frames)
      ->group("Frames");
}

}  // namespace

void AddModelFlag(CLI::App& app, std::string& model) {
  app.add_option("-m,--model", model, "Which model. Default: the only one that is served");
}

void AddPictureFlags(CLI::App& app, GenerateFlags& flags) {
  AddClassAndSeedFlags(app, flags);
  AddSamplerFlags(app, flags.sampler);
  AddGuidanceFlags(app, flags);
}

void AddOutputFlags(CLI::App& app, GenerateFlags& flags) {
  app.add_option("-o,--out", flags.out, "The folder to write to; made if need be")
      ->type_name("DIR")
      ->capture_default_str()
      ->group("Output");
  app.add_option(
         "--format", flags.format,
         "The file format of images; npy is the float32 sample itself, [C, H, W], unclipped")
      ->check(CLI::IsMember({"png", "webp", "jpeg", "npy"}))
      ->capture_default_str()
      ->group("Output");
  app.add_flag("--json", flags.json, "Print one line of JSON for every event, and nothing else")
      ->group("Output");
  app.add_flag("--no-picture", flags.no_picture, "Show no pictures in the terminal")
      ->group("Output");
}

void AddGenerateFlags(CLI::App& app, GenerateFlags& flags) {
  AddModelFlag(app, flags.model);
  app.add_option("-n,--count", flags.count, "How many images. Default: 1");
  AddPictureFlags(app, flags);
  AddFrameFlags(app, flags);
  AddOutputFlags(app, flags);
  AddStartFlags(app, flags.start);
  AddConnectionFlags(app, flags.connection);
}

}  // namespace denoise
