#include "core/train/run_state.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "core/base/field_violations.h"

namespace denoise {
namespace {

using Json = nlohmann::json;

constexpr int64_t kPictures = 100;
constexpr RunCounters kCounters = {.non_finite_steps = 7,
                                   .non_finite_in_a_row = 2,
                                   .loss_scale = {.scale = 1024, .finite_steps = 12}};

class RunStateTest : public testing::Test {
 protected:
  std::string Encode() const { return EncodeRunState({options_, kPictures}, kCounters); }

  absl::StatusOr<RunCounters> Decode(const std::string& json) const {
    return DecodeRunState(json, {options_, kPictures});
  }
  absl::StatusOr<RunCounters> Decode(const Json& json) const { return Decode(json.dump()); }

  // Answered with InvalidArgument.
  void ExpectRefused(const Json& json, const std::string& part_of_message) const {
    const absl::Status status = Decode(json).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part_of_message));
  }

  TrainingOptions options_ = {
      .max_steps = 20, .seed = 0xffffffffffffffff, .ema_decays = {0.1, 0.7}};
};

TEST_F(RunStateTest, RoundTrips) {
  const auto decoded = Decode(Encode());
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, kCounters);
}

TEST_F(RunStateTest, NamesEveryOptionThatDiffers) {
  const std::string json = Encode();
  options_.optimizer.learning_rate = 0.5;
  options_.seed = 1;
  options_.ema_decays = {0.1};
  options_.objective.weighting = LossWeighting::kMinSnr;
  std::vector<std::string> fields;
  for (const FieldViolation& violation : GetFieldViolations(Decode(json).status())) {
    fields.push_back(violation.field);
  }
  EXPECT_THAT(fields, testing::UnorderedElementsAre("optimizer.learning_rate", "seed", "ema_decays",
                                                    "objective.weighting"));
}

TEST_F(RunStateTest, AnOptionNewerThanTheCheckpointHadItsDefault) {
  Json older = Json::parse(Encode());
  older["run"].erase("objective.label_dropout");
  older["run"].erase("precision");
  const auto decoded = Decode(older);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, kCounters);
  options_.objective.label_dropout = 0.1;
  ExpectRefused(older, "objective.label_dropout: is missing from the checkpoint");
  options_.objective.label_dropout = 0;
  older["run"]["surplus"] = 1;
  ExpectRefused(older, "unknown options");
  older["run"].erase("surplus");
  older["run"].erase("pictures");
  ExpectRefused(older, "pictures: is missing from the checkpoint");
}

TEST_F(RunStateTest, RefusesADataSetOfAnotherSize) {
  const auto decoded = DecodeRunState(Encode(), {options_, kPictures + 1});
  EXPECT_EQ(GetFieldViolations(decoded.status()).front().field, "pictures");
}

TEST_F(RunStateTest, ARunMayBeExtended) {
  const std::string json = Encode();
  options_.max_steps = 1000;
  EXPECT_TRUE(Decode(json).ok());
}

TEST_F(RunStateTest, NeverCrashesOnMalformedJson) {
  EXPECT_EQ(Decode(std::string("{")).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Decode(std::string(1 << 20, ' ')).status().code(), absl::StatusCode::kInvalidArgument);
  const Json good = Json::parse(Encode());
  ExpectRefused(Json::array(), "");
  const auto with = [&good](const char* key, const Json& value) {
    Json json = good;
    json[key] = value;
    return json;
  };
  ExpectRefused(with("run", 5), "run");
  ExpectRefused(with("run", Json::object()), "is missing");
  ExpectRefused(with("non_finite_steps", -1), "non_finite_steps");
  ExpectRefused(with("non_finite_in_a_row", "x"), "non_finite_in_a_row");
  ExpectRefused(with("loss_scale", 0), "loss_scale");
  ExpectRefused(with("loss_scale", nullptr), "loss_scale");
  ExpectRefused(with("finite_steps_at_loss_scale", 1e300), "finite_steps_at_loss_scale");
  ExpectRefused(with("surplus", 1), "surplus");
  Json other = good;
  other["run"]["surplus"] = 1;
  ExpectRefused(other, "unknown options");
  other = good;
  other["run"]["seed"] = Json{{"\u0001<script>", 1}};
  ExpectRefused(other, "seed");
}

}  // namespace
}  // namespace denoise
