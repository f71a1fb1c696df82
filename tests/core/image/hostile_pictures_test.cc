// What every picture of the fuzzing corpus is answered, and that none costs more memory than it
// may.
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

constexpr char kFolder[] = "tests/data/fuzz/decode_image/";
constexpr int64_t kMaxPixels = 1 << 16;

// For pictures of kMaxPixels: the pixels, what a decoder holds of them and its buffers. The bombs
// of the corpus expand to more.
constexpr rlim_t kMemoryBytes = 8 << 20;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kMemoryCanBeLimited = false;  // sanitizers map memory as they like
#else
constexpr bool kMemoryCanBeLimited = true;
#endif

rlim_t MappedBytes() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

// While it exists, the process can map only this much more memory.
class MemoryLimit {
 public:
  explicit MemoryLimit(rlim_t more_bytes) {
    getrlimit(RLIMIT_AS, &before_);
    if (kMemoryCanBeLimited) SetLimit({MappedBytes() + more_bytes, before_.rlim_max});
  }
  ~MemoryLimit() { SetLimit(before_); }

 private:
  static void SetLimit(const rlimit& limit) { ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0); }

  rlimit before_;
};

std::string ReadPicture(const std::string& name) {
  std::ifstream file(kFolder + name, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::StatusOr<Image> DecodeWithinLimits(const std::string& name) {
  const std::string bytes = ReadPicture(name);
  const MemoryLimit limit(kMemoryBytes);
  return DecodeImage(bytes, kMaxPixels);
}

TEST(HostilePictures, AreRefusedWithAReason) {
  const std::pair<const char*, const char*> refusals[] = {
      {"empty", "neither a PNG, a JPEG nor a WebP picture"},
      {"gif", "neither a PNG, a JPEG nor a WebP picture"},
      {"png-wrong-magic", "neither a PNG, a JPEG nor a WebP picture"},
      {"png-truncated", "PNG: the file is cut short"},
      {"png-bad-crc", "PNG: IDAT: CRC error"},
      {"png-bad-header-crc", "PNG: IHDR: CRC error"},
      {"png-bad-filter", "PNG: bad adaptive filter value"},
      {"png-no-header", "PNG: IDAT: Missing IHDR"},
      {"png-too-short-for-its-size", "PNG: the file is too short for the size in its header"},
      {"png-65535x65535", "65535 x 65535 pixels; at most 65536 are allowed"},
      {"jpeg-magic-only", "JPEG: Premature end of JPEG file"},
      {"jpeg-truncated", "JPEG: Premature end of JPEG file"},
      {"jpeg-too-short-for-its-size", "JPEG: Corrupt JPEG data"},
      {"jpeg-65280x65280", "65280 x 65280 pixels; at most 65536 are allowed"},
      {"jpeg-5000-scans", "JPEG: too many scans"},
      {"jpeg-cmyk", "JPEG: only gray, YCbCr and RGB are read, not CMYK"},
      {"jpeg-arithmetic", "JPEG: arithmetic coding is not supported"},
      {"webp-truncated", "WebP: the file is cut short"},
      {"webp-16384x16384", "16384 x 16384 pixels; at most 65536 are allowed"},
      {"webp-animated", "WebP: animations are not supported"},
  };
  for (const auto& [name, reason] : refusals) {
    SCOPED_TRACE(name);
    ExpectRefused(DecodeWithinLimits(name), reason);
  }
}

struct Shape {
  const char* name;
  int width, height, channels;
};

TEST(HostilePictures, AreReadIfTheyAreValid) {
  const Shape shapes[] = {
      {"png-1-bit", 9, 2, 1},
      {"png-gray", 5, 3, 1},
      {"png-gray-alpha", 5, 3, 2},
      {"png-rgb", 5, 3, 3},
      {"png-rgb-alpha", 5, 3, 4},
      {"png-rgb-16-bit", 3, 2, 3},
      {"png-palette", 2, 1, 4},
      {"png-interlaced", 2, 2, 1},
      {"png-1x1", 1, 1, 1},
      {"png-65535x1", 65535, 1, 1},
      {"png-text-bomb", 1, 1, 1},
      {"png-pixel-bomb", 1, 1, 1},
      {"jpeg-1x1", 1, 1, 3},
      {"jpeg-65500x1", 65500, 1, 1},
      {"jpeg-gray", 7, 5, 1},
      {"jpeg-color", 12, 9, 3},
      {"jpeg-progressive", 16, 16, 3},
      {"jpeg-subsampled-restarts", 40, 33, 3},
      {"jpeg-exif-behind-stray-bytes", 33, 40, 3},
      {"webp-1x1", 1, 1, 3},
      {"webp-lossless", 5, 3, 3},
      {"webp-lossless-alpha", 5, 3, 4},
      {"webp-lossy", 5, 3, 3},
      {"webp-lossy-alpha", 5, 3, 4},
  };
  for (const Shape& shape : shapes) {
    SCOPED_TRACE(shape.name);
    const absl::StatusOr<Image> image = DecodeWithinLimits(shape.name);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(image->width, shape.width);
    EXPECT_EQ(image->height, shape.height);
    EXPECT_EQ(image->channels, shape.channels);
  }
}

TEST(HostilePictures, TheLargestValidOnesFitIntoMemory) {
  for (const ImageFormat format : {ImageFormat::kPng, ImageFormat::kJpeg, ImageFormat::kWebp}) {
    const std::string bytes = *EncodeImage(TestImage(256, 256, 4), format);
    const MemoryLimit limit(kMemoryBytes);
    EXPECT_TRUE(DecodeImage(bytes, kMaxPixels).ok());
  }
}

TEST(HostilePictures, ASmallFileGetsNoMemoryForAnExaggeratedSize) {
  if (!kMemoryCanBeLimited) GTEST_SKIP();
  const std::string bytes = ReadPicture("png-too-short-for-its-size");
  const MemoryLimit limit(0);
  EXPECT_THROW(std::string(64 << 20, 'x'), std::bad_alloc);  // the limit is one
  ExpectRefused(DecodeImage(bytes, int64_t{1} << 40), "too short for the size");
}

}  // namespace
}  // namespace denoise
