// The images API of OpenAI with the real server. The published clients have tests of their own, in
// client/python and client/node.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/image/image.h"
#include "denoised/v1/generations.grpc.pb.h"
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
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kGenerations[] = "/v1/images/generations";
constexpr char kEdits[] = "/v1/images/edits";
constexpr char kFormType[] = "Content-Type: multipart/form-data; boundary=XX";
constexpr int64_t kPixelsMax = 1 << 20;

struct Event {
  std::string name;
  Json data;
};

std::vector<Event> EventsOf(const std::string& body) {
  std::vector<Event> events;
  for (const absl::string_view text : absl::StrSplit(body, "\n\n", absl::SkipEmpty())) {
    const std::vector<std::string> lines = absl::StrSplit(text, '\n');
    EXPECT_EQ(lines.size(), 2u) << text;
    events.push_back({lines[0].substr(std::string("event: ").size()),
                      Json::parse(lines[1].substr(std::string("data: ").size()))});
  }
  return events;
}

std::vector<std::string> NamesOf(const std::vector<Event>& events) {
  std::vector<std::string> names;
  for (const Event& event : events) names.push_back(event.name);
  return names;
}

std::string Decoded(const Json& image) {
  std::string bytes;
  EXPECT_TRUE(absl::Base64Unescape(image["b64_json"].get<std::string>(), &bytes));
  return bytes;
}

std::string FormOf(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string body;
  for (const auto& [name, value] : fields) {
    absl::StrAppend(&body, "--XX\r\nContent-Disposition: form-data; name=\"", name, "\"\r\n\r\n",
                    value, "\r\n");
  }
  return body + "--XX--\r\n";
}

// 16 x 16, as the guided model makes them. `channels` are 3, or 4 with a transparent left half.
Image Picture(int channels) {
  Image image{16, 16, channels, {}};
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 16; ++x) {
      for (const int value : {x * 16, y * 16, 128}) image.pixels.push_back(value);
      if (channels == 4) image.pixels.push_back(x < 8 ? 0 : 255);
    }
  }
  return image;
}

std::string Png(int channels) { return *EncodeImage(Picture(channels), ImageFormat::kPng); }

Image HalfOf(const Image& image, int left) {
  return Crop(image, {.left = left, .top = 0, .width = 8, .height = 16});
}

class OpenAiTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided().AddPipeline("sd15-like");
    server_ = StartServer(models_->path(), {"--http-allow-origin", "https://dash.example"});
  }
  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  static HttpAnswer Ask(const std::string& method, const std::string& path,
                        const std::vector<std::string>& headers = {},
                        const std::string& body = "") {
    return AskHttp(server_->http_address(), method, path, headers, body);
  }
  static HttpAnswer Generate(const Json& fields) {
    return Ask("POST", kGenerations, {"Content-Type: application/json"}, fields.dump());
  }
  static HttpAnswer Edit(const std::vector<std::pair<std::string, std::string>>& fields) {
    return Ask("POST", kEdits, {kFormType}, FormOf(fields));
  }

  // Of class 0 of the guided model.
  static Json Guided(int steps) {
    return {{"model", "guided"}, {"prompt", ""},   {"class_label", 0},
            {"seed", 7},         {"steps", steps}, {"sampler", "ddim"}};
  }

  static std::unique_ptr<ModelsFolder> models_;
  static std::unique_ptr<ServerProcess> server_;
};

std::unique_ptr<ModelsFolder> OpenAiTest::models_;
std::unique_ptr<ServerProcess> OpenAiTest::server_;

