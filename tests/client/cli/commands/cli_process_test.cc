// The `denoise` command as a process, against a server that says what each test needs.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "core/image/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/core/sampling/options/overrides_testing.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr int64_t kMaxPixels = 1 << 24;

ExitStatus Exited(int code) { return {.code = code, .signal = 0}; }

std::vector<json> Lines(const std::string& text) {
  std::vector<json> lines;
  for (const auto& line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    lines.push_back(json::parse(std::string(line), nullptr, /*allow_exceptions=*/false));
    EXPECT_FALSE(lines.back().is_discarded()) << line;
  }
  return lines;
}

std::vector<std::string> FileNames(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const bool is_hidden = entry.path().filename().string().starts_with(".");
    if (entry.is_regular_file() && !is_hidden) {
      names.push_back(fs::relative(entry.path(), folder).string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Image ReadImage(const fs::path& path) { return DecodeImage(ReadFile(path), kMaxPixels).value(); }

// What the command asks for: the client follows every generation to other servers by itself.
std::string TextOf(v1::GenerateRequest request) {
  EXPECT_TRUE(request.accept_handover());
  request.clear_accept_handover();
  return request.ShortDebugString();
}

class CliTest : public testing::Test {
 protected:
  ProcessResult Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.insert(arguments.end(), {"--server", server_.address()});
    return RunProcess(arguments, kPatience).value();
  }

  // `generate` into out(), whatever is there.
  std::vector<std::string> GenerateArguments(const std::vector<std::string>& more,
                                             const std::string& class_label = "circle") const {
    std::vector<std::string> arguments = {"generate",  "--model", "shapes",       "--class-label",
                                          class_label, "--out",   out().string(), "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  ProcessResult Generate(const std::vector<std::string>& more = {}) {
    return Run(GenerateArguments(more));
  }

  fs::path out() const { return folder_.path() / "out"; }

  FakeServer server_;
  TempDir folder_;
};

TEST_F(CliTest, EveryFlagReachesTheRequest) {
  const auto result = Generate({"--count",
                                "2",
                                "--seed",
                                "18446744073709551615",
                                "--sampler",
                                "dpmpp_3m",
                                "--steps",
                                "3",
                                "--sigma-spacing",
                                "karras",
                                "--timestep-spacing",
                                "trailing",
                                "--solver-type",
                                "heun",
                                "--final-sigma",
                                "sigma_min",
                                "--euler-at-final",
                                "true",
                                "--guidance-scale",
                                "2.5",
                                "--guidance-min",
                                "100",
                                "--guidance-max",
                                "900",
                                "--guidance-rescale",
                                "0.7",
                                "--frames",
                                "2",
                                "--frame-kind",
                                "x_t,x0",
                                "--frame-encoding",
                                "webp",
                                "--frame-max-bytes",
                                "9999",
                                "--format",
                                "webp"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  ASSERT_EQ(server_.requests().size(), 1u);
  EXPECT_EQ(TextOf(server_.requests()[0]),
            "model: \"models/shapes\" class_label: 0 count: 2 seed: 18446744073709551615 "
            "sampler { sampler: SAMPLER_DPMPP steps: 3 timestep_spacing: TIMESTEP_SPACING_TRAILING "
            "sigma_spacing: SIGMA_SPACING_KARRAS solver_order: 3 solver_type: SOLVER_TYPE_HEUN "
            "euler_at_final: true final_sigma: FINAL_SIGMA_SIGMA_MIN } "
            "guidance { scale: 2.5 timestep_min: 100 timestep_max: 900 rescale: 0.7 } "
            "frames { every_n_steps: 2 kinds: FRAME_KIND_X_T kinds: FRAME_KIND_X0 "
            "encoding: ENCODING_WEBP "
            "max_bytes: 9999 } image_encoding: ENCODING_WEBP");
}

TEST_F(CliTest, StartsReachTheRequestWithTheirFiles) {
  const auto write = [&](const char* name, const std::string& bytes) {
    WriteFile(folder_.path() / name, bytes);
    return (folder_.path() / name).string();
  };
  const std::string picture = write("photo.png", "p"), mask = write("mask.png", "m");
  const std::string npy =
      write("noise.npy", EncodeNpy(std::vector<float>{0, 0}, std::vector<int64_t>{2}));
  const std::string zeros = R"("\000\000\000\000\000\000\000\000")";
  struct Case {
    std::vector<std::string> flags;
    std::string request;
  };
  const Case cases[] = {
      {{"--init", picture, "--strength", "0.6"},
       R"(start { image { picture { data: "p" } strength: 0.6 } })"},
      {{"--init", picture}, R"(start { image { picture { data: "p" } strength: 0.8 } })"},
      {{"--branch", npy, "--branch-step", "7"},
       "start { frame { sample: " + zeros + " step: 7 } }"},
      {{"--noise", npy, "--to-seed", "3", "--variation", "0.25"},
       "start { noise { from { sample: " + zeros + " } to { seed: 3 } variation: 0.25 } }"},
      {{"--from-seed", "0", "--noise-to", npy},
       "start { noise { from { seed: 0 } to { sample: " + zeros + " } } }"},
      {{"--inpaint", picture, "--mask", mask, "--repaint-jump", "5", "--repaint-times", "2"},
       R"(inpainting { picture { data: "p" } mask { data: "m" } jump_length: 5 resamples: 2 })"},
      {{"--inpaint", picture, "--mask", mask, "--mask-channel", "transparency"},
       R"(inpainting { picture { data: "p" } mask { data: "m" } )"
       R"(mask_channel: MASK_CHANNEL_TRANSPARENCY })"},
      {{"--inpaint", picture, "--mask-channel", "transparency"},
       R"(inpainting { picture { data: "p" } mask_channel: MASK_CHANNEL_TRANSPARENCY })"},
      {{"--init", picture, "--inpaint", picture, "--mask", mask},
       R"(start { image { picture { data: "p" } strength: 0.8 } } )"
       R"(inpainting { picture { data: "p" } mask { data: "m" } })"},
  };
  for (const Case& test : cases) {
    const auto result = Generate(test.flags);
    ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
    EXPECT_EQ(TextOf(server_.requests().back()),
              "model: \"models/shapes\" class_label: 0 sampler { } image_encoding: ENCODING_PNG " +
                  test.request);
  }
  EXPECT_EQ(Generate({"--invert", picture}).exit_status, Exited(0));
  EXPECT_EQ(TextOf(server_.requests().back()),
            "model: \"models/shapes\" class_label: 0 sampler { } "
            "image_encoding: ENCODING_RAW_FLOAT32 "
            R"(start { inversion { picture { data: "p" } } })");
}

TEST_F(CliTest, StartsThatDoNotGoTogetherAreRefused) {
  const std::vector<std::string> cases[] = {
      {"--init", "a", "--invert", "a"},
      {"--init", "a", "--from-seed", "1"},
      {"--strength", "0.5"},
      {"--branch", "a"},
      {"--branch-step", "3"},
      {"--noise", "a", "--from-seed", "1"},
      {"--mask", "a"},
      {"--inpaint", "a"},
      {"--inpaint", "a", "--mask", "a", "--invert", "a"},
      {"--repaint-times", "2"},
      {"--mask-channel", "transparency"},
      {"--invert", "a", "--format", "png"},
  };
  for (const std::vector<std::string>& flags : cases) {
    EXPECT_EQ(Generate(flags).exit_status, Exited(2)) << flags.back();
  }
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, FilesThatCannotBeReadAreNamedByTheirFlag) {
  WriteFile(folder_.path() / "text.npy", "text");
  const std::string text = (folder_.path() / "text.npy").string();
  EXPECT_THAT(Generate({"--init", "/nowhere.png"}).error, HasSubstr("--init: "));
  EXPECT_THAT(Generate({"--noise", text}).error, HasSubstr("--noise: npy: "));
  EXPECT_THAT(Generate({"--from-seed", "1", "--noise-to", text}).error,
              HasSubstr("--noise-to: npy: "));
  EXPECT_THAT(Generate({"--branch", text, "--branch-step", "1"}).error,
              HasSubstr("--branch: npy: "));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, WhatIsNotAskedForIsLeftToTheModel) {
  ASSERT_EQ(Generate().exit_status, Exited(0));
  EXPECT_EQ(TextOf(server_.requests()[0]),
            "model: \"models/shapes\" class_label: 0 sampler { } image_encoding: ENCODING_PNG");
}

TEST_F(CliTest, ImagesFramesSheetsAndAnimationAreWritten) {
  const auto result = Generate({"--count", "2", "--steps", "4", "--frames", "2"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(FileNames(out()),
              testing::ElementsAre("contact-sheet.png", "denoising.png", "denoising.webp",
                                   "frames/image-0-step-002.png", "frames/image-0-step-004.png",
                                   "frames/image-1-step-002.png", "frames/image-1-step-004.png",
                                   "image-0.png", "image-1.png"));
  const Image image = ReadImage(out() / "image-0.png");
  EXPECT_EQ(image.width, 16);
  EXPECT_EQ(image.height, 12);
  EXPECT_NE(image, ReadImage(out() / "image-1.png"));
  // Two cells of 8 times 16 x 12, with 4 pixels between and around.
  const Image sheet = ReadImage(out() / "contact-sheet.png");
  EXPECT_EQ(sheet.width, 2 * 128 + 3 * 4);
  EXPECT_EQ(sheet.height, 96 + 2 * 4);
  // Two images by two frames of 6 times the size.
  const Image denoising = ReadImage(out() / "denoising.png");
  EXPECT_EQ(denoising.width, 2 * 96 + 3 * 4);
  EXPECT_EQ(denoising.height, 2 * 72 + 3 * 4);
  EXPECT_THAT(ReadFile(out() / "denoising.webp"), AllOf(StartsWith("RIFF"), HasSubstr("ANIM")));
  EXPECT_THAT(result.output, AllOf(HasSubstr((out() / "contact-sheet.png").string()),
                                   HasSubstr("2 images"), HasSubstr("4 frames")));
}

TEST_F(CliTest, AnExistingFolderKeepsItsOtherFiles) {
  fs::create_directories(out());
  WriteFile(out() / "notes.txt", "mine");
  WriteFile(out() / "image-0.png", "old");
  WriteFile(out() / "image-7.png", "mine, too");
  ASSERT_EQ(Generate().exit_status, Exited(0));
  EXPECT_EQ(ReadFile(out() / "notes.txt"), "mine");
  EXPECT_EQ(ReadFile(out() / "image-7.png"), "mine, too");
  EXPECT_EQ(ReadImage(out() / "image-0.png").width, 16);
}

TEST_F(CliTest, AFolderHoldsOneRun) {
  const std::vector<std::string> run = {"generate", "--model",      "shapes", "-c", "circle",
                                        "--out",    out().string(), "--seed", "5"};
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = run;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  };
  ASSERT_EQ(with({"--count", "3", "--frames", "2"}).exit_status, Exited(0));
  const auto first = FileNames(out());

  const auto refused = with({"--json"});
  EXPECT_EQ(refused.exit_status, Exited(2));
  EXPECT_THAT(refused.error,
              AllOf(HasSubstr("--out: "), HasSubstr("an earlier run"), HasSubstr("--overwrite")));
  EXPECT_EQ(Lines(refused.output).at(0)["error"]["violations"][0]["flag"], "--out");
  EXPECT_EQ(FileNames(out()), first);

  // A request that fails takes nothing away.
  server_.answer = BadRequestStatus({{"sampler.steps", "is odd"}});
  EXPECT_EQ(with({"--overwrite"}).exit_status, Exited(2));
  EXPECT_EQ(FileNames(out()), first);
  server_.answer = grpc::Status::OK;

  WriteFile(out() / "notes.txt", "mine");
  ASSERT_EQ(with({"--overwrite"}).exit_status, Exited(0));
  EXPECT_EQ(FileNames(out()),
            (std::vector<std::string>{"contact-sheet.png", "image-0.png", "notes.txt"}));
  EXPECT_FALSE(fs::exists(out() / "frames"));
}

TEST_F(CliTest, AGenerationWithAnIdComesBackToItsFolder) {
  const auto run = [&](const char* id) {
    return Run({"generate", "--model", "shapes", "-c", "circle", "--out", out().string(),
                "--request-id", id});
  };
  ASSERT_EQ(run("zoo").exit_status, Exited(0));
  EXPECT_EQ(run("zoo").exit_status, Exited(0));
  EXPECT_EQ(run("park").exit_status, Exited(2));
}

TEST_F(CliTest, NoCommandReplacesAFileUnlessItMay) {
  const std::string picture = (folder_.path() / "p.png").string();
  WriteFile(picture, "the picture");
  const std::string png = (folder_.path() / "there.png").string();
  const std::string gif = (folder_.path() / "there.gif").string();
  WriteFile(png, "mine");
  WriteFile(gif, "mine");
  fs::create_directories(out());
  for (const char* name : {"diffusing.png", "roundtrip.png"}) WriteFile(out() / name, "mine");
  const std::vector<std::string> commands[] = {
      {"sweep", "--model", "shapes", "-c", "circle", "--rows", "steps=1,2", "--out", png},
      {"plan", "--model", "shapes", "--draw", png},
      {"generate", "--model", "shapes", "-c", "circle", "--frames", "1", "--animation", gif,
       "--out", (folder_.path() / "new").string()},
      {"diffuse", picture, "--model", "shapes", "--out", out().string()},
      {"roundtrip", picture, "--model", "shapes", "-c", "circle", "--out", out().string()},
  };
  for (std::vector<std::string> command : commands) {
    const auto refused = Run(command);
    EXPECT_EQ(refused.exit_status, Exited(2)) << command[0];
    EXPECT_THAT(refused.error, HasSubstr("--overwrite")) << command[0];
    if (command[0] == "roundtrip") continue;  // RoundTripTest has it
    command.push_back("--overwrite");
    const auto replaced = Run(command);
    EXPECT_EQ(replaced.exit_status, Exited(0)) << command[0] << ": " << replaced.error;
  }
}

TEST_F(CliTest, AFolderThatCannotBeMadeIsFoundBeforeTheServerIsAsked) {
  WriteFile(out(), "a file");
  const auto result = Generate();
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, HasSubstr("--out"));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, NpyIsTheSampleUnclippedAndTheSheetStillWorks) {
  ASSERT_EQ(Generate({"--format", "npy"}).exit_status, Exited(0));
  EXPECT_EQ(server_.requests()[0].image_encoding(), v1::ENCODING_RAW_FLOAT32);
  const std::string npy = ReadFile(out() / "image-0.npy");
  EXPECT_THAT(npy, AllOf(StartsWith("\x93NUMPY"), HasSubstr("(3, 12, 16)"), HasSubstr("<f4")));
  // The centre of the disc in the first channel, which lies outside [-1, 1].
  float centre = 0;
  const size_t data = npy.size() - 3 * 12 * 16 * sizeof(float);
  std::memcpy(&centre, npy.data() + data + (6 * 16 + 8) * sizeof(float), sizeof(float));
  EXPECT_EQ(centre, 1.25f);
  EXPECT_EQ(ReadImage(out() / "contact-sheet.png").width, 128 + 2 * 4);
}

TEST_F(CliTest, JsonIsOneLineForEachEventAndNothingElse) {
  const auto result = Generate({"--count", "2", "--frames", "4", "--seed", "9", "--json"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  const std::vector<json> lines = Lines(result.output);
  ASSERT_EQ(lines.size(), 3u + 4 + 2 + 2 + 1);
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["sequence"], std::to_string(i));
  EXPECT_EQ(lines[0]["accepted"]["seed"], "9");
  EXPECT_EQ(lines[1]["queued"]["position"], 2);
  EXPECT_EQ(lines[2]["started"]["queue_wait"], "0.005s");
  const json& image = lines[9]["image"];
  EXPECT_EQ(image["image_index"], 0);
  EXPECT_EQ(image["image"]["path"], (out() / "image-0.png").string());
  EXPECT_EQ(image["image"]["size_bytes"], fs::file_size(out() / "image-0.png"));
  EXPECT_FALSE(image["image"].contains("data"));
  EXPECT_EQ(lines[11]["finished"]["frames_sent"], 2);
}

TEST_F(CliTest, ClassesGoByNameInAnyCaseOrByIndex) {
  ASSERT_EQ(Run(GenerateArguments({}, "SQUARE")).exit_status, Exited(0));
  ASSERT_EQ(Run(GenerateArguments({}, "1")).exit_status, Exited(0));
  EXPECT_EQ(server_.requests()[0].class_label(), 1);
  EXPECT_EQ(server_.requests()[1].class_label(), 1);
}

TEST_F(CliTest, ABlendOfClassesReachesTheRequest) {
  const auto result = Run({"generate", "--model", "shapes", "--class-weights", "Circle=0.7,1=3e-1",
                           "--guidance-scale", "2", "--guidance-sigma-min", "0.25",
                           "--guidance-sigma-max", "4", "--out", out().string()});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_EQ(TextOf(server_.requests()[0]),
            "model: \"models/shapes\" sampler { } "
            "guidance { scale: 2 sigma_min: 0.25 sigma_max: 4 } image_encoding: ENCODING_PNG "
            "class_weights { weight: 0.7 } class_weights { class_label: 1 weight: 0.3 }");
}

TEST_F(CliTest, AMalformedBlendIsRefusedBeforeTheServerIsAsked) {
  for (const char* weights : {"", "circle", "circle=", "=0.5", "circle=half", "circle=1,",
                              "circle=1,,square=1", "circle=1=2", "unicorn=1", "circle:1"}) {
    const auto result =
        Run({"generate", "--model", "shapes", "--out", out().string(), "--class-weights", weights});
    EXPECT_EQ(result.exit_status, Exited(2)) << weights;
    EXPECT_THAT(result.error, HasSubstr("--class-weights")) << weights;
  }
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, AnUnknownClassNameListsTheClasses) {
  const auto result = Run(GenerateArguments({}, "unicorn"));
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, AllOf(HasSubstr("--class-label"), HasSubstr("square (1)")));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, OnlyTheClassesThatAreListedHaveAnIndex) {
  for (const char* index : {"2", "-1", "99", "4294967296"}) {
    const auto result = Run(GenerateArguments({}, index));
    EXPECT_EQ(result.exit_status, Exited(2)) << index;
    EXPECT_THAT(result.error, HasSubstr("no class has the index " + std::string(index) +
                                        "; there are: circle (0), square (1)\n"));
  }
  EXPECT_EQ(Run({"generate", "--model", "shapes", "--class-weights", "circle=1,2=1", "--out",
                 out().string()})
                .exit_status,
            Exited(2));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, APictureThatTheServerRefusesIsNamedByItsFile) {
  server_.answer = BadRequestStatus({{"pictures[1].data", "neither a PNG"}});
  const std::string good = (folder_.path() / "good.png").string();
  const std::string bad = (folder_.path() / "bad.png").string();
  WriteFile(good, "x");
  WriteFile(bad, "y");
  const auto result = Run({"diffuse", good, bad, "--model", "shapes", "--out", out().string()});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_EQ(result.error, absl::StrCat("denoise: the request is invalid\n  pictures[1]: ", bad,
                                       ": neither a PNG\n"));
}

TEST_F(CliTest, TheServersWordsForFieldsBecomeThoseOfFlags) {
  server_.answer = BadRequestStatus(
      {{"sampler.timesteps", "cannot be given together with steps"},
       {"image_encoding", "must be ENCODING_RAW_FLOAT32: an inversion ends with noise"},
       {"frames.kinds[0]", "must be X_T or X0"},
       {"start.noise", "goes without guidance.timestep_min. Its class_label stays"}});
  const auto result = Generate({"--json"});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_EQ(result.error,
            "denoise: the request is invalid\n"
            "  --timesteps: cannot be given together with --steps\n"
            "  --format: must be npy: an inversion ends with noise\n"
            "  --frame-kind[0]: must be x_t or x0\n"
            "  --from-seed: goes without --guidance-min. Its --class-label stays\n")
      << "no help knows more than the server has said";
  const json error = Lines(result.output).at(0)["error"];
  EXPECT_THAT(error["message"].get<std::string>(),
              AllOf(StartsWith("--timesteps: cannot be given together with --steps; "),
                    HasSubstr("--format: must be npy")));
  EXPECT_EQ(error["violations"][0]["description"], "cannot be given together with --steps");
}

TEST_F(CliTest, NamesThatDoNotExistAreNamedAsTheyWereTyped) {
  EXPECT_THAT(
      Run({"models", "absent"}).error,
      StartsWith("denoise: there is no model absent. `denoise models` shows what exists.\n"));
}

TEST_F(CliTest, ASweepRefusesAFlagThatIsBothGivenAndSwept) {
  const std::string out = (folder_.path() / "s.png").string();
  EXPECT_THAT(Run({"sweep", "--model", "shapes", "-c", "circle", "--steps", "3", "--rows",
                   "steps=1,2", "--out", out})
                  .error,
              HasSubstr("--rows: varies --steps, which cannot be combined with --steps"));
  EXPECT_THAT(
      Run({"sweep", "--model", "shapes", "-c", "circle", "--columns", "class=square", "--out", out})
          .error,
      HasSubstr("--columns: varies --class-label"));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CliTest, AServerOnThisMachineIsReachedDirectly) {
  const std::string proxy = "http_proxy=http://user:secret@127.0.0.1:1";
  const auto direct = RunProcess(
      {"/usr/bin/env", proxy, DENOISE_BINARY, "models", "--server", server_.address()}, kPatience);
  EXPECT_EQ(direct->exit_status, Exited(0)) << direct->error;
  const auto other = RunProcess({"/usr/bin/env", proxy, DENOISE_BINARY, "models", "--server",
                                 "denoised.invalid:50051", "--deadline", "20s"},
                                kPatience);
  EXPECT_EQ(other->exit_status, Exited(3));
  EXPECT_THAT(other->error, AllOf(HasSubstr("through the proxy http://127.0.0.1:1 of the variable "
                                            "http_proxy"),
                                  HasSubstr("no_proxy"), testing::Not(HasSubstr("secret"))));
}

TEST_F(CliTest, WithoutAModelTheServedOnesAreNamed) {
  const auto result = Run({"generate", "--out", out().string()});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, AllOf(HasSubstr("--model"), HasSubstr("plain, shapes")));
}

TEST_F(CliTest, AnUnknownModelIsNotFoundAndTheServedOnesAreNamed) {
  const auto result = Run({"generate", "--model", "absent", "--out", out().string()});
  EXPECT_EQ(result.exit_status, Exited(5));
  EXPECT_THAT(result.error, HasSubstr("plain, shapes"));
}

TEST_F(CliTest, EveryViolationIsToldByItsFlag) {
  server_.answer = BadRequestStatus({{"sampler.steps", "must be at least 1, is 0"},
                                     {"guidance.timestep_min", "is not finite"},
                                     {"frames.every_n_steps", "is negative"}});
  const auto result = Generate({"--json"});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, AllOf(HasSubstr("--steps: must be at least 1, is 0\n"),
                                  HasSubstr("--guidance-min: is not finite\n"),
                                  HasSubstr("--frames: is negative\n")));
  const std::vector<json> lines = Lines(result.output);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(lines[0]["error"]["violations"][0]["field"], "sampler.steps");
  EXPECT_EQ(lines[0]["error"]["violations"][0]["flag"], "--steps");
}

TEST_F(CliTest, EachFailureHasItsExitCode) {
  struct Case {
    grpc::StatusCode code;
    int exit_code;
  };
  for (const Case& c :
       {Case{grpc::StatusCode::INTERNAL, 1}, Case{grpc::StatusCode::RESOURCE_EXHAUSTED, 1},
        Case{grpc::StatusCode::INVALID_ARGUMENT, 2}, Case{grpc::StatusCode::UNAVAILABLE, 3},
        Case{grpc::StatusCode::DEADLINE_EXCEEDED, 4}, Case{grpc::StatusCode::NOT_FOUND, 5},
        Case{grpc::StatusCode::CANCELLED, 1}}) {
    server_.answer = grpc::Status(c.code, "because of the test");
    const auto result = Generate();
    EXPECT_EQ(result.exit_status, Exited(c.exit_code)) << result.error;
    EXPECT_THAT(result.error, HasSubstr("because of the test"));
    EXPECT_THAT(result.output, IsEmpty());
  }
}

TEST_F(CliTest, AFailureOnTheWaySaysWhatHasBeenWritten) {
  server_.end = grpc::Status(grpc::StatusCode::INTERNAL, "the device failed");
  server_.leaves_out_finished = true;
  const auto result = Generate({"--count", "2"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, AllOf(HasSubstr("the device failed"), HasSubstr("2 images")));
  EXPECT_THAT(result.error, HasSubstr("denoise generate --model shapes --count 2 --seed "
                                      "18446744073709551615 --class-label circle\n"))
      << "with the seed that the server chose";
  EXPECT_TRUE(fs::exists(out() / "image-1.png"));
}

TEST_F(CliTest, UsageErrorsAreTold) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"--count", "many"},
           {"--seed", "-1"},
           {"--format", "gif"},
           {"--sampler", "magic"},
           {"--guidance-min", "5"},
           {"--guidance-rescale", "0.5"},
           {"--guidance-sigma-max", "5"},
           {"--guidance-sigma-max", "5", "--guidance-min", "5", "--guidance-scale", "2"},
           {"--class-weights", "circle=1"},
           {"--deadline", "soon"},
           {"--deadline", "-3s"},
           {"--frame-kind", "x0"},
           {"--no-such-flag"}}) {
    const auto result = Generate(arguments);
    EXPECT_EQ(result.exit_status, Exited(2)) << arguments[0];
    EXPECT_THAT(result.error, HasSubstr(arguments[0]));
  }
  EXPECT_TRUE(server_.requests().empty());
}

