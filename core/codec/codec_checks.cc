#include "core/codec/codec_checks.h"

#include <c10/util/Exception.h>

#include <vector>

namespace denoise {

void CheckPictures(const CodecSpec& spec, const at::Tensor& pictures, const at::Tensor& noise) {
  TORCH_CHECK(pictures.defined() && pictures.scalar_type() == at::kFloat,
              "pictures must be float32");
  const at::IntArrayRef sizes = pictures.sizes();
  TORCH_CHECK(sizes.size() == 4 && sizes[1] == spec.picture_channels && pictures.numel() > 0,
              "pictures have shape ", sizes, ", expected [B, ", spec.picture_channels, ", H, W]");
  TORCH_CHECK(sizes[2] % spec.factor == 0 && sizes[3] % spec.factor == 0, "pictures have shape ",
              sizes, ", height and width must be multiples of ", spec.factor);
  if (!noise.defined() || !spec.samples_latents) return;
  const SampleShape latent = spec.LatentShape(sizes[2], sizes[3]);
  const std::vector<int64_t> expected = {sizes[0], latent.channels, latent.height, latent.width};
  TORCH_CHECK(noise.sizes() == expected && noise.scalar_type() == at::kFloat, "noise must be ",
              at::IntArrayRef(expected), " float32, has shape ", noise.sizes());
}

void CheckLatents(const CodecSpec& spec, const at::Tensor& latents) {
  TORCH_CHECK(latents.defined() && latents.scalar_type() == at::kFloat, "latents must be float32");
  const at::IntArrayRef sizes = latents.sizes();
  TORCH_CHECK(sizes.size() == 4 && sizes[1] == spec.latent_channels && latents.numel() > 0,
              "latents have shape ", sizes, ", expected [B, ", spec.latent_channels, ", h, w]");
}

}  // namespace denoise