TEST_F(OpenAiTest, GeneratesTheImagesOfTheRpc) {
  Json fields = Guided(/*steps=*/3);
  fields["n"] = 2;
  const HttpAnswer answer = Generate(fields);
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_THAT(answer.head, HasSubstr("Content-Type: application/json\r\n"));
  const Json body = Json::parse(answer.body);
  v1::GenerateRequest request;
  request.set_model("models/guided");
  request.set_class_label(0);
  request.set_seed(7);
  request.set_count(2);
  request.mutable_sampler()->set_sampler(v1::SAMPLER_DDIM);
  request.mutable_sampler()->set_steps(3);
  const auto images = denoise::Generate(server_->generation(), request).Images();
  ASSERT_EQ(body["data"].size(), 2u);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Decoded(body["data"][i]), images.at(i)) << "in order";
    EXPECT_EQ(body["data"][i]["seed"], 7 + i);
  }
  EXPECT_EQ(body["size"], "16x16");
  EXPECT_EQ(body["output_format"], "png");
  EXPECT_GT(body["created"], 1'700'000'000);
  EXPECT_FALSE(body.contains("usage"));
}

TEST_F(OpenAiTest, MakesImagesFromText) {
  const HttpAnswer answer = Generate({{"model", "models/sd15-like"},
                                      {"prompt", "a red fox"},
                                      {"negative_prompt", "blurry"},
                                      {"guidance_scale", 2},
                                      {"steps", 2},
                                      {"size", "48x32"},
                                      {"output_format", "webp"}});
  ASSERT_EQ(answer.status, 200) << answer.body;
  const Json body = Json::parse(answer.body);
  const auto image = DecodeImage(Decoded(body["data"][0]), kPixelsMax);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->width, 48);
  EXPECT_EQ(image->height, 32);
  EXPECT_EQ(RecogniseFormat(Decoded(body["data"][0])), ImageFormat::kWebp);
  EXPECT_GE(body["usage"]["input_tokens"], 4);
  EXPECT_EQ(body["usage"]["total_tokens"], body["usage"]["input_tokens"]);
}

TEST_F(OpenAiTest, StreamsPartialImagesSpreadOverTheRun) {
  const auto frames = [] { return server_->Metrics().Sum("denoised_frames_sent_total"); };
  const double before = frames();
  Json fields = Guided(/*steps=*/9);
  fields.update({{"n", 2}, {"stream", true}, {"partial_images", 2}, {"output_format", "jpeg"}});
  const HttpAnswer answer = Generate(fields);
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_THAT(answer.head, HasSubstr("Content-Type: text/event-stream\r\n"));
  std::vector<std::vector<int>> steps(2), indices(2);
  int completed = 0;
  for (const Event& event : EventsOf(answer.body)) {
    EXPECT_EQ(event.data["type"], event.name);
    EXPECT_EQ(RecogniseFormat(Decoded(event.data)), ImageFormat::kJpeg);
    EXPECT_EQ(event.data["output_format"], "jpeg");
    const int image = event.data["image_index"];
    if (event.name == "image_generation.completed") {
      ++completed;
      EXPECT_EQ(event.data["seed"], 7 + image);
      continue;
    }
    EXPECT_EQ(event.name, "image_generation.partial_image");
    steps[image].push_back(event.data["step"]);
    indices[image].push_back(event.data["partial_image_index"]);
  }
  EXPECT_EQ(completed, 2);
  for (int image = 0; image < 2; ++image) {
    EXPECT_THAT(steps[image], ElementsAre(3, 6));
    EXPECT_THAT(indices[image], ElementsAre(0, 1));
  }
  EXPECT_EQ(frames() - before, 4) << "nothing is encoded that nobody gets";
}