TEST(Cli, OutputThatCannotBeWrittenIsAnError) {
  const auto result =
      RunProcess({"/bin/sh", "-c", "exec \"$0\" --help > /dev/full", DENOISE_BINARY}, kPatience);
  EXPECT_EQ(result->exit_status, Exited(1));
  EXPECT_EQ(result->error, "denoise: cannot write to standard output: No space left on device\n");
}

TEST(Cli, UsageErrorsSayWhatIsWrongAndWhereToLook) {
  struct Case {
    std::vector<std::string> arguments;
    std::string error;
  };
  const Case cases[] = {
      {{}, "denoise: a command is missing\n  `denoise --help` lists the commands.\n"},
      {{"train"}, "denoise: a command is missing\n  `denoise train --help` lists the commands.\n"},
      {{"models", "--bogus"},
       "denoise: unknown flag --bogus\n  `denoise models --help` explains every flag.\n"},
      {{"models", "one", "two"},
       "denoise: unexpected argument two\n  `denoise models --help` explains every flag.\n"},
      {{"train", "create", "-n", "5"},
       "denoise: --dataset is required\n  `denoise train create --help` explains every flag.\n"},
      {{"generate", "--init", "LICENSE", "--invert", "LICENSE"},
       "denoise: --init cannot be combined with --invert\n  `denoise generate --help` explains "
       "every flag.\n"},
      {{"datasets", "upload", "/nowhere"},
       "denoise: path: there is no file or folder /nowhere\n  `denoise datasets upload --help` "
       "explains every flag.\n"},
  };
  for (const Case& test : cases) {
    std::vector<std::string> arguments = {DENOISE_BINARY};
    arguments.insert(arguments.end(), test.arguments.begin(), test.arguments.end());
    const auto result = RunProcess(arguments, kPatience);
    EXPECT_EQ(result->exit_status, Exited(2));
    EXPECT_EQ(result->error, test.error);
    EXPECT_EQ(result->output, "");
    arguments.push_back("--json");
    const auto with_json = RunProcess(arguments, kPatience);
    EXPECT_EQ(with_json->exit_status, Exited(2));
    const std::vector<json> lines = Lines(with_json->output);
    ASSERT_EQ(lines.size(), 1u) << with_json->output;
    EXPECT_EQ(lines[0]["error"]["code"], "INVALID_ARGUMENT");
    EXPECT_NE(lines[0]["error"]["message"], "");
  }
}

