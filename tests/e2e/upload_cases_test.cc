// What people upload and send with a request, as it lies on their disks: `denoise` against a
// server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "core/image/image.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/shared_training_server.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class UploadCasesTest : public SharedTrainingServer {
 protected:
  static void SetUpTestSuite() {
    auto models = std::make_unique<ModelsFolder>();
    models->AddGuided();
    Start(std::move(models), {"--max-picture-pixels", "5000"});
  }

  static ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--server", server_->address()});
    return RunDenoise(arguments);
  }
  static ProcessResult Upload(const std::string& path, const std::string& name) {
    return Run({"datasets", "upload", path, "--name", name});
  }
};

struct UploadCase {
  const char* code;
  const char* path;  // in tests/data/uploads
  bool accepted;
  std::vector<std::string> words;  // of all that is printed
};

const std::vector<UploadCase>& UploadCases() {
  static const auto* const cases = new std::vector<UploadCase>{
      {"P1",
       "pets-with-a-gif",
       false,
       {"the folder \"dogs\" holds no readable picture", "\"0.gif\": a GIF"}},
      {"P4",
       "pets-one-class-broken",
       false,
       {"the folder \"dogs\" holds no readable picture", "\"broken.png\": neither a PNG"}},
      {"P5", "pets.zip", true, {"ready", "birds", "cats"}},
      {"P6", "jfif", true, {"ready"}},
  };
  return *cases;
}

TEST_F(UploadCasesTest, EachIsAnsweredAsDocumented) {
  for (const UploadCase& c : UploadCases()) {
    SCOPED_TRACE(c.code);
    const ProcessResult result =
        Upload((fs::path("tests/data/uploads") / c.path).string(), std::string("case-") + c.code);
    EXPECT_EQ(result.exit_status == kExitedCleanly, c.accepted) << result.output << result.error;
    for (const std::string& words : c.words)
      EXPECT_THAT(result.output + result.error, HasSubstr(words));
  }
}

TEST_F(UploadCasesTest, WhatWasLeftOutIsCountedWithAnExample) {
  const fs::path pets = folder_->path() / "pets";
  fs::copy("tests/data/uploads/pets-with-a-gif", pets, fs::copy_options::recursive);
  fs::copy_file(pets / "cats/0.png", pets / "dogs/1.png");
  WriteFile(pets / "cats" / "caf\xe9.png", ReadFile(pets / "cats/0.png"));
  const ProcessResult result = Upload(pets.string(), "pets");
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.error,
              HasSubstr("denoise: left out 2 files, for example \"cats/caf\\xe9.png\" "
                        "(its name is not UTF-8)"));
}

TEST_F(UploadCasesTest, AnUploadThatFailedIsReplacedByTheNext) {
  const fs::path tar = folder_->path() / "broken.tar";
  WriteFile(tar, std::string(2048, 'x'));
  EXPECT_NE(Upload(tar.string(), "again").exit_status, kExitedCleanly);
  EXPECT_EQ(Upload("tests/data/uploads/jfif", "again").exit_status, kExitedCleanly);
  EXPECT_THAT(Upload("tests/data/uploads/jfif", "again").error, HasSubstr("it is ready"));
}

// P7: more are in user_cases_test.
TEST_F(UploadCasesTest, OneLimitOfPixelsHoldsForRequestsAndDataSets) {
  const fs::path folder = folder_->path() / "large";
  fs::create_directories(folder / "cats");
  fs::create_directories(folder / "dogs");
  fs::copy_file("tests/data/uploads/jfif/0.jfif", folder / "cats/0.jpg");
  // 64 x 80 pixels.
  fs::copy_file("tests/data/uploads/5120-pixels.png", folder / "dogs/0.png");
  const std::string words = "the picture has 64 x 80 pixels; at most 5000 are allowed";
  EXPECT_THAT(Upload(folder.string(), "large").error, HasSubstr(words));
  const ProcessResult diffused = Run({"diffuse", (folder / "dogs/0.png").string(), "--timesteps",
                                      "0", "--out", (folder_->path() / "out").string()});
  EXPECT_THAT(diffused.error, HasSubstr(words));
}

// The first frame of a picture, which is nearly the picture itself.
Image FirstFrame(const ServerProcess& server, const std::string& file, const fs::path& out) {
  const ProcessResult result =
      RunDenoise({"diffuse", "tests/data/pictures/" + file, "--timesteps", "0", "--seed", "1",
                  "--out", out.string(), "--server", server.address()});
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  for (const auto& entry : fs::recursive_directory_iterator(out)) {
    if (!entry.is_regular_file()) continue;
    const auto image = DecodeImage(ReadFile(entry.path()), 1 << 20);
    if (image.ok() && image->width == image->height) return *image;
  }
  ADD_FAILURE() << "no frame of " << file;
  return {};
}

// P2: more are in user_cases_test.
TEST_F(UploadCasesTest, PicturesFromAPhoneAreUpright) {
  const Image upright = FirstFrame(*server_, "upright.png", folder_->path() / "upright");
  const Image phone = FirstFrame(*server_, "orientation-6.jpg", folder_->path() / "phone");
  ASSERT_EQ(phone.pixels.size(), upright.pixels.size());
  int64_t difference = 0;
  for (size_t i = 0; i < phone.pixels.size(); ++i) {
    difference += std::abs(phone.pixels[i] - upright.pixels[i]);
  }
  EXPECT_LT(difference / static_cast<int64_t>(phone.pixels.size()), 8);
}

// P3: more are in user_cases_test.
TEST_F(UploadCasesTest, PicturesWithOddScanParametersAreTaken) {
  EXPECT_NE(FirstFrame(*server_, "scan-parameters.jpg", folder_->path() / "scan").width, 0);
}

}  // namespace
}  // namespace denoise
