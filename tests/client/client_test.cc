#include "client/client.h"

#include <map>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "client/http_proxy.h"
#include "client/status_from_grpc.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/retry.h"
#include "denoised/v1/generations.grpc.pb.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Lt;
using ::testing::Pair;

v1::GenerateRequest SmallRequest() {
  v1::GenerateRequest request;
  request.set_model("models/shapes");
  request.set_class_label(1);
  request.set_count(2);
  return request;
}

// Every event until the stream's end.
absl::StatusOr<std::vector<v1::GenerateEvent>> Collect(GenerateStream stream) {
  std::vector<v1::GenerateEvent> events;
  while (true) {
    auto event = stream.Next();
    if (!event.ok()) return event.status();
    if (!event->has_value()) return events;
    events.push_back(**event);
  }
}

class ClientTest : public testing::Test {
 protected:
  Client MakeClient(ClientOptions options = {}) {
    options.address = server_.address();
    return Client(options);
  }

  FakeServer server_;
};

TEST_F(ClientTest, AStreamGivesEveryEventInOrderAndThenEnds) {
  Client client = MakeClient();
  const auto events = Collect(client.Generate(SmallRequest()));
  ASSERT_TRUE(events.ok()) << events.status();
  ASSERT_EQ(events->size(), 3u + 4 + 2 + 1);
  for (size_t i = 0; i < events->size(); ++i) EXPECT_EQ((*events)[i].sequence(), i);
  EXPECT_TRUE(events->front().has_accepted());
  EXPECT_TRUE(events->back().has_finished());
}

TEST_F(ClientTest, TheEndOfAStreamStaysTheEnd) {
  Client client = MakeClient();
  GenerateStream stream = client.Generate(SmallRequest());
  while (stream.Next().value().has_value()) {
  }
  EXPECT_FALSE(stream.Next().value().has_value());
}

TEST_F(ClientTest, AStreamWithoutFinishedIsAnError) {
  server_.leaves_out_finished = true;
  Client client = MakeClient();
  EXPECT_TRUE(absl::IsInternal(Collect(client.Generate(SmallRequest())).status()));
}

TEST_F(ClientTest, AStreamMayOutliveItsClient) {
  auto client = std::make_unique<Client>(MakeClient());
  GenerateStream stream = client->Generate(SmallRequest());
  client.reset();
  EXPECT_TRUE(Collect(std::move(stream)).ok());
}

TEST_F(ClientTest, TheDeadlineEndsAStreamThatDoesNot) {
  server_.never_ends = true;
  Client client = MakeClient();
  const absl::Time start = absl::Now();
  const auto events = Collect(client.Generate(SmallRequest(), absl::Milliseconds(150)));
  EXPECT_TRUE(absl::IsDeadlineExceeded(events.status())) << events.status();
  EXPECT_THAT(std::string(events.status().message()), HasSubstr(server_.address()));
  EXPECT_THAT(absl::Now() - start, AllOf(Ge(absl::Milliseconds(140)), Lt(absl::Seconds(10))));
}

TEST_F(ClientTest, TheDeadlineOfTheOptionsHoldsWhereACallIsGivenNone) {
  server_.never_ends = true;
  Client client = MakeClient({.generate_deadline = absl::Milliseconds(100)});
  EXPECT_TRUE(absl::IsDeadlineExceeded(Collect(client.Generate(SmallRequest())).status()));
}

TEST_F(ClientTest, AnotherThreadCancelsAWaitingStream) {
  server_.never_ends = true;
  Client client = MakeClient();
  GenerateStream stream = client.Generate(SmallRequest());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream.Next().ok());
  std::thread canceller([&stream] {
    absl::SleepFor(absl::Milliseconds(30));
    stream.Cancel();
  });
  EXPECT_TRUE(absl::IsCancelled(stream.Next().status()));
  canceller.join();
}

TEST_F(ClientTest, DestroyingAStreamCancelsIt) {
  server_.never_ends = true;
  Client client = MakeClient();
  {
    GenerateStream stream = client.Generate(SmallRequest());
    ASSERT_TRUE(stream.Next().ok());
  }
  EXPECT_TRUE(server_.WaitForCancelledCalls(1));
  EXPECT_EQ(server_.cancelled_calls(), 1);
}