// What is typed, and what is said of it: the first line of the error without "denoise: ".
struct Mistake {
  const char* code;
  std::vector<std::string> arguments;
  std::string message;
};

TEST(Cli, MistakesAreNamedAsTheyWereTyped) {
  const std::string seed = "must be a whole number from 0 to 18446744073709551615; is ";
  const std::string server =
      "must be HOST:PORT with a port from 1 to 65535, such as 127.0.0.1:50051 or [::1]:50051, or "
      "unix:PATH; is ";
  const std::vector<Mistake> mistakes = {
      {"C1",
       {"train", "create", "-d", "own", "-n", "5", "--base-model", "m", "--height", "16"},
       "--base-model cannot be combined with --height"},
      {"C1",
       {"train", "create", "-d", "own", "-n", "5", "-m", "m", "--prediction-type", "epsilon"},
       "--base-model cannot be combined with --prediction-type"},
      {"C1", {"generate", "--noise", "a", "--from-seed", "1"}, "--noise: there is no file a"},
      {"C1",
       {"generate", "--to-seed", "1", "--noise-to", "LICENSE"},
       "--to-seed cannot be combined with --noise-to"},
      {"C1",
       {"generate", "--variation", "1", "--invert", "LICENSE"},
       "--variation cannot be combined with --invert"},
      {"C5",
       {"generate", "--seed", "18446744073709551616"},
       "--seed: " + seed + "18446744073709551616"},
      {"C5", {"generate", "--seed", "-1"}, "--seed: " + seed + "-1"},
      {"C5", {"health", "--server", "gpu:99999"}, "--server: " + server + "\"gpu:99999\""},
      {"C5", {"models", "--server", "gpu"}, "--server: " + server + "\"gpu\""},
      {"C5", {"generate", "--seed", "x"}, "--seed: " + seed + "x"},
      {"C5", {"generate", "--to-seed", "1.5"}, "--to-seed: " + seed + "1.5"},
      {"C5", {"roundtrip", "LICENSE", "--seed", "1e3"}, "--seed: " + seed + "1e3"},
      {"C5", {"diffuse", "LICENSE", "--seed", "-0x1"}, "--seed: " + seed + "-0x1"},
      {"C5", {"sweep", "--seed", "-1"}, "--seed: " + seed + "-1"},
      {"C5", {"train", "create", "-d", "e", "-n", "1", "-s", "-5"}, "--seed: " + seed + "-5"},
      {"C5",
       {"evaluate", "-d", "e", "--seed", "99999999999999999999"},
       "--seed: " + seed + "99999999999999999999"},
      {"C5",
       {"generate", "--count", "99999999999"},
       "--count: must be a whole number from -2147483648 to 2147483647; is 99999999999"},
      {"C5",
       {"train", "publish", "1", "-m", "m", "--step", "0"},
       "--step: must be a whole number from 1 to 9223372036854775807; is 0"},
      {"C5",
       {"train", "watch", "1", "--resume-after", "-1"},
       "--resume-after: must be a whole number from 0 to 9223372036854775807; is -1"},
      {"C5",
       {"sweep", "--parallel", "many"},
       "--parallel: must be a whole number from 1 to 64; is many"},
      {"C5",
       {"plan", "--steps-offset", "1.5"},
       "--steps-offset: must be a whole number from -2147483648 to 2147483647; is 1.5"},
      {"C6",
       {"generate", "--category", "dogs"},
       "unknown flag --category; did you mean --class-label?"},
      {"C6",
       {"generate", "--negative", "dark"},
       "unknown flag --negative; did you mean --negative-prompt?"},
      {"C6", {"generate", "--class", "dogs"}, "unknown flag --class; did you mean --class-label?"},
      {"C6",
       {"generate", "--guidance_scale", "2"},
       "unknown flag --guidance_scale; did you mean --guidance-scale?"},
      {"C6", {"generate", "-steps", "2"}, "unknown flag -steps; did you mean --steps?"},
      {"C6", {"train", "create", "--lr", "1"}, "unknown flag --lr; did you mean --learning-rate?"},
      {"C6", {"diffuse", "--stesp", "3", "LICENSE"}, "unknown flag --stesp; did you mean --steps?"},
      {"C6", {"genrate"}, "unknown command genrate; did you mean generate?"},
      {"C6", {"train", "stop", "1"}, "unknown command stop"},
      {"C6", {"train", "stop", "--help"}, "unknown command stop"},
      {"C6", {"genrate", "--help"}, "unknown command genrate; did you mean generate?"},
      {"C6",
       {"rank", "--join", "trainer:29500"},
       "rank is a command of the server's program: denoised rank"},
      {"C6",
       {"new-handover-key", "--help"},
       "new-handover-key is a command of the server's program: denoised new-handover-key"},
      {"C6",
       {"new-token", "ci"},
       "new-token is a command of the server's program: denoised new-token"},
      {"C6", {"datasets", "lst"}, "unknown command lst; did you mean list?"},
      {"C6",
       {"--server", "x:1", "models"},
       "--server must come after the command: denoise models --server"},
      {"C9", {"plan", "--server", "x:1"}, "--server needs --model"},
      {"C9", {"plan", "--deadline", "1s"}, "--deadline needs --model"},
      {"C9",
       {"train", "create", "-d", "e", "-n", "1", "-m", "m", "--out", "o"},
       "--out needs --watch"},
      {"C9",
       {"train", "create", "-d", "e", "-n", "1", "-m", "m", "--evaluation-samples", "9"},
       "--evaluation-samples needs --evaluate-every"},
      {"C9", {"generate", "--detach", "--out", "o"}, "--out cannot be combined with --detach"},
      {"C14",
       {"train", "list", "--state", "asleep"},
       "--state: must be one of queued, running, paused, cancelling, succeeded, failed, "
       "cancelled; is asleep"},
      {"C14",
       {"generate", "--format", "gif"},
       "--format: must be one of png, jpeg, webp, npy; is gif"},
      {"C14", {"generate", "--model"}, "--model: needs a value, NAME"},
      {"C14",
       {"generate", "--model", "--steps", "3"},
       "--model: needs a value, NAME; --steps is a flag"},
      {"C14", {"generate", "--seed="}, "--seed: needs a value, S"},
      {"C14", {"generate", "--seed", "1", "--seed", "2"}, "--seed: is given 2 times; give it once"},
      {"C14", {"train", "get"}, "job is required"},
      {"C14", {"models", "--json=maybe"}, "--json: must be true or false"},
      {"C14",
       {"plan", "--scheduler-config", "/nowhere"},
       "--scheduler-config: there is no file /nowhere"},
      {"C14", {"generations"}, "a command is missing"},
      {"C16", {"models", "--tls-ca", ""}, "--tls-ca: must not be empty"},
      {"C16", {"models", ""}, "name: must not be empty"},
      {"C16", {"generate", "--request-id", ""}, "--request-id: must not be empty"},
      {"C16", {"generate", "--token-file", ""}, "--token-file: must not be empty"},
      {"C16", {"generate", "-o", ""}, "-o: must not be empty"},
      {"C16", {"train", "get", ""}, "job: must not be empty"},
      {"C12", {"generate", "--prompt", "\xff"}, "--prompt: must be text in UTF-8; is \\xff"},
      {"C12", {"generate", "-m\xff"}, "-m: must be text in UTF-8; is \\xff"},
      {"C12", {"generate", "--request-id=\xff"}, "--request-id: must be text in UTF-8; is \\xff"},
      {"C12", {"train", "get", "\xff"}, "job: must be text in UTF-8; is \\xff"},
      {"C9", {"train", "create", "-d", "e", "-n", "1", "--height", "16"}, "--height needs --width"},
      {"C9", {"train", "create", "-d", "e", "-n", "1", "--width", "16"}, "--width needs --height"},
  };
  for (const Mistake& mistake : mistakes) {
    std::vector<std::string> arguments = {DENOISE_BINARY};
    arguments.insert(arguments.end(), mistake.arguments.begin(), mistake.arguments.end());
    const auto result = RunProcess(arguments, kPatience);
    EXPECT_EQ(result->exit_status, Exited(2)) << mistake.code << " " << mistake.message;
    EXPECT_EQ(result->error.substr(0, result->error.find('\n')), "denoise: " + mistake.message)
        << mistake.code;
    arguments.push_back("--json");
    const std::vector<json> lines = Lines(RunProcess(arguments, kPatience)->output);
    ASSERT_EQ(lines.size(), 1u) << mistake.code << " " << mistake.message;
    EXPECT_TRUE(lines[0].contains("error")) << lines[0];
  }
}

