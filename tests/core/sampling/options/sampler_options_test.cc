#include "core/sampling/options/sampler_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/sampling/options/option_names.h"

namespace denoise {
namespace {

TEST(ParseSampler, KnowsEverySamplerByItsName) {
  for (const auto& [name, sampler] : kNames<SamplerKind>) {
    const std::optional<NamedSampler> parsed = ParseSampler(name);
    ASSERT_TRUE(parsed.has_value()) << name;
    EXPECT_EQ(parsed->sampler, sampler);
    EXPECT_EQ(parsed->solver_order, std::nullopt);
    EXPECT_EQ(SamplerName(sampler), name);
  }
}

TEST(ParseSampler, TakesTheOrderFromTheName) {
  const std::optional<NamedSampler> parsed = ParseSampler("dpmpp_3m");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->sampler, SamplerKind::kDpmSolverPlusPlus);
  EXPECT_EQ(parsed->solver_order, 3);
  EXPECT_EQ(ParseSampler("unipc_1")->solver_order, 1);
  EXPECT_EQ(ParseSampler("dpmpp_2s"), (NamedSampler{SamplerKind::kDpmSolverPlusPlusSinglestep, 2}));
  EXPECT_EQ(ParseSampler("dpmpp_2m_sde")->sampler, SamplerKind::kSdeDpmSolverPlusPlus);
  EXPECT_EQ(ParseSampler("dpmpp_3m_sde"), (NamedSampler{SamplerKind::kSdeDpmSolverPlusPlus, 3}));
}

TEST(ParseSampler, RefusesOtherNames) {
  for (const char* name : {"", "DDIM", "ddim ", "dpmpp_4m", "euler_b", "unipc_", "dpm"}) {
    EXPECT_FALSE(ParseSampler(name).has_value()) << name;
  }
}

TEST(ParseSampler, KnowsEveryNameOfTheList) {
  const std::string list = SamplerNameList();
  size_t names = 0;
  for (size_t start = 0; start < list.size(); ++names) {
    const size_t end = std::min(list.find(", ", start), list.size());
    EXPECT_TRUE(ParseSampler(list.substr(start, end - start)).has_value())
        << list.substr(start, end - start);
    start = end + 2;
  }
  EXPECT_EQ(names, 34);
}

template <typename Enum>
void ExpectNamesRoundTrip() {
  for (const auto& [name, value] : kNames<Enum>) {
    EXPECT_EQ(FromName<Enum>(name), value);
    EXPECT_EQ(NameOf(value), name);
    EXPECT_THAT(NameList<Enum>(), testing::HasSubstr(std::string(name)));
  }
  EXPECT_EQ(FromName<Enum>("no such name"), std::nullopt);
  EXPECT_EQ(FromName<Enum>(""), std::nullopt);
}

TEST(OptionNames, RoundTripForEveryEnumeration) {
  ExpectNamesRoundTrip<BetaSchedule>();
  ExpectNamesRoundTrip<SamplerKind>();
  ExpectNamesRoundTrip<PredictionType>();
  ExpectNamesRoundTrip<TimestepSpacing>();
  ExpectNamesRoundTrip<VarianceType>();
  ExpectNamesRoundTrip<SolverType>();
  ExpectNamesRoundTrip<SigmaSpacing>();
  ExpectNamesRoundTrip<FinalSigma>();
  ExpectNamesRoundTrip<InterpolationType>();
  ExpectNamesRoundTrip<TimestepType>();
  ExpectNamesRoundTrip<TimeShiftType>();
}

TEST(SamplerReads, KnowsWhichSamplerReadsWhat) {
  EXPECT_TRUE(SamplerReads(SamplerKind::kDdim, "eta"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kDdpm, "eta"));
  EXPECT_TRUE(SamplerReads(SamplerKind::kDdpm, "variance_type"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kUniPc, "euler_at_final"));
  EXPECT_TRUE(SamplerReads(SamplerKind::kUniPc, "disable_corrector"));
  EXPECT_TRUE(SamplerReads(SamplerKind::kSdeDpmSolverPlusPlus, "corrected_third_order"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kDeis, "corrected_third_order"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kDpmSolver, "clip_sample"));
  EXPECT_TRUE(SamplerReads(SamplerKind::kHeun, "clip_sample"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kDeis, "solver_type"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kDpmSolverPlusPlusSinglestep, "euler_at_final"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kLcm, "timestep_spacing"));
  EXPECT_TRUE(SamplerReads(SamplerKind::kTcd, "eta"));
  EXPECT_FALSE(SamplerReads(SamplerKind::kDdim, "no_such_option"));
  for (const auto& [name, sampler] : kNames<SamplerKind>)
    EXPECT_TRUE(SamplerReads(sampler, "steps")) << name;
}

}  // namespace
}  // namespace denoise
