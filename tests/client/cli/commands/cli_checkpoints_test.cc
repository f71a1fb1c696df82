// `denoise check`, `denoise convert` and `denoise new-model` as processes. They need no server.
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

constexpr absl::Duration kPatience = absl::Seconds(120);
const fs::path kRoot = "tests/data/pipelines";

class CliCheckpointsTest : public testing::Test {
 protected:
  static ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    return RunProcess(arguments, kPatience).value();
  }

  // The only report of `denoise check --json`.
  static json Check(const fs::path& path, const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments = {"check", "--json", path.string()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const ProcessResult result = Run(arguments);
    const json reports = json::parse(result.output)["checkpoints"];
    EXPECT_EQ(reports.size(), 1);
    EXPECT_EQ(result.exit_status.code, reports[0]["loads"] == true ? 0 : 1);
    return reports[0];
  }

  // A copy of a folder, to be changed.
  fs::path Copy(const std::string& name) {
    const fs::path copy = temp_.path() / name;
    fs::create_directories(copy.parent_path());
    fs::copy(kRoot / fs::path(name).filename(), copy, fs::copy_options::recursive);
    return copy;
  }

  static void Replace(const fs::path& file, const std::string& text, const std::string& by) {
    std::string content = ReadFile(file);
    const size_t at = content.find(text);
    ASSERT_NE(at, std::string::npos);
    WriteFile(file, content.replace(at, text.size(), by));
  }

  TempDir temp_;
};

TEST_F(CliCheckpointsTest, TellsThatAFolderLoads) {
  const ProcessResult result = Run({"check", (kRoot / "sdxl-like").string()});
  EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
  EXPECT_THAT(result.output, StartsWith("sdxl-like: loads\n"));
  EXPECT_THAT(result.output, HasSubstr("StableDiffusionXLPipeline / UNet2DConditionModel"));
  EXPECT_THAT(result.output,
              testing::ContainsRegex("text_encoder_2 +CLIPTextModelWithProjection +[0-9,]+ "
                                     "parameters, stored as F32"));
  EXPECT_THAT(result.output,
              testing::ContainsRegex("The weights take [0-9.]+ MiB of memory in float32, [0-9.]+ "
                                     "MiB in bfloat16, [0-9.]+ MiB in float16"));
}

TEST_F(CliCheckpointsTest, PrintsReportsAsJson) {
  const json report = Check(kRoot / "sd15-like/");
  EXPECT_EQ(report["name"], "sd15-like");
  EXPECT_EQ(report["kind"], "folder");
  int64_t parameters = 0;
  for (const json& part : report["parts"]) parameters += part["parameters"].get<int64_t>();
  EXPECT_EQ(report["parts"].size(), 3);
  EXPECT_EQ(report["parts"][1]["class"], "AutoencoderKL");
  EXPECT_EQ(report["parameters"], parameters);
  EXPECT_EQ(report["memory_bytes"]["float32"], 4 * parameters);
  EXPECT_EQ(report["memory_bytes"]["bfloat16"], 2 * parameters);
  EXPECT_FALSE(report.contains("error"));
}

TEST_F(CliCheckpointsTest, CountsPartsThatStayInFloat32) {
  const json report = Check(kRoot / "sdxl-like");
  const json& memory = report["memory_bytes"];
  const json& vae = report["parts"][1];
  ASSERT_EQ(vae["name"], "vae");
  EXPECT_EQ(memory["float16"],
            memory["bfloat16"].get<int64_t>() + 2 * vae["parameters"].get<int64_t>());
}

