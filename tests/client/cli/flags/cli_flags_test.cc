// What flags are called, take and set.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/field_words.h"
#include "client/cli/flags/generate_flags.h"
#include "client/cli/flags/help_formatter.h"
#include "client/cli/flags/model_lookup.h"
#include "client/cli/flags/sampler_flags.h"
#include "core/base/field_violations.h"
#include "core/sampling/options/option_table.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/conversion/sampler_proto.h"
#include "tests/core/sampling/options/overrides_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::HasSubstr;
using ::testing::Not;

std::string FlagOfGenerateField(std::string_view field) {
  return FlagOfField(GenerateTable(), field);
}

TEST(FlagOfField, NamesTheFlagThatSetsTheField) {
  EXPECT_EQ(FlagOfGenerateField("sampler.steps"), "--steps");
  EXPECT_EQ(FlagOfGenerateField("sampler.timesteps[3]"), "--timesteps[3]");
  EXPECT_EQ(FlagOfGenerateField("sampler.use_clipped_model_output"), "--use-clipped-model-output");
  EXPECT_EQ(FlagOfGenerateField("sampler.sampler"), "--sampler");
  EXPECT_EQ(FlagOfGenerateField("guidance.timestep_max"), "--guidance-max");
  EXPECT_EQ(FlagOfGenerateField("guidance.sigma_min"), "--guidance-sigma-min");
  EXPECT_EQ(FlagOfGenerateField("guidance.rescale"), "--guidance-rescale");
  EXPECT_EQ(FlagOfGenerateField("class_weights[1].weight"), "--class-weights[1].weight");
  EXPECT_EQ(FlagOfGenerateField("adapters[1].name"), "--lora[1]");
  EXPECT_EQ(FlagOfField(DiffuseTable(), "pictures[0].data"), "pictures[0]");
  EXPECT_EQ(FlagOfGenerateField("frames.every_n_steps"), "--frames");
  EXPECT_EQ(FlagOfGenerateField("frames.kinds[1]"), "--frame-kind[1]");
  EXPECT_EQ(FlagOfGenerateField("image_encoding"), "--format");
  EXPECT_EQ(FlagOfGenerateField("class_label"), "--class-label");
  EXPECT_EQ(FlagOfGenerateField("start.image.picture.data"), "--init");
  EXPECT_EQ(FlagOfGenerateField("start.frame.step"), "--branch-step");
  EXPECT_EQ(FlagOfGenerateField("start.noise.to.sample"), "--noise-to");
  EXPECT_EQ(FlagOfGenerateField("inpainting.resamples"), "--repaint-times");
  EXPECT_EQ(FlagOfGenerateField("page_token"), "page_token");
  EXPECT_EQ(FlagOfGenerateField("--out"), "--out");
}

TEST(SetClassLabel, PrefersTheNameToTheLetterAndRefusesWhatFitsSeveral) {
  v1::Model model;
  for (const char* name : {"cat", "cat", "Cat", "Dog", "dog", "Bird"}) {
    auto& entry = *model.add_classes();
    entry.set_label(model.classes_size() - 1);
    entry.set_display_name(name);
  }
  const auto label = [&](const std::string& text) {
    v1::GenerateRequest request;
    const absl::Status status = SetClassLabel(text, model, request);
    return status.ok() ? absl::StrCat(request.class_label()) : std::string(status.message());
  };
  EXPECT_EQ(label("Cat"), "2");
  EXPECT_EQ(label("dog"), "4");
  EXPECT_EQ(label("bird"), "5");
  EXPECT_EQ(label("1"), "1");
  EXPECT_EQ(label("cat"),
            "several classes are named cat; choose one by its index: cat (0), cat (1)");
  EXPECT_THAT(label("DOG"), HasSubstr("Dog (3), dog (4)"));
}

TEST(ParseDeadline, TakesDurationsAndSeconds) {
  EXPECT_EQ(ParseDeadline("1m30s").value(), absl::Seconds(90));
  EXPECT_EQ(ParseDeadline("2.5").value(), absl::Milliseconds(2500));
  for (const char* text : {"", "0", "-1s", "nan", "soon"}) {
    EXPECT_FALSE(ParseDeadline(text).ok()) << text;
  }
}

std::string FlagNameOf(std::string_view option) {
  const FlagTable table = Join({SamplerFlags("sampler"), CheckpointFlags("sampler")});
  return FlagOfField(table, "sampler." + std::string(option));
}

