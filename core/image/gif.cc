#include <gif_lib.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"
#include "core/image/palette.h"

namespace denoise {
namespace {

constexpr int kMaxSide = 65535;
constexpr int kMillisecondsPerTick = 10;
constexpr int kMaxTicks = 65535;
// Browsers show shorter frames for ten hundredths.
constexpr int kMinTicks = 2;

int Append(GifFileType* gif, const GifByteType* data, int size) noexcept {
  static_cast<std::string*>(gif->UserData)->append(reinterpret_cast<const char*>(data), size);
  return size;
}

absl::Status GifError(int code) {
  const char* const text = GifErrorString(code);
  return absl::InternalError(absl::StrCat("GIF: ", text != nullptr ? text : "unknown error"));
}

struct FreeColorMap {
  void operator()(ColorMapObject* map) const { GifFreeMapObject(map); }
};
using ColorMapPtr = std::unique_ptr<ColorMapObject, FreeColorMap>;

// Padded with black to a power of two, which the format requires.
ColorMapPtr MakeColorMap(const std::vector<Rgb>& colors) {
  int size = 2;
  while (size < static_cast<int>(colors.size())) size *= 2;
  ColorMapPtr map(GifMakeMapObject(size, nullptr));
  if (map == nullptr) throw std::bad_alloc();
  for (size_t i = 0; i < colors.size(); ++i) {
    map->Colors[i] = {colors[i][0], colors[i][1], colors[i][2]};
  }
  return map;
}

class Writer {
 public:
  Writer() : gif_(EGifOpen(&bytes_, Append, &error_)) {}
  ~Writer() { Close(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  absl::Status Begin(int width, int height, const ColorMapObject* colors) {
    if (gif_ == nullptr) return GifError(error_);
    EGifSetGifVersion(gif_, true);  // 89a, which has animations
    RETURN_IF_ERROR(Check(EGifPutScreenDesc(gif_, width, height, 8, 0, colors)));
    return PutLoopForever();
  }

  absl::Status AddFrame(const Image& image, int ticks, Palette& palette) {
    GraphicsControlBlock control = {DISPOSE_DO_NOT, false, ticks, NO_TRANSPARENT_COLOR};
    GifByteType block[4];
    const size_t size = EGifGCBToExtension(&control, block);
    RETURN_IF_ERROR(
        Check(EGifPutExtension(gif_, GRAPHICS_EXT_FUNC_CODE, static_cast<int>(size), block)));
    RETURN_IF_ERROR(Check(EGifPutImageDesc(gif_, 0, 0, image.width, image.height, false, nullptr)));
    std::vector<GifByteType> indices;
    for (size_t i = 0; i < image.pixels.size(); i += 3) {
      indices.push_back(
          palette.Nearest({image.pixels[i], image.pixels[i + 1], image.pixels[i + 2]}));
    }
    for (int y = 0; y < image.height; ++y) {
      RETURN_IF_ERROR(Check(EGifPutLine(gif_, &indices[size_t{1} * y * image.width], image.width)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> Finish() {
    if (Close() == GIF_ERROR) return GifError(error_);
    return std::move(bytes_);
  }

 private:
  // The looping extension of Netscape 2.0, which every viewer knows.
  absl::Status PutLoopForever() {
    constexpr std::string_view kApplication = "NETSCAPE2.0";
    constexpr GifByteType kForever[] = {1, 0, 0};
    RETURN_IF_ERROR(Check(EGifPutExtensionLeader(gif_, APPLICATION_EXT_FUNC_CODE)));
    RETURN_IF_ERROR(Check(EGifPutExtensionBlock(gif_, kApplication.size(), kApplication.data())));
    RETURN_IF_ERROR(Check(EGifPutExtensionBlock(gif_, sizeof(kForever), kForever)));
    return Check(EGifPutExtensionTrailer(gif_));
  }

  absl::Status Check(int result) const {
    return result == GIF_OK ? absl::OkStatus() : GifError(gif_->Error);
  }

  int Close() {
    return gif_ == nullptr ? GIF_OK : EGifCloseFile(std::exchange(gif_, nullptr), &error_);
  }

  std::string bytes_;
  int error_ = 0;
  GifFileType* gif_;
};

absl::StatusOr<std::vector<Image>> WithoutAlpha(std::span<const Image> frames) {
  if (frames[0].width > kMaxSide || frames[0].height > kMaxSide) {
    return absl::InvalidArgumentError(
        absl::StrCat("GIF holds at most ", kMaxSide, " pixels a side"));
  }
  std::vector<Image> rgb;
  for (const Image& frame : frames) rgb.push_back(WithChannels(frame, 3));
  return rgb;
}

}  // namespace

absl::StatusOr<std::string> EncodeGifAnimation(std::span<const Image> frames,
                                               int frame_milliseconds) {
  ASSIGN_OR_RETURN(const std::vector<Image> rgb, WithoutAlpha(frames));
  const int ticks =
      std::max(kMinTicks, (frame_milliseconds + kMillisecondsPerTick / 2) / kMillisecondsPerTick);
  Palette palette(rgb);
  const ColorMapPtr colors = MakeColorMap(palette.colors());
  Writer writer;
  RETURN_IF_ERROR(writer.Begin(rgb[0].width, rgb[0].height, colors.get()));
  for (size_t i = 0; i < rgb.size();) {
    // Repeated frames become one picture, shown longer.
    size_t next = i + 1;
    while (next < rgb.size() && rgb[next] == rgb[i] &&
           static_cast<int>(next + 1 - i) * ticks <= kMaxTicks) {
      ++next;
    }
    RETURN_IF_ERROR(writer.AddFrame(rgb[i], static_cast<int>(next - i) * ticks, palette));
    i = next;
  }
  return writer.Finish();
}

}  // namespace denoise
