#include "server/jobs/datasets/data_set_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/base/error_details.h"
#include "tests/server/jobs/datasets/data_set_store_testing.h"

namespace denoise {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(DataSetStoreTest, WhoHasHeardThatItIsReadyMayDeleteIt) {
  auto upload = *store_->BeginUpload(HeaderOf("pictures"), Anyone());
  ASSERT_TRUE(upload->Append(Chunk("pictures")).ok());
  ASSERT_TRUE(Finish(*upload).ok());
  EXPECT_TRUE(Delete().ok());  // although the call that uploaded it has not gone yet
}

TEST_F(DataSetStoreTest, ADataSetThatAJobNeedsIsNotDeleted) {
  ASSERT_TRUE(Upload("pictures").ok());
  const int64_t job = CreateJobOn(store_->FindReady("datasets/emoji", Anyone())->id);

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

TEST_F(DataSetStoreTest, TenantsHaveDataSetsOfTheirOwn) {
  const Identity acme = IdentityWith("acme", {Scope::kTrain});
  const Identity globex = IdentityWith("globex", {Scope::kTrain});
  const Identity admin = IdentityWith("ops", {Scope::kAdmin});
  for (const Identity& tenant : {acme, globex}) {
    auto upload = *store_->BeginUpload(HeaderOf(tenant.tenant), tenant);
    ASSERT_TRUE(upload->Append(Chunk(tenant.tenant)).ok());
    EXPECT_EQ(Finish(*upload)->name(), "datasets/emoji");
  }
  ASSERT_TRUE(Upload("of nobody").ok());
  Reopen();

  const auto listed = [this](const Identity& viewer) {
    std::vector<std::string> names;
    const auto page = *store_->List({}, viewer);
    for (const auto& data_set : page.datasets()) names.push_back(data_set.name());
    return names;
  };
  EXPECT_THAT(listed(acme), ElementsAre("datasets/emoji"));
  EXPECT_THAT(listed(admin), ElementsAre("tenants/-/datasets/emoji", "tenants/acme/datasets/emoji",
                                         "tenants/globex/datasets/emoji"));
  EXPECT_EQ(ReadFile(store_->FindReady("datasets/emoji", acme)->path), "acme");
  EXPECT_EQ(ReadFile(store_->FindReady("datasets/emoji", globex)->path), "globex");
  EXPECT_EQ(ReadFile(store_->FindReady("tenants/acme/datasets/emoji", admin)->path), "acme");
  for (const char* name : {"tenants/acme/datasets/emoji", "tenants/acme/datasets/absent"}) {
    EXPECT_EQ(store_->FindReady(name, globex).status().code(), absl::StatusCode::kNotFound);
  }
  EXPECT_EQ(store_->BeginUpload(HeaderOf("x", "tenants/acme/datasets/new"), globex).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(DataSetStoreTest, ADataSetKeepsItsTenantWithoutTheDatabase) {
  const Identity acme = IdentityWith("acme", {Scope::kTrain});
  auto upload = *store_->BeginUpload(HeaderOf("pictures"), acme);
  ASSERT_TRUE(upload->Append(Chunk("pictures")).ok());
  ASSERT_TRUE(Finish(*upload).ok());
  upload.reset();
  ASSERT_TRUE(open_->database
                  ->Write([](SQLite::Database& connection) {
                    connection.exec("DELETE FROM data_sets");
                    return absl::OkStatus();
                  })
                  .ok());
  Reopen();

  denoised::v1::GetDatasetRequest request;
  request.set_name("datasets/emoji");
  EXPECT_TRUE(store_->Get(request, acme).ok());
  EXPECT_EQ(Get().status().code(), absl::StatusCode::kNotFound) << "it is not everybody's";
}

TEST_F(DataSetStoreTest, AListIsByNamePageByPage) {
  for (const char* name : {"datasets/c", "datasets/a", "datasets/b"}) {
    ASSERT_TRUE(Upload("x", 0, name).ok());
  }
  denoised::v1::ListDatasetsRequest request;
  request.set_page_size(2);
  const auto first = *store_->List(request, Anyone());
  request.set_page_token(first.next_page_token());
  const auto second = *store_->List(request, Anyone());

  ASSERT_EQ(first.datasets_size(), 2);
  EXPECT_EQ(first.datasets(0).name(), "datasets/a");
  EXPECT_EQ(first.datasets(1).name(), "datasets/b");
  ASSERT_EQ(second.datasets_size(), 1);
  EXPECT_EQ(second.datasets(0).name(), "datasets/c");
  EXPECT_EQ(second.next_page_token(), "");
  request.set_page_token("made up");
  EXPECT_EQ(store_->List(request, Anyone()).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace denoise
