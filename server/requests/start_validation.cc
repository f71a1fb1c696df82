#include "server/requests/start_validation.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/requests/picture.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using denoised::v1::InputImage;
using denoised::v1::MaskChannel;
using denoised::v1::Noise;

// The jump of RePaint's own experiments (Lugmayr et al. 2022, section 5).
constexpr int kDefaultJumpLength = 10;

void CheckNoiseStart(const GenerateRequest& request, FieldViolations& violations) {
  const auto& start = request.start().noise();
  if (start.has_to() && (!request.has_count() || request.count() < 2)) {
    violations.Add("count", "must be at least 2 between two noises");
  }
  if (!(start.variation() >= 0 && start.variation() <= 1)) {
    violations.Add("start.noise.variation",
                   absl::StrCat("must be between 0 and 1, is ", start.variation()));
  }
}

void CheckInversion(const GenerateRequest& request, FieldViolations& violations) {
  if (request.image_encoding() != denoised::v1::ENCODING_UNSPECIFIED &&
      request.image_encoding() != denoised::v1::ENCODING_RAW_FLOAT32) {
    violations.Add("image_encoding", "must be ENCODING_RAW_FLOAT32: an inversion ends with noise");
  }
  if (request.has_count() && request.count() != 1) {
    violations.Add("count", "must be 1: a picture has one inversion");
  }
  if (request.has_inpainting()) {
    violations.Add("inpainting", "must be absent: an inversion has nothing to make anew");
  }
}

void CheckInpainting(const GenerateRequest& request, FieldViolations& violations) {
  const MaskChannel channel = request.inpainting().mask_channel();
  if (denoised::v1::MaskChannel_IsValid(channel)) return;
  violations.Add("inpainting.mask_channel",
                 absl::StrCat("unknown value ", static_cast<int>(channel)));
}

// Decodes pictures and samples for one model.
class Decoder {
 public:
  Decoder(const InputShapes& shapes, const RequestLimits& limits, FieldViolations& violations)
      : shapes_(shapes), max_pixels_(limits.max_picture_pixels), violations_(violations) {}

  at::Tensor Picture(const std::string& field, const InputImage& picture) const {
    if (!TakesPictures(shapes_.picture)) {
      violations_.Add(field, absl::StrCat("must be absent: this model's images have ",
                                          shapes_.picture.channels, " channels"));
      return {};
    }
    return OrViolation(field + ".data", DecodePicture(picture, shapes_.picture, max_pixels_));
  }

  // [1, H, W] in [0, 1].
  at::Tensor Mask(const std::string& field, const InputImage& mask, MaskChannel channel) const {
    return OrViolation(field + ".data", DecodeMask(mask, channel, shapes_.picture, max_pixels_));
  }

  at::Tensor Raw(std::string_view field, const std::string& bytes) const {
    return OrViolation(field, DecodeRaw(bytes, shapes_.x));
  }

  NoiseStart NoiseStartOf(const denoised::v1::NoiseStart& noise) const {
    UnitNoise from = NoiseOf("start.noise.from", noise.from());
    std::optional<UnitNoise> to;
    if (noise.has_to()) to = NoiseOf("start.noise.to", noise.to());
    return {.from = std::move(from), .to = std::move(to), .variation = noise.variation()};
  }

  UnitNoise NoiseOf(const std::string& field, const Noise& noise) const {
    if (noise.has_seed()) return noise.seed();
    if (!noise.has_sample()) {
      violations_.Add(field, "must be a seed or a sample");
      return at::Tensor();
    }
    return Raw(field + ".sample", noise.sample());
  }

 private:
  at::Tensor OrViolation(std::string_view field, absl::StatusOr<at::Tensor> sample) const {
    if (sample.ok()) return *std::move(sample);
    violations_.Add(field, std::string(sample.status().message()));
    return {};
  }

  const InputShapes shapes_;
  const int64_t max_pixels_;
  FieldViolations& violations_;
};

}  // namespace

bool IsSlowToResolve(const GenerateRequest& request) {
  return request.has_start() || request.has_inpainting() || request.has_prompt() ||
         request.adapters_size() > 0 || !request.handover().empty();
}

void CheckStart(const GenerateRequest& request, FieldViolations& violations) {
  CheckInpainting(request, violations);
  if (!request.has_start()) return;
  switch (request.start().start_case()) {
    case denoised::v1::Start::kFrame:
      if (request.start().frame().step() == 0) {
        violations.Add("start.frame.step", "must be at least 1, is 0");
      }
      break;
    case denoised::v1::Start::kNoise:
      return CheckNoiseStart(request, violations);
    case denoised::v1::Start::kInversion:
      return CheckInversion(request, violations);
    case denoised::v1::Start::kImage:
      break;
    case denoised::v1::Start::START_NOT_SET:
      violations.Add("start", "must say where, or be absent");
  }
}

RunOptions ResolveRun(const GenerateRequest& request, const RequestLimits& limits) {
  RunOptions run{.max_steps = limits.max_steps};
  if (request.start().has_image()) run.strength = request.start().image().strength();
  if (request.start().has_frame()) run.first_step = request.start().frame().step();
  run.inverted = request.start().has_inversion();
  if (request.has_inpainting()) {
    const auto& inpainting = request.inpainting();
    run.jump_length = inpainting.has_jump_length() ? inpainting.jump_length() : kDefaultJumpLength;
    if (inpainting.has_resamples()) run.resamples = inpainting.resamples();
  }
  return run;
}

std::string_view FieldOfRun(std::string_view member) {
  if (member == "strength") return "start.image.strength";
  if (member == "first_step") return "start.frame.step";
  if (member == "jump_length") return "inpainting.jump_length";
  if (member == "resamples") return "inpainting.resamples";
  return "";
}

Start ResolveStart(const GenerateRequest& request, const InputShapes& shapes,
                   const RequestLimits& limits, FieldViolations& violations) {
  const Decoder decoder(shapes, limits, violations);
  const auto& start = request.start();
  switch (start.start_case()) {
    case denoised::v1::Start::kImage:
      return PictureStart{decoder.Picture("start.image.picture", start.image().picture())};
    case denoised::v1::Start::kInversion:
      return PictureStart{decoder.Picture("start.inversion.picture", start.inversion().picture())};
    case denoised::v1::Start::kFrame:
      return FrameStart{decoder.Raw("start.frame.sample", start.frame().sample())};
    case denoised::v1::Start::kNoise:
      return decoder.NoiseStartOf(start.noise());
    case denoised::v1::Start::START_NOT_SET:
      break;
  }
  return NoiseStart();
}

std::optional<Inpainting> ResolveInpainting(const GenerateRequest& request,
                                            const InputShapes& shapes, const RequestLimits& limits,
                                            FieldViolations& violations) {
  if (!request.has_inpainting()) return std::nullopt;
  const Decoder decoder(shapes, limits, violations);
  const auto& inpainting = request.inpainting();
  const MaskChannel channel = inpainting.mask_channel();
  const bool masks_itself =
      !inpainting.has_mask() && channel == denoised::v1::MASK_CHANNEL_TRANSPARENCY;
  return Inpainting{decoder.Picture("inpainting.picture", inpainting.picture()),
                    masks_itself ? decoder.Mask("inpainting.picture", inpainting.picture(), channel)
                                 : decoder.Mask("inpainting.mask", inpainting.mask(), channel)};
}

}  // namespace denoise
