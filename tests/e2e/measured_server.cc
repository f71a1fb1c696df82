#include "tests/e2e/measured_server.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/e2e/generate_call.h"
#include "tests/e2e/http_call.h"
#include "tests/support/http_get.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr char kDataset[] = "shades";
constexpr int kPictures = 8;  // of each class

v1::GenerateRequest PromptRequest() {
  v1::GenerateRequest request;
  request.set_model("models/sd15-like");
  request.set_prompt("a photo of a cat");
  request.mutable_sampler()->set_steps(2);
  return request;
}

// As many steps as keep a server busy until the call is cancelled or its deadline passes.
v1::GenerateRequest LongRequest() {
  v1::GenerateRequest request = GuidedRequest(/*steps=*/1000);
  request.set_count(4);
  return request;
}

void CancelWhileItRuns(v1::ImageGeneration::Stub& stub) {
  BackgroundCall call(stub, LongRequest());
  EXPECT_TRUE(Eventually([&] { return call.Started() || call.Finished(); }));
  call.Cancel();
  call.Join();
}

void Diffuse(v1::ImageGeneration::Stub& stub) {
  const auto image = Generate(stub, GuidedRequest(/*steps=*/1)).Images();
  if (image.empty()) return;
  v1::DiffuseRequest request;
  request.set_model("models/guided");
  request.add_pictures()->set_data(image.begin()->second);
  grpc::ClientContext context;
  const auto reader = stub.Diffuse(&context, request);
  for (v1::DiffuseEvent event; reader->Read(&event);) {
  }
  EXPECT_TRUE(reader->Finish().ok());
}

}  // namespace

MeasuredServers::MeasuredServers() {
  models_.AddGuided().AddPipeline("sd15-like");
  MakeCertificate();
  // Trains as the only rank that came.
  main_ = StartServer(models_.path(), {"--state", (folder_.path() / "state").string(), "--ranks",
                                       "2", "--min-ranks", "1", "--rank-wait-seconds", "0",
                                       "--rank-listen", "127.0.0.1:0"});
  with_tls_ = StartServer(models_.path(), {"--tls-cert", certificate(), "--tls-key",
                                           (folder_.path() / "key.pem").string()});
  stubs_ = std::make_unique<TrainingStubs>(*main_);
}

MeasuredServers::~MeasuredServers() {
  stopping_ = true;
  if (load_.joinable()) load_.join();
}

void MeasuredServers::MakeCertificate() const {
  const auto made = RunProcess(
      {"/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
       "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout",
       (folder_.path() / "key.pem").string(), "-out", certificate()},
      kPatience);
  if (!made.ok() || made->exit_status != kExitedCleanly) std::abort();
}

std::vector<std::string> MeasuredServers::Pages() const {
  const auto plain = HttpGet(main_->http_address(), "/metrics");
  EXPECT_TRUE(plain.ok()) << plain.status();
  const auto secret =
      RunProcess({"/usr/bin/curl", "--silent", "--show-error", "--cacert", certificate(),
                  "https://" + with_tls_->http_address() + "/metrics"},
                 kPatience);
  EXPECT_TRUE(secret.ok() && secret->exit_status == kExitedCleanly) << secret->error;
  return {plain.value_or(""), secret.ok() ? secret->output : ""};
}

void MeasuredServers::MakeRequests() {
  v1::ImageGeneration::Stub& stub = main_->generation();
  v1::GenerateRequest with_frames = GuidedRequest(/*steps=*/5);
  with_frames.set_count(2);
  with_frames.mutable_frames()->set_every_n_steps(1);
  with_frames.mutable_guidance()->set_scale(2);
  EXPECT_TRUE(Generate(stub, with_frames).status.ok());
  EXPECT_TRUE(Generate(stub, PromptRequest()).status.ok());
  EXPECT_FALSE(Generate(stub, LongRequest(), absl::Milliseconds(300)).status.ok());
  EXPECT_FALSE(Generate(stub, GuidedRequest(/*steps=*/-1)).status.ok());
  CancelWhileItRuns(stub);
  Diffuse(stub);
  const HttpAnswer answer = AskHttp(main_->http_address(), "POST", "/denoised.v1.Models/ListModels",
                                    {"Content-Type: application/json"}, "{}");
  EXPECT_EQ(answer.status, 200) << answer.body;
}

std::string MeasuredServers::CreateJob(int max_steps) {
  grpc::ClientContext context;
  v1::TrainingJob job;
  const grpc::Status status =
      stubs_->training->CreateTrainingJob(&context, SmallJob(kDataset, max_steps), &job);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return job.name();
}

void MeasuredServers::StartTraining() {
  WritePictures(folder_.path() / "pictures", kPictures);
  UploadPictures(*main_, folder_.path() / "pictures", kDataset);
  const v1::TrainingJob job = WaitForEnd(*stubs_->training, CreateJob(/*max_steps=*/3));
  EXPECT_EQ(job.state(), v1::TrainingJob::SUCCEEDED) << job.state_reason();
  CreateJob(/*max_steps=*/1'000'000);
}

void MeasuredServers::KeepBusy() {
  load_ = std::thread([this] {
    while (!stopping_) MakeRequests();
  });
}

}  // namespace denoise