TEST_F(CliCheckpointsTest, NamesTheKeyThatIsNotSupported) {
  const fs::path folder = Copy("sd15-like");
  Replace(folder / "unet/config.json", "\"norm_eps\"",
          "\"dual_cross_attention\": true, \"norm_eps\"");
  const json report = Check(folder);
  EXPECT_EQ(report["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(report["error"]["violations"][0]["field"], "dual_cross_attention");
  const ProcessResult text = Run({"check", folder.string()});
  EXPECT_EQ(text.exit_status.code, 1);
  EXPECT_THAT(text.output, AllOf(StartsWith("sd15-like: does not load\n"),
                                 HasSubstr("  unet/config.json: dual_cross_attention: "),
                                 Not(HasSubstr(temp_.path().string()))));
}

TEST_F(CliCheckpointsTest, NamesTheTensorThatDoesNotFit) {
  const fs::path folder = Copy("sd15-like");
  Replace(folder / "text_encoder/config.json", "\"intermediate_size\": 64",
          "\"intermediate_size\": 48");
  const json report = Check(folder);
  EXPECT_THAT(report["error"]["message"].get<std::string>(),
              AllOf(HasSubstr("text_encoder/model.safetensors: "),
                    HasSubstr("mlp.fc1.weight: has shape [64, 32], expected [48, 32]")));
  EXPECT_EQ(report["parts"].size(), 3) << "the parts are told all the same";
}

TEST_F(CliCheckpointsTest, ChecksEveryModelOfAFolder) {
  Copy("models/sd15-like");
  Copy("models/ldm-like");
  fs::create_directories(temp_.path() / "models/empty");
  const ProcessResult result = Run({"check", "--json", (temp_.path() / "models").string()});
  EXPECT_EQ(result.exit_status.code, 1);
  const json reports = json::parse(result.output)["checkpoints"];
  ASSERT_EQ(reports.size(), 3);
  EXPECT_EQ(reports[0]["name"], "empty");
  EXPECT_EQ(reports[0]["loads"], false);
  EXPECT_EQ(reports[1]["name"], "ldm-like");
  EXPECT_EQ(reports[1]["loads"], true);
  EXPECT_EQ(reports[2]["loads"], true);
}

TEST_F(CliCheckpointsTest, ChecksACacheOfHuggingFace) {
  const fs::path cached = temp_.path() / "hub/models--someone--ldm";
  fs::create_directories(cached / "snapshots");
  fs::copy(kRoot / "ldm-like", cached / "snapshots/0123abcd", fs::copy_options::recursive);
  for (const fs::path& path : {temp_.path() / "hub", cached, cached / "snapshots/0123abcd"}) {
    EXPECT_EQ(Check(path)["loads"], true) << path;
  }
}

TEST_F(CliCheckpointsTest, TellsWhatASingleFileHolds) {
  const json report = Check(kRoot / "sd21-v-like.safetensors");
  EXPECT_EQ(report["kind"], "file");
  EXPECT_EQ(report["family"], "Stable Diffusion 2.x");
  EXPECT_EQ(report["names_only"], true);
  EXPECT_EQ(report["ignored_tensors"]["model_ema."], 2);
  EXPECT_THAT(report["ignored_tensors"].dump(),
              HasSubstr("cond_stage_model.model.transformer.resblocks.3."));
  const json folder = Check(kRoot / "sd21-v-like");
  EXPECT_EQ(report["parameters"], folder["parameters"]);
  const json whole =
      Check(kRoot / "sd21-v-like.safetensors", {"--configs", (kRoot / "sd21-v-like").string()});
  EXPECT_EQ(whole["loads"], true);
  EXPECT_EQ(whole["names_only"], false);
  EXPECT_EQ(whole["parameters"], folder["parameters"]);
}

TEST_F(CliCheckpointsTest, SaysWhatOtherFilesLookLike) {
  const json lora = Check(kRoot / "sd15-like/vae/diffusion_pytorch_model.safetensors");
  EXPECT_EQ(lora["loads"], false);
  EXPECT_THAT(lora["error"]["message"].get<std::string>(), HasSubstr("looks like the VAE"));
  WriteFile(temp_.path() / "model.ckpt", "PK\3\4");
  const ProcessResult pickle = Run({"check", (temp_.path() / "model.ckpt").string()});
  EXPECT_EQ(pickle.exit_status.code, 1);
  EXPECT_THAT(pickle.output, HasSubstr("torch.save"));
}

TEST_F(CliCheckpointsTest, ConvertsASingleFileToAFolderThatLoads) {
  for (const std::string name : {"sd15-like", "sd21-v-like", "sdxl-like"}) {
    const fs::path folder = temp_.path() / name;
    const ProcessResult result = Run({"convert", (kRoot / (name + ".safetensors")).string(),
                                      folder.string(), "--configs", (kRoot / name).string()});
    EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
    EXPECT_EQ(result.output, "wrote " + folder.string() + "\n");
    const json report = Check(folder);
    EXPECT_EQ(report["loads"], true) << report;
    for (const json& part : report["parts"]) EXPECT_EQ(part["dtypes"], json({"F16"}));
    EXPECT_EQ(report["parameters"], Check(kRoot / name)["parameters"]);
  }
}

TEST_F(CliCheckpointsTest, ConvertsNothingThatWouldNotLoad) {
  const std::string file = (kRoot / "sd15-like.safetensors").string();
  const std::string folder = (temp_.path() / "model").string();
  const ProcessResult other =
      Run({"convert", file, folder, "--configs", (kRoot / "sdxl-like").string()});
  EXPECT_EQ(other.exit_status.code, 1);
  EXPECT_THAT(other.error, HasSubstr("sd15-like.safetensors: holds Stable Diffusion 1.x"));
  EXPECT_THAT(other.output, IsEmpty());
  EXPECT_TRUE(fs::is_empty(temp_.path()));
  fs::create_directory(folder);
  const ProcessResult exists =
      Run({"convert", file, folder, "--configs", (kRoot / "sd15-like").string()});
  EXPECT_EQ(exists.exit_status.code, 1);
  EXPECT_THAT(exists.error, HasSubstr("the folder exists"));
}

TEST_F(CliCheckpointsTest, SaysWhatIsMissingOnTheCommandLine) {
  const std::string file = (kRoot / "sd15-like.safetensors").string();
  const ProcessResult configs = Run({"convert", file, (temp_.path() / "model").string()});
  EXPECT_EQ(configs.exit_status.code, 2);
  EXPECT_THAT(configs.error, HasSubstr("--configs"));
  const ProcessResult missing = Run({"check", "/nowhere"});
  EXPECT_EQ(missing.exit_status.code, 2);
  EXPECT_THAT(missing.error, HasSubstr("there is no file or folder"));
  const json error = json::parse(Run({"check", "--json", "/nowhere"}).output)["error"];
  EXPECT_EQ(error["code"], "INVALID_ARGUMENT");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("/nowhere"));
  const ProcessResult help = Run({"check", "--help"});
  EXPECT_EQ(help.exit_status, kExitedCleanly);
  EXPECT_THAT(help.output, AllOf(HasSubstr("denoise check models"), HasSubstr("--json")));
}

TEST_F(CliCheckpointsTest, WritesANewModelThatLoads) {
  const std::string folder = (temp_.path() / "new").string();
  const std::vector<std::string> command = {
      "new-model", folder, "--configs", (kRoot / "sd15-like").string(), "--dtype", "bfloat16"};
  const ProcessResult written = Run(command);
  EXPECT_EQ(written.exit_status, kExitedCleanly) << written.error;
  EXPECT_EQ(written.output, "wrote " + folder + "\n");
  EXPECT_THAT(written.error, testing::ContainsRegex("unet: [0-9,]+ parameters, [0-9.]+ MiB\n"));
  const json report = Check(folder);
  EXPECT_EQ(report["loads"], true) << report;
  EXPECT_EQ(report["parts"][0]["dtypes"], json({"BF16"}));
  const ProcessResult again = Run(command);
  EXPECT_EQ(again.exit_status.code, 1);
  EXPECT_THAT(again.error, HasSubstr("the folder exists"));
}

TEST_F(CliCheckpointsTest, NeedsTheShapeOfANewModel) {
  const std::string folder = (temp_.path() / "new").string();
  const ProcessResult none = Run({"new-model", folder});
  EXPECT_EQ(none.exit_status.code, 2);
  EXPECT_THAT(none.error, HasSubstr("--like"));
  const ProcessResult unknown = Run({"new-model", folder, "--like", "sd16"});
  EXPECT_EQ(unknown.exit_status.code, 2);
  EXPECT_THAT(unknown.error, HasSubstr("sd15"));
  const ProcessResult both =
      Run({"new-model", folder, "--like", "sd15", "--configs", (kRoot / "sd15-like").string()});
  EXPECT_EQ(both.exit_status.code, 2);
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(CliCheckpointsTest, TheSeedOfANewModelIsAWholeDecimalNumber) {
  const auto make = [&](const std::string& name, const std::string& seed) {
    return Run({"new-model", (temp_.path() / name).string(), "--configs",
                (kRoot / "sd15-like").string(), "--seed", seed});
  };
  for (const std::string seed :
       {"-1", "18446744073709551616", "36893488147419103232", "1.5", "x"}) {
    const ProcessResult result = make("wrong", seed);
    EXPECT_EQ(result.exit_status.code, 2);
    EXPECT_THAT(result.error, StartsWith("denoise: --seed: must be a whole number from 0 to "
                                         "18446744073709551615; is " +
                                         seed + "\n"));
    EXPECT_FALSE(fs::exists(temp_.path() / "wrong"));
  }
  const auto weights = [&](const std::string& name, const std::string& seed) {
    EXPECT_EQ(make(name, seed).exit_status, kExitedCleanly);
    return ReadFile(temp_.path() / name / "vae/diffusion_pytorch_model.safetensors");
  };
  const std::string ten = weights("ten", "10");
  EXPECT_EQ(weights("decimal", "010"), ten);
  EXPECT_NE(weights("eight", "8"), ten);
}

TEST_F(CliCheckpointsTest, UsageErrorsAreThoseOfTheOtherCommands) {
  const std::string check = "\n  `denoise check --help` explains every flag.\n";
  EXPECT_EQ(Run({"check"}).error, "denoise: path is required" + check);
  const ProcessResult typo = Run({"check", "models", "--jsno"});
  EXPECT_EQ(typo.exit_status.code, 2);
  EXPECT_EQ(typo.error, "denoise: unknown flag --jsno; did you mean --json?" + check);
  EXPECT_EQ(Run({"check", ""}).error, "denoise: path: must not be empty" + check);
  const json error = json::parse(Run({"convert", "--json", "a"}).output)["error"];
  EXPECT_EQ(error["flag"], "--json");
}

TEST_F(CliCheckpointsTest, RefusesConfigsForAFolder) {
  const std::string folder = (kRoot / "sd15-like").string();
  const ProcessResult result = Run({"check", folder, "--configs", folder});
  EXPECT_EQ(result.exit_status.code, 2);
  EXPECT_THAT(result.error, StartsWith("denoise: --configs: is for a single file; "));
}

TEST_F(CliCheckpointsTest, RefusesNamesThatNoServerTakes) {
  const std::string configs = (kRoot / "sd15-like").string();
  for (const std::string& name : {std::string("bad name"), std::string(200, 'a')}) {
    for (const std::string end : {"", "/"}) {
      const fs::path folder = temp_.path() / name;
      const ProcessResult made = Run({"new-model", folder.string() + end, "--configs", configs});
      EXPECT_EQ(made.exit_status.code, 2);
      EXPECT_THAT(made.error, AllOf(StartsWith("denoise: folder: no server takes \""),
                                    HasSubstr("128 characters")));
      const ProcessResult converted =
          Run({"convert", configs + ".safetensors", folder.string() + end, "--configs", configs});
      EXPECT_EQ(converted.exit_status.code, 2);
      EXPECT_FALSE(fs::exists(folder));
    }
  }
}

TEST_F(CliCheckpointsTest, OutputThatIsLostIsAFailure) {
  const std::string denoise = DENOISE_BINARY;
  for (const std::string& command :
       {denoise + " check " + (kRoot / "sd15-like").string(),
        denoise + " check --json " + (kRoot / "sd15-like").string(), denoise + " check --help",
        denoise + " --help", denoise + "d --help", denoise + "d new-handover-key",
        denoise + "d new-token ci --tenant acme", denoise + "d rank --help"}) {
    const ProcessResult result =
        RunProcess({"/bin/sh", "-c", command + " > /dev/full"}, kPatience).value();
    EXPECT_EQ(result.exit_status.code, 1) << command;
    EXPECT_THAT(result.error, HasSubstr("cannot write to standard output")) << command;
  }
}

TEST_F(CliCheckpointsTest, TheServerWarnsOfDtypesOfModelsThatAreNotThere) {
  const ProcessResult result =
      RunProcess({std::string(DENOISE_BINARY) + "d", "--models", kRoot.string(), "--dtype",
                  "nosuch=bfloat16", "--dtype", "sd15-like=float32", "--handover-key", "/nowhere"},
                 kPatience)
          .value();
  EXPECT_NE(result.exit_status, kExitedCleanly) << "because of --handover-key";
  EXPECT_THAT(result.error, AllOf(HasSubstr("--dtype names a model that is not there"),
                                  HasSubstr("nosuch"), Not(HasSubstr("sd15-like"))));
}

TEST_F(CliCheckpointsTest, NeedsTheProgramOfTheServer) {
  const fs::path alone = temp_.path() / "denoise";
  fs::copy_file(DENOISE_BINARY, alone);
  const std::string command = "PATH=/nowhere '" + alone.string() + "' check --json x";
  const ProcessResult result = RunProcess({"/bin/sh", "-c", command}, kPatience).value();
  EXPECT_EQ(result.exit_status.code, 1);
  EXPECT_THAT(json::parse(result.output)["error"]["message"].get<std::string>(),
              HasSubstr("needs the program denoised"));
}

}  // namespace
}  // namespace denoise
