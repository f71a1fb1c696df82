// Folders that are not sound checkpoints are reported and left out; the others are served.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kWeights[] = "unet/diffusion_pytorch_model.safetensors";

struct BrokenModelCase {
  const char* name;
  std::function<void(const std::filesystem::path& folder)> spoil;
};

void Replace(const std::filesystem::path& file, const std::string& from, const std::string& to) {
  const std::string text = ReadFile(file);
  ASSERT_NE(text.find(from), std::string::npos) << from << " is not in " << file;
  WriteFile(file, absl::StrReplaceAll(text, {{from, to}}));
}

// Rewrites the JSON header of a safetensors file, mending its length.
void ReplaceInHeader(const std::filesystem::path& file, const std::string& from,
                     const std::string& to) {
  const std::string bytes = ReadFile(file);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  std::string header = bytes.substr(sizeof(length), length);
  ASSERT_NE(header.find(from), std::string::npos) << from;
  header.replace(header.find(from), from.size(), to);
  const uint64_t new_length = header.size();
  std::string rewritten(reinterpret_cast<const char*>(&new_length), sizeof(new_length));
  absl::StrAppend(&rewritten, header, bytes.substr(sizeof(length) + length));
  WriteFile(file, rewritten);
}

// The first `"data_offsets":[begin,end]` of the header, as it is written there.
std::string FirstOffsets(const std::filesystem::path& file) {
  const std::string bytes = ReadFile(file);
  const size_t begin = bytes.find("\"data_offsets\"");
  return bytes.substr(begin, bytes.find(']', begin) + 1 - begin);
}

const std::vector<BrokenModelCase>& BrokenModelCases() {
  static const auto* const cases = new std::vector<BrokenModelCase>{
      {"truncated",
       [](const auto& folder) {
         std::filesystem::resize_file(folder / kWeights,
                                      std::filesystem::file_size(folder / kWeights) - 100);
       }},
      {"header-cut",
       [](const auto& folder) { std::filesystem::resize_file(folder / kWeights, 40); }},
      {"header-endless",
       [](const auto& folder) {
         std::string bytes = ReadFile(folder / kWeights);
         bytes.replace(0, 8, 8, '\xff');
         WriteFile(folder / kWeights, bytes);
       }},
      {"overlapping",
       [](const auto& folder) {
         // The second tensor begins where the first does.
         const std::string offsets = FirstOffsets(folder / kWeights);
         const std::string bytes = ReadFile(folder / kWeights);
         const size_t second = bytes.find("\"data_offsets\"", bytes.find(offsets) + 1);
         const std::string second_offsets =
             bytes.substr(second, bytes.find(']', second) + 1 - second);
         ReplaceInHeader(folder / kWeights, second_offsets, offsets);
       }},
      {"weights-empty", [](const auto& folder) { WriteFile(folder / kWeights, ""); }},
      {"weights-absent", [](const auto& folder) { std::filesystem::remove(folder / kWeights); }},
      {"tensor-missing",
       [](const auto& folder) {
         ReplaceInHeader(folder / kWeights, "conv_in.bias", "conv_on.bias");
       }},
      {"wrong-shapes",
       [](const auto& folder) {
         // The same number of values, so that only the network can tell.
         Replace(folder / "unet/config.json", "\"in_channels\": 3", "\"in_channels\": 4");
       }},
      {"config-not-json",
       [](const auto& folder) { WriteFile(folder / "unet/config.json", "{\"a\":"); }},
      {"config-unsupported",
       [](const auto& folder) {
         Replace(folder / "unet/config.json", "AttnDownBlock2D", "CrossAttnDownBlock2D");
       }},
      {"scheduler-not-json",
       [](const auto& folder) { WriteFile(folder / "scheduler/scheduler_config.json", "[1, 2"); }},
      {"scheduler-unknown",
       [](const auto& folder) {
         Replace(folder / "model_index.json", "DDPMScheduler", "MagicScheduler");
       }},
      {"index-not-json", [](const auto& folder) { WriteFile(folder / "model_index.json", "\0"); }},
      {"index-deep",
       [](const auto& folder) {
         WriteFile(folder / "model_index.json", std::string(100'000, '['));
       }},
      {"null-class-beyond",
       [](const auto& folder) {
         Replace(folder / "model_index.json", "\"null_class_label\": 5", "\"null_class_label\": 6");
       }},
      {"empty",
       [](const auto& folder) {
         std::filesystem::remove_all(folder);
         std::filesystem::create_directory(folder);
       }},
  };
  return *cases;
}

TEST(BrokenModels, AreReportedAndLeftOutAndTheOthersServed) {
  ModelsFolder models;
  models.AddGuided();
  for (const BrokenModelCase& c : BrokenModelCases()) {
    models.AddGuided(c.name);
    c.spoil(models.path() / c.name);
  }
  WriteFile(models.path() / "README.md", "not a model");
  const auto server = StartServer(models.path());

  grpc::ClientContext context;
  denoised::v1::ListModelsResponse listed;
  ASSERT_TRUE(server->models().ListModels(&context, {}, &listed).ok());
  ASSERT_EQ(listed.models_size(), 1) << listed.DebugString();
  EXPECT_EQ(listed.models(0).name(), "models/guided");
  EXPECT_TRUE(Generate(server->generation(), GuidedRequest(/*steps=*/2)).status.ok());

  const MetricsPage metrics = server->Metrics();
  EXPECT_EQ(metrics.Sum(kModelsLoaded), 1);
  EXPECT_EQ(metrics.Sum(kModelsBroken), BrokenModelCases().size());
  for (const BrokenModelCase& c : BrokenModelCases()) {
    EXPECT_THAT(server->Log(), HasSubstr(c.name)) << "nothing in the log says that it is left out";
  }
}

TEST(BrokenModels, AreRefusedWithTheReason) {
  ModelsFolder models;
  models.AddGuided().AddGuided("broken");
  WriteFile(models.path() / "broken" / "unet/config.json", "{");
  const auto server = StartServer(models.path());
  auto request = GuidedRequest(/*steps=*/2);
  request.set_model("models/broken");
  const grpc::Status status = Generate(server->generation(), request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("models/broken does not load: unet/config.json"));
  EXPECT_THAT(status.error_message(), Not(HasSubstr(models.path().string())));
}

TEST(BrokenModels, AModelsFolderThatIsNotThereEndsTheServerWithAMessage) {
  const TempDir folder;
  const auto result = RunProcess({DenoisedBinary(), "--models", (folder.path() / "absent").string(),
                                  "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"},
                                 kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NE(result->exit_status, kExitedCleanly);
  EXPECT_THAT(result->error, HasSubstr("does not exist"));
}

}  // namespace
}  // namespace denoise
