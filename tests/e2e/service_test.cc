// What surrounds generation: models, health, reflection, metrics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/raw_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ServiceTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided()
        .AddReference("gray-not-square", "gray")
        .AddReference("learned-range", "learned");
    server_ = StartServer(models_->path());
  }

  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  static denoised::v1::Model GetModel(const std::string& name) {
    grpc::ClientContext context;
    denoised::v1::GetModelRequest request;
    request.set_name(name);
    denoised::v1::Model model;
    const grpc::Status status = server_->models().GetModel(&context, request, &model);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return model;
  }

  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
};

TEST_F(ServiceTest, AModelSaysWhatItIs) {
  const auto guided = GetModel("models/guided");
  EXPECT_EQ(guided.name(), "models/guided");
  EXPECT_NE(guided.version(), "");
  EXPECT_EQ(guided.channels(), 3);
  EXPECT_EQ(guided.height(), 16);
  EXPECT_EQ(guided.width(), 16);
  EXPECT_TRUE(guided.supports_guidance());
  EXPECT_GT(guided.parameter_count(), 100'000);
  EXPECT_EQ(guided.num_train_timesteps(), 1000);
  EXPECT_EQ(guided.prediction_type(), "v_prediction");
  EXPECT_EQ(guided.default_sampler().sampler(), denoised::v1::SAMPLER_DDPM);
  EXPECT_THAT(guided.source(), HasSubstr("UNet2DModel"));
  ASSERT_GE(guided.classes_size(), 5);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(guided.classes(i).label(), i);
    EXPECT_EQ(guided.classes(i).display_name(), "c" + std::to_string(i));
  }

  const auto gray = GetModel("models/gray");
  EXPECT_EQ(gray.channels(), 1);
  EXPECT_EQ(gray.height(), 16);
  EXPECT_EQ(gray.width(), 24);
  EXPECT_EQ(gray.classes_size(), 0);
  EXPECT_FALSE(gray.supports_guidance());
  EXPECT_NE(gray.version(), guided.version());

  EXPECT_EQ(GetModel("models/learned").channels(), 3) << "not the channels of the variance";
}

TEST_F(ServiceTest, ModelsAreListedByNamePageByPage) {
  std::vector<std::string> names;
  denoised::v1::ListModelsRequest request;
  request.set_page_size(2);
  for (int page = 0; page < 5; ++page) {
    grpc::ClientContext context;
    denoised::v1::ListModelsResponse response;
    ASSERT_TRUE(server_->models().ListModels(&context, request, &response).ok());
    EXPECT_LE(response.models_size(), 2);
    for (const auto& model : response.models()) names.push_back(model.name());
    if (response.next_page_token().empty()) break;
    request.set_page_token(response.next_page_token());
  }
  EXPECT_THAT(names, ElementsAre("models/gray", "models/guided", "models/learned"));
}

TEST_F(ServiceTest, HealthIsToldPerService) {
  const auto stub = grpc::health::v1::Health::NewStub(server_->channel());
  const auto check = [&](const std::string& service, HealthCheckResponse* response) {
    grpc::ClientContext context;
    HealthCheckRequest request;
    request.set_service(service);
    return stub->Check(&context, request, response);
  };
  for (const char* service :
       {"", "denoised.v1.ImageGeneration", "denoised.v1.Models", "denoised.v1.Activity"}) {
    HealthCheckResponse response;
    EXPECT_TRUE(check(service, &response).ok()) << service;
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING) << service;
  }
  HealthCheckResponse response;
  EXPECT_EQ(check("denoised.v1.Absent", &response).error_code(), grpc::StatusCode::NOT_FOUND);
}

// A restart would only lose the work of a server that has no memory for more of it.
TEST_F(ServiceTest, AServerThatIsShortOfMemoryIsAlive) {
  const auto server = StartServer(models_->path(), {"--memory-limit-mib", "1"});
  const auto run = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--server", server->address()});
    return RunDenoise(arguments);
  };
  // The connection of the process before may still have this address's place.
  const std::vector<std::string> whole, liveness = {"--service", "liveness"};
  for (const std::vector<std::string>& of : {whole, liveness}) {
    std::vector<std::string> health = {"health"};
    health.insert(health.end(), of.begin(), of.end());
    EXPECT_TRUE(Eventually([&] { return run(health).exit_status == kExitedCleanly; }));
  }
  EXPECT_TRUE(Eventually([&] {
    const ProcessResult refused = run({"generate", "--model", "gray"});
    EXPECT_EQ(refused.exit_status, (ExitStatus{.code = 3})) << refused.error;
    return refused.error.find("memory") != std::string::npos;
  }));
}

