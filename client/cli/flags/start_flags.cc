#include "client/cli/flags/start_flags.h"

#include <CLI/Validators.hpp>

#include "core/base/field_violations.h"
#include "core/base/read_file.h"
#include "core/base/status_macros.h"
#include "core/image/image.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

// Above what servers take by default; they have the last word.
constexpr size_t kMaxFileBytes = 64 << 20;

CLI::Option* AddFile(CLI::App& app, const std::string& name, std::string& file,
                     const std::string& description, const char* group) {
  return app.add_option(name, file, description)->type_name("FILE")->group(group);
}

absl::Status ReadPicture(const std::string& path, const std::string& field, v1::InputImage& image) {
  absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
  if (!bytes.ok()) return InvalidField(field, std::string(bytes.status().message()));
  image.set_data(*std::move(bytes));
  return absl::OkStatus();
}

// The values of a .npy file as ENCODING_RAW_FLOAT32 has them.
absl::StatusOr<std::string> ReadNpy(const std::string& path, const std::string& field) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
  if (!bytes.ok()) return InvalidField(field, std::string(bytes.status().message()));
  const absl::StatusOr<NpyArray> array = DecodeNpy(*bytes);
  if (!array.ok()) return InvalidField(field, std::string(array.status().message()));
  return std::string(reinterpret_cast<const char*>(array->values.data()),
                     array->values.size() * sizeof(float));
}

absl::Status FillNoise(const std::string& file, std::optional<uint64_t> seed,
                       const std::string& field, v1::Noise& noise) {
  if (seed.has_value()) noise.set_seed(*seed);
  if (file.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*noise.mutable_sample(), ReadNpy(file, field + ".sample"));
  return absl::OkStatus();
}

absl::Status FillNoiseStart(const StartFlags& flags, v1::NoiseStart& start) {
  RETURN_IF_ERROR(
      FillNoise(flags.noise, flags.from_seed, "start.noise.from", *start.mutable_from()));
  if (flags.to_seed.has_value() || !flags.noise_to.empty()) {
    RETURN_IF_ERROR(
        FillNoise(flags.noise_to, flags.to_seed, "start.noise.to", *start.mutable_to()));
  }
  if (flags.variation.has_value()) start.set_variation(*flags.variation);
  return absl::OkStatus();
}

absl::Status FillInpainting(const StartFlags& flags, v1::Inpainting& inpainting) {
  RETURN_IF_ERROR(
      ReadPicture(flags.inpaint, "inpainting.picture.data", *inpainting.mutable_picture()));
  RETURN_IF_ERROR(ReadPicture(flags.mask, "inpainting.mask.data", *inpainting.mutable_mask()));
  if (flags.repaint_jump.has_value()) inpainting.set_jump_length(*flags.repaint_jump);
  if (flags.repaint_times.has_value()) inpainting.set_resamples(*flags.repaint_times);
  return absl::OkStatus();
}

}  // namespace

void AddStartFlags(CLI::App& app, StartFlags& flags) {
  constexpr const char* kStart = "Start";
  constexpr const char* kInpainting = "Inpainting";
  CLI::Option* const init = AddFile(app, "--init", flags.init,
                                    "Start from this picture (PNG, JPEG, WebP) with noise", kStart);
  app.add_option("--strength", flags.strength,
                 "The part of the steps that are taken from it: little keeps the picture")
      ->capture_default_str()
      ->needs(init)
      ->group(kStart);
  CLI::Option* const branch =
      AddFile(app, "--branch", flags.branch,
              "Go on from this frame of another generation, of kind x_t, as .npy", kStart);
  CLI::Option* const step =
      app.add_option("--branch-step", flags.branch_step, "The step after which it was taken")
          ->type_name("N")
          ->needs(branch)
          ->group(kStart);
  branch->needs(step);
  CLI::Option* const noise =
      AddFile(app, "--noise", flags.noise, "Start from this noise, as .npy", kStart);
  CLI::Option* const from_seed =
      app.add_option("--from-seed", flags.from_seed, "Start from the noise of this seed")
          ->type_name("S")
          ->excludes(noise)
          ->group(kStart);
  CLI::Option* const noise_to =
      AddFile(app, "--noise-to", flags.noise_to,
              "Spread the images evenly between that noise and this one, as .npy", kStart);
  CLI::Option* const to_seed =
      app.add_option("--to-seed", flags.to_seed, "The same with the noise of this seed")
          ->type_name("S")
          ->excludes(noise_to)
          ->group(kStart);
  CLI::Option* const variation =
      app.add_option("--variation", flags.variation,
                     "From there this part of the way, 0 to 1, towards each image's own noise")
          ->group(kStart);
  CLI::Option* const invert =
      AddFile(app, "--invert", flags.invert,
              "From this picture to the noise that becomes it; writes image-0.npy", kStart);
  invert->excludes(app.get_option("--format"));
  for (CLI::Option* other : {noise, from_seed, noise_to, to_seed, variation}) {
    other->excludes(init)->excludes(branch)->excludes(invert);
  }
  init->excludes(branch)->excludes(invert);
  branch->excludes(invert);

  CLI::Option* const inpaint =
      AddFile(app, "--inpaint", flags.inpaint, "Make a part of this picture anew", kInpainting);
  CLI::Option* const mask =
      AddFile(app, "--mask", flags.mask, "The part: a picture that is white there", kInpainting)
          ->needs(inpaint);
  inpaint->needs(mask)->excludes(invert);
  app.add_option("--repaint-jump", flags.repaint_jump,
                 "RePaint: go back by this many steps ... Default: 10")
      ->type_name("N")
      ->needs(inpaint)
      ->group(kInpainting);
  app.add_option("--repaint-times", flags.repaint_times,
                 "... until they have been taken this many times. Default: 1, never back")
      ->type_name("N")
      ->needs(inpaint)
      ->group(kInpainting);
}

absl::Status FillStart(const StartFlags& flags, v1::GenerateRequest& request) {
  if (!flags.inpaint.empty()) {
    RETURN_IF_ERROR(FillInpainting(flags, *request.mutable_inpainting()));
  }
  if (!flags.init.empty()) {
    auto& image = *request.mutable_start()->mutable_image();
    image.set_strength(flags.strength);
    return ReadPicture(flags.init, "start.image.picture.data", *image.mutable_picture());
  }
  if (!flags.branch.empty()) {
    auto& frame = *request.mutable_start()->mutable_frame();
    frame.set_step(flags.branch_step);
    ASSIGN_OR_RETURN(*frame.mutable_sample(), ReadNpy(flags.branch, "start.frame.sample"));
  } else if (!flags.invert.empty()) {
    request.set_image_encoding(v1::ENCODING_RAW_FLOAT32);
    return ReadPicture(flags.invert, "start.inversion.picture.data",
                       *request.mutable_start()->mutable_inversion()->mutable_picture());
  } else if (!flags.noise.empty() || !flags.noise_to.empty() || flags.from_seed.has_value() ||
             flags.to_seed.has_value() || flags.variation.has_value()) {
    return FillNoiseStart(flags, *request.mutable_start()->mutable_noise());
  }
  return absl::OkStatus();
}

}  // namespace denoise
