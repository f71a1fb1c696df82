#include "server/requests/size_validation.h"

#include <string_view>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

// Every picture format holds it.
constexpr int64_t kMaxSide = 16384 - 128;

// Whether one side of the images can be had; adds a violation otherwise.
bool CheckSide(std::string_view field, int64_t pixels, int64_t own, int64_t multiple,
               FieldViolations& violations) {
  if (multiple == 0) {
    if (pixels == own) return true;
    violations.Add(field, absl::StrCat("must be ", own, ", the size of this model's images, or ",
                                       "absent; is ", pixels));
    return false;
  }
  if (pixels >= multiple && pixels <= kMaxSide && pixels % multiple == 0) return true;
  violations.Add(field, absl::StrCat("must be a multiple of ", multiple, " from ", multiple, " to ",
                                     kMaxSide, ", is ", pixels));
  return false;
}

}  // namespace

SampleShape ResolveShape(const denoised::v1::GenerateRequest& request, const Model& model,
                         const RequestLimits& limits, FieldViolations& violations) {
  const SampleShape own = PictureShapeOf(model, model.spec.sample);
  const int64_t height = request.has_height() ? request.height() : own.height;
  const int64_t width = request.has_width() ? request.width() : own.width;
  bool fits = CheckSide("height", height, own.height, model.size_multiple(), violations);
  fits = CheckSide("width", width, own.width, model.size_multiple(), violations) && fits;
  if (!fits) return model.spec.sample;
  if (height * width > limits.max_image_pixels && model.size_multiple() > 0) {
    violations.Add(request.has_height() ? "height" : "width",
                   absl::StrCat("an image of ", height, " x ", width, " has ", height * width,
                                " pixels; the server makes at most ", limits.max_image_pixels,
                                " (--max-image-pixels)"));
    return model.spec.sample;
  }
  return {model.spec.sample.channels, height / model.codec.factor, width / model.codec.factor};
}

SampleShape PictureShapeOf(const Model& model, const SampleShape& x) {
  return {model.codec.picture_channels, x.height * model.codec.factor,
          x.width * model.codec.factor};
}

}  // namespace denoise