TEST_F(ClientTest, AFullQueueIsTriedAgainAfterTheServersPushback) {
  server_.failures_before_success = 2;
  server_.pushback = absl::Milliseconds(120);
  Client client = MakeClient();
  const absl::Time start = absl::Now();
  EXPECT_TRUE(Collect(client.Generate(SmallRequest())).ok());
  EXPECT_THAT(absl::Now() - start, Ge(absl::Milliseconds(230)));
  EXPECT_EQ(server_.requests().size(), 3u);
}

TEST_F(ClientTest, FourAttemptsAreMadeAndTheDelayIsTold) {
  server_.failures_before_success = 100;
  server_.pushback = absl::Milliseconds(1);
  Client client = MakeClient();
  const absl::Status status = Collect(client.Generate(SmallRequest())).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_EQ(status.message(), "the queue is full");
  EXPECT_TRUE(GetRetryDelay(status).has_value());
  EXPECT_EQ(server_.requests().size(), 4u);
}

TEST_F(ClientTest, OneAttemptNeverRetries) {
  server_.failures_before_success = 100;
  server_.pushback = absl::Milliseconds(2500);
  Client client = MakeClient({.max_attempts = 1});
  const absl::Status status = Collect(client.Generate(SmallRequest())).status();
  EXPECT_EQ(GetRetryDelay(status), absl::Milliseconds(2500));
  EXPECT_EQ(server_.requests().size(), 1u);
}

TEST_F(ClientTest, WhetherAServerHasAnsweredIsRemembered) {
  const auto answered = [](const std::string& address, const auto& call) {
    ClientOptions options{.address = address, .max_attempts = 1, .own_connection = true};
    options.answered = std::make_shared<std::atomic<bool>>(false);
    Client client(options);
    call(client);
    return options.answered->load();
  };
  const auto list = [](Client& client) { (void)client.ListModels(); };
  const auto begin = [](Client& client) { (void)client.Generate(SmallRequest()).Next(); };
  EXPECT_FALSE(answered("127.0.0.1:1", list));
  EXPECT_FALSE(answered("127.0.0.1:1", begin));
  EXPECT_TRUE(answered(server_.address(), list));
  server_.never_ends = true;
  EXPECT_TRUE(answered(server_.address(), begin));
}

TEST_F(ClientTest, AStreamThatHasBegunIsNotRetried) {
  server_.end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
  Client client = MakeClient();
  EXPECT_TRUE(absl::IsUnavailable(Collect(client.Generate(SmallRequest())).status()));
  EXPECT_EQ(server_.requests().size(), 1u);
}

// The fake server drains during the first call, and is another one in the second.
TEST_F(ClientTest, AStreamContinuesOnAnotherServer) {
  server_.end = grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is draining");
  server_.edit_event = [this](v1::GenerateEvent& event) {
    if (server_.requests().size() > 1) {
      server_.end = grpc::Status::OK;
      event.set_sequence(event.sequence() + 100);
      if (event.has_image()) event.mutable_image()->set_image_index(2);
    } else if (event.has_finished()) {
      event.mutable_handover()->set_token("token");
    }
  };
  Client client = MakeClient();
  const auto events = Collect(client.Generate(SmallRequest()));
  ASSERT_TRUE(events.ok()) << events.status();
  int images = 0, handovers = 0, accepted = 0;
  for (const v1::GenerateEvent& event : *events) {
    images += event.has_image() ? 1 : 0;
    handovers += event.has_handover() ? 1 : 0;
    accepted += event.has_accepted() ? 1 : 0;
  }
  EXPECT_EQ(images, 3);
  EXPECT_EQ(handovers, 1);
  EXPECT_EQ(accepted, 1);
  EXPECT_TRUE(events->back().has_finished());
  ASSERT_EQ(server_.requests().size(), 2);
  EXPECT_TRUE(server_.requests()[0].accept_handover());
  EXPECT_EQ(server_.requests()[1].handover(), "token");
  EXPECT_EQ(server_.requests()[1].model(), "");
}

