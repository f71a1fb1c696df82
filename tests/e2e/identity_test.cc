// Tokens, scopes and tenants with the real server, over gRPC and HTTP.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "denoised/v1/activity.grpc.pb.h"
#include "denoised/v1/datasets.grpc.pb.h"
#include "denoised/v1/generations.grpc.pb.h"
#include "denoised/v1/training.grpc.pb.h"
#include "tests/e2e/caller_channel.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/http_call.h"
#include "tests/e2e/raw_call.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"
#include "tests/server/identity/jwt_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kListModels[] = "/denoised.v1.Models/ListModels";
constexpr char kListGenerations[] = "/denoised.v1.Generations/ListGenerations";

// What a caller with a token sees of a server.
struct Tenant {
  Tenant(const ServerProcess& server, const std::string& given_token)
      : address(server.address()),
        token(given_token),
        channel(ChannelWith(server.address(), Bearer(token))),
        images(v1::ImageGeneration::NewStub(channel)),
        generations(v1::Generations::NewStub(channel)),
        models(v1::Models::NewStub(channel)),
        datasets(v1::Datasets::NewStub(channel)),
        training(v1::Training::NewStub(channel)),
        activity(v1::Activity::NewStub(channel)) {}

  // The only answer of a unary call without a request.
  StatusCode Call(const std::string& method) const {
    return CallWithBytes(channel, method, "").status.error_code();
  }

  std::vector<std::string> Generations() const {
    grpc::ClientContext context;
    v1::ListGenerationsResponse response;
    EXPECT_TRUE(generations->ListGenerations(&context, {}, &response).ok());
    std::vector<std::string> names;
    for (const v1::Generation& generation : response.generations()) {
      names.push_back(generation.name());
    }
    return names;
  }

  StatusCode Get(const std::string& generation, v1::Generation* response = nullptr) const {
    grpc::ClientContext context;
    v1::GetGenerationRequest request;
    request.set_name(generation);
    v1::Generation ignored;
    status = generations->GetGeneration(&context, request, response ? response : &ignored);
    return status.error_code();
  }

  const std::string address;
  const std::string token;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<v1::ImageGeneration::Stub> images;
  const std::unique_ptr<v1::Generations::Stub> generations;
  const std::unique_ptr<v1::Models::Stub> models;
  const std::unique_ptr<v1::Datasets::Stub> datasets;
  const std::unique_ptr<v1::Training::Stub> training;
  const std::unique_ptr<v1::Activity::Stub> activity;
  mutable grpc::Status status;  // of the latest Get
};

// As datasets/emoji.
void Upload(const Tenant& tenant, const std::filesystem::path& folder) {
  TempDir token;
  WriteFile(token.path() / "token", tenant.token);
  const ProcessResult result =
      RunDenoise({"datasets", "upload", folder.string(), "--name", "emoji", "--server",
                  tenant.address, "--token-file", (token.path() / "token").string()});
  ASSERT_EQ(result.exit_status, kExitedCleanly) << result.error;
}

std::vector<std::string> DataSets(const Tenant& tenant) {
  grpc::ClientContext context;
  v1::ListDatasetsResponse response;
  EXPECT_TRUE(tenant.datasets->ListDatasets(&context, {}, &response).ok());
  std::vector<std::string> names;
  for (const v1::Dataset& data_set : response.datasets()) names.push_back(data_set.name());
  return names;
}

StatusCode GetDataSet(const Tenant& tenant, const std::string& name) {
  grpc::ClientContext context;
  v1::GetDatasetRequest request;
  request.set_name(name);
  v1::Dataset response;
  return tenant.datasets->GetDataset(&context, request, &response).error_code();
}

StatusCode DeleteDataSet(const Tenant& tenant, const std::string& name) {
  grpc::ClientContext context;
  v1::DeleteDatasetRequest request;
  request.set_name(name);
  google::protobuf::Empty response;
  return tenant.datasets->DeleteDataset(&context, request, &response).error_code();
}

std::vector<std::string> Jobs(const Tenant& tenant) {
  grpc::ClientContext context;
  v1::ListTrainingJobsResponse response;
  EXPECT_TRUE(tenant.training->ListTrainingJobs(&context, {}, &response).ok());
  std::vector<std::string> names;
  for (const v1::TrainingJob& job : response.jobs()) names.push_back(job.name());
  return names;
}