TEST_F(CliTest, TheDeadlineIsKept) {
  server_.never_ends = true;
  const auto result = Generate({"--deadline", "200ms"});
  EXPECT_EQ(result.exit_status, Exited(4));
  EXPECT_THAT(result.error, HasSubstr("--deadline"));
}

TEST_F(CliTest, CtrlCCancelsTheCall) {
  server_.never_ends = true;
  std::vector<std::string> arguments = GenerateArguments({"--json", "--server", server_.address()});
  arguments.insert(arguments.begin(), DENOISE_BINARY);
  auto process = Subprocess::Start(arguments).value();
  ASSERT_TRUE(process->standard_output().WaitForLine("{\"sequence\":\"2\"", kPatience));
  process->Signal(SIGINT);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
  EXPECT_THAT(process->standard_error().WaitForEnd(), HasSubstr("interrupted"));
  EXPECT_TRUE(server_.WaitForCancelledCalls(1));
  EXPECT_EQ(server_.cancelled_calls(), 1);
}

TEST_F(CliTest, AServerThatIsNotToBeTrustedDoesNoHarm) {
  const std::vector<std::function<void(v1::GenerateEvent&)>> edits = {
      [](auto& e) {
        if (e.has_image()) e.mutable_image()->set_image_index(-1);
      },
      [](auto& e) {
        if (e.has_image()) e.mutable_image()->set_image_index(7);
      },
      [](auto& e) {
        if (e.has_image()) e.mutable_image()->set_image_index(0);
      },
      [](auto& e) {
        if (e.has_image()) e.mutable_image()->mutable_image()->set_data("GIF89a");
      },
      [](auto& e) {
        if (e.has_image()) e.mutable_image()->mutable_image()->set_encoding(v1::Encoding(77));
      },
      [](auto& e) {
        if (!e.has_image()) return;
        e.mutable_image()->mutable_image()->set_encoding(v1::ENCODING_RAW_FLOAT32);
        e.mutable_image()->mutable_image()->set_width(2147483647);
        e.mutable_image()->mutable_image()->set_height(2147483647);
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_step(0);
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_step(2147483647);
      },
      [](auto& e) {
        if (e.has_accepted()) e.mutable_accepted()->set_count(2147483647);
      },
      [](auto& e) {
        if (e.has_accepted()) e.mutable_accepted()->set_steps(2147483647);
      },
      [](auto& e) {
        if (e.has_accepted()) e.mutable_queued();
      },
      [](auto& e) {
        if (e.has_image()) e.clear_image();
      },
  };
  for (size_t i = 0; i < edits.size(); ++i) {
    server_.edit_event = edits[i];
    const auto result = Generate({"--count", "2", "--frames", "1"});
    EXPECT_EQ(result.exit_status, Exited(1)) << "edit " << i << ": " << result.error;
    EXPECT_THAT(result.error, HasSubstr("the server ")) << "edit " << i;
  }
}

