// HTTP with the real server: RPCs in every encoding, errors, cancellation, origins, probes, TLS.
// Published clients of Connect and gRPC-Web have tests of their own, in client/node.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/http_call.h"
#include "tests/e2e/metric_names.h"
#include "tests/e2e/server_process.h"
#include "tests/support/raw_connection.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using Json = nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kGenerate[] = "/denoised.v1.ImageGeneration/Generate";
constexpr char kGetModel[] = "/denoised.v1.Models/GetModel";

using Answer = HttpAnswer;

struct Message {
  int flags;
  std::string bytes;
};

std::string Envelope(const std::string& message) {
  std::string bytes(5, '\0');
  for (int i = 0; i < 4; ++i) bytes[4 - i] = static_cast<char>(message.size() >> (8 * i));
  return bytes + message;
}

std::vector<Message> Messages(std::string_view body) {
  std::vector<Message> messages;
  while (body.size() >= 5) {
    size_t size = 0;
    for (int i = 1; i < 5; ++i) size = size << 8 | static_cast<unsigned char>(body[i]);
    messages.push_back({static_cast<unsigned char>(body[0]), std::string(body.substr(5, size))});
    body.remove_prefix(std::min(body.size(), 5 + size));
  }
  EXPECT_TRUE(body.empty()) << "half a message";
  return messages;
}

class HttpTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided();
    server_ = StartServer(models_->path(), {"--http-allow-origin", "https://dash.example"});
  }
  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  static std::string Request(const std::string& method, const std::string& path,
                             const std::vector<std::string>& headers, const std::string& body) {
    return HttpRequest(server_->http_address(), method, path, headers, body);
  }
  static Answer Ask(const std::string& method, const std::string& path,
                    const std::vector<std::string>& headers = {}, const std::string& body = "") {
    return AskHttp(server_->http_address(), method, path, headers, body);
  }
  static Answer Post(const std::string& path, const std::string& type, const std::string& body,
                     std::vector<std::string> headers = {}) {
    headers.push_back("Content-Type: " + type);
    return Ask("POST", path, headers, body);
  }

  static std::string GenerateJson(int steps = 3, int count = 1) {
    return Json{{"model", "models/guided"},
                {"classLabel", 1},
                {"seed", "7"},
                {"count", count},
                {"sampler", {{"sampler", "SAMPLER_DDIM"}, {"steps", steps}}},
                {"frames", {{"everyNSteps", 1}}}}
        .dump();
  }

  // Runs until somebody stops it.
  static std::string EndlessJson() { return GenerateJson(/*steps=*/1000, /*count=*/64); }

  static std::unique_ptr<ModelsFolder> models_;
  static std::unique_ptr<ServerProcess> server_;
};

std::unique_ptr<ModelsFolder> HttpTest::models_;
std::unique_ptr<ServerProcess> HttpTest::server_;