TEST(SamplerFlags, EveryOptionHasAFlagWithItsHelp) {
  v1::GenerateRequest request;
  SamplerOverrides overrides;
  CLI::App sampler, checkpoint;
  AddMessageFlags(sampler, request, SamplerFlags("sampler"));
  AddCheckpointFlags(checkpoint, overrides);
  ForEachOption([&](const auto& option) {
    const bool may_be_requested = option.source == OptionSource::kRequest;
    const CLI::App& app = may_be_requested ? sampler : checkpoint;
    const CLI::App& other = may_be_requested ? checkpoint : sampler;
    const CLI::Option* const flag = app.get_option_no_throw(FlagNameOf(option.name));
    ASSERT_NE(flag, nullptr) << option.name;
    EXPECT_THAT(flag->get_description(), HasSubstr(option.help));
    EXPECT_EQ(other.get_option_no_throw(FlagNameOf(option.name)), nullptr) << option.name;
  });
}

SamplerOverrides Parse(std::vector<std::string> flags) {
  v1::GenerateRequest request;
  CLI::App app;
  AddMessageFlags(app, request, SamplerFlags("sampler"));
  std::reverse(flags.begin(), flags.end());  // as CLI11 wants them
  app.parse(flags);
  FieldViolations unknown;
  return SamplerFromProto(request.sampler(), unknown);
}

TEST(SamplerFlags, FillInTheOptionsTheyAreNamedFor) {
  for (const RefusedOverrides& refused : OverridesToRefuse()) {
    EXPECT_EQ(Parse(refused.flags), refused.overrides) << refused.flags.back();
  }
}

TEST(SamplerFlags, SolverOrderReplacesTheOneInTheName) {
  const SamplerOverrides by_name = {.sampler = SamplerKind::kDpmSolverPlusPlus, .solver_order = 3};
  const SamplerOverrides by_flag = {.sampler = SamplerKind::kDpmSolverPlusPlus, .solver_order = 1};
  EXPECT_EQ(Parse({"--sampler", "dpmpp_3m"}), by_name);
  EXPECT_EQ(Parse({"--sampler", "dpmpp_3m", "--solver-order", "1"}), by_flag);
  EXPECT_EQ(Parse({"--solver-order", "1", "--sampler", "dpmpp_3m"}), by_flag);
}

TEST(SamplerFlags, UnknownNamesAreRefused) {
  EXPECT_THROW(Parse({"--sampler", "magic"}), CLI::ValidationError);
  EXPECT_THROW(Parse({"--sigma-spacing", "Karras"}), CLI::ValidationError);
}

TEST(SamplerFlagName, IsWhatTheFlagTakes) {
  v1::SamplerOptions options;
  EXPECT_EQ(SamplerFlagName(options), "default");
  options.set_sampler(v1::SAMPLER_DDIM);
  EXPECT_EQ(SamplerFlagName(options), "ddim");
  options.set_sampler(v1::SAMPLER_DPMPP);
  options.set_solver_order(2);
  EXPECT_EQ(SamplerFlagName(options), "dpmpp_2m");
  options.set_sampler(v1::SAMPLER_DPMPP_SDE);
  EXPECT_EQ(SamplerFlagName(options), "dpmpp_2m_sde");
  options.set_solver_order(1);
  EXPECT_EQ(SamplerFlagName(options), "dpmpp_sde");
  options.set_sampler(static_cast<v1::Sampler>(99));
  EXPECT_EQ(SamplerFlagName(options), "unknown");
}

TEST(HelpFormatter, WrapsHelpAndSaysWhatGoesTogether) {
  CLI::App app("Generates images", "denoise");
  app.formatter(std::make_shared<HelpFormatter>(80));
  GenerateFlags flags;
  AddGenerateFlags(app, flags);
  const std::string help = app.help();
  size_t begin = 0;
  for (size_t end; (end = help.find('\n', begin)) != std::string::npos; begin = end + 1) {
    EXPECT_LT(end - begin, 80u) << help.substr(begin, end - begin);
  }
  EXPECT_THAT(help, HasSubstr("Needs --init. Not with"));
  EXPECT_THAT(help, Not(HasSubstr("\n\n\n")));
  EXPECT_THAT(help, HasSubstr("-c,--class-label NAME|INDEX\n"));
  EXPECT_THAT(help, HasSubstr("Not with --class-weights\n"));
}

}  // namespace
}  // namespace denoise
