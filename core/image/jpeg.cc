// jpeglib.h needs FILE and size_t declared before it.
// clang-format off
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "core/image/codec.h"
#include "core/image/exif.h"
#include "core/image/longjmp_guard.h"

namespace denoise {
namespace {

// Encoders write about ten scans. Each scan is a pass over the whole picture however few bytes it
// has, so a small file could keep a decoder busy for hours.
constexpr int kMaxScans = 64;

// The marker of the segments that hold Exif data, among others.
constexpr int kApp1 = JPEG_APP0 + 1;

// libjpeg's error manager is the first member, so a pointer to it is a pointer to this.
struct ErrorManager {
  jpeg_error_mgr base;
  LongjmpGuard guard;
};

[[noreturn]] void Fail(j_common_ptr codec) {
  char message[JMSG_LENGTH_MAX];
  codec->err->format_message(codec, message);
  reinterpret_cast<ErrorManager*>(codec->err)->guard.Fail(message);
}

// Whether a warning says that picture data is corrupt or missing, so that libjpeg would continue
// with made-up pixels. The others are about what surrounds it, such as the parameters of a scan
// that some phones write, or bytes between two segments; every viewer ignores them.
bool IsAboutPictureData(int message) {
  switch (message) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
      return true;
    default:
      return false;
  }
}

// Level -1 is a warning.
void OnMessage(j_common_ptr codec, int level) {
  if (level < 0 && IsAboutPictureData(codec->err->msg_code)) Fail(codec);
}

void InstallErrorManager(ErrorManager& errors, jpeg_error_mgr*& slot) {
  slot = jpeg_std_error(&errors.base);
  errors.base.error_exit = Fail;
  errors.base.emit_message = OnMessage;
}

absl::Status JpegError(const ErrorManager& errors) {
  return absl::InvalidArgumentError(absl::StrCat("JPEG: ", errors.guard.message()));
}

class Writer {
 public:
  Writer() { InstallErrorManager(errors_, codec_.err); }
  ~Writer() {
    jpeg_destroy_compress(&codec_);
    std::free(buffer_);
  }

  absl::StatusOr<std::string> Encode(const Image& image) {
    if (!errors_.guard.Run([&] { Write(image); })) return JpegError(errors_);
    return std::string(reinterpret_cast<const char*>(buffer_), size_);
  }

 private:
  void Write(const Image& image) {
    jpeg_create_compress(&codec_);
    jpeg_mem_dest(&codec_, &buffer_, &size_);
    codec_.image_width = image.width;
    codec_.image_height = image.height;
    codec_.input_components = image.channels;
    codec_.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&codec_);
    jpeg_set_quality(&codec_, kJpegQuality, TRUE);
    for (int c = 0; c < codec_.num_components; ++c) {  // 4:4:4
      codec_.comp_info[c].h_samp_factor = 1;
      codec_.comp_info[c].v_samp_factor = 1;
    }
    jpeg_start_compress(&codec_, TRUE);
    const size_t stride = static_cast<size_t>(image.width) * image.channels;
    while (codec_.next_scanline < codec_.image_height) {
      JSAMPROW row = const_cast<JSAMPROW>(&image.pixels[codec_.next_scanline * stride]);
      jpeg_write_scanlines(&codec_, &row, 1);
    }
    jpeg_finish_compress(&codec_);
  }

  ErrorManager errors_;
  jpeg_compress_struct codec_ = {};
  unsigned char* buffer_ = nullptr;  // grown by libjpeg with malloc
  unsigned long size_ = 0;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {
    InstallErrorManager(errors_, codec_.err);
    progress_.progress_monitor = LimitScans;
  }
  ~Reader() { jpeg_destroy_decompress(&codec_); }

