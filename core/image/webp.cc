#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"

namespace denoise {
namespace {

// From 0 (fastest) to 9. Samples of 640 x 512 pixels take 15 ms at level 0; level 6 takes 170 ms
// for files that are 17 percent smaller.
constexpr int kLosslessLevel = 0;

struct MemoryWriter {
  WebPMemoryWriter writer;
  MemoryWriter() { WebPMemoryWriterInit(&writer); }
  ~MemoryWriter() { WebPMemoryWriterClear(&writer); }
};

// The size of the whole file according to its RIFF header, which `bytes` must hold. Decoders stop
// at the end of the pixels and would not notice that the file is truncated after them.
uint64_t RiffFileSize(std::string_view bytes) {
  uint64_t size = 0;
  for (int i = 0; i < 4; ++i) size |= uint64_t{static_cast<uint8_t>(bytes[4 + i])} << (8 * i);
  return 8 + size;
}

// The settings of every picture we write.
absl::StatusOr<WebPConfig> LosslessWebpConfig() {
  WebPConfig config;
  if (!WebPConfigInit(&config) || !WebPConfigLosslessPreset(&config, kLosslessLevel)) {
    return absl::InternalError("libwebp's version differs from that of its headers");
  }
  config.exact = 1;  // keep the color of transparent pixels
  return config;
}

// Owns a WebPPicture.
class WebpPicture {
 public:
  WebpPicture() = default;
  ~WebpPicture() {
    if (initialized_) WebPPictureFree(&picture_);
  }
  WebpPicture(const WebpPicture&) = delete;
  WebpPicture& operator=(const WebpPicture&) = delete;

  // Copies a valid image. InvalidArgument: it is too large for the format.
  absl::Status Import(const Image& image);

  WebPPicture* get() { return &picture_; }

 private:
  WebPPicture picture_;
  bool initialized_ = false;
};

absl::Status WebpPicture::Import(const Image& image) {
  if (image.width > WEBP_MAX_DIMENSION || image.height > WEBP_MAX_DIMENSION) {
    return absl::InvalidArgumentError(
        absl::StrCat("WebP pictures have at most ", WEBP_MAX_DIMENSION, " pixels per side"));
  }
  if (!WebPPictureInit(&picture_)) {
    return absl::InternalError("libwebp's version differs from that of its headers");
  }
  initialized_ = true;
  picture_.use_argb = 1;
  picture_.width = image.width;
  picture_.height = image.height;
  const Image colors =
      WithChannels(image, image.channels % 2 == 0 ? 4 : 3);  // the format has no gray
  const auto import = colors.channels == 4 ? WebPPictureImportRGBA : WebPPictureImportRGB;
  if (!import(&picture_, colors.pixels.data(), colors.width * colors.channels)) {
    return absl::ResourceExhaustedError("WebP: out of memory");
  }
  return absl::OkStatus();
}

struct DeleteEncoder {
  void operator()(WebPAnimEncoder* encoder) const { WebPAnimEncoderDelete(encoder); }
};
using EncoderPtr = std::unique_ptr<WebPAnimEncoder, DeleteEncoder>;

absl::Status EncoderError(WebPAnimEncoder* encoder) {
  return absl::InternalError(absl::StrCat("WebP: ", WebPAnimEncoderGetError(encoder)));
}

absl::StatusOr<EncoderPtr> NewEncoder(int width, int height) {
  WebPAnimEncoderOptions options;
  if (!WebPAnimEncoderOptionsInit(&options)) {
    return absl::InternalError("libwebp's version differs from that of its headers");
  }
  options.anim_params.loop_count = 0;  // forever
  EncoderPtr encoder(WebPAnimEncoderNew(width, height, &options));
  if (encoder == nullptr) return absl::ResourceExhaustedError("WebP: out of memory");
  return encoder;
}

absl::StatusOr<std::string> Assemble(WebPAnimEncoder* encoder) {
  WebPData data;
  WebPDataInit(&data);
  if (!WebPAnimEncoderAssemble(encoder, &data)) return EncoderError(encoder);
  std::string bytes(reinterpret_cast<const char*>(data.bytes), data.size);
  WebPDataClear(&data);
  return bytes;
}

}  // namespace

absl::StatusOr<std::string> EncodeWebp(const Image& image) {
  ASSIGN_OR_RETURN(const WebPConfig config, LosslessWebpConfig());
  WebpPicture picture;
  RETURN_IF_ERROR(picture.Import(image));
  MemoryWriter memory;
  picture.get()->writer = WebPMemoryWrite;
  picture.get()->custom_ptr = &memory.writer;
  if (!WebPEncode(&config, picture.get())) {
    return absl::InternalError(absl::StrCat("WebP: error ", picture.get()->error_code));
  }
  return std::string(reinterpret_cast<const char*>(memory.writer.mem), memory.writer.size);
}

absl::StatusOr<Image> DecodeWebp(std::string_view bytes, int64_t max_pixels) {
  const auto* data = reinterpret_cast<const uint8_t*>(bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(data, bytes.size(), &features) != VP8_STATUS_OK) {
    return absl::InvalidArgumentError("WebP: the header is malformed or cut short");
  }
  if (features.has_animation)
    return absl::InvalidArgumentError("WebP: animations are not supported");
  RETURN_IF_ERROR(CheckPixelLimit(features.width, features.height, max_pixels));
  if (RiffFileSize(bytes) > bytes.size()) {
    return absl::InvalidArgumentError("WebP: the file is cut short");
  }
  Image image{features.width, features.height, features.has_alpha ? 4 : 3, {}};
  const int stride = image.width * image.channels;
  image.pixels.resize(static_cast<size_t>(stride) * image.height);
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (decode(data, bytes.size(), image.pixels.data(), image.pixels.size(), stride) == nullptr) {
    return absl::InvalidArgumentError("WebP: the pixels are malformed or cut short");
  }
  return image;
}

absl::StatusOr<std::string> EncodeWebpAnimation(std::span<const Image> frames,
                                                int frame_milliseconds) {
  ASSIGN_OR_RETURN(const WebPConfig config, LosslessWebpConfig());
  ASSIGN_OR_RETURN(const EncoderPtr encoder, NewEncoder(frames[0].width, frames[0].height));
  int timestamp = 0;
  for (const Image& frame : frames) {
    WebpPicture picture;
    RETURN_IF_ERROR(picture.Import(frame));
    if (!WebPAnimEncoderAdd(encoder.get(), picture.get(), timestamp, &config)) {
      return EncoderError(encoder.get());
    }
    timestamp += frame_milliseconds;
  }
  // A null picture marks the end of the last frame.
  if (!WebPAnimEncoderAdd(encoder.get(), nullptr, timestamp, nullptr))
    return EncoderError(encoder.get());
  return Assemble(encoder.get());
}

}  // namespace denoise