// How every RPC that names a job ends.
std::vector<grpc::Status> CallAllOfJob(const Tenant& tenant, const std::string& name) {
  std::vector<grpc::Status> statuses;
  const auto call = [&](auto method, auto request, auto response) {
    grpc::ClientContext context;
    statuses.push_back(((*tenant.training).*method)(&context, request, &response));
  };
  const auto named = [&](auto request) {
    request.set_name(name);
    return request;
  };
  using Stub = v1::Training::Stub;
  call(&Stub::GetTrainingJob, named(v1::GetTrainingJobRequest()), v1::TrainingJob());
  call(&Stub::CancelTrainingJob, named(v1::CancelTrainingJobRequest()), v1::TrainingJob());
  call(&Stub::PauseTrainingJob, named(v1::PauseTrainingJobRequest()), v1::TrainingJob());
  call(&Stub::ResumeTrainingJob, named(v1::ResumeTrainingJobRequest()), v1::TrainingJob());
  call(&Stub::DeleteTrainingJob, named(v1::DeleteTrainingJobRequest()), google::protobuf::Empty());
  v1::ListCheckpointsRequest checkpoints;
  checkpoints.set_parent(name);
  call(&Stub::ListCheckpoints, checkpoints, v1::ListCheckpointsResponse());
  v1::PublishModelRequest publish;
  publish.set_source(name);
  publish.set_model("models/stolen");
  call(&Stub::PublishModel, publish, v1::Model());
  publish.set_source(name + "/checkpoints/2");
  call(&Stub::PublishModel, publish, v1::Model());
  grpc::ClientContext context;
  statuses.push_back(
      tenant.training->WatchTrainingJob(&context, named(v1::WatchTrainingJobRequest()))->Finish());
  return statuses;
}

v1::GenerateRequest Named(const std::string& id, int steps) {
  v1::GenerateRequest request = GuidedRequest(steps);
  request.set_request_id(id);
  return request;
}

class IdentityTest : public testing::Test {
 protected:
  void SetUp() override {
    models_.AddGuided();
    const std::string acme = NewToken("acme", "acme", "generate,train");
    const std::string globex = NewToken("globex", "globex", "generate,train");
    const std::string viewer = NewToken("viewer", "acme", "generate");
    const std::string trainer = NewToken("trainer", "acme", "train");
    const std::string admin = NewToken("ops", "ops", "admin");
    server_ = StartServer(models_.path(),
                          {"--tokens", Tokens(), "--state", (folder_.path() / "state").string()});
    acme_ = std::make_unique<Tenant>(*server_, acme);
    globex_ = std::make_unique<Tenant>(*server_, globex);
    viewer_ = std::make_unique<Tenant>(*server_, viewer);
    trainer_ = std::make_unique<Tenant>(*server_, trainer);
    admin_ = std::make_unique<Tenant>(*server_, admin);
  }

  std::string Tokens() const { return (folder_.path() / "tokens").string(); }

  // Adds a token to the file, as an operator does.
  std::string NewToken(const std::string& name, const std::string& tenant,
                       const std::string& scopes) {
    const auto made = RunProcess(
        {DenoisedBinary(), "new-token", name, "--tenant", tenant, "--scopes", scopes}, kPatience);
    EXPECT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->exit_status, kExitedCleanly) << made->error;
    entries_ += made->output;
    WriteFile(Tokens(), entries_);
    return made->error.substr(0, made->error.size() - 1);
  }

  HttpAnswer Post(const std::string& path, const std::string& token,
                  const std::string& body = "{}") const {
    std::vector<std::string> headers = {"Content-Type: application/json"};
    if (!token.empty()) headers.push_back("Authorization: Bearer " + token);
    return AskHttp(server_->http_address(), "POST", path, headers, body);
  }

  HttpAnswer Get(const std::string& path, const std::string& token) const {
    std::vector<std::string> headers;
    if (!token.empty()) headers.push_back("Authorization: Bearer " + token);
    return AskHttp(server_->http_address(), "GET", path, headers);
  }

  TempDir folder_;
  ModelsFolder models_;
  std::string entries_;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<Tenant> acme_, globex_, viewer_, trainer_, admin_;
};

