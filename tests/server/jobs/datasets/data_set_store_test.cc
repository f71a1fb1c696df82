#include "server/jobs/datasets/data_set_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/base/error_details.h"
#include "tests/server/jobs/datasets/data_set_store_testing.h"

namespace denoise {
namespace {

using ::testing::HasSubstr;

TEST_F(DataSetStoreTest, WhoHasHeardThatItIsReadyMayDeleteIt) {
  auto upload = *store_->BeginUpload(HeaderOf("pictures"));
  ASSERT_TRUE(upload->Append(Chunk("pictures")).ok());
  ASSERT_TRUE(Finish(*upload).ok());
  EXPECT_TRUE(Delete().ok());  // although the call that uploaded it has not gone yet
}

TEST_F(DataSetStoreTest, ADataSetThatAJobNeedsIsNotDeleted) {
  ASSERT_TRUE(Upload("pictures").ok());
  const int64_t job = CreateJobOn(store_->FindReady("datasets/emoji")->id);

  const absl::Status refused = Delete();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("trainingJobs/1"));

  ASSERT_TRUE(open_->jobs.Apply(job, JobAction::kCancel).ok());
  EXPECT_TRUE(Delete().ok());
  EXPECT_FALSE(std::filesystem::exists(open_->state.data_set(1)));
  EXPECT_TRUE(open_->jobs.Get(job).ok());
}

TEST_F(DataSetStoreTest, NamesAreCheckedAndMissingOnesNamed) {
  EXPECT_EQ(Get("emoji").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetResource(Get("datasets/absent").status())->name, "datasets/absent");
  EXPECT_EQ(Delete("datasets/absent").code(), absl::StatusCode::kNotFound);
}

TEST_F(DataSetStoreTest, AListIsByNamePageByPage) {
  for (const char* name : {"datasets/c", "datasets/a", "datasets/b"}) {
    ASSERT_TRUE(Upload("x", 0, name).ok());
  }
  denoised::v1::ListDatasetsRequest request;
  request.set_page_size(2);
  const auto first = *store_->List(request);
  request.set_page_token(first.next_page_token());
  const auto second = *store_->List(request);

  ASSERT_EQ(first.datasets_size(), 2);
  EXPECT_EQ(first.datasets(0).name(), "datasets/a");
  EXPECT_EQ(first.datasets(1).name(), "datasets/b");
  ASSERT_EQ(second.datasets_size(), 1);
  EXPECT_EQ(second.datasets(0).name(), "datasets/c");
  EXPECT_EQ(second.next_page_token(), "");
  request.set_page_token("made up");
  EXPECT_EQ(store_->List(request).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace denoise