TEST_F(CliTest, ModelsAreListed) {
  const auto table = Run({"models"});
  EXPECT_EQ(table.exit_status, Exited(0));
  EXPECT_THAT(table.output, AllOf(HasSubstr("shapes  16x12x3  2        1.2 M       ddim"),
                                  HasSubstr("plain   16x12x3  -")));
  const auto one = Run({"models", "shapes"});
  EXPECT_THAT(one.output, AllOf(HasSubstr("0  circle"), HasSubstr("1  square")));
  const std::vector<json> lines = Lines(Run({"models", "--json"}).output);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[1]["name"], "models/shapes");
  EXPECT_EQ(lines[1]["parameter_count"], "1234567");
  EXPECT_EQ(Run({"models", "absent"}).exit_status, Exited(5));
}

TEST_F(CliTest, HealthIsItsExitCode) {
  EXPECT_EQ(Run({"health"}).exit_status, Exited(0));
  EXPECT_EQ(Run({"health", "--service", "no.such.Service"}).exit_status, Exited(5));
  server_.SetServing(false);
  const auto result = Run({"health", "--service", "denoised.v1.ImageGeneration", "--json"});
  EXPECT_EQ(result.exit_status, Exited(3));
  EXPECT_EQ(Lines(result.output).at(0)["status"], "NOT_SERVING");
}

