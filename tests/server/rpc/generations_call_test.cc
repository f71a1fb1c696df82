// Coming back to generations, over a real connection and with the real engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/server/rpc/service_fixture.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::SizeIs;

using Reader = std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>>;

class GenerationsCallTest : public ServiceTest {
 protected:
  static v1::GenerateRequest Request(const std::string& id, int steps) {
    v1::GenerateRequest request;
    request.set_model("models/faces");
    request.mutable_sampler()->set_steps(steps);
    request.set_request_id(id);
    return request;
  }

  static v1::GenerateRequest Detached(const std::string& id, int steps) {
    v1::GenerateRequest request = Request(id, steps);
    request.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
    return request;
  }

  Reader Watch(grpc::ClientContext& context, const std::string& id, int64_t resume_after = -1) {
    v1::WatchGenerationRequest request;
    request.set_name("generations/" + id);
    if (resume_after >= 0) request.set_resume_after(resume_after);
    return generations_stub_->WatchGeneration(&context, request);
  }

  v1::Generation Get(const std::string& id) {
    grpc::ClientContext context;
    v1::GetGenerationRequest request;
    request.set_name("generations/" + id);
    v1::Generation generation;
    const grpc::Status status = generations_stub_->GetGeneration(&context, request, &generation);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return generation;
  }

  grpc::Status Pause(const std::string& id, v1::PauseGenerationResponse* response) {
    grpc::ClientContext context;
    v1::PauseGenerationRequest request;
    request.set_name("generations/" + id);
    return generations_stub_->PauseGeneration(&context, request, response);
  }

  // Runs until somebody stops it.
  static v1::GenerateRequest Endless(const std::string& id) {
    v1::GenerateRequest request = Detached(id, 1000);
    request.set_count(64);
    return request;
  }

  static std::vector<v1::GenerateEvent> ReadAll(const Reader& reader) {
    std::vector<v1::GenerateEvent> events;
    for (v1::GenerateEvent event; reader->Read(&event);) events.push_back(event);
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return events;
  }

  static std::map<int, std::string> ImagesOf(const std::vector<v1::GenerateEvent>& events) {
    std::map<int, std::string> images;
    for (const v1::GenerateEvent& event : events) {
      if (event.has_image()) images[event.image().image_index()] = event.image().image().data();
    }
    return images;
  }
};

