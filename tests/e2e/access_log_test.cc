// The access log and the trace of a call, from outside: over gRPC and HTTP, whatever callers send.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/caller_channel.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/http_call.h"
#include "tests/e2e/raw_call.h"
#include "tests/e2e/server_process.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;
using testing::SizeIs;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
constexpr char kGenerate[] = "denoised.v1.ImageGeneration/Generate";
constexpr char kListModels[] = "denoised.v1.Models/ListModels";

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() {
    models_.AddGuided().AddPipeline("sd15-like");
    server_ = StartServer(models_.path(), {"--access-log", file()});
  }

  std::string file() const { return (folder_.path() / "calls.log").string(); }

  std::vector<Json> Lines() const {
    std::ifstream stream(file());
    std::vector<Json> lines;
    // The last may not be complete yet.
    for (std::string line; std::getline(stream, line) && !stream.eof();) {
      lines.push_back(Json::parse(line));
    }
    return lines;
  }

  // Waits for a line with this value under `key`, which is written behind the call's back.
  Json LineWith(const std::string& key, const Json& value) const {
    std::optional<Json> found;
    EXPECT_TRUE(Eventually([&] {
      for (const Json& line : Lines()) {
        if (line.value(key, Json()) == value) found = line;
      }
      return found.has_value();
    })) << "no line with "
        << key << " = " << value;
    return found.value_or(Json::object());
  }

  // Of a call with this header; its trailers.
  Generation GenerateWith(const std::string& traceparent, const v1::GenerateRequest& request) {
    const auto stub = v1::ImageGeneration::NewStub(
        ChannelWith(server_->address(), {{"traceparent", traceparent}}));
    return Generate(*stub, request);
  }

  static std::string TrailerOf(const Generation& generation, const std::string& name) {
    const auto found = generation.trailers.find(name);
    return found == generation.trailers.end() ? "" : found->second;
  }

  static std::string HeaderOf(const HttpAnswer& answer, const std::string& name) {
    const std::string head = absl::AsciiStrToLower(answer.head);
    const size_t begin = head.find("\r\n" + name + ": ");
    if (begin == std::string::npos) return "";
    const size_t value = begin + name.size() + 4;
    return head.substr(value, head.find("\r\n", value) - value);
  }

  TempDir folder_;
  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(AccessLogTest, ACallHasALineWithItsSettingsAndTimings) {
  v1::GenerateRequest request = GuidedRequest(/*steps=*/4);
  request.set_count(2);
  request.mutable_guidance()->set_scale(3);
  request.mutable_frames()->set_every_n_steps(1);
  const Generation generation = Generate(server_->generation(), request);
  ASSERT_TRUE(generation.status.ok()) << generation.status.error_message();

  const Json line = LineWith("method", kGenerate);
  EXPECT_EQ(line["protocol"], "grpc");
  EXPECT_EQ(line["code"], "OK");
  EXPECT_EQ(line["request"], TrailerOf(generation, "denoised-request-id"));
  EXPECT_THAT(line["time"].get<std::string>(), MatchesRegex("20..-..-..T..:..:..\\....Z"));
  EXPECT_GT(line["seconds"].get<double>(), 0);
  EXPECT_EQ(line["messages_sent"], generation.events.size());
  EXPECT_EQ(line["model"], "models/guided");
  EXPECT_EQ(line["images"], 2);
  EXPECT_EQ(line["steps"], 4);
  EXPECT_EQ(line["evaluations_per_image"], 4);
  EXPECT_EQ(line["evaluations"], 8);
  EXPECT_EQ(line["rows"], 16) << "each image is guided";
  EXPECT_EQ(line["guidance_scale"], 3);
  EXPECT_EQ(line["width"], 16);
  EXPECT_EQ(line["height"], 16);
  EXPECT_EQ(line["seed"], 1);
  EXPECT_EQ(line["priority"], "normal");
  EXPECT_THAT(line["sampler"].get<std::string>(), MatchesRegex("[a-z0-9_]+"));
  EXPECT_EQ(line["generation"], generation.events.front().accepted().generation());
  EXPECT_GE(line["queue_wait_seconds"].get<double>(), 0);
  EXPECT_GT(line["first_frame_seconds"].get<double>(), 0);
  EXPECT_LE(line["first_frame_seconds"].get<double>(), line["seconds"].get<double>());
  EXPECT_EQ(line["images_sent"], 2);
  EXPECT_EQ(line["frames_sent"].get<int>() + line["frames_dropped"].get<int>(), 8);
}

