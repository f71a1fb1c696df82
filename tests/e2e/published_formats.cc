#include "tests/e2e/published_formats.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>

#include "tests/core/data/upload_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {

std::string CifarFile(int records) {
  std::string file;
  for (int i = 0; i < records; ++i) {
    std::string record = CifarRecord(i % 10, 0);
    for (int pixel = 0; pixel < 3072; ++pixel) {
      record[1 + pixel] = static_cast<char>(pixel % 32 * 8 + i * 5 + pixel / 1024 * 40);
    }
    file += record;
  }
  return file;
}

std::string MnistPictures(int count) {
  std::string pixels;
  for (int i = 0; i < count; ++i) {
    for (int pixel = 0; pixel < 28 * 28; ++pixel) {
      pixels += static_cast<char>(std::abs(pixel % 28 - 8 - i % 12) < 3 ? 200 + i : 0);
    }
  }
  return IdxPictures(static_cast<uint32_t>(count), 28, 28, pixels);
}

std::string MnistLabels(int count) {
  std::string labels;
  for (int i = 0; i < count; ++i) labels += static_cast<char>(i % 10);
  return IdxLabels(static_cast<uint32_t>(count), labels);
}

std::string Gzipped(const std::string& bytes) {
  const TempDir folder;
  const std::filesystem::path path = folder.path() / "packed.gz";
  const gzFile file = gzopen(path.c_str(), "wb");
  EXPECT_EQ(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())),
            static_cast<int>(bytes.size()));
  EXPECT_EQ(gzclose(file), Z_OK);
  return ReadFile(path);
}

}  // namespace denoise