TEST_F(HttpTest, AnswersUnaryCallsInJsonAndInBinary) {
  const Answer json = Post(kGetModel, "application/json", R"({"name": "models/guided"})");
  EXPECT_EQ(json.status, 200);
  EXPECT_THAT(json.head, HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_EQ(Json::parse(json.body)["name"], "models/guided");

  v1::GetModelRequest request;
  request.set_name("models/guided");
  const Answer binary = Post(kGetModel, "application/proto", request.SerializeAsString());
  EXPECT_EQ(binary.status, 200);
  v1::Model model;
  ASSERT_TRUE(model.ParseFromString(binary.body));
  EXPECT_EQ(model.height(), Json::parse(json.body)["height"]);
}

TEST_F(HttpTest, StreamsTheSameImagesAsGrpc) {
  const Answer answer = Post(kGenerate, "application/connect+json", Envelope(GenerateJson()));
  EXPECT_EQ(answer.status, 200);
  const std::vector<Message> messages = Messages(answer.body);
  ASSERT_GE(messages.size(), 7u);
  std::string image;
  int frames = 0;
  for (size_t i = 0; i + 1 < messages.size(); ++i) {
    EXPECT_EQ(messages[i].flags, 0);
    const Json event = Json::parse(messages[i].bytes);
    frames += event.contains("frame") ? 1 : 0;
    if (event.contains("image")) {
      ASSERT_TRUE(absl::Base64Unescape(event["image"]["image"]["data"].get<std::string>(), &image));
    }
  }
  EXPECT_EQ(frames, 3);
  EXPECT_TRUE(Json::parse(messages[messages.size() - 2].bytes).contains("finished"));
  EXPECT_EQ(messages.back().flags, 2) << "the end of the stream";
  EXPECT_FALSE(Json::parse(messages.back().bytes).contains("error"));

  v1::GenerateRequest request;
  request.set_model("models/guided");
  request.set_class_label(1);
  request.set_seed(7);
  request.mutable_sampler()->set_sampler(v1::SAMPLER_DDIM);
  request.mutable_sampler()->set_steps(3);
  request.mutable_frames()->set_every_n_steps(1);
  EXPECT_EQ(image, Generate(server_->generation(), request).Images().at(0));

  // gRPC-Web, in binary and as text.
  const std::string message = Envelope(request.SerializeAsString());
  const Answer web = Post(kGenerate, "application/grpc-web+proto", message);
  const Answer text = Post(kGenerate, "application/grpc-web-text", absl::Base64Escape(message));
  EXPECT_THAT(Messages(web.body).back().bytes, StartsWith("grpc-status: 0\r\n"));
  EXPECT_EQ(Messages(web.body).back().flags, 0x80);
  EXPECT_THAT(text.head, HasSubstr("application/grpc-web-text+proto"));
  bool has_image = false;
  for (const Message& event : Messages(web.body)) {
    v1::GenerateEvent proto;
    if (event.flags == 0 && proto.ParseFromString(event.bytes) && proto.has_image()) {
      has_image = true;
      EXPECT_EQ(proto.image().image().data(), image);
    }
  }
  EXPECT_TRUE(has_image);
}

TEST_F(HttpTest, StreamsLinesOfJson) {
  const Answer answer = Post(kGenerate, "application/json", GenerateJson());
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.head, HasSubstr("Content-Type: application/x-ndjson\r\n"));
  std::vector<std::string> kinds;
  for (const absl::string_view line : absl::StrSplit(answer.body, '\n', absl::SkipEmpty())) {
    const Json event = Json::parse(line);
    for (const char* kind : {"accepted", "image", "finished", "error"}) {
      if (event.contains(kind)) kinds.push_back(kind);
    }
  }
  EXPECT_THAT(kinds, testing::ElementsAre("accepted", "image", "finished"));

  const Answer lines = Post(kGenerate, "application/x-ndjson", "\n" + GenerateJson() + "\n");
  EXPECT_THAT(lines.body, HasSubstr("finished"));
  const Answer two =
      Post(kGenerate, "application/x-ndjson", GenerateJson() + "\n" + GenerateJson());
  EXPECT_EQ(two.status, 400);
  const Answer refused = Post(kGenerate, "application/json", R"({"model": "models/nope"})");
  EXPECT_EQ(refused.status, 404) << "an error at once is one for HTTP";
  EXPECT_EQ(Json::parse(refused.body)["code"], "not_found");
}

TEST_F(HttpTest, LinesOfJsonEndWithTheErrorOfAStream) {
  RawConnection client(server_->http_address());
  client.Send(Request("POST", kGenerate, {"Content-Type: application/json"}, EndlessJson()));
  const std::string begun = client.ReadUntil("\"frame\":");
  const size_t first = begun.find("\r\n\r\n") + 4;
  const Json accepted = Json::parse(begun.substr(first, begun.find('\n', first) - first));
  const Answer cancelled = Post("/denoised.v1.Generations/CancelGeneration", "application/json",
                                Json{{"name", accepted["accepted"]["generation"]}}.dump());
  EXPECT_EQ(cancelled.status, 200) << cancelled.body;
  const std::string rest = client.ReadToEnd();
  const size_t last = rest.rfind('\n', rest.size() - 2) + 1;
  EXPECT_EQ(Json::parse(rest.substr(last))["error"]["code"], "canceled");
}