  absl::StatusOr<Image> Decode(int64_t max_pixels) {
    if (!errors_.guard.Run([&] { ReadHeader(); })) return JpegError(errors_);
    RETURN_IF_ERROR(CheckHeader(max_pixels));
    const int channels = codec_.jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
    Image image{
        static_cast<int>(codec_.image_width), static_cast<int>(codec_.image_height), channels, {}};
    image.pixels.resize(static_cast<size_t>(image.width) * image.height * channels);
    const int orientation = Orientation();
    if (!errors_.guard.Run([&] { ReadPixels(image); })) return JpegError(errors_);
    return Upright(std::move(image), orientation);
  }

 private:
  static void LimitScans(j_common_ptr codec) {
    if (reinterpret_cast<j_decompress_ptr>(codec)->input_scan_number <= kMaxScans) return;
    reinterpret_cast<ErrorManager*>(codec->err)->guard.Fail("too many scans");
  }

  void ReadHeader() {
    jpeg_create_decompress(&codec_);
    codec_.progress = &progress_;
    jpeg_mem_src(&codec_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
    jpeg_save_markers(&codec_, kApp1, 0xffff);
    jpeg_read_header(&codec_, TRUE);
    jpeg_save_markers(&codec_, kApp1, 0);  // behind the first scan they do not count
  }

  // That of the first segment with Exif data before the first scan; libjpeg skips what lies between
  // segments, as viewers do.
  int Orientation() const {
    for (auto* segment = codec_.marker_list; segment != nullptr; segment = segment->next) {
      const std::string_view content(reinterpret_cast<const char*>(segment->data),
                                     segment->data_length);
      if (const std::optional<int> orientation = SegmentOrientation(content)) return *orientation;
    }
    return 1;
  }

  absl::Status CheckHeader(int64_t max_pixels) const {
    RETURN_IF_ERROR(CheckPixelLimit(codec_.image_width, codec_.image_height, max_pixels));
    switch (codec_.jpeg_color_space) {
      case JCS_GRAYSCALE:
      case JCS_YCbCr:
      case JCS_RGB:
        break;
      default:
        return absl::InvalidArgumentError(
            "JPEG: only gray, YCbCr and RGB are read, not CMYK or others");
    }
    if (codec_.arith_code)
      return absl::InvalidArgumentError("JPEG: arithmetic coding is not supported");
    // A Huffman code takes at least one bit per block, so a header that promises more is wrong.
    uint64_t blocks = 0;
    for (int c = 0; c < codec_.num_components; ++c) {
      blocks +=
          uint64_t{codec_.comp_info[c].width_in_blocks} * codec_.comp_info[c].height_in_blocks;
    }
    if (blocks > 8 * uint64_t{bytes_.size()}) {
      return absl::InvalidArgumentError("JPEG: the file is too short for the size in its header");
    }
    return absl::OkStatus();
  }

  void ReadPixels(Image& image) {
    codec_.out_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&codec_);
    const size_t stride = static_cast<size_t>(image.width) * image.channels;
    while (codec_.output_scanline < codec_.output_height) {
      JSAMPROW row = &image.pixels[codec_.output_scanline * stride];
      jpeg_read_scanlines(&codec_, &row, 1);
    }
    jpeg_finish_decompress(&codec_);  // reads on to the end marker
  }

  ErrorManager errors_;
  const std::string_view bytes_;
  jpeg_progress_mgr progress_ = {};
  jpeg_decompress_struct codec_ = {};
};

}  // namespace

absl::StatusOr<std::string> EncodeJpeg(const Image& image) {
  if (image.width > JPEG_MAX_DIMENSION || image.height > JPEG_MAX_DIMENSION) {
    return absl::InvalidArgumentError(
        absl::StrCat("JPEG holds at most ", JPEG_MAX_DIMENSION, " pixels a side"));
  }
  if (image.channels == 2) return Writer().Encode(WithChannels(image, 1));
  if (image.channels == 4) return Writer().Encode(WithChannels(image, 3));
  return Writer().Encode(image);
}

absl::StatusOr<Image> DecodeJpeg(std::string_view bytes, int64_t max_pixels) {
  return Reader(bytes).Decode(max_pixels);
}

}  // namespace denoise