TEST_F(IdentityTest, NobodyIsServedWithoutCredentials) {
  const Tenant nobody(*server_, "dnt_acme_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
  for (const char* method :
       {kListModels, kListGenerations, "/denoised.v1.Datasets/ListDatasets",
        "/denoised.v1.Training/ListTrainingJobs", "/denoised.v1.ImageGeneration/PlanSampler"}) {
    EXPECT_EQ(CallWithBytes(server_->channel(), method, "").status.error_code(),
              StatusCode::UNAUTHENTICATED)
        << method;
    EXPECT_EQ(nobody.Call(method), StatusCode::UNAUTHENTICATED) << method;
    EXPECT_EQ(CallWithBytes(server_->channel(), method, "\x0a\xff").status.error_code(),
              StatusCode::UNAUTHENTICATED)
        << method << " said something of its messages";
    EXPECT_EQ(acme_->Call(method) == StatusCode::UNAUTHENTICATED, false) << method;
  }
  const Generation generation = Generate(server_->generation(), GuidedRequest(2));
  EXPECT_EQ(generation.status.error_code(), StatusCode::UNAUTHENTICATED);
  ASSERT_EQ(DetailsOf<google::rpc::ErrorInfo>(generation.status).size(), 1u);
  EXPECT_EQ(DetailsOf<google::rpc::ErrorInfo>(generation.status)[0].reason(),
            "CREDENTIALS_MISSING");
  grpc::ClientContext context;
  v1::Dataset response;
  const auto upload = v1::Datasets::NewStub(server_->channel())->UploadDataset(&context, &response);
  upload->Write({});
  EXPECT_EQ(upload->Finish().error_code(), StatusCode::UNAUTHENTICATED);
}

TEST_F(IdentityTest, AnIdentityCannotBeForgedFromOutside) {
  const std::string forged(64, '1');
  for (const char* name : {"denoised-identity-bin", "x-tenant", "tenant"}) {
    const auto channel = ChannelWith(server_->address(), {{name, forged}});
    EXPECT_EQ(CallWithBytes(channel, kListModels, "").status.error_code(),
              StatusCode::UNAUTHENTICATED)
        << name;
    const HttpAnswer answer =
        AskHttp(server_->http_address(), "POST", kListModels,
                {"Content-Type: application/json", absl::StrCat(name, ": ", forged)}, "{}");
    EXPECT_EQ(answer.status, 401) << name;
  }
}

TEST_F(IdentityTest, ATokenAllowsWhatItsScopesSayAndNoMore) {
  EXPECT_EQ(viewer_->Call(kListModels), StatusCode::OK);
  EXPECT_EQ(viewer_->Call("/denoised.v1.Datasets/ListDatasets"), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(viewer_->Call("/denoised.v1.Training/ListTrainingJobs"), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(trainer_->Call("/denoised.v1.Datasets/ListDatasets"), StatusCode::OK);
  EXPECT_EQ(trainer_->Call(kListModels), StatusCode::PERMISSION_DENIED);
  for (const char* method : {"LoadModel", "UnloadModel", "DeleteModel"}) {
    const auto refused =
        CallWithBytes(acme_->channel, absl::StrCat("/denoised.v1.Models/", method), "");
    EXPECT_EQ(refused.status.error_code(), StatusCode::PERMISSION_DENIED) << method;
    EXPECT_THAT(refused.status.error_message(), HasSubstr("\"admin\""));
  }
  EXPECT_EQ(admin_->Call(kListModels), StatusCode::OK);
  EXPECT_EQ(admin_->Call("/denoised.v1.Training/ListTrainingJobs"), StatusCode::OK);
  const Generation refused = Generate(*trainer_->images, GuidedRequest(2));
  EXPECT_EQ(refused.status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(refused.status.error_message(), HasSubstr("\"generate\""));
}

TEST_F(IdentityTest, TheSameRequestIdOfTwoTenantsIsTwoGenerations) {
  const Generation one = Generate(*acme_->images, Named("tile", 2));
  const Generation other = Generate(*globex_->images, Named("tile", 3));
  ASSERT_TRUE(one.status.ok()) << one.status.error_message();
  ASSERT_TRUE(other.status.ok()) << other.status.error_message();
  EXPECT_EQ(one.events.front().accepted().generation(), "generations/tile");
  EXPECT_EQ(other.events.front().accepted().generation(), "generations/tile");
  v1::Generation seen;
  EXPECT_EQ(acme_->Get("generations/tile", &seen), StatusCode::OK);
  EXPECT_EQ(seen.accepted().steps(), 2);
  EXPECT_EQ(globex_->Get("generations/tile", &seen), StatusCode::OK);
  EXPECT_EQ(seen.accepted().steps(), 3);
  EXPECT_EQ(viewer_->Get("generations/tile"), StatusCode::OK) << "the same tenant";

  EXPECT_EQ(Generate(*acme_->images, Named("tile", 5)).status.error_code(),
            StatusCode::ALREADY_EXISTS)
      << "within a tenant an id is taken";
}

TEST_F(IdentityTest, WhatBelongsToAnotherTenantIsNotFoundAsWhatNeverWas) {
  ASSERT_TRUE(Generate(*acme_->images, Named("secret", 2)).status.ok());
  const std::vector<std::string> names = {"generations/secret", "tenants/acme/generations/secret"};
  for (const std::string& name : names) {
    EXPECT_EQ(globex_->Get(name), StatusCode::NOT_FOUND) << name;
    const std::string said = globex_->status.error_message();
    std::string absent = name;
    absent.replace(absent.find("secret"), 6, "absent");
    EXPECT_EQ(globex_->Get(absent), StatusCode::NOT_FOUND);
    EXPECT_EQ(absl::StrCat(said.substr(0, said.find("secret")), "absent",
                           said.substr(said.find("secret") + 6)),
              globex_->status.error_message());
    grpc::ClientContext watch, cancel;
    v1::WatchGenerationRequest watched;
    watched.set_name(name);
    EXPECT_EQ(globex_->generations->WatchGeneration(&watch, watched)->Finish().error_code(),
              StatusCode::NOT_FOUND);
    v1::CancelGenerationRequest cancelled;
    cancelled.set_name(name);
    v1::Generation ignored;
    EXPECT_EQ(globex_->generations->CancelGeneration(&cancel, cancelled, &ignored).error_code(),
              StatusCode::NOT_FOUND);
  }
  EXPECT_THAT(globex_->Generations(), IsEmpty());
  EXPECT_THAT(acme_->Generations(), ElementsAre("generations/secret"));
}

TEST_F(IdentityTest, AnAdminSeesTheGenerationsOfAllByTheirFullNames) {
  ASSERT_TRUE(Generate(*acme_->images, Named("tile", 2)).status.ok());
  ASSERT_TRUE(Generate(*globex_->images, Named("tile", 3)).status.ok());
  EXPECT_THAT(admin_->Generations(),
              ElementsAre("tenants/globex/generations/tile", "tenants/acme/generations/tile"));
  v1::Generation seen;
  ASSERT_EQ(admin_->Get("tenants/globex/generations/tile", &seen), StatusCode::OK);
  EXPECT_EQ(seen.name(), "tenants/globex/generations/tile");
  EXPECT_EQ(seen.accepted().steps(), 3);
  EXPECT_EQ(admin_->Get("generations/tile"), StatusCode::NOT_FOUND) << "the admin has none";
}

TEST_F(IdentityTest, ActivityNamesOnlyWhatTheViewerSees) {
  v1::GenerateRequest endless = Named("long", 1000);
  endless.set_count(64);
  BackgroundCall running(*acme_->images, endless);
  const auto first_named = [](const Tenant& viewer) {
    grpc::ClientContext context;
    const auto reader = viewer.activity->WatchActivity(&context, {});
    v1::ActivitySnapshot snapshot;
    while (reader->Read(&snapshot)) {
      if (snapshot.devices(0).images_size() == 0) continue;
      const std::string name = snapshot.devices(0).images(0).generation();
      context.TryCancel();
      return name;
    }
    return std::string("the stream ended");
  };
  EXPECT_EQ(first_named(*acme_), "generations/long");
  EXPECT_EQ(first_named(*globex_), "");
  EXPECT_EQ(first_named(*admin_), "tenants/acme/generations/long");
}

TEST_F(IdentityTest, DataSetsOfOneNameBelongToEachTenantApart) {
  TempDir pictures;
  WritePictures(pictures.path(), 2);
  Upload(*acme_, pictures.path());
  EXPECT_THAT(DataSets(*acme_), ElementsAre("datasets/emoji"));
  EXPECT_THAT(DataSets(*globex_), IsEmpty());
  EXPECT_EQ(GetDataSet(*globex_, "datasets/emoji"), StatusCode::NOT_FOUND);
  EXPECT_EQ(GetDataSet(*globex_, "tenants/acme/datasets/emoji"), StatusCode::NOT_FOUND);
  EXPECT_EQ(DeleteDataSet(*globex_, "datasets/emoji"), StatusCode::NOT_FOUND);
  Upload(*globex_, pictures.path());
  EXPECT_THAT(DataSets(*globex_), ElementsAre("datasets/emoji"));
  EXPECT_THAT(DataSets(*admin_),
              ElementsAre("tenants/acme/datasets/emoji", "tenants/globex/datasets/emoji"));
  EXPECT_EQ(DeleteDataSet(*globex_, "datasets/emoji"), StatusCode::OK);
  EXPECT_THAT(DataSets(*acme_), ElementsAre("datasets/emoji"));
}

TEST_F(IdentityTest, ATrainingJobAndAllThatItHasAreItsTenants) {
  TempDir pictures;
  WritePictures(pictures.path(), 2);
  Upload(*acme_, pictures.path());
  v1::CreateTrainingJobRequest request = SmallJob("emoji", 2);
  request.set_request_id("nightly");
  v1::TrainingJob job;
  {
    grpc::ClientContext context;
    const grpc::Status refused = globex_->training->CreateTrainingJob(&context, request, &job);
    EXPECT_EQ(refused.error_code(), StatusCode::NOT_FOUND) << refused.error_message();
  }
  grpc::ClientContext create;
  ASSERT_TRUE(acme_->training->CreateTrainingJob(&create, request, &job).ok());
  EXPECT_EQ(job.training().dataset(), "datasets/emoji");
  EXPECT_EQ(job.tenant(), "acme");
  ASSERT_EQ(WaitForEnd(*acme_->training, job.name()).state(), v1::TrainingJob::SUCCEEDED);

  EXPECT_THAT(Jobs(*acme_), ElementsAre(job.name()));
  EXPECT_THAT(Jobs(*globex_), IsEmpty());
  EXPECT_THAT(Jobs(*admin_), ElementsAre(job.name()));
  for (const std::string& name : {job.name(), std::string("trainingJobs/999")}) {
    const std::vector<grpc::Status> refusals = CallAllOfJob(*globex_, name);
    for (const grpc::Status& refused : refusals) {
      EXPECT_EQ(refused.error_code(), StatusCode::NOT_FOUND) << name;
      EXPECT_EQ(refused.error_message(), "no such training job: " + name);
    }
  }

  // The same request id of another tenant is another job.
  Upload(*globex_, pictures.path());
  v1::TrainingJob second;
  grpc::ClientContext again;
  ASSERT_TRUE(globex_->training->CreateTrainingJob(&again, request, &second).ok());
  EXPECT_NE(second.name(), job.name());
  EXPECT_EQ(second.tenant(), "globex");
  EXPECT_THAT(Jobs(*globex_), ElementsAre(second.name()));
  EXPECT_EQ(WaitForEnd(*globex_->training, second.name()).state(), v1::TrainingJob::SUCCEEDED);
}

TEST_F(IdentityTest, TheCommandShowsTheTokenOfItsFile) {
  const std::string file = (folder_.path() / "token").string();
  WriteFile(file, viewer_->token + "\n");
  const auto list = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> arguments = {"models", "--server", server_->address()};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return RunDenoise(arguments);
  };
  EXPECT_EQ(list({"--token-file", file}).exit_status, kExitedCleanly);
  const auto refused = list({});
  EXPECT_NE(refused.exit_status, kExitedCleanly);
  EXPECT_THAT(refused.error, HasSubstr("asks for credentials"));
  const auto elsewhere =
      RunDenoise({"models", "--server", "192.0.2.1:50051", "--token-file", file});
  EXPECT_THAT(elsewhere.error, HasSubstr("without encryption"));
  EXPECT_THAT(elsewhere.error, Not(HasSubstr(viewer_->token)));
}

TEST_F(IdentityTest, HttpAsksForTheSameCredentials) {
  const HttpAnswer refused = Post(kListModels, "");
  EXPECT_EQ(refused.status, 401);
  EXPECT_THAT(refused.head, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_THAT(refused.body, HasSubstr("unauthenticated"));
  EXPECT_EQ(Post(kListModels, "dnt_acme_guess").status, 401);
  EXPECT_EQ(Post(kListModels, viewer_->token).status, 200);
  const HttpAnswer denied = Post("/denoised.v1.Datasets/ListDatasets", viewer_->token);
  EXPECT_EQ(denied.status, 403);
  EXPECT_THAT(denied.body, HasSubstr("\\\"train\\\""));
  EXPECT_THAT(denied.head, Not(HasSubstr("WWW-Authenticate")));

  ASSERT_TRUE(Generate(*acme_->images, Named("tile", 2)).status.ok());
  EXPECT_THAT(Post(kListGenerations, acme_->token).body, HasSubstr("\"generations/tile\""));
  EXPECT_THAT(Post(kListGenerations, globex_->token).body, Not(HasSubstr("tile")));
  EXPECT_THAT(Post(kListGenerations, admin_->token).body,
              HasSubstr("\"tenants/acme/generations/tile\""));
}

TEST_F(IdentityTest, OpenAisApiTakesTheTokenAsItsKey) {
  const std::string body = R"({"model": "guided", "prompt": "", "size": "16x16"})";
  const HttpAnswer refused = Post("/v1/images/generations", "", body);
  EXPECT_EQ(refused.status, 401);
  EXPECT_THAT(refused.head, HasSubstr("WWW-Authenticate: Bearer"));
  EXPECT_THAT(refused.body, HasSubstr("authentication_error"));
  EXPECT_EQ(Post("/v1/images/generations", trainer_->token, body).status, 403);
  EXPECT_NE(Post("/v1/images/generations", acme_->token, body).status, 401);
  EXPECT_EQ(Get("/v1/models", "").status, 401);
  EXPECT_EQ(Get("/v1/models", viewer_->token).status, 200);
  EXPECT_EQ(Get("/v1/models/guided", viewer_->token).status, 200);
}

TEST_F(IdentityTest, MetricsAreForAdminsAndProbesForAll) {
  EXPECT_EQ(Get("/healthz", "").status, 200);
  EXPECT_EQ(Get("/readyz", "").status, 200);
  EXPECT_EQ(Get("/metrics", "").status, 401);
  EXPECT_EQ(Get("/metrics", acme_->token).status, 403);
  EXPECT_EQ(Get("/metrics", admin_->token).status, 200);
}

TEST_F(IdentityTest, ANewTokenIsInForceWhileAStreamRuns) {
  v1::GenerateRequest endless = Named("long", 1000);
  endless.set_count(64);
  BackgroundCall running(*acme_->images, endless);
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  entries_.clear();  // no token stays
  const Tenant hired(*server_, NewToken("hired", "acme", "generate"));
  ASSERT_TRUE(Eventually([&] { return hired.Call(kListModels) == StatusCode::OK; }));
  EXPECT_EQ(acme_->Call(kListModels), StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(hired.Get("generations/long"), StatusCode::OK) << "the stream was not to end";
  EXPECT_FALSE(running.Finished());

  WriteFile(Tokens(), "{broken");
  ASSERT_TRUE(
      Eventually([&] { return server_->Log().find("new file refused") != std::string::npos; }));
  EXPECT_EQ(hired.Call(kListModels), StatusCode::OK);

  WriteFile(Tokens(), "");  // the last line is deleted
  ASSERT_TRUE(Eventually([&] { return hired.Call(kListModels) == StatusCode::UNAUTHENTICATED; }));
}

TEST_F(IdentityTest, TheLogHasNoToken) {
  ASSERT_TRUE(Generate(*acme_->images, GuidedRequest(2)).status.ok());
  Post(kListModels, "dnt_acme_guess");
  const std::string log = server_->Log();
  for (const Tenant* tenant : {acme_.get(), globex_.get(), admin_.get()}) {
    EXPECT_THAT(log, Not(HasSubstr(tenant->token.substr(tenant->token.size() - 20))));
  }
  EXPECT_THAT(log, Not(HasSubstr("dnt_acme_guess")));
}

TEST(Jwt, TheProvidersKeysAreReplacedWhileTheServerRuns) {
  ModelsFolder models;
  models.AddGuided();
  TempDir folder;
  const std::string keys = (folder.path() / "jwks.json").string();
  const SigningKey old_key("P-256"), new_key("Ed25519");
  WriteFile(keys, Jwks(old_key.Jwk("old")));
  const auto server = StartServer(models.path(), {"--jwt-jwks", keys, "--jwt-issuer",
                                                  "https://issuer", "--jwt-audience", "denoised"});
  const auto claims = [](const std::string& scope, int64_t expires) {
    return absl::StrCat(R"({"iss": "https://issuer", "aud": ["denoised"], "sub": "acme", "exp": )",
                        expires, R"(, "scope": ")", scope, "\"}");
  };
  const int64_t later = absl::ToUnixSeconds(absl::Now() + absl::Hours(1));
  const std::string old_header = R"({"alg": "ES256", "kid": "old", "typ": "JWT"})";
  const std::string old_token = old_key.Sign("ES256", old_header, claims("generate", later));
  const auto call = [&](const std::string& token, const std::string& method = kListModels) {
    return CallWithBytes(ChannelWith(server->address(), Bearer(token)), method, "").status;
  };
  EXPECT_TRUE(call(old_token).ok());
  EXPECT_EQ(call(old_token, "/denoised.v1.Models/DeleteModel").error_code(),
            StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(call(old_token + "A").error_code(), StatusCode::UNAUTHENTICATED);
  const grpc::Status expired = call(old_key.Sign("ES256", old_header, claims("generate", 1)));
  EXPECT_EQ(expired.error_code(), StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(expired.error_message(), HasSubstr("expired"));
  EXPECT_EQ(
      AskHttp(server->http_address(), "GET", "/v1/models", {"Authorization: Bearer " + old_token})
          .status,
      200);

  const std::string new_token =
      new_key.Sign("EdDSA", R"({"alg": "EdDSA", "kid": "new"})", claims("openid generate", later));
  EXPECT_EQ(call(new_token).error_code(), StatusCode::UNAUTHENTICATED);
  WriteFile(keys, Jwks(new_key.Jwk("new")));
  EXPECT_TRUE(Eventually([&] { return call(new_token).ok(); }));
  EXPECT_EQ(call(old_token).error_code(), StatusCode::UNAUTHENTICATED);
}

TEST(TenantHeader, TellsCallersApartBehindAProxy) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path(), {"--tenant-header", "X-Tenant"});
  const auto stub = [&](const Metadata& metadata) {
    return v1::ImageGeneration::NewStub(ChannelWith(server->address(), metadata));
  };
  ASSERT_TRUE(Generate(*stub({{"x-tenant", "acme"}}), Named("tile", 2)).status.ok());
  const auto list = [&](const std::vector<std::string>& headers) {
    std::vector<std::string> all = {"Content-Type: application/json"};
    all.insert(all.end(), headers.begin(), headers.end());
    return AskHttp(server->http_address(), "POST", kListGenerations, all, "{}");
  };
  EXPECT_THAT(list({"X-Tenant: acme"}).body, HasSubstr("tile"));
  EXPECT_THAT(list({"X-Tenant: globex"}).body, Not(HasSubstr("tile")));
  EXPECT_THAT(list({}).body, Not(HasSubstr("tile")));
  EXPECT_THAT(list({"X-Tenant: acme", "X-Tenant: globex"}).body, HasSubstr("invalid_argument"));
  const auto unload = [&](const std::vector<std::string>& headers) {
    std::vector<std::string> all = {"Content-Type: application/json"};
    all.insert(all.end(), headers.begin(), headers.end());
    return AskHttp(server->http_address(), "POST", "/denoised.v1.Models/UnloadModel", all,
                   R"({"name": "models/guided"})");
  };
  EXPECT_THAT(unload({"X-Tenant: acme"}).body, HasSubstr("permission_denied"));
  const Generation refused = Generate(*stub({{"x-tenant", "a/b"}}), GuidedRequest(2));
  EXPECT_THAT(ViolatedFields(refused.status), ElementsAre("x-tenant"));
}

}  // namespace
}  // namespace denoise