TEST_F(HttpTest, ErrorsHaveTheirDetails) {
  const Answer unary = Post(kGetModel, "application/json", R"({"name": "models/nope"})");
  EXPECT_EQ(unary.status, 404);
  const Json error = Json::parse(unary.body);
  EXPECT_EQ(error["code"], "not_found");
  EXPECT_EQ(error["message"], "no such model: models/nope");
  EXPECT_THAT(error.dump(), HasSubstr("google.rpc.ResourceInfo"));
  EXPECT_THAT(unary.head, HasSubstr("trailer-denoised-request-id: "));
  EXPECT_THAT(unary.head, Not(HasSubstr("status-details")));

  const Answer stream = Post(kGenerate, "application/connect+json",
                             Envelope(R"({"model":"models/guided","count":0})"));
  EXPECT_EQ(stream.status, 200) << "a stream says so at its end";
  const Json end = Json::parse(Messages(stream.body).back().bytes);
  EXPECT_EQ(end["error"]["code"], "invalid_argument");
  EXPECT_THAT(end.dump(), HasSubstr(R"("field":"count")"));

  const Answer web = Post(kGenerate, "application/grpc-web+proto", Envelope("\xff\xff"));
  EXPECT_THAT(Messages(web.body).back().bytes, StartsWith("grpc-status: 3\r\n"));
}