TEST_F(ServiceTest, ReflectionListsTheServices) {
  // ServerReflectionRequest{list_services: "*"}; the answer is searched as bytes.
  const RawResponse response =
      CallWithBytes(server_->channel(),
                    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\x3a\x01*");
  ASSERT_TRUE(response.status.ok()) << response.status.error_message();
  EXPECT_THAT(response.bytes, HasSubstr("denoised.v1.ImageGeneration"));
  EXPECT_THAT(response.bytes, HasSubstr("denoised.v1.Models"));
  EXPECT_THAT(response.bytes, HasSubstr("grpc.health.v1.Health"));
}

TEST_F(ServiceTest, ReflectionDescribesEveryServiceThatItLists) {
  for (const std::string service :
       {"denoised.v1.ImageGeneration", "denoised.v1.Generations", "denoised.v1.Models",
        "denoised.v1.Activity", "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection"}) {
    // ServerReflectionRequest{file_containing_symbol: service}
    const RawResponse response = CallWithBytes(
        server_->channel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        absl::StrCat("\x22", std::string(1, static_cast<char>(service.size())), service));
    ASSERT_TRUE(response.status.ok()) << response.status.error_message();
    // ServerReflectionResponse.error_response, field 7, would be "not found".
    EXPECT_THAT(response.bytes, Not(HasSubstr("not found"))) << service;
    EXPECT_THAT(response.bytes, HasSubstr(".proto")) << service;
  }
}

TEST_F(ServiceTest, MetricsTellOfTheWorkDone) {
  const MetricsPage before = server_->Metrics();
  auto request = GuidedRequest(/*steps=*/7);
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  request.mutable_guidance()->set_scale(2);
  request.mutable_frames()->set_every_n_steps(7);
  request.set_count(2);
  ASSERT_TRUE(Generate(server_->generation(), request).status.ok());

  const auto grown = [&](const char* name) {
    return server_->Metrics().Sum(name) - before.Sum(name);
  };
  EXPECT_TRUE(Eventually([&] { return grown(kRequests) == 1; }));
  EXPECT_TRUE(Eventually([&] { return grown(kTrajectories) == 2 * 7; }));
  EXPECT_EQ(grown("denoised_rows_per_evaluation_sum"), 2 * 2 * 7) << "guidance takes two rows";
  EXPECT_EQ(grown("denoised_images_total"), 2);
  EXPECT_GT(grown("denoised_evaluation_seconds_sum"), 0);
  EXPECT_EQ(grown("denoised_time_to_first_frame_seconds_count"), 1);
  EXPECT_EQ(grown("denoised_request_seconds_count"), 1);
  EXPECT_EQ(grown("denoised_queue_wait_seconds_count"), 1);
  EXPECT_EQ(server_->Metrics().Sum(kModelsLoaded), 3);
}

TEST_F(ServiceTest, EverySeriesIsThereFromTheStart) {
  ModelsFolder models;
  models.AddGuided();
  const auto fresh = StartServer(models.path());
  const MetricsPage page = fresh->Metrics();
  for (const char* name : {kActiveRows, kQueueDepth, kEvaluations, kTrajectories, kRequests}) {
    EXPECT_TRUE(page.Has(name)) << name;
    EXPECT_EQ(page.Sum(name), 0) << name;
  }
}

// One line an event, and no line forged by a caller.
TEST_F(ServiceTest, TheLogHasALineForEveryRequest) {
  auto request = GuidedRequest(/*steps=*/2);
  const Generation run = Generate(server_->generation(), request);
  ASSERT_TRUE(run.status.ok());
  const auto id = run.trailers.find("denoised-request-id");
  ASSERT_NE(id, run.trailers.end());
  EXPECT_TRUE(Eventually([&] {
    const std::string log = server_->Log();
    const size_t line = log.find("request=" + id->second);
    return line != std::string::npos &&
           log.substr(line, log.find('\n', line) - line).find("code=OK") != std::string::npos;
  }));

  request.set_model("models/x\nlevel=critical event=forged");
  ASSERT_FALSE(Generate(server_->generation(), request).status.ok());
  EXPECT_TRUE(Eventually(
      [&] { return server_->Log().find("code=INVALID_ARGUMENT") != std::string::npos; }));
  EXPECT_EQ(server_->Log().find("\nlevel=critical"), std::string::npos);
}

}  // namespace
}  // namespace denoise
