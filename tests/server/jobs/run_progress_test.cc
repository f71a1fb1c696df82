#include "server/jobs/run_progress.h"

#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <limits>

namespace denoise {
namespace {

TEST(RunProgress, TimeLeftIsOneThatAClientCanRead) {
  RunProgress progress({.max_steps = std::numeric_limits<int64_t>::max(),
                        .batch_size = 1,
                        .pictures = 1,
                        .max_duration = absl::InfiniteDuration()});
  const absl::Time begin = absl::FromUnixSeconds(1);
  progress.Take({.step = 1}, 0, begin);
  progress.AddStep({.step = 2});
  const auto message = progress.Take({.step = 2}, 0, begin + absl::Hours(1));
  EXPECT_EQ(message.time_left().seconds(), google::protobuf::util::TimeUtil::kDurationMaxSeconds);
}

}  // namespace
}  // namespace denoise