TEST_F(HttpTest, WhatIsNoCallIsRefused) {
  const struct {
    const char* what;
    Answer answer;
    int status;
    const char* text;
  } cases[] = {
      {"a misspelt field", Post(kGetModel, "application/json", R"({"nmae": "x"})"), 400,
       R"("field":"nmae")"},
      {"a misspelt field of a message",
       Post(kGenerate, "application/json", R"({"sampler": {"stepz": 1}})"), 400,
       R"("field":"sampler.stepz")"},
      {"a value of another type",
       Post(kGenerate, "application/json", R"({"adapters": [{}, {"scale": "x"}]})"), 400,
       R"("field":"adapters[1].scale")"},
      {"more values than any request has",
       Post(kGenerate, "application/json",
            absl::StrCat(R"({"adapters": [)",
                         absl::StrJoin(std::vector<std::string>((1 << 16) + 1, "{}"), ","), "]}")),
       400, "more than 65536 values"},
      {"commas in a string, which are not values",
       Post(kGetModel, "application/json",
            absl::StrCat(R"({"name": "\"models/)", std::string(1 << 16, ','), R"("})")),
       400, R"("field":"name")"},
      {"an enumerator that does not exist",
       Post(kGenerate, "application/json", R"({"imageEncoding": "GIF"})"), 400,
       R"("field":"image_encoding")"},
      {"a field whose name looks like an error",
       Post(kGenerate, "application/json", R"({"count: must be": 1})"), 400,
       "GenerateRequest in JSON: count: must be: Cannot find field."},
      {"a value of another type in words", Post(kGenerate, "application/json", R"({"count": "x"})"),
       400, "invalid value `x` for type TYPE_INT32"},
      {"no JSON", Post(kGetModel, "application/json", "{"), 400, "GetModelRequest in JSON"},
      {"deep JSON", Post(kGetModel, "application/json", std::string(100'000, '[')), 400, "JSON"},
      {"no message", Post(kGetModel, "application/proto", "\xff\xff"), 400, "invalid_argument"},
      {"an unknown method", Post("/denoised.v1.Models/Nope", "application/json", "{}"), 404,
       "--state"},
      {"a service that is off",
       Post("/denoised.v1.Training/ListTrainingJobs", "application/json", "{}"), 404, "--state"},
      {"a GET", Ask("GET", kGetModel), 405, "POST"},
      {"a plain form", Post(kGetModel, "text/plain", "{}"), 415, "application/json"},
      {"a stream as a unary call", Post(kGenerate, "application/proto", ""), 415,
       "application/connect+json"},
      {"a unary call as a stream", Post(kGetModel, "application/connect+json", Envelope("{}")), 415,
       "application/json"},
      {"a compressed body", Post(kGetModel, "application/json", "{}", {"Content-Encoding: gzip"}),
       501, "compressed"},
      {"another version",
       Post(kGetModel, "application/json", "{}", {"Connect-Protocol-Version: 2"}), 400,
       "Connect-Protocol-Version"},
      {"a timeout that is none",
       Post(kGetModel, "application/json", "{}", {"Connect-Timeout-Ms: soon"}), 400,
       "Connect-Timeout-Ms"},
      {"metadata that gRPC does not take",
       Post(kGetModel, "application/json", "{}", {"X-Tenant: \xc3\xa9"}), 400, "x-tenant"},
      {"a tab in metadata", Post(kGetModel, "application/json", "{}", {"X-Tenant: a\tb"}), 400,
       "x-tenant"},
      {"binary metadata that is not base64",
       Post(kGetModel, "application/json", "{}", {"X-Tenant-Bin: !"}), 400, "x-tenant-bin"},
      {"a name that gRPC takes for no binary one",
       Post(kGetModel, "application/json", "{}", {"-Bin: AAAA"}), 400, "name"},
      {"a message that is too large",
       Post(kGetModel, "application/proto", std::string(5 << 20, 'a')), 429, "more than 4194304"},
      {"a page that there is not", Ask("GET", "/nope"), 404, "nothing here"},
      {"a form to a page", Post("/metrics", "text/plain", ""), 405, "GET"},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(test.answer.status, test.status) << test.what;
    EXPECT_THAT(test.answer.body, HasSubstr(test.text)) << test.what;
  }
  for (const std::string& body :
       {std::string(""), Envelope("{}") + "rest", Envelope("{}") + Envelope("{}"),
        std::string("\0\xff\xff\xff\xff", 5), std::string("\1\0\0\0\0", 5)}) {
    const Answer answer = Post(kGenerate, "application/connect+json", body);
    ASSERT_EQ(answer.status, 200);
    EXPECT_TRUE(Json::parse(Messages(answer.body).back().bytes).contains("error"));
  }
}

TEST_F(HttpTest, AClientThatLeavesCancelsItsCall) {
  const auto active = [] { return server_->Metrics().Sum(kActiveRows); };
  const auto cancelled = [] {
    return server_->Metrics().Sum(kRequests, {{kOutcomeLabel, kOutcomeCancelled}});
  };
  const double before = cancelled();
  {
    RawConnection client(server_->http_address());
    client.Send(Request("POST", kGenerate, {"Content-Type: application/connect+json"},
                        Envelope(EndlessJson())));
    client.ReadUntil("\"frame\":");
    EXPECT_GT(active(), 0);
  }
  EXPECT_TRUE(Eventually([&] { return active() == 0; }));
  EXPECT_TRUE(Eventually([&] { return cancelled() == before + 1; }));
}

TEST_F(HttpTest, DeadlinesPassThrough) {
  const Answer answer = Post(kGenerate, "application/connect+json", Envelope(GenerateJson(1000)),
                             {"Connect-Timeout-Ms: 1"});
  EXPECT_EQ(Json::parse(Messages(answer.body).back().bytes)["error"]["code"], "deadline_exceeded");
  const Answer web = Post(kGenerate, "application/grpc-web+json", Envelope(GenerateJson(1000)),
                          {"grpc-timeout: 1n"});
  EXPECT_THAT(Messages(web.body).back().bytes, StartsWith("grpc-status: 4\r\n"));
}

TEST_F(HttpTest, PagesOfOtherOriginsNeedToBeAllowed) {
  const std::string body = R"({"name": "models/guided"})";
  const std::string own = "Origin: http://" + server_->http_address();
  EXPECT_EQ(Post(kGetModel, "application/json", body, {own}).status, 200);
  const Answer evil = Post(kGetModel, "application/json", body, {"Origin: https://evil.example"});
  EXPECT_EQ(evil.status, 403);
  EXPECT_THAT(evil.head, Not(HasSubstr("Access-Control")));
  const Answer allowed =
      Post(kGetModel, "application/json", body, {"Origin: https://dash.example"});
  EXPECT_EQ(allowed.status, 200);
  EXPECT_THAT(allowed.head, HasSubstr("Access-Control-Allow-Origin: https://dash.example\r\n"));
  EXPECT_THAT(allowed.head, HasSubstr("Vary: Origin\r\n"));
  const Answer preflight =
      Ask("OPTIONS", kGetModel,
          {"Origin: https://dash.example", "Access-Control-Request-Method: POST",
           "Access-Control-Request-Headers: connect-protocol-version,content-type"});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_THAT(preflight.head,
              HasSubstr("Access-Control-Allow-Headers: connect-protocol-version,content-type\r\n"));
  EXPECT_EQ(Ask("GET", "/metrics", {"Host: evil.example"}).status, 421) << "a rebound name";
}

TEST_F(HttpTest, Probes) {
  EXPECT_EQ(Ask("GET", "/healthz").body, "ok\n");
  EXPECT_EQ(Ask("GET", "/readyz").body, "ready\n");
  EXPECT_EQ(Ask("HEAD", "/readyz").body, "");
  const Answer metrics = Ask("GET", "/metrics?x=y");
  EXPECT_THAT(metrics.head, HasSubstr("Content-Type: text/plain; version=0.0.4"));
  EXPECT_THAT(metrics.body, HasSubstr("denoised_build_info"));
}

// A request over HTTP/1.1, whose connection stays.
std::string KeptRequest(const std::string& path, const std::string& type, const std::string& body,
                        size_t length) {
  return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: ", type,
                      "\r\nContent-Length: ", length, "\r\n\r\n", body);
}

TEST_F(HttpTest, StreamsDoNotKeepTheMemoryOfTheirRequests) {
  const auto server = StartServer(models_->path(), {"--memory-quota-mib", "16"});
  const std::string padded = absl::StrCat("{", std::string((7 << 20), ' '), "}");
  std::vector<std::unique_ptr<RawConnection>> watches;
  for (int i = 0; i < 4; ++i) {
    watches.push_back(std::make_unique<RawConnection>(server->http_address()));
    watches.back()->Send(
        KeptRequest("/denoised.v1.Models/WatchModels", "application/json", padded, padded.size()));
    EXPECT_THAT(watches.back()->ReadUntil("models/guided"), HasSubstr(" 200 "));
  }
}

TEST_F(HttpTest, StopsWhileCallsKeepComing) {
  for (int round = 0; round < 3; ++round) {
    const auto server = StartServer(models_->path());
    std::atomic<int> answered = 0;
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] {
        RawConnection client(server->http_address());
        do {
          client.Send(KeptRequest("/denoised.v1.Models/ListModels", "application/json", "{}", 2));
          ++answered;
        } while (client.ReadsAnswer());
      });
    }
    EXPECT_TRUE(Eventually([&] { return answered > 50; }));
    server->process().Signal(SIGTERM);
    EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
    for (std::thread& caller : callers) caller.join();
  }
}

