#include "proto/conversion/sampler_proto.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/sampling/options/option_names.h"
#include "core/sampling/options/option_table.h"
#include "tests/core/sampling/options/overrides_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;

std::set<std::string> FieldsOfTheMessage() {
  std::set<std::string> names;
  const auto* descriptor = v1::SamplerOptions::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) names.insert(descriptor->field(i)->name());
  return names;
}

SamplerOverrides WithoutTheCheckpoints(SamplerOverrides overrides) {
  ForEachOption([&](const auto& option) {
    if (option.source == OptionSource::kCheckpoint) overrides.*option.in_overrides = {};
  });
  return overrides;
}

TEST(SamplerProto, EveryOptionOfARequestIsAFieldAndEveryFieldAnOption) {
  std::set<std::string> options;
  ForEachOption([&](const auto& option) {
    if (option.source == OptionSource::kRequest) options.insert(std::string(option.name));
  });
  EXPECT_EQ(options, FieldsOfTheMessage());
}

TEST(SamplerProto, EveryOptionGoesThereAndBack) {
  const SamplerOverrides everything = WithoutTheCheckpoints(EverythingSet());
  const v1::SamplerOptions message = SamplerToProto(EverythingSet());
  FieldViolations violations;
  EXPECT_EQ(SamplerFromProto(message, violations), everything);
  EXPECT_TRUE(violations.empty());
  std::vector<const google::protobuf::FieldDescriptor*> set;
  v1::SamplerOptions::GetReflection()->ListFields(message, &set);
  EXPECT_EQ(set.size(), FieldsOfTheMessage().size());
}

TEST(SamplerProto, WhatIsNotSetStaysAbsent) {
  EXPECT_EQ(SamplerToProto({}).ByteSizeLong(), 0u);
  FieldViolations violations;
  EXPECT_EQ(SamplerFromProto({}, violations), SamplerOverrides());
}

TEST(SamplerProto, ValuesArriveAsTheyAre) {
  EXPECT_EQ(SamplerToProto({.sampler = SamplerKind::kSdeDpmSolverPlusPlus,
                            .timesteps = {900, 4.5},
                            .clip_sample = false,
                            .solver_order = 2,
                            .sigma_spacing = SigmaSpacing::kKarras,
                            .flow_shift = 2.5,
                            .disable_corrector = {0, 3}})
                .ShortDebugString(),
            "sampler: SAMPLER_DPMPP_SDE timesteps: 900 timesteps: 4.5 sigma_spacing: "
            "SIGMA_SPACING_KARRAS clip_sample: false solver_order: 2 flow_shift: 2.5 "
            "disable_corrector: 0 disable_corrector: 3");
}

// Both ways, for the enumeration of `member`: a value of the contract for each of the core's, and
// none besides but UNSPECIFIED.
template <class Enum>
void ExpectNamesMatch(std::optional<Enum> SamplerOverrides::*member,
                      const google::protobuf::EnumDescriptor* enumeration) {
  EXPECT_EQ(enumeration->value_count(), static_cast<int>(kNames<Enum>.size()) + 1);
  for (const auto& [name, value] : kNames<Enum>) {
    SamplerOverrides overrides;
    overrides.*member = value;
    FieldViolations violations;
    EXPECT_EQ(SamplerFromProto(SamplerToProto(overrides), violations), overrides) << name;
  }
}

TEST(SamplerProto, TheEnumerationsHaveTheSameNames) {
  ExpectNamesMatch(&SamplerOverrides::sampler, v1::Sampler_descriptor());
  ExpectNamesMatch(&SamplerOverrides::timestep_spacing, v1::TimestepSpacing_descriptor());
  ExpectNamesMatch(&SamplerOverrides::sigma_spacing, v1::SigmaSpacing_descriptor());
  ExpectNamesMatch(&SamplerOverrides::variance_type, v1::VarianceType_descriptor());
  ExpectNamesMatch(&SamplerOverrides::solver_type, v1::SolverType_descriptor());
  ExpectNamesMatch(&SamplerOverrides::final_sigma, v1::FinalSigma_descriptor());
}

TEST(SamplerProto, UnknownValuesAreToldAndLeftOut) {
  v1::SamplerOptions message;
  message.set_sampler(static_cast<v1::Sampler>(99));
  message.set_final_sigma(static_cast<v1::FinalSigma>(-5));
  message.set_steps(3);
  FieldViolations violations;
  EXPECT_EQ(SamplerFromProto(message, violations), (SamplerOverrides{.steps = 3}));
  EXPECT_THAT(violations.violations(),
              ElementsAre(FieldViolation{"sampler", "unknown value 99"},
                          FieldViolation{"final_sigma", "unknown value -5"}));
}

}  // namespace
}  // namespace denoise
