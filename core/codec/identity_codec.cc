#include "core/codec/identity_codec.h"

#include "core/codec/codec_checks.h"

namespace denoise {
namespace {

class Identity final : public Codec, public std::enable_shared_from_this<Identity> {
 public:
  Identity(int64_t channels, at::Device device, at::ScalarType dtype)
      : spec_{.picture_channels = channels, .latent_channels = channels, .is_identity = true},
        device_(device),
        dtype_(dtype) {}

  const CodecSpec& spec() const override { return spec_; }
  at::Device device() const override { return device_; }
  at::ScalarType dtype() const override { return dtype_; }

  at::Tensor Encode(const at::Tensor& pictures, const at::Tensor& noise) const override {
    CheckPictures(spec_, pictures, noise);
    return pictures.contiguous();
  }

  at::Tensor Decode(const at::Tensor& latents) const override {
    CheckLatents(spec_, latents);
    return latents.contiguous();
  }

  std::shared_ptr<const Codec> To(at::Device device, at::ScalarType dtype) const override {
    if (device == device_ && dtype == dtype_) return shared_from_this();
    return std::make_shared<Identity>(spec_.latent_channels, device, dtype);
  }

 private:
  const CodecSpec spec_;
  const at::Device device_;
  const at::ScalarType dtype_;
};

}  // namespace

std::shared_ptr<const Codec> IdentityCodec(int64_t channels) {
  return std::make_shared<Identity>(channels, at::kCPU, at::kFloat);
}

}  // namespace denoise