TEST_F(HttpTest, StopsWhateverItsClientsHaveNotSentOrRead) {
  const auto server =
      StartServer(models_->path(), {"--drain-seconds", "0", "--max-write-seconds", "3600"});
  RawConnection silent(server->http_address()), deaf(server->http_address());
  const std::string message = Envelope(EndlessJson());
  silent.Send(KeptRequest(kGenerate, "application/connect+json", message, message.size() + 1000));
  deaf.Send(KeptRequest(kGenerate, "application/json", EndlessJson(), EndlessJson().size()));
  EXPECT_TRUE(Eventually([&] { return server->Metrics().Sum(kActiveRows) >= 1; }));
  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

TEST_F(HttpTest, AServerThatDrainsIsAliveAndNotReady) {
  const auto server = StartServer(models_->path(), {"--drain-seconds", "600"});
  RawConnection running(server->http_address()), endless(server->http_address()),
      probe(server->http_address());
  const auto generate = [](RawConnection& connection, const std::string& json) {
    const std::string message = Envelope(json);
    connection.Send(KeptRequest(kGenerate, "application/connect+json", message, message.size()));
    connection.ReadUntil("\"frame\":");
  };
  generate(running, GenerateJson(500));
  generate(endless, EndlessJson());  // the server drains until this one is cancelled
  server->process().Signal(SIGTERM);
  const auto ask = [&](const std::string& path) {
    probe.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    return probe.ReadAnswer();
  };
  ASSERT_TRUE(
      Eventually([&] { return absl::StrContains(ask("/readyz"), " 503 ") || HasFailure(); }));
  ASSERT_FALSE(HasFailure()) << "nobody answers the probe";
  EXPECT_THAT(ask("/healthz"), HasSubstr(" 200 "));
  endless.Close();
  EXPECT_THAT(running.ReadUntil("\r\n0\r\n\r\n"), HasSubstr("finished")) << "it may end first";
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

}  // namespace
}  // namespace denoise