TEST(Cli, NobodyListeningIsUnavailableAndSaysWhatToDo) {
  const auto result = RunProcess({DENOISE_BINARY, "models", "--server", "127.0.0.1:1"}, kPatience);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_status, Exited(3));
  EXPECT_THAT(result->error, AllOf(HasSubstr("127.0.0.1:1"), HasSubstr("--server")));
}

TEST(Cli, ABadAddressOfTheEnvironmentIsNamedByItsVariable) {
  const std::string variable = "DENOISED_SERVER=http://gpu:50051";
  const auto result = RunProcess({"/usr/bin/env", variable, DENOISE_BINARY, "health"}, kPatience);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_status, Exited(2));
  EXPECT_THAT(result->error, HasSubstr("DENOISED_SERVER: must be HOST:PORT"));
}

TEST(Cli, PlanRefusesWhatTheServerRefuses) {
  for (const RefusedOverrides& refused : OverridesToRefuse()) {
    std::vector<std::string> arguments = {DENOISE_BINARY, "plan", "--json"};
    arguments.insert(arguments.end(), refused.flags.begin(), refused.flags.end());
    const auto result = RunProcess(arguments, kPatience);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->exit_status, Exited(2)) << refused.flags.back();
    const json violations = Lines(result->output).at(0)["error"]["violations"];
    ASSERT_EQ(violations.size(), refused.violations.size()) << result->output;
    for (size_t i = 0; i < violations.size(); ++i) {
      EXPECT_EQ(violations[i]["field"], "sampler." + refused.violations[i].field);
      // In the words of the command: "without --solver-order 3" for "without solver_order 3".
      std::string description = violations[i]["description"];
      description = std::regex_replace(description, std::regex("--"), "");
      std::string expected = refused.violations[i].description;
      std::replace(expected.begin(), expected.end(), '_', '-');
      std::replace(description.begin(), description.end(), '_', '-');
      EXPECT_EQ(description, expected);
    }
  }
}