TEST_F(OpenAiTest, AStreamEndsWithItsError) {
  Json fields = Guided(/*steps=*/1000);
  fields.update({{"n", 64}, {"stream", true}, {"partial_images", 3}});
  RawConnection client(server_->http_address());
  client.Send(HttpRequest(server_->http_address(), "POST", kGenerations,
                          {"Content-Type: application/json"}, fields.dump()));
  client.ReadUntil("text/event-stream");
  const auto generations = v1::Generations::NewStub(server_->channel());
  v1::CancelGenerationRequest request;
  EXPECT_TRUE(Eventually([&] {
    v1::ListGenerationsResponse running;
    grpc::ClientContext list;
    EXPECT_TRUE(generations->ListGenerations(&list, {}, &running).ok());
    for (const auto& generation : running.generations()) {
      if (generation.state() == v1::Generation::RUNNING) request.set_name(generation.name());
    }
    return !request.name().empty();
  }));
  grpc::ClientContext cancel;
  v1::Generation cancelled;
  ASSERT_TRUE(generations->CancelGeneration(&cancel, request, &cancelled).ok()) << request.name();
  const std::string rest = client.ReadToEnd();
  const size_t last = rest.rfind("event: ");
  ASSERT_NE(last, std::string::npos) << rest;
  const std::vector<Event> events = EventsOf(rest.substr(last));
  ASSERT_EQ(NamesOf(events), std::vector<std::string>{"error"});
  EXPECT_FALSE(events[0].data["error"]["message"].get<std::string>().empty());
}

TEST_F(OpenAiTest, AMaskKeepsWhatIsOpaque) {
  const std::vector<std::pair<std::string, std::string>> fields = {
      {"model", "guided"}, {"prompt", ""}, {"class_label", "0"}, {"steps", "3"}, {"seed", "7"}};
  auto with_mask = fields, with_holes = fields, with_neither = fields;
  with_mask.insert(with_mask.end(), {{"image", Png(3)}, {"mask", Png(4)}});
  with_holes.emplace_back("image[]", Png(4));
  with_neither.insert(with_neither.end(), {{"image", Png(3)}, {"strength", "0.7"}});
  const Image picture = Picture(3);
  for (const auto& [form, keeps] :
       {std::pair{with_mask, true}, {with_holes, true}, {with_neither, false}}) {
    const HttpAnswer answer = Edit(form);
    ASSERT_EQ(answer.status, 200) << answer.body;
    const auto image = DecodeImage(Decoded(Json::parse(answer.body)["data"][0]), kPixelsMax);
    ASSERT_TRUE(image.ok()) << image.status();
    EXPECT_EQ(HalfOf(*image, 8) == HalfOf(picture, 8), keeps);
    EXPECT_FALSE(HalfOf(*image, 0) == HalfOf(picture, 0));
  }
  auto stream = with_neither;
  stream.insert(stream.end(), {{"stream", "true"}, {"partial_images", "1"}});
  EXPECT_THAT(NamesOf(EventsOf(Edit(stream).body)),
              ElementsAre("image_edit.partial_image", "image_edit.completed"));
}

TEST_F(OpenAiTest, ListsModels) {
  const Json list = Json::parse(Ask("GET", "/v1/models").body);
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2u);
  EXPECT_EQ(list["data"][0]["id"], "guided");
  EXPECT_EQ(list["data"][0]["classes"][1], "c1");
  EXPECT_EQ(list["data"][1]["takes_prompts"], true);
  EXPECT_EQ(Json::parse(Ask("GET", "/v1/models/guided").body), list["data"][0]);
  EXPECT_EQ(Json::parse(Ask("GET", "/v1/models/models%2Fguided").body), list["data"][0]);
  const HttpAnswer head = Ask("HEAD", "/v1/models");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
}

