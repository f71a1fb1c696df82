#include <webp/mux.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"
#include "core/image/webp_picture.h"

namespace denoise {
namespace {

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
    return absl::InternalError("libwebp is of another version than its headers");
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
  // Without a picture: tells when the last frame ends.
  if (!WebPAnimEncoderAdd(encoder.get(), nullptr, timestamp, nullptr))
    return EncoderError(encoder.get());
  return Assemble(encoder.get());
}

}  // namespace denoise