TEST_F(CliTest, FramesOfBothKindsStandSideBySide) {
  // In the order of the request, or not: what is drawn is the same.
  const auto result = Generate({"--frames", "2", "--frame-kind", "x0,x_t"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_EQ(
      FileNames(out()),
      (std::vector<std::string>{"contact-sheet.png", "denoising.png", "denoising.webp",
                                "frames/image-0-step-002-x0.png", "frames/image-0-step-002-x_t.png",
                                "frames/image-0-step-004-x0.png", "frames/image-0-step-004-x_t.png",
                                "image-0.png"}));
  const Image sheet = ReadImage(out() / "denoising.png");
  const Image x_t = ReadImage(out() / "frames/image-0-step-002-x_t.png");
  const Image x0 = ReadImage(out() / "frames/image-0-step-002-x0.png");
  constexpr int kPadding = 4, kScale = 6;
  ASSERT_EQ(sheet.height, 2 * 12 * kScale + 3 * kPadding) << "a row of each kind";
  const auto cell_is = [&](int row, const Image& frame) {
    for (int y = 0; y < frame.height; ++y) {
      const int top = kPadding + row * (frame.height * kScale + kPadding);
      const size_t cell = 3 * (static_cast<size_t>(top + y * kScale) * sheet.width + kPadding);
      for (int x = 0; x < frame.width; ++x) {
        const size_t from = 3 * static_cast<size_t>(y * frame.width + x);
        if (sheet.pixels[cell + 3 * static_cast<size_t>(x * kScale)] != frame.pixels[from]) {
          return false;
        }
      }
    }
    return true;
  };
  EXPECT_TRUE(cell_is(0, x_t)) << "x_t above";
  EXPECT_TRUE(cell_is(1, x0)) << "x0 below";
}

TEST_F(CliTest, AFrameOfAKindThatWasNotAskedForIsRefused) {
  server_.edit_event = [](v1::GenerateEvent& event) {
    if (event.has_frame()) event.mutable_frame()->set_kind(v1::FRAME_KIND_X_T);
  };
  const auto result = Generate({"--frames", "1"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, HasSubstr("a kind that it was not asked for"));
}

TEST_F(CliTest, TheAnimationGoesWhereItIsToldInTheFormatOfItsName) {
  const fs::path gif = folder_.path() / "new/denoising.gif", webp = folder_.path() / "a.webp";
  ASSERT_EQ(Generate({"--frames", "1", "--animation", gif.string()}).exit_status, Exited(0));
  EXPECT_THAT(ReadFile(gif), StartsWith("GIF89a"));
  EXPECT_FALSE(fs::exists(out() / "denoising.webp"));
  ASSERT_EQ(Generate({"--frames", "1", "--animation", webp.string()}).exit_status, Exited(0));
  EXPECT_THAT(ReadFile(webp), StartsWith("RIFF"));
  EXPECT_EQ(Generate({"--frames", "1", "--animation", "a.mp4"}).exit_status, Exited(2));
  EXPECT_EQ(Generate({"--animation", gif.string()}).exit_status, Exited(2));  // of nothing
}

class RoundTripTest : public CliTest {
 protected:
  RoundTripTest() { WriteFile(picture_, "the picture"); }

  ProcessResult RoundTrip(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "roundtrip", picture_.string(), "--model",      "shapes",     "-c",
        "circle",    "--out",           out().string(), "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  }

  fs::path picture_ = folder_.path() / "photo.png";
};

TEST_F(RoundTripTest, GoesThroughTheLevelsThatItComesBackThroughWithOneSeed) {
  const auto result =
      RoundTrip({"--sampler", "ddim", "--timestep-spacing", "trailing", "--steps", "5", "--eta",
                 "0.5", "--strength", "0.6", "--guidance-scale", "2", "--format", "webp"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  ASSERT_EQ(server_.diffusions().size(), 1u);
  EXPECT_EQ(server_.diffusions()[0].ShortDebugString(),
            "model: \"models/shapes\" pictures { data: \"the picture\" } timesteps: 199 "
            "timesteps: 399 timesteps: 599 encoding: ENCODING_WEBP")
      << "the last 3 of 5 steps, the least noisy first";
  ASSERT_EQ(server_.requests().size(), 1u);
  EXPECT_EQ(TextOf(server_.requests()[0]),
            "model: \"models/shapes\" class_label: 0 seed: 18446744073709551615 "
            "sampler { sampler: SAMPLER_DDIM steps: 5 timestep_spacing: TIMESTEP_SPACING_TRAILING "
            "eta: 0.5 } guidance { scale: 2 } frames { every_n_steps: 1 kinds: FRAME_KIND_X_T "
            "encoding: ENCODING_WEBP } image_encoding: ENCODING_WEBP "
            "start { image { picture { data: \"the picture\" } strength: 0.6 } }")
      << "the seed that the server chose for the way there";
}

TEST_F(RoundTripTest, WritesBothWaysOneAfterTheOther) {
  const auto result = RoundTrip({"--steps", "3", "--seed", "7"});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(result.output, AllOf(StartsWith("into the noise of shapes up to timestep "),
                                   HasSubstr("back by 3 steps of ddim, seed 7, ")));
  EXPECT_EQ(FileNames(out()),
            (std::vector<std::string>{
                "frames/back-001.png", "frames/back-002.png", "frames/back-003.png",
                "frames/there-000.png", "frames/there-001.png", "frames/there-002.png",
                "frames/there-003.png", "image-0.png", "roundtrip.png", "roundtrip.webp"}));
  const Image strip = ReadImage(out() / "roundtrip.png");
  constexpr int kPadding = 4, kScale = 6;
  ASSERT_EQ(strip.width, 7 * 16 * kScale + 8 * kPadding);
  const char* const order[] = {"frames/there-000.png", "frames/there-001.png",
                               "frames/there-002.png", "frames/there-003.png",
                               "frames/back-001.png",  "frames/back-002.png",
                               "image-0.png"};
  for (int column = 0; column < 7; ++column) {
    const Image frame = ReadImage(out() / order[column]);
    for (int x = 0; x < frame.width; ++x) {
      const int left = kPadding + column * (16 * kScale + kPadding) + x * kScale;
      EXPECT_EQ(strip.pixels[3 * (static_cast<size_t>(kPadding) * strip.width + left)],
                frame.pixels[3 * static_cast<size_t>(x)])
          << "column " << column;
    }
  }
}

TEST_F(RoundTripTest, ReplacesFilesOnlyIfItMay) {
  fs::create_directories(out());
  WriteFile(out() / "roundtrip.png", "mine");
  const std::vector<std::string> command = {"roundtrip", picture_.string(), "--model", "shapes",
                                            "-c",        "circle",          "--steps", "3",
                                            "--out",     out().string()};
  const auto refused = Run(command);
  EXPECT_EQ(refused.exit_status, Exited(2)) << refused.error;
  EXPECT_THAT(refused.error, HasSubstr("--overwrite"));
  EXPECT_EQ(ReadFile(out() / "roundtrip.png"), "mine");
  EXPECT_TRUE(server_.diffusions().empty());

  const auto replaced = RoundTrip({"--steps", "3"});  // with --overwrite
  EXPECT_EQ(replaced.exit_status, Exited(0)) << replaced.error;
  EXPECT_NE(ReadFile(out() / "roundtrip.png"), "mine");
  EXPECT_GT(ReadImage(out() / "roundtrip.png").width, 0);

  EXPECT_EQ(Run(command).exit_status, Exited(2)) << "also what an earlier run wrote";
}

TEST_F(RoundTripTest, RefusesAStrengthThatTakesNoStep) {
  for (const char* strength : {"0", "0.1", "1.5", "nan"}) {
    const auto result = RoundTrip({"--steps", "4", "--strength", strength});
    EXPECT_EQ(result.exit_status, Exited(2)) << strength;
    EXPECT_THAT(result.error, HasSubstr("--strength: ")) << strength;
  }
  EXPECT_TRUE(server_.diffusions().empty());
}

TEST_F(RoundTripTest, CtrlCCancelsTheWayBack) {
  server_.never_ends = true;
  auto process = Subprocess::Start({DENOISE_BINARY, "roundtrip", picture_.string(), "--model",
                                    "shapes", "-c", "circle", "--steps", "3", "--json", "--out",
                                    out().string(), "--server", server_.address()})
                     .value();
  ASSERT_TRUE(process->standard_output().WaitForLine("{\"sequence\":\"2\"", kPatience));
  process->Signal(SIGINT);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
}

TEST_F(RoundTripTest, AServerThatIsNotToBeTrustedDoesNoHarm) {
  const std::vector<std::function<void(v1::DiffuseEvent&)>> there = {
      [](auto& e) {
        if (e.has_accepted()) e.mutable_accepted()->clear_levels();
      },
      [](auto& e) {
        if (e.has_accepted()) e.mutable_finished();
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_level_index(4);
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_level_index(-1);
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_picture_index(1);
      },
      [](auto& e) {
        if (e.has_frame()) e.clear_frame();
      },
  };
  for (size_t i = 0; i < there.size(); ++i) {
    server_.edit_diffuse_event = there[i];
    const auto result = RoundTrip({"--steps", "3"});
    EXPECT_EQ(result.exit_status, Exited(1)) << "edit " << i << ": " << result.error;
    EXPECT_THAT(result.error, HasSubstr("the server ")) << "edit " << i;
  }
  server_.edit_diffuse_event = nullptr;
  const std::vector<std::function<void(v1::GenerateEvent&)>> back = {
      [](auto& e) {
        if (e.has_accepted()) e.mutable_accepted()->set_steps(4);
      },
      [](auto& e) {
        if (e.has_accepted()) e.mutable_queued();
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_step(0);
      },
      [](auto& e) {
        if (e.has_frame()) e.mutable_frame()->set_step(4);
      },
      [](auto& e) {
        if (e.has_image()) e.clear_image();
      },
  };
  for (size_t i = 0; i < back.size(); ++i) {
    server_.edit_event = back[i];
    const auto result = RoundTrip({"--steps", "3"});
    EXPECT_EQ(result.exit_status, Exited(1)) << "edit " << i << ": " << result.error;
    EXPECT_THAT(result.error, HasSubstr("the server ")) << "edit " << i;
  }
}

TEST_F(CliTest, ASweepIsOneSheet) {
  const fs::path sheet = folder_.path() / "new/sheet.png";
  const auto result = Run({"sweep", "--model", "shapes", "-c", "circle", "--rows", "steps=1,2",
                           "--columns", "seed=5,6,7", "--out", sheet.string()});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(result.output, StartsWith("6 pictures of shapes, class circle in "));
  EXPECT_GT(ReadImage(sheet).width, 3 * 128);
  EXPECT_EQ(server_.requests().size(), 6u);
}

TEST_F(CliTest, ASweepNamesThePictureThatFails) {
  server_.answer = BadRequestStatus({{"sampler.steps", "must be at least 1"}});
  const fs::path sheet = folder_.path() / "sheet.png";
  const auto result = Run(
      {"sweep", "--model", "shapes", "-c", "circle", "--rows", "steps=0", "--out", sheet.string()});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error, AllOf(HasSubstr("the picture of steps 0 failed"),
                                  HasSubstr("--steps: must be at least 1")));
  EXPECT_THAT(result.error, HasSubstr("denoise generate --model shapes --seed 0 --class-label "
                                      "circle --steps 0\n"));
  EXPECT_FALSE(fs::exists(sheet));
}

TEST_F(CliTest, APlanFromTheServerIsTheOneThatItSent) {
  const auto here = RunProcess({DENOISE_BINARY, "plan", "--steps", "3", "--json"}, kPatience);
  const auto there = Run({"plan", "--steps", "3", "--json", "--model", "shapes"});
  ASSERT_EQ(there.exit_status, Exited(0)) << there.error;
  EXPECT_EQ(there.output, here->output);
  const auto table = Run({"plan", "--model", "shapes", "--sampler", "dpmpp_3m,heun"});
  EXPECT_THAT(table.output, StartsWith("dpmpp of order 3: 20 steps"));
  EXPECT_THAT(table.output, HasSubstr("heun: 20 steps, 39 network evaluations, 2 slots\n"
                                      "on shapes, version 0123abcd\n"));
}

// The cases are M1 and M8.
TEST(PlanCommand, ReadsOldConfigsAndNotesTheKeysThatItIgnores) {
  const auto plan = [](const std::string& config, const std::string& steps) {
    return *RunProcess({DENOISE_BINARY, "plan", "--steps", steps, "--scheduler-config", config},
                       kPatience);
  };
  const auto old = plan("tests/data/models/scheduler-of-2022.json", "3");
  EXPECT_EQ(old.exit_status, Exited(0)) << old.error;
  EXPECT_EQ(old.error, "");
  const auto noted = plan("tests/data/fuzz/scheduler_config/ignored-keys", "3");
  EXPECT_EQ(noted.exit_status, Exited(0)) << noted.error;
  EXPECT_EQ(noted.error,
            "denoise: note: DDPMScheduler has no such keys, and ignores them: solver_order, "
            "tensor_format\n");
  const auto every = plan("tests/data/models/dpmpp-linspace.json", "1000");
  EXPECT_EQ(every.exit_status, Exited(0)) << every.error;
  EXPECT_THAT(every.output, HasSubstr("999"));
}

TEST_F(CliTest, APlanThatMakesNoSenseIsRefused) {
  server_.edit_plan = [](v1::SamplerPlan& plan) { plan.set_slots(5); };
  const auto result = Run({"plan", "--model", "shapes"});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(result.error, HasSubstr("the server sent what is no plan"));
}

TEST_F(CliTest, WhatTheServerRefusesInAPlanIsListedByFlag) {
  server_.answer = BadRequestStatus({{"sampler.steps", "must be less"}, {"model", "is odd"}});
  const auto result = Run({"plan", "--model", "shapes"});
  EXPECT_EQ(result.exit_status, Exited(2));
  EXPECT_THAT(result.error,
              AllOf(HasSubstr("--steps: must be less"), HasSubstr("--model: is odd")));
}

TEST(Cli, WhatComesWithACheckpointCannotBeChosenForAServersModel) {
  for (const char* flag : {"--scheduler-config=LICENSE", "--prediction-type=sample"}) {
    EXPECT_EQ(RunProcess({DENOISE_BINARY, "plan", "--model", "m", flag}, kPatience)->exit_status,
              Exited(2));
  }
}

TEST(Cli, SeveralSamplersArePlannedOneAfterTheOther) {
  const auto result =
      RunProcess({DENOISE_BINARY, "plan", "--sampler", "dpmpp_3m,ddim", "--steps", "2"}, kPatience);
  EXPECT_THAT(result->output,
              AllOf(StartsWith("dpmpp of order 3: 2 steps, 2 network evaluations"),
                    HasSubstr("\n\nddim: 2 steps, 2 network evaluations, 1 slot\n")));
  const auto refused =
      RunProcess({DENOISE_BINARY, "plan", "--sampler", "ddim,euler", "--eta", "0.5"}, kPatience);
  EXPECT_EQ(refused->exit_status, Exited(2));
  EXPECT_THAT(refused->error, HasSubstr("--eta: is not an option of euler"));
}

TEST(Cli, PlansAreDrawnToPngOrSvg) {
  const TempDir folder;
  const auto draw = [&](const std::string& name) {
    return RunProcess({DENOISE_BINARY, "plan", "--sampler", "ddim,heun", "--draw",
                       (folder.path() / name).string()},
                      kPatience);
  };
  ASSERT_EQ(draw("plan.PNG")->exit_status, Exited(0));
  EXPECT_GT(ReadImage(folder.path() / "plan.PNG").width, 500);
  ASSERT_EQ(draw("new/plan.svg")->exit_status, Exited(0));
  EXPECT_THAT(ReadFile(folder.path() / "new/plan.svg"), HasSubstr("</svg>"));
  EXPECT_EQ(draw("plan.gif")->exit_status, Exited(2));
}

TEST(Cli, HelpHasExamplesAndExitCodesForEveryCommand) {
  for (const char* command : {"generate", "watch", "generations", "sweep", "diffuse", "roundtrip",
                              "models", "bench", "health", "plan"}) {
    const auto result = RunProcess({DENOISE_BINARY, command, "--help"}, kPatience);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->exit_status, Exited(0));
    EXPECT_THAT(result->output, AllOf(HasSubstr("Examples:"), HasSubstr("Exit codes:"))) << command;
    EXPECT_THAT(std::vector<std::string>(absl::StrSplit(result->output, '\n')),
                Each(SizeIs(Le(80))))
        << command << " is wider than a terminal";
  }
  EXPECT_EQ(RunProcess({DENOISE_BINARY}, kPatience)->exit_status, Exited(2));
  EXPECT_THAT(RunProcess({DENOISE_BINARY, "--version"}, kPatience)->output, StartsWith("denoise "));
}

TEST_F(CliTest, ARequestIdDetachesUnlessItIsToldNotTo) {
  ASSERT_EQ(Generate().exit_status, Exited(0));
  ASSERT_EQ(Generate({"--request-id", "zoo"}).exit_status, Exited(0));
  ASSERT_EQ(Generate({"--request-id", "zoo", "--on-disconnect", "cancel"}).exit_status, Exited(0));
  ASSERT_EQ(Generate({"--on-disconnect", "detach"}).exit_status, Exited(0));
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 4u);
  EXPECT_EQ(requests[0].request_id(), "");
  EXPECT_EQ(requests[0].on_disconnect(), v1::ON_DISCONNECT_UNSPECIFIED);
  EXPECT_EQ(requests[1].request_id(), "zoo");
  EXPECT_EQ(requests[1].on_disconnect(), v1::ON_DISCONNECT_DETACH);
  EXPECT_EQ(requests[2].on_disconnect(), v1::ON_DISCONNECT_CANCEL);
  EXPECT_EQ(requests[3].on_disconnect(), v1::ON_DISCONNECT_DETACH);
}

}  // namespace
}  // namespace denoise