TEST_F(ClientTest, ARequestThatPresentsAHandoverHasNoOtherField) {
  v1::GenerateRequest request;
  request.set_handover("token");
  Client client = MakeClient();
  ASSERT_TRUE(Collect(client.Generate(request)).ok());
  EXPECT_EQ(server_.requests().back().SerializeAsString(), request.SerializeAsString());
}

TEST_F(ClientTest, ABadRequestTellsEveryField) {
  server_.answer = BadRequestStatus({{"sampler.steps", "is 0"}, {"count", "is 1000"}});
  Client client = MakeClient();
  const absl::Status status = Collect(client.Generate(SmallRequest())).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(GetFieldViolations(status), ElementsAre(FieldViolation{"sampler.steps", "is 0"},
                                                      FieldViolation{"count", "is 1000"}));
  EXPECT_EQ(status.message(), "sampler.steps: is 0; count: is 1000");
}

TEST_F(ClientTest, AMessageFarOverGrpcsUsualCapArrives) {
  server_.extra_event_bytes = 40 << 20;
  Client client = MakeClient();
  const auto events = Collect(client.Generate(SmallRequest()));
  ASSERT_TRUE(events.ok()) << events.status();
  EXPECT_THAT((*events)[7].image().image().data().size(), Ge(size_t{40} << 20));
}

