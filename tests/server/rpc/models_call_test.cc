// WatchModels over a real connection.
#include <gtest/gtest.h>

#include <memory>

#include "denoised/v1/models.grpc.pb.h"
#include "tests/server/rpc/service_fixture.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

TEST_F(ServiceTest, ShortageOfMemoryRefusesANewWatcherOfModelsAndKeepsTheOthers) {
  const auto stub = v1::Models::NewStub(channel_);
  grpc::ClientContext context;
  const auto reader = stub->WatchModels(&context, {});
  v1::ModelEvent event;
  do {
    ASSERT_TRUE(reader->Read(&event));
  } while (!event.has_complete());
  short_of_memory_ = true;
  grpc::ClientContext late_context;
  const auto late = stub->WatchModels(&late_context, {});
  EXPECT_FALSE(late->Read(&event));
  EXPECT_EQ(late->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);

  models_.Fail("broken", absl::InvalidArgumentError("unet/config.json: is empty"));
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.model().name(), "models/broken");
  context.TryCancel();
  reader->Finish();
}

}  // namespace
}  // namespace denoise