TEST_F(GenerationsCallTest, AReaderWhoComesBackGetsWhatTheFirstWouldHaveGot) {
  {
    grpc::ClientContext context;
    const Reader first = stub_->Generate(&context, Detached("a", 1000));
    v1::GenerateEvent event;
    ASSERT_TRUE(first->Read(&event));
    context.TryCancel();
    EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  live_calls_.WaitUntilNone(absl::InfiniteFuture());  // the call is over, its generation is not
  grpc::ClientContext again;
  const auto events = ReadAll(stub_->Generate(&again, Detached("a", 1000)));
  EXPECT_TRUE(events.front().has_accepted());
  EXPECT_EQ(events.back().finished().images(), 1);
  EXPECT_EQ(Get("a").state(), v1::Generation::SUCCEEDED);

  v1::GenerateRequest same_seed = Request("b", 1000);
  same_seed.set_seed(events.front().accepted().seed());
  grpc::ClientContext alone;
  EXPECT_EQ(ImagesOf(ReadAll(stub_->Generate(&alone, same_seed))), ImagesOf(events));
}

TEST_F(GenerationsCallTest, WatchersResumeWhereTheyStopped) {
  v1::GenerateRequest request = Detached("a", 20);
  request.mutable_frames()->set_every_n_steps(1);
  grpc::ClientContext generate;
  const auto events = ReadAll(stub_->Generate(&generate, request));
  const int64_t seen = events[events.size() / 2].sequence();

  grpc::ClientContext resume;
  const auto rest = ReadAll(Watch(resume, "a", seen));
  ASSERT_FALSE(rest.empty());
  EXPECT_GT(rest.front().sequence(), seen);
  EXPECT_TRUE(rest.back().has_finished());
  EXPECT_EQ(rest.back().sequence(), events.back().sequence());
  EXPECT_EQ(ImagesOf(rest), ImagesOf(events));

  grpc::ClientContext past_the_end;
  EXPECT_TRUE(ReadAll(Watch(past_the_end, "a", events.back().sequence())).empty());
  grpc::ClientContext out_of_range;
  const Reader refused = Watch(out_of_range, "a", events.back().sequence() + 1);
  EXPECT_EQ(refused->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(GenerationsCallTest, OneWatcherKeepsAGenerationWhoseCallerHasGone) {
  v1::GenerateRequest request = Request("a", 1000);
  request.set_count(8);
  grpc::ClientContext caller, watcher;
  const Reader first = stub_->Generate(&caller, request);
  v1::GenerateEvent event;
  ASSERT_TRUE(first->Read(&event));
  const Reader second = Watch(watcher, "a");
  ASSERT_TRUE(second->Read(&event));
  caller.TryCancel();
  while (first->Read(&event)) {
  }
  EXPECT_EQ(first->Finish().error_code(), grpc::StatusCode::CANCELLED);
  const auto rest = ReadAll(second);
  EXPECT_THAT(ImagesOf(rest), SizeIs(8));
}

TEST_F(GenerationsCallTest, CancellingEndsTheCallsThatReadIt) {
  grpc::ClientContext caller;
  const Reader reader = stub_->Generate(&caller, Endless("a"));
  v1::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  grpc::ClientContext cancel;
  v1::CancelGenerationRequest request;
  request.set_name("generations/a");
  v1::Generation generation;
  ASSERT_TRUE(generations_stub_->CancelGeneration(&cancel, request, &generation).ok());
  while (reader->Read(&event)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(Get("a").state(), v1::Generation::CANCELLED);
}

TEST_F(GenerationsCallTest, PausingAnswersWithATokenAndEndsTheCallsThatReadIt) {
  v1::GenerateRequest request = Endless("a");
  request.set_accept_handover(true);
  grpc::ClientContext generate;
  const Reader reader = stub_->Generate(&generate, request);
  v1::GenerateEvent event;
  ASSERT_TRUE(reader->Read(&event));
  v1::PauseGenerationResponse paused;
  ASSERT_TRUE(Pause("a", &paused).ok());
  EXPECT_EQ(paused.generation().state(), v1::Generation::PAUSED);
  EXPECT_EQ(paused.generation().name(), "generations/a");
  EXPECT_FALSE(paused.token().empty());
  EXPECT_GT(paused.expire_time().seconds(), paused.generation().end_time().seconds());

  while (reader->Read(&event)) continue;
  EXPECT_TRUE(event.handover().paused());
  EXPECT_EQ(event.handover().expire_time().seconds(), paused.expire_time().seconds());
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(Get("a").state(), v1::Generation::PAUSED);
  live_calls_.WaitUntilNone(absl::InfiniteFuture());

  v1::PauseGenerationResponse again;
  EXPECT_TRUE(Pause("a", &again).ok());
  EXPECT_EQ(again.expire_time().seconds(), paused.expire_time().seconds()) << "the same pause";
}

TEST_F(GenerationsCallTest, WhatNobodyReadsCanBePaused) {
  v1::GenerateRequest request = Endless("a");
  request.set_accept_handover(true);
  {
    grpc::ClientContext context;
    const Reader reader = stub_->Generate(&context, request);
    v1::GenerateEvent event;
    ASSERT_TRUE(reader->Read(&event));
    context.TryCancel();
    reader->Finish();
  }
  live_calls_.WaitUntilNone(absl::InfiniteFuture());
  v1::PauseGenerationResponse paused;
  EXPECT_TRUE(Pause("a", &paused).ok());
  EXPECT_FALSE(paused.token().empty());
}

TEST_F(GenerationsCallTest, APauseThatIsRefusedSaysWhy) {
  v1::PauseGenerationResponse paused;
  EXPECT_EQ(Pause("a", &paused).error_code(), grpc::StatusCode::NOT_FOUND);
  grpc::ClientContext context;
  ReadAll(stub_->Generate(&context, Detached("a", 2)));
  EXPECT_EQ(Pause("a", &paused).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Pause("", &paused).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(GenerationsCallTest, ManyCallersOfOneIdShareOneGeneration) {
  constexpr int kCallers = 8;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<Reader> readers;
  for (int i = 0; i < kCallers; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(stub_->Generate(contexts.back().get(), Request("a", 50)));
  }
  const auto images = ImagesOf(ReadAll(readers.front()));
  for (int i = 1; i < kCallers; ++i) EXPECT_EQ(ImagesOf(ReadAll(readers[i])), images);
  grpc::ClientContext list;
  v1::ListGenerationsResponse response;
  ASSERT_TRUE(generations_stub_->ListGenerations(&list, {}, &response).ok());
  ASSERT_EQ(response.generations_size(), 1);
  EXPECT_EQ(response.generations(0).accepted().timesteps_size(), 0);
}

}  // namespace
}  // namespace denoise
