#include "server/rpc/call_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "server/rpc/generation_fields.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using Json = nlohmann::ordered_json;

constexpr char kTrace[] = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr char kHeader[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

class CallRecordTest : public testing::Test {
 protected:
  Json Line(std::string_view code = "OK", std::string_view reason = "") const {
    return record_.Line(code, reason, /*messages_sent=*/3, kArrival + absl::Milliseconds(1250));
  }

  static constexpr absl::Time kArrival = absl::FromUnixSeconds(1'769'860'800);
  CallRecord record_{"denoised.v1.Models/ListModels", kArrival};
};

TEST_F(CallRecordTest, ALineSaysWhatWasCalledAndHowItEnded) {
  record_.Begin("", "");
  const Json line = Line("UNAVAILABLE", "QUEUE_FULL");
  EXPECT_EQ(line["time"], "2026-01-31T12:00:01.250Z");
  EXPECT_EQ(line["method"], "denoised.v1.Models/ListModels");
  EXPECT_EQ(line["protocol"], "grpc");
  EXPECT_EQ(line["code"], "UNAVAILABLE");
  EXPECT_EQ(line["reason"], "QUEUE_FULL");
  EXPECT_EQ(line["seconds"], 1.25);
  EXPECT_EQ(line["request"], record_.id());
  EXPECT_EQ(line["trace_id"], record_.trace_id());
  EXPECT_EQ(line["messages_sent"], 3);
  EXPECT_FALSE(line.contains("parent_span_id")) << "the trace begins here";
  EXPECT_FALSE(Line().contains("reason"));
}

TEST_F(CallRecordTest, TheCallersTraceContinues) {
  record_.Begin(kHeader, "connect");
  EXPECT_EQ(Line()["trace_id"], kTrace);
  EXPECT_EQ(Line()["parent_span_id"], "00f067aa0ba902b7");
  EXPECT_NE(Line()["span_id"], "00f067aa0ba902b7");
  EXPECT_EQ(Line()["trace_flags"], "01");
  EXPECT_EQ(Line()["protocol"], "connect");
}

TEST_F(CallRecordTest, ATraceIsJoinedOnlyWhereTheCallerHasNone) {
  record_.Begin("", "");
  const std::string span = record_.trace().span_id;
  for (const char* no_trace : {"", "garbage", "00000000000000000000000000000000"}) {
    record_.JoinTrace(no_trace);
    EXPECT_NE(record_.trace_id(), no_trace);
  }
  record_.JoinTrace(kTrace);
  EXPECT_EQ(record_.trace_id(), kTrace);
  EXPECT_EQ(record_.trace().span_id, span);

  record_.Begin(kHeader, "");
  record_.JoinTrace("ffffffffffffffffffffffffffffffff");
  EXPECT_EQ(record_.trace_id(), kTrace);
}

TEST_F(CallRecordTest, SettingsAreThoseThatWereResolvedAndNoPrompt) {
  v1::Accepted accepted;
  accepted.set_model("models/faces");
  accepted.set_model_version("0123");
  accepted.mutable_sampler()->set_sampler(v1::SAMPLER_DPMPP);
  accepted.mutable_sampler()->set_solver_order(2);
  accepted.set_steps(20);
  accepted.set_steps_requested(50);
  accepted.set_evaluations(20);
  accepted.set_count(4);
  accepted.set_width(512);
  accepted.set_height(256);
  accepted.set_seed(18'446'744'073'709'551'615u);
  accepted.set_priority(v1::PRIORITY_INTERACTIVE);
  accepted.mutable_guidance()->set_scale(7.5);
  accepted.mutable_prompt()->set_tokens(12);
  v1::ResolvedAdapter& adapter = *accepted.add_adapters();
  adapter.set_name("adapters/style");
  adapter.set_scale(0.5);
  AddSettings(accepted, record_);
  GenerationLog::Snapshot snapshot = {};
  snapshot.queue_wait = absl::Milliseconds(500);
  snapshot.evaluations = 80;
  snapshot.rows = 160;
  AddProgress(snapshot, record_);

  const Json line = Line();
  EXPECT_EQ(line["model"], "models/faces");
  EXPECT_EQ(line["model_version"], "0123");
  EXPECT_EQ(line["sampler"], "dpmpp_2m");
  EXPECT_EQ(line["steps"], 20);
  EXPECT_EQ(line["steps_requested"], 50);
  EXPECT_EQ(line["evaluations_per_image"], 20);
  EXPECT_EQ(line["images"], 4);
  EXPECT_EQ(line["width"], 512);
  EXPECT_EQ(line["height"], 256);
  EXPECT_EQ(line["seed"], 18'446'744'073'709'551'615u);
  EXPECT_EQ(line["priority"], "interactive");
  EXPECT_EQ(line["guidance_scale"], 7.5);
  EXPECT_EQ(line["prompt_tokens"], 12);
  EXPECT_EQ(line["adapters"], Json::parse(R"([{"name": "adapters/style", "scale": 0.5}])"));
  EXPECT_EQ(line["queue_wait_seconds"], 0.5);
  EXPECT_EQ(line["evaluations"], 80);
  EXPECT_EQ(line["rows"], 160);
}

}  // namespace
}  // namespace denoise