TEST_F(AccessLogTest, NoPromptIsInIt) {
  constexpr char kSecret[] = "a very private unicorn";
  v1::GenerateRequest request;
  request.set_model("models/sd15-like");
  request.set_prompt(kSecret);
  request.set_negative_prompt(absl::StrCat("not ", kSecret));
  request.mutable_sampler()->set_steps(1);
  request.mutable_guidance()->set_scale(2);
  ASSERT_TRUE(Generate(server_->generation(), request).status.ok());
  EXPECT_GT(LineWith("code", "OK")["prompt_tokens"].get<int>(), 3);
  request.mutable_sampler()->set_steps(-1);
  ASSERT_FALSE(Generate(server_->generation(), request).status.ok());
  LineWith("code", "INVALID_ARGUMENT");
  EXPECT_THAT(ReadFile(file()), Not(HasSubstr("unicorn")));
  EXPECT_THAT(server_->Log(), Not(HasSubstr("unicorn")));
}

TEST_F(AccessLogTest, ATraceGoesThroughTheLogsAndComesBack) {
  const Generation generation = GenerateWith(kHeader, GuidedRequest(/*steps=*/1));
  ASSERT_TRUE(generation.status.ok());
  const Json line = LineWith("trace_id", kTrace);
  EXPECT_EQ(line["parent_span_id"], "00f067aa0ba902b7");
  EXPECT_EQ(line["trace_flags"], "01");
  EXPECT_EQ(TrailerOf(generation, "traceparent"),
            absl::StrCat("00-", kTrace, "-", line["span_id"].get<std::string>(), "-01"));
  for (const char* event : {"request finished", "generation finished"}) {
    EXPECT_TRUE(Eventually([&] {
      const std::string log = server_->Log();
      const size_t begin = log.find(absl::StrCat("event=\"", event, "\""));
      return begin != std::string::npos &&
             log.substr(begin, log.find('\n', begin) - begin)
                     .find(absl::StrCat("trace_id=", kTrace)) != std::string::npos;
    })) << event;
  }
}

TEST_F(AccessLogTest, WhateverIsNoTraceBeginsOne) {
  for (const std::string& header :
       {std::string("garbage"),
        std::string("00-00000000000000000000000000000000-0000000000000000-00"),
        std::string(7000, '0'), absl::StrCat(kHeader, ",", kHeader)}) {
    const Generation generation = GenerateWith(header, GuidedRequest(/*steps=*/1));
    ASSERT_TRUE(generation.status.ok()) << generation.status.error_message();
    const std::string trace = TrailerOf(generation, "traceparent");
    EXPECT_THAT(trace, MatchesRegex("00-[0-9a-f]{32}-[0-9a-f]{16}-00"));
    EXPECT_THAT(trace, Not(HasSubstr(kTrace)));
  }
}

TEST_F(AccessLogTest, ARefusalHasALineAndAReason) {
  v1::GenerateRequest request = GuidedRequest(/*steps=*/1);
  request.set_model("models/none");
  const Generation generation = GenerateWith(kHeader, request);
  EXPECT_EQ(generation.status.error_code(), grpc::StatusCode::NOT_FOUND);
  const Json line = LineWith("trace_id", kTrace);
  EXPECT_EQ(line["code"], "NOT_FOUND");
  EXPECT_EQ(line["reason"], "RESOURCE_NOT_FOUND");
  EXPECT_EQ(line["model"], "models/none");
  EXPECT_EQ(line["messages_sent"], 0);
  EXPECT_NE(TrailerOf(generation, "traceparent"), "");
}

TEST_F(AccessLogTest, BytesThatAreNoMessageHaveALine) {
  CallWithBytes(server_->channel(), absl::StrCat("/", kListModels), "\xff\xff\xff");
  const Json line = LineWith("method", kListModels);
  EXPECT_EQ(line["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(server_->Metrics().Sum("denoised_rpcs_total",
                                   {{"method", kListModels}, {"outcome", "INVALID_ARGUMENT"}}),
            1);
}

TEST_F(AccessLogTest, ACallThatIsCancelledHasALine) {
  constexpr int kSteps = 1000, kImages = 64;  // the first image is done long after the cancellation
  v1::GenerateRequest request = GuidedRequest(kSteps);
  request.set_count(kImages);
  BackgroundCall call(server_->generation(), request);
  ASSERT_TRUE(Eventually([&] { return call.Started(); }));
  call.Cancel();
  call.Join();
  const Json line = LineWith("code", "CANCELLED");
  EXPECT_EQ(line["method"], kGenerate);
  EXPECT_LT(line["evaluations"].get<int>(), kSteps * kImages);
  // The call ends at once; the generation does when its last evaluation has.
  const auto count = [&](const char* metric) {
    return server_->Metrics().Sum(metric, {{"outcome", "CANCELLED"}});
  };
  ASSERT_TRUE(Eventually([&] { return count("denoised_evaluations_cancelled_total") > 0; }));
  const double wasted = count("denoised_evaluations_wasted_total");
  EXPECT_GE(wasted, line["evaluations"].get<double>()) << "no image was finished";
  EXPECT_EQ(wasted + count("denoised_evaluations_cancelled_total"), kSteps * kImages);
}