TEST_F(OpenAiTest, ErrorsSayWhatIsWrong) {
  const std::string json = "Content-Type: application/json";
  Json not_counted = Guided(1), not_there = Guided(1), no_model = Guided(1), no_url = Guided(1);
  not_counted["n"] = 0;
  not_there["model"] = "gpt-image";
  no_model.erase("model");
  no_url["response_format"] = "url";
  const struct {
    const char* what;
    HttpAnswer answer;
    int status;
    Json param;
    const char* message;
  } cases[] = {
      {"no JSON", Ask("POST", kGenerations, {json}, "{"), 400, nullptr, "JSON object"},
      {"a field that the RPC refuses", Generate(not_counted), 400, "n", "n: must be between 1"},
      {"no such model", Generate(not_there), 404, "model", "the server has guided, sd15-like"},
      {"no model", Generate(no_model), 400, "model", "model: is missing; the server has guided"},
      {"a URL", Generate(no_url), 400, "response_format", "must be b64_json"},
      {"no size", Generate({{"model", "sd15-like"}, {"prompt", ""}, {"size", "33x32"}}), 400,
       "size", "size: "},
      {"no prompt", Generate({{"model", "sd15-like"}}), 400, "prompt", "prompt: is missing"},
      {"no image", Edit({{"model", "guided"}, {"class_label", "0"}}), 400, "image",
       "image: is missing"},
      {"no picture", Edit({{"model", "guided"}, {"class_label", "0"}, {"image", "GIF89a"}}), 400,
       "image", "image: neither a PNG"},
      {"a mask without alpha",
       Edit({{"model", "guided"}, {"class_label", "0"}, {"image", Png(3)}, {"mask", Png(3)}}), 400,
       "mask", "mask: has no alpha channel"},
      {"no form", Ask("POST", kEdits, {kFormType}, "x"), 400, nullptr, "multipart/form-data"},
      {"JSON for an edit", Ask("POST", kEdits, {json}, "{}"), 415, nullptr, "multipart/form-data"},
      {"a form for a generation", Ask("POST", kGenerations, {kFormType}, FormOf({})), 415, nullptr,
       "application/json"},
      {"too much JSON", Ask("POST", kGenerations, {json}, std::string(2 << 20, ' ')), 413, nullptr,
       "more than 1048576 bytes"},
      {"too large a form", Ask("POST", kEdits, {kFormType}, std::string(5 << 20, ' ')), 413,
       nullptr, "--max-receive-bytes"},
      {"a GET", Ask("GET", kGenerations), 405, nullptr, "POST"},
      {"a POST", Ask("POST", "/v1/models"), 405, nullptr, "GET"},
      {"another method of the API", Ask("POST", "/v1/chat/completions"), 404, nullptr,
       "nothing here"},
      {"a model that is not there", Ask("GET", "/v1/models/nope"), 404, "model", "no such model"},
      {"a model with a strange name", Ask("GET", "/v1/models/%2e%2e%2f%00%ff"), 404, "model",
       "the server has guided, sd15-like"},
      {"a compressed body", Ask("POST", kGenerations, {json, "Content-Encoding: gzip"}, "{}"), 415,
       nullptr, "Content-Encoding"},
      {"a field without a name", Generate({{"model", "guided"}, {"", 1}}), 400, R"("")",
       R"("": is no field)"},
  };
  for (const auto& test : cases) {
    EXPECT_EQ(test.answer.status, test.status) << test.what << test.answer.body;
    const Json error = Json::parse(test.answer.body)["error"];
    EXPECT_EQ(error["type"], "invalid_request_error") << test.what;
    EXPECT_EQ(error["param"], test.param) << test.what;
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(test.message)) << test.what;
  }
  EXPECT_THAT(Ask("GET", kEdits).head, HasSubstr("Allow: POST\r\n"));
  EXPECT_EQ(Json::parse(Generate(not_there).body)["error"]["code"], "model_not_found");
}

TEST_F(OpenAiTest, TheOnlyModelNeedsNoName) {
  ModelsFolder models;
  models.AddGuided();
  const auto server = StartServer(models.path());
  Json fields = Guided(/*steps=*/1);
  fields.erase("model");
  const HttpAnswer answer = AskHttp(server->http_address(), "POST", kGenerations,
                                    {"Content-Type: application/json"}, fields.dump());
  EXPECT_EQ(answer.status, 200) << answer.body;
}