TEST_F(ClientTest, AMessageOverTheCapIsAnError) {
  server_.extra_event_bytes = 2 << 20;
  Client client = MakeClient({.max_receive_bytes = 1 << 20});
  EXPECT_EQ(Collect(client.Generate(SmallRequest())).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(ClientTest, ListModelsReadsEveryPage) {
  Client client = MakeClient();
  const auto models = client.ListModels();
  ASSERT_TRUE(models.ok()) << models.status();
  ASSERT_EQ(models->size(), 2u);
  EXPECT_EQ((*models)[0].name(), "models/plain");
  EXPECT_EQ((*models)[1].name(), "models/shapes");
}

TEST_F(ClientTest, GetModelTakesShortNames) {
  Client client = MakeClient();
  EXPECT_EQ(client.GetModel("shapes").value().classes(1).display_name(), "square");
  EXPECT_EQ(client.GetModel("models/shapes").value().name(), "models/shapes");
  EXPECT_TRUE(absl::IsNotFound(client.GetModel("nobody").status()));
}

v1::Model FailedModel() {
  v1::Model model;
  model.set_name("models/broken@2");
  model.set_state(v1::Model::FAILED);
  model.set_error("its weights are truncated");
  return model;
}

TEST_F(ClientTest, FailedModelsAreListedWhereTheyAreAskedFor) {
  server_.SetModel(FailedModel());
  Client client = MakeClient();
  EXPECT_EQ(client.ListModels()->size(), 2u);
  const auto all = client.ListModels(/*show_failed=*/true);
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->size(), 3u);
  EXPECT_EQ((*all)[0].name(), "models/broken@2");
  EXPECT_EQ((*all)[0].error(), "its weights are truncated");
}

TEST_F(ClientTest, ModelsAreLoadedUnloadedAndDeletedByShortName) {
  server_.SetModel(FailedModel());
  Client client = MakeClient();
  EXPECT_EQ(client.LoadModel("shapes").value().state(), v1::Model::LOADED);
  EXPECT_EQ(client.UnloadModel("models/shapes").value().state(), v1::Model::UNLOADED);
  EXPECT_TRUE(absl::IsFailedPrecondition(client.LoadModel("broken@2").status()));
  EXPECT_TRUE(client.DeleteModel("broken@2").ok());
  EXPECT_TRUE(absl::IsNotFound(client.DeleteModel("broken@2")));
  EXPECT_THAT(server_.model_calls(),
              ElementsAre("load models/shapes", "unload models/shapes", "load models/broken@2",
                          "delete models/broken@2", "delete models/broken@2"));
}

TEST_F(ClientTest, ModelsAreNotManagedUnlessTheServerLetsThem) {
  server_.manages_models = false;
  Client client = MakeClient();
  EXPECT_TRUE(absl::IsPermissionDenied(client.LoadModel("shapes").status()));
  EXPECT_TRUE(absl::IsPermissionDenied(client.UnloadModel("shapes").status()));
  EXPECT_TRUE(absl::IsPermissionDenied(client.DeleteModel("shapes")));
}

TEST_F(ClientTest, LoadingTakesAsLongAsAGenerationMay) {
  server_.loads_never_end = true;
  Client client = MakeClient(
      {.generate_deadline = absl::Milliseconds(100), .unary_deadline = absl::InfiniteDuration()});
  EXPECT_TRUE(absl::IsDeadlineExceeded(client.LoadModel("shapes").status()));
}

TEST_F(ClientTest, AWatchOfModelsTellsThemAllAndLastsUntilItIsCancelled) {
  server_.SetModel(FailedModel());
  Client client = MakeClient();
  ModelStream stream = client.WatchModels();
  for (const char* name : {"models/broken@2", "models/plain", "models/shapes"}) {
    EXPECT_EQ(stream.Next().value()->model().name(), name);
  }
  EXPECT_TRUE(stream.Next().value()->has_complete());
  stream.Cancel();
  EXPECT_TRUE(absl::IsCancelled(stream.Next().status()));
}

TEST_F(ClientTest, AWatchOfModelsThatEndsWithoutAnErrorIsOne) {
  server_.watch_models = [](auto&, auto& writer) {
    writer.Write(v1::ModelEvent());
    return grpc::Status::OK;
  };
  Client client = MakeClient();
  ModelStream stream = client.WatchModels();
  EXPECT_TRUE(stream.Next().ok());
  EXPECT_TRUE(absl::IsInternal(stream.Next().status()));
}

TEST_F(ClientTest, HealthIsTold) {
  Client client = MakeClient();
  EXPECT_EQ(client.CheckHealth().value(), Health::kServing);
  EXPECT_EQ(client.CheckHealth("denoised.v1.ImageGeneration").value(), Health::kServing);
  server_.SetServing(false);
  EXPECT_EQ(client.CheckHealth("denoised.v1.ImageGeneration").value(), Health::kNotServing);
  EXPECT_TRUE(absl::IsNotFound(client.CheckHealth("no.such.Service").status()));
}

TEST(Client, NobodyListeningIsUnavailableAndSaysWhere) {
  Client client({.address = "127.0.0.1:1", .max_attempts = 1});
  const absl::Status status = client.ListModels().status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1:1"));
}

TEST(StatusFromGrpc, KeepsTheWholeRpcStatusForOthersToRead) {
  google::rpc::ErrorInfo info;
  info.set_reason("QUEUE_FULL");
  google::rpc::Status details;
  details.add_details()->PackFrom(info);
  const absl::Status status = StatusFromGrpc(
      grpc::Status(grpc::StatusCode::UNAVAILABLE, "full", details.SerializeAsString()), "here");
  EXPECT_EQ(status.message(), "full");
  EXPECT_EQ(GetErrorReason(status), "QUEUE_FULL");
  EXPECT_EQ(std::string(status.GetPayload(kRpcStatusUrl).value()), details.SerializeAsString());
}

TEST(StatusFromGrpc, TellsTheQuotaAndTheNumbersToGoOnFrom) {
  google::rpc::QuotaFailure quota;
  quota.add_violations()->set_subject("jobs");
  google::rpc::ErrorInfo info;
  (*info.mutable_metadata())["received_bytes"] = "4096";
  (*info.mutable_metadata())["limit"] = "8";
  google::rpc::Status details;
  details.add_details()->PackFrom(quota);
  details.add_details()->PackFrom(info);
  const absl::Status status = StatusFromGrpc(
      grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", details.SerializeAsString()), "");
  ASSERT_TRUE(GetQuotaViolation(status).has_value());
  EXPECT_EQ(GetQuotaViolation(status)->subject, "jobs");
  EXPECT_EQ(GetQuotaViolation(status)->description, "full");
  EXPECT_THAT(GetErrorMetadata(status),
              ElementsAre(Pair("limit", "8"), Pair("received_bytes", "4096")));
}

TEST(StatusFromGrpc, AQuotaFailureOfNothingNamesNone) {
  const grpc::Status status =
      StatusWithDetail(grpc::StatusCode::RESOURCE_EXHAUSTED, "full", google::rpc::QuotaFailure());
  EXPECT_FALSE(GetQuotaViolation(StatusFromGrpc(status, "here")).has_value());
}

TEST(StatusFromGrpc, IsNeverWithoutWords) {
  EXPECT_EQ(StatusFromGrpc(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, ""), "here:1").message(),
            "the server at here:1 does not offer this call");
  EXPECT_EQ(StatusFromGrpc(grpc::Status(grpc::StatusCode::UNKNOWN, ""), "here:1").message(),
            "the server at here:1 answered UNKNOWN without a reason");
  google::rpc::Status details;
  details.add_details()->PackFrom(google::rpc::ErrorInfo());
  const grpc::Status bare(grpc::StatusCode::INTERNAL, "", details.SerializeAsString());
  EXPECT_EQ(StatusFromGrpc(bare, "here:1").message(),
            "the server at here:1 answered INTERNAL without a reason");
}

TEST(StatusFromGrpc, DetailsThatDoNotParseAreLeftOut) {
  const absl::Status status =
      StatusFromGrpc(grpc::Status(grpc::StatusCode::INTERNAL, "broken", "\xff\xff\xff"), "here");
  EXPECT_EQ(status, absl::InternalError("broken"));
}

TEST(HttpProxy, IsThatOfTheEnvironmentWithoutItsPassword) {
  std::map<std::string, std::string> variables = {{"http_proxy", "http://me:secret@proxy:3128"}};
  const auto environment = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  const auto proxy = ProxyFor("gpu.example.com:50051", environment);
  ASSERT_TRUE(proxy.has_value());
  EXPECT_EQ(proxy->url, "http://proxy:3128");
  EXPECT_EQ(proxy->variable, "http_proxy");
  EXPECT_FALSE(ProxyFor("127.0.0.1:50051", environment).has_value());
  variables["no_proxy"] = "other, example.com";
  EXPECT_FALSE(ProxyFor("gpu.example.com:50051", environment).has_value());
  EXPECT_TRUE(ProxyFor("gpu:50051", environment).has_value());
  variables["grpc_proxy"] = "http://first:1";
  EXPECT_EQ(ProxyFor("gpu:50051", environment)->variable, "grpc_proxy");
  variables.clear();
  EXPECT_FALSE(ProxyFor("gpu:50051", environment).has_value());
}

// A server whose only generation has ended with event 9.
class EndedGeneration final : public v1::Generations::Service {
  grpc::Status WatchGeneration(grpc::ServerContext*, const v1::WatchGenerationRequest* request,
                               grpc::ServerWriter<v1::GenerateEvent>* writer) override {
    if (request->name() != "generations/zoo") return {grpc::StatusCode::NOT_FOUND, ""};
    if (request->resume_after() >= 9) return grpc::Status::OK;
    v1::GenerateEvent event;
    event.set_sequence(9);
    if (request->has_resume_after()) event.mutable_finished();
    writer->Write(event);
    return grpc::Status::OK;
  }
};

TEST(WatchGeneration, AStreamThatResumesAfterTheEndIsEmpty) {
  EndedGeneration generations;
  FakeServer server({&generations});
  Client client({.address = server.address()});
  const auto rest = Collect(client.WatchGeneration("zoo", 8));
  ASSERT_TRUE(rest.ok()) << rest.status();
  EXPECT_EQ(rest->size(), 1u);
  const auto nothing = Collect(client.WatchGeneration("generations/zoo", 9));
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_TRUE(nothing->empty());
  EXPECT_TRUE(Collect(client.WatchGeneration("zoo", -5)).ok())
      << "the server decides about numbers";
  EXPECT_TRUE(absl::IsInternal(Collect(client.WatchGeneration("zoo")).status()))
      << "it ended without finished";
}

}  // namespace
}  // namespace denoise