TEST_F(AccessLogTest, ACallOverHttpIsOneCallOfTheSameTrace) {
  const HttpAnswer answer =
      AskHttp(server_->http_address(), "POST", absl::StrCat("/", kListModels),
              {"Content-Type: application/json", absl::StrCat("traceparent: ", kHeader)}, "{}");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_THAT(HeaderOf(answer, "traceparent"),
              MatchesRegex(absl::StrCat("00-", kTrace, "-[0-9a-f]{16}-01")));
  const Json line = LineWith("trace_id", kTrace);
  EXPECT_EQ(line["protocol"], "connect");
  EXPECT_EQ(line["method"], kListModels);
  EXPECT_THAT(Lines(), SizeIs(1));
  EXPECT_NE(line["parent_span_id"], "00f067aa0ba902b7") << "the parent is the span of HTTP";
}

TEST_F(AccessLogTest, NoCallerChoosesItsProtocol) {
  const auto stub =
      v1::Models::NewStub(ChannelWith(server_->address(), {{"denoised-protocol", "forged"}}));
  grpc::ClientContext context;
  v1::ListModelsResponse response;
  ASSERT_TRUE(stub->ListModels(&context, {}, &response).ok());
  EXPECT_EQ(LineWith("method", kListModels)["protocol"], "grpc");
  AskHttp(server_->http_address(), "POST", absl::StrCat("/", kListModels),
          {"Content-Type: application/json", "denoised-protocol: forged"}, "{}");
  LineWith("protocol", "connect");
  EXPECT_THAT(ReadFile(file()), Not(HasSubstr("forged")));
}

TEST_F(AccessLogTest, ARequestOverHttpThatIsNoCallHasALineOfItsOwn) {
  const HttpAnswer answer = AskHttp(server_->http_address(), "POST", absl::StrCat("/", kListModels),
                                    {"Content-Type: text/plain"}, "");
  EXPECT_EQ(answer.status, 415);
  const Json line = LineWith("http_status", 415);
  EXPECT_EQ(line["http_method"], "POST");
  EXPECT_EQ(line["path"], absl::StrCat("/", kListModels));
  EXPECT_NE(HeaderOf(answer, "traceparent"), "");
  for (const char* path : {"/metrics", "/healthz", "/", "/absent"}) {
    AskHttp(server_->http_address(), "GET", path);
  }
  EXPECT_THAT(Lines(), SizeIs(1)) << "probes and files are no calls";
}

TEST_F(AccessLogTest, ARequestOfOpenAisApiHasALineAndSoHaveItsCalls) {
  const HttpAnswer answer =
      AskHttp(server_->http_address(), "POST", "/v1/images/generations",
              {"Content-Type: application/json", absl::StrCat("traceparent: ", kHeader)},
              R"({"model": "sd15-like", "prompt": "a private unicorn", "size": "32x32"})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json request = LineWith("path", "/v1/images/generations");
  EXPECT_EQ(request["trace_id"], kTrace);
  EXPECT_EQ(request["parent_span_id"], "00f067aa0ba902b7");
  const Json call = LineWith("method", kGenerate);
  EXPECT_EQ(call["protocol"], "openai");
  EXPECT_EQ(call["trace_id"], kTrace);
  EXPECT_EQ(call["parent_span_id"], request["span_id"]);
  EXPECT_THAT(ReadFile(file()), Not(HasSubstr("unicorn")));
}

TEST(AccessLogFlag, WithoutItThereIsNoLine) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path());
  ASSERT_TRUE(Generate(server->generation(), GuidedRequest(/*steps=*/1)).status.ok());
  EXPECT_THAT(server->Log(), Not(HasSubstr("{\"time\"")));
}

TEST(AccessLogFlag, ItGoesToStandardErrorWhereThatIsAsked) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path(), {"--access-log", "stderr"});
  ASSERT_TRUE(Generate(server->generation(), GuidedRequest(/*steps=*/1)).status.ok());
  EXPECT_TRUE(Eventually([&] { return server->Log().find("\n{\"time\":") != std::string::npos; }));
}

TEST(AccessLogFlag, AFileThatCannotBeOpenedEndsTheServer) {
  ModelsFolder models;
  models.AddGuided();
  const auto result =
      RunProcess({DenoisedBinary(), "--models", models.path().string(), "--listen", "127.0.0.1:0",
                  "--http", "off", "--access-log", "/proc/none/calls.log"},
                 kPatience);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_NE(result->exit_status.code, 0);
  EXPECT_THAT(result->error, HasSubstr("--access-log"));
}

}  // namespace
}  // namespace denoise