TEST_F(OpenAiTest, AFullQueueIsARateLimit) {
  const auto server = StartServer(models_->path(), {"--queue-size", "1"});
  std::vector<std::unique_ptr<BackgroundCall>> calls;
  const auto is_full = [&] {
    if (!calls.empty() && calls.back()->Queued()) return true;
    if (calls.empty() || calls.back()->Started()) {
      v1::GenerateRequest endless = GuidedRequest(/*steps=*/1000);
      endless.set_count(8);
      calls.push_back(std::make_unique<BackgroundCall>(server->generation(), endless));
    }
    return false;
  };
  ASSERT_TRUE(Eventually(is_full));
  const HttpAnswer answer = AskHttp(server->http_address(), "POST", kGenerations,
                                    {"Content-Type: application/json"}, Guided(1).dump());
  EXPECT_EQ(answer.status, 429) << answer.body;
  EXPECT_THAT(answer.head, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_EQ(Json::parse(answer.body)["error"]["code"], "rate_limit_exceeded");
}

TEST_F(OpenAiTest, AServerThatDrainsIsUnavailable) {
  const auto server = StartServer(models_->path(), {"--drain-seconds", "600"});
  const std::vector<std::string> json = {"Content-Type: application/json"};
  Json endless = Guided(/*steps=*/500);
  endless.update({{"n", 16}, {"stream", true}, {"partial_images", 3}});
  RawConnection running(server->http_address());
  running.Send(HttpRequest(server->http_address(), "POST", kGenerations, json, endless.dump()));
  running.ReadUntil("event: image_generation.partial_image");
  server->process().Signal(SIGTERM);
  HttpAnswer answer;
  EXPECT_TRUE(Eventually([&] {
    answer = AskHttp(server->http_address(), "POST", kGenerations, json, Guided(1).dump());
    return answer.status == 503;
  }));
  EXPECT_EQ(Json::parse(answer.body)["error"]["type"], "server_error");
  EXPECT_THAT(running.ReadToEnd(), HasSubstr("event: image_generation.completed")) << "it may end";
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
}

TEST_F(OpenAiTest, AClientThatLeavesCancelsItsCall) {
  const auto cancelled = [] {
    return server_->Metrics().Sum(kRequests, {{kOutcomeLabel, kOutcomeCancelled}});
  };
  const double before = cancelled();
  for (const bool stream : {true, false}) {
    Json fields = Guided(/*steps=*/1000);
    fields.update({{"n", 64}, {"stream", stream}});
    RawConnection client(server_->http_address());
    client.Send(HttpRequest(server_->http_address(), "POST", kGenerations,
                            {"Content-Type: application/json"}, fields.dump()));
    EXPECT_TRUE(Eventually([] { return server_->Metrics().Sum(kActiveRows) > 0; }));
    client.Close();
    EXPECT_TRUE(Eventually([] { return server_->Metrics().Sum(kActiveRows) == 0; }));
  }
  EXPECT_TRUE(Eventually([&] { return cancelled() == before + 2; }));
}

TEST_F(OpenAiTest, HasTheRulesOfTheOtherPaths) {
  const std::vector<std::string> evil = {"Origin: https://evil.example"};
  EXPECT_EQ(Ask("GET", "/v1/models", evil).status, 403);
  EXPECT_EQ(Ask("GET", "/v1/models", {"Host: evil.example"}).status, 421);
  const HttpAnswer allowed = Ask("GET", "/v1/models", {"Origin: https://dash.example"});
  EXPECT_THAT(allowed.head, HasSubstr("Access-Control-Allow-Origin: https://dash.example\r\n"));
  const HttpAnswer preflight =
      Ask("OPTIONS", kGenerations,
          {"Origin: https://dash.example", "Access-Control-Request-Method: POST",
           "Access-Control-Request-Headers: authorization,content-type"});
  EXPECT_EQ(preflight.status, 204);
  EXPECT_THAT(preflight.head,
              HasSubstr("Access-Control-Allow-Headers: authorization,content-type\r\n"));
  EXPECT_EQ(Ask("GET", "/v1/models", {"Authorization: Bearer anything"}).status, 200);
  EXPECT_GE(server_->Metrics().Sum("denoised_http_requests_total",
                                   {{"route", "openai"}, {"status", "200"}}),
            1);
}

}  // namespace
}  // namespace denoise
