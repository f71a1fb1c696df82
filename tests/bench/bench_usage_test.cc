// Every benchmark answers bad arguments with its usage and exit code 2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/subprocess.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);

struct BadArguments {
  std::string program;
  std::vector<std::string> arguments;
  std::string says;
};

class BenchUsage : public testing::TestWithParam<BadArguments> {};

TEST_P(BenchUsage, IsTheAnswerToBadArguments) {
  std::vector<std::string> argv = {GetParam().program};
  argv.insert(argv.end(), GetParam().arguments.begin(), GetParam().arguments.end());
  const auto result = RunProcess(argv, kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->exit_status.code, 2);
  EXPECT_THAT(result->error, HasSubstr(GetParam().says));
  EXPECT_THAT(result->error, HasSubstr("Usage: "));
  EXPECT_EQ(result->output, "");
}

INSTANTIATE_TEST_SUITE_P(
    Programs, BenchUsage,
    testing::Values(BadArguments{FORWARD_BENCH, {"many"}, "THREADS must be a whole number"},
                    BadArguments{FORWARD_BENCH, {"0"}, "THREADS must be a whole number"},
                    BadArguments{FORWARD_BENCH, {"--threads", "2"}, "unknown flag --threads"},
                    BadArguments{FORWARD_BENCH, {"2", "/nowhere"}, "there is no folder /nowhere"},
                    BadArguments{FORWARD_BENCH, {"2", ".", "float8"}, "unknown precision float8"},
                    BadArguments{FORWARD_BENCH, {"2", ".", "float32", "-1"}, "unknown flag -1"},
                    BadArguments{
                        FORWARD_BENCH, {"2", ".", "float32", "1", "x"}, "unexpected argument x"},
                    BadArguments{TRAIN_BENCH, {"2", "8x"}, "ROWS must be a whole number"},
                    BadArguments{ROW_BATCH_BENCH, {"1.5"}, "THREADS must be a whole number"},
                    BadArguments{TRAINER_BENCH, {"--steps", "many"}, "--steps"},
                    BadArguments{SERVER_BENCH, {"--rounds", "0"}, "--rounds"},
                    BadArguments{SCHEDULING_SIMULATOR, {"--curve", "1=0"}, "1=0"},
                    BadArguments{SCHEDULING_SIMULATOR, {"--weights", "1"}, "--weights"},
                    BadArguments{TRAINING_SHARE_BENCH, {"--bogus"}, "--bogus"},
                    BadArguments{SAMPLER_QUALITY_BENCH, {"extra"}, "extra"},
                    BadArguments{TEXT_TO_IMAGE_BENCH, {"/nowhere"}, "/nowhere"}));

}  // namespace
}  // namespace denoise
