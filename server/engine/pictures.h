// The pictures that an evaluation leaves: frames that readers want, and images that are done.
#pragma once

#include <ATen/core/Tensor.h>

#include <set>
#include <vector>

#include "absl/status/status.h"
#include "server/engine/active_generation.h"

namespace denoise {

struct Picture {
  ActiveImage* image;
  FrameKind kind = FrameKind::kXt;  // of a frame
  at::Tensor sample;                // [C, H, W] float32 on the CPU
};

struct Pictures {
  std::vector<Picture> frames;
  std::vector<Picture> finished;
  std::set<ActiveImage*> not_finite;  // whose values have left the numbers
};

// Whether the image's last evaluation has ended a step that is to be sent.
bool EndsStep(const ActiveImage& image);

// What `images` show after an evaluation on device `index` that predicted `x0`, [images, C, H, W] or
// one tensor [1, C, H, W] for each image. Throws what LibTorch throws.
Pictures TakePictures(const std::vector<ActiveImage*>& images, const std::vector<at::Tensor>& x0,
                      int index);

bool IsFinite(const at::Tensor& tensor);

// What an image fails with whose last evaluation, or whose decoded picture, is not finite.
absl::Status NotFiniteError(const ActiveImage& image);
absl::Status DecodedNotFiniteError(const ActiveImage& image);

}  // namespace denoise
