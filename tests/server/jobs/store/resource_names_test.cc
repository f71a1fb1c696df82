#include "server/jobs/store/resource_names.h"

#include <gtest/gtest.h>

namespace denoise {
namespace {

TEST(ResourceNames, GoThereAndBack) {
  EXPECT_EQ(JobName(17), "trainingJobs/17");
  EXPECT_EQ(ParseJobName("trainingJobs/17"), 17);
  EXPECT_EQ(CheckpointName({17, 500}), "trainingJobs/17/checkpoints/500");
  EXPECT_EQ(ParseCheckpointName("trainingJobs/17/checkpoints/500"), (CheckpointReference{17, 500}));
  EXPECT_EQ(DataSetName("emoji"), "datasets/emoji");
  EXPECT_EQ(ParseDataSetName("datasets/emoji"), "emoji");
}

TEST(ResourceNames, OnlyWhatWeWouldWriteIsAName) {
  for (const char* name : {"", "17", "trainingJobs/", "trainingJobs/007", "trainingJobs/+7",
                           "trainingJobs/-1", "trainingJobs/x", "trainingJobs/1/",
                           "trainingJobs/ 1", "trainingJobs/99999999999999999999"}) {
    EXPECT_FALSE(ParseJobName(name).has_value()) << name;
  }
  for (const char* name : {"trainingJobs/1", "trainingJobs/1/checkpoints/", "checkpoints/1",
                           "trainingJobs//checkpoints/1", "trainingJobs/1/checkpoints/1/2"}) {
    EXPECT_FALSE(ParseCheckpointName(name).has_value()) << name;
  }
  for (const char* name : {"emoji", "datasets/", "datasets/..", "datasets/a/b", "models/emoji"}) {
    EXPECT_FALSE(ParseDataSetName(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace denoise
