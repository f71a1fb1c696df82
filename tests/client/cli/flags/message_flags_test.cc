#include "client/cli/flags/message_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "client/cli/flags/field_words.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/training_flags.h"
#include "denoised/v1/training.pb.h"

namespace denoise {
namespace {

using denoised::v1::CreateTrainingJobRequest;
using denoised::v1::Objective;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The request that `line` makes, or what CLI11 says of it.
CreateTrainingJobRequest Parse(const std::string& line) {
  CreateTrainingJobRequest request;
  CLI::App app;
  AddMessageFlags(app, request, TrainingFlags());
  for (CLI::Option* option : app.get_options()) option->required(false);
  app.parse(line);
  return request;
}

std::string ErrorOf(const std::string& line) {
  try {
    Parse(line);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

TEST(MessageFlags, SetFieldsOfEveryType) {
  const CreateTrainingJobRequest request = Parse(
      "--dataset emoji --max-steps 2000 --learning-rate 2e-4 --no-attention --priority -3 "
      "--loss variational-bound --max-duration 1h30m --seed 18446744073709551615");
  const auto& training = request.training();
  EXPECT_EQ(training.dataset(), "emoji");
  EXPECT_EQ(training.max_steps(), 2000);
  EXPECT_EQ(training.optimizer().learning_rate(), 2e-4);
  EXPECT_TRUE(training.new_network().no_attention());
  EXPECT_EQ(request.priority(), -3);
  EXPECT_EQ(
      EnumFlagName(*Objective::Loss_descriptor()->FindValueByNumber(training.objective().loss())),
      "variational-bound");
  EXPECT_EQ(training.max_duration().seconds(), 5400);
  EXPECT_EQ(training.seed(), ~uint64_t{0});
}

TEST(MessageFlags, SetRepeatedFieldsFromLists) {
  const CreateTrainingJobRequest request =
      Parse("--block-out-channels 32,64,128 --ema-decays 0.99,0.9999");
  EXPECT_THAT(request.training().new_network().block_out_channels(), ElementsAre(32, 64, 128));
  EXPECT_THAT(request.training().ema_decays(), ElementsAre(0.99, 0.9999));
}

TEST(MessageFlags, LeaveWhatIsNotGivenToTheServer) {
  const CreateTrainingJobRequest request = Parse("--dataset emoji");
  EXPECT_FALSE(request.training().has_objective());
  EXPECT_FALSE(request.training().has_seed());
  EXPECT_EQ(request.training().base_case(), denoised::v1::TrainingSettings::BASE_NOT_SET);
}

TEST(MessageFlags, ASwitchCanSayNo) {
  const auto network = Parse("--class-conditional=false").training().new_network();
  EXPECT_TRUE(network.has_class_conditional());
  EXPECT_FALSE(network.class_conditional());
  EXPECT_TRUE(Parse("--class-conditional").training().new_network().class_conditional());
}

TEST(MessageFlags, RefuseWhatTheTypeCannotBe) {
  EXPECT_THAT(ErrorOf("--max-steps many"), HasSubstr("--max-steps: must be a whole number"));
  EXPECT_THAT(ErrorOf("--max-steps 99999999999999999999"), HasSubstr("must be a whole number"));
  EXPECT_THAT(ErrorOf("--learning-rate fast"), HasSubstr("must be a number"));
  EXPECT_THAT(ErrorOf("--decay slow"), HasSubstr("must be one of constant, cosine, linear"));
  EXPECT_THAT(ErrorOf("--max-duration soon"), HasSubstr("must be a time"));
  EXPECT_THAT(ErrorOf("--no-attention=perhaps"), HasSubstr("must be true or false"));
  EXPECT_THAT(ErrorOf("--block-out-channels 32,,64"), HasSubstr("must be a whole number"));
  EXPECT_THAT(ErrorOf("--ema-decays 0.9,"), HasSubstr("must be a number"));
}

// Every field that a table names is there, and no two flags are the same.
void CheckTable(std::span<const MessageFlag> flags) {
  std::set<std::string> names;
  for (const MessageFlag& flag : flags) EXPECT_TRUE(names.insert(FlagOf(flags, flag.field)).second);
  CreateTrainingJobRequest request;
  CLI::App app;
  EXPECT_NO_THROW(AddMessageFlags(app, request, flags));
}

TEST(TrainingFlags, NameFieldsOfTheContract) {
  CheckTable(TrainingFlags());
  CheckTable(EvaluationFlags());
}

// The settings that have no flag of their own, by path.
void ListWithoutFlag(const google::protobuf::Descriptor& message, const std::string& prefix,
                     std::span<const MessageFlag> flags, std::vector<std::string>& missing) {
  for (int i = 0; i < message.field_count(); ++i) {
    const auto& field = *message.field(i);
    const std::string path = prefix + field.name();
    const bool nested = field.message_type() != nullptr && !field.is_map() &&
                        field.message_type()->full_name() != "google.protobuf.Duration";
    if (nested && field.name() != "sampler") {
      ListWithoutFlag(*field.message_type(), path + ".", flags, missing);
    } else if (FlagOf(flags, path).empty()) {
      missing.push_back(path);
    }
  }
}

TEST(TrainingFlags, EverySettingOfATrainingJobHasOne) {
  std::vector<std::string> missing;
  ListWithoutFlag(*denoised::v1::TrainingSettings::descriptor(), "training.", TrainingFlags(),
                  missing);
  // Evaluations of a job are of its own model and data set; samplers have flags of their own.
  EXPECT_THAT(
      missing,
      ElementsAre("training.samples.sampler", "training.evaluations.settings.model",
                  "training.evaluations.settings.dataset", "training.evaluations.settings.sampler",
                  "training.evaluations.settings.guidance_scale",
                  "training.evaluations.settings.seed",
                  "training.evaluations.settings.nearest_neighbours"));
}

TEST(TrainingFlags, EverySettingOfAnEvaluationHasOne) {
  std::vector<std::string> missing;
  ListWithoutFlag(*denoised::v1::EvaluationSettings::descriptor(), "evaluation.", EvaluationFlags(),
                  missing);
  EXPECT_THAT(missing, ElementsAre("evaluation.sampler"));
}

TEST(TrainingFlags, FieldsInErrorsBecomeFlags) {
  EXPECT_EQ(FlagOfField(TrainingFlags(), "training.optimizer.learning_rate"), "--learning-rate");
  EXPECT_EQ(FlagOfField(TrainingFlags(), "training.ema_decays[1]"), "--ema-decays[1]");
  EXPECT_EQ(FlagOfField(TrainingFlags(), "training.samples.sampler.steps"), "--steps");
  EXPECT_EQ(FlagOfField(EvaluationFlags(), "evaluation.sample_count"), "--samples");
  EXPECT_EQ(FlagOfField(EvaluationFlags(), "evaluation.sampler.eta"), "--eta");
  EXPECT_EQ(FlagOfField(TrainingFlags(), "something.else"), "something.else");
}

// Every option of a sampler is a flag wherever a request has one.
TEST(TrainingFlags, SamplersHaveTheirFlags) {
  const auto& sampler = *denoised::v1::SamplerOptions::descriptor();
  for (int i = 0; i < sampler.field_count(); ++i) {
    const std::string& name = sampler.field(i)->name();
    EXPECT_NE(FlagOf(TrainingFlags(), "training.samples.sampler." + name), "") << name;
    EXPECT_NE(FlagOf(EvaluationFlags(), "evaluation.sampler." + name), "") << name;
    EXPECT_NE(FlagOf(GenerateTable(), "sampler." + name), "") << name;
  }
}

// What `table` makes of a command line, given back as a command line.
template <class Request>
std::vector<std::string> ThereAndBack(const FlagTable& table, std::vector<std::string> arguments) {
  Request request;
  GivenFlags given;
  CLI::App app;
  AddMessageFlags(app, request, table, &given);
  for (CLI::Option* option : app.get_options()) option->required(false);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  app.parse(arguments);
  return ArgumentsOf(table, request, given);
}

TEST(ArgumentsOf, GiveBackWhatWasParsed) {
  const std::vector<std::string> training = {"--dataset",
                                             "emoji",
                                             "--priority",
                                             "-3",
                                             "--label",
                                             "animals=yes",
                                             "--block-out-channels",
                                             "32,64",
                                             "--no-attention",
                                             "--class-conditional=false",
                                             "--loss",
                                             "variational-bound",
                                             "--learning-rate",
                                             "0.0002",
                                             "--seed",
                                             "18446744073709551615",
                                             "--ema-decays",
                                             "0.99,0.9999",
                                             "--max-duration",
                                             "1h30m",
                                             "--sampler",
                                             "dpmpp",
                                             "--sigma-spacing",
                                             "karras",
                                             "--final-sigma",
                                             "sigma_min",
                                             "--euler-at-final",
                                             "true"};
  std::vector<std::string> back = ThereAndBack<CreateTrainingJobRequest>(TrainingFlags(), training);
  EXPECT_EQ(std::multiset<std::string>(back.begin(), back.end()),
            std::multiset<std::string>(training.begin(), training.end()));
  EXPECT_EQ(ThereAndBack<CreateTrainingJobRequest>(TrainingFlags(), back), back);

  const std::vector<std::string> generate = {
      "--class-weights", "a=1,b=2", "--guidance-scale", "0.1", "--frames",  "2",
      "--frame-kind",    "x_t,x0",  "--frame-encoding", "npy", "--inpaint", "LICENSE",
      "--mask",          "LICENSE"};
  using denoised::v1::GenerateRequest;
  EXPECT_EQ(ThereAndBack<GenerateRequest>(GenerateTable(), generate), generate);
}

TEST(ArgumentsOf, LeaveOutBytesThatNobodyNamed) {
  denoised::v1::GenerateRequest request;
  request.mutable_start()->mutable_image()->mutable_picture()->set_data("bytes");
  request.set_class_label(2);
  EXPECT_THAT(ArgumentsOf(GenerateTable(), request), ElementsAre("--class-label", "2"));
}

TEST(CommandLine, IsSafeToPasteIntoAShell) {
  EXPECT_EQ(CommandLine("denoise generate", {"--class-label", "it's ice cream", "--steps", "2"}),
            "denoise generate --class-label 'it'\\''s ice cream' --steps 2");
}

TEST(CompleteMessage, ReadsFilesAndNamesThoseThatItCannot) {
  denoised::v1::GenerateRequest request;
  const GivenFlags given = {{"start.frame.sample", {"LICENSE"}},
                            {"inpainting.picture.data", {"LICENSE"}}};
  const absl::Status status = CompleteMessage(GenerateTable(), given, {}, request);
  EXPECT_THAT(std::string(status.message()), HasSubstr("start.frame.sample: npy: "));
  EXPECT_THAT(request.inpainting().picture().data(), HasSubstr("Apache"));
}

TEST(CompleteMessage, PresetsGoWhereTheirMessageIs) {
  denoised::v1::GenerateRequest request;
  ASSERT_TRUE(CompleteMessage(GenerateTable(), {}, {}, request).ok());
  EXPECT_EQ(request.ShortDebugString(), "image_encoding: ENCODING_PNG");
  request.mutable_start()->mutable_image();
  ASSERT_TRUE(CompleteMessage(GenerateTable(), {}, {}, request).ok());
  EXPECT_EQ(request.start().image().strength(), 0.8);
  request.mutable_start()->mutable_image()->set_strength(0);
  const GivenFlags given = {{"start.image.strength", {"0"}}};
  ASSERT_TRUE(CompleteMessage(GenerateTable(), given, {}, request).ok());
  EXPECT_EQ(request.start().image().strength(), 0) << "a zero that was given stays";
}

}  // namespace
}  // namespace denoise
