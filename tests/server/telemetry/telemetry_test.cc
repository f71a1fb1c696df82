#include "server/telemetry/telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <memory>
#include <string>
#include <vector>

#include "server/telemetry/log.h"
#include "tests/support/metrics_text.h"

namespace denoise {
namespace {

class TelemetryTest : public testing::Test {
 protected:
  MetricsPage Page() {
    return MetricsPage(prometheus::TextSerializer().Serialize(telemetry_.registry()->Collect()));
  }

  Telemetry telemetry_{"1.2.3", {"cpu"}};
};

TEST_F(TelemetryTest, SeriesExistBeforeAnythingHappens) {
  const MetricsPage page = Page();
  for (const char* name :
       {"denoised_queue_depth", "denoised_active_rows", "denoised_evaluations_total",
        "denoised_guidance_rows_saved_total", "denoised_requests_total",
        "denoised_generations_total", "denoised_diffusions_total", "denoised_images_total",
        "denoised_training_seconds_total", "denoised_failed_tasks_total", "denoised_models_loaded",
        "denoised_decode_queue", "denoised_decode_seconds_count", "denoised_encode_seconds_count",
        "denoised_adapter_memory_bytes", "denoised_call_states_created_total",
        "denoised_call_states_destroyed_total", "denoised_rows_per_evaluation_count",
        "denoised_time_to_first_frame_seconds_count"}) {
    EXPECT_TRUE(page.Has(name)) << name;
    EXPECT_EQ(page.Sum(name), 0) << name;
  }
  EXPECT_EQ(page.Sum("denoised_build_info", {{"version", "1.2.3"}}), 1);
}

TEST_F(TelemetryTest, CountsTheStateOfCallsByKind) {
  const auto created = [this](const std::string& kind) {
    return Page().Sum("denoised_call_states_created_total", {{"kind", kind}});
  };
  const auto destroyed = [this](const std::string& kind) {
    return Page().Sum("denoised_call_states_destroyed_total", {{"kind", kind}});
  };
  {
    const CountedObject stream(&telemetry_.count(ObjectKind::kStream));
    const CountedObject image(telemetry_.ImageCount());
    EXPECT_EQ(created("stream"), 1);
    EXPECT_EQ(destroyed("stream"), 0);
    EXPECT_EQ(created("engine_image"), 1);
    EXPECT_EQ(created("engine_request"), 0);
  }
  EXPECT_EQ(created("stream"), 1);
  EXPECT_EQ(destroyed("stream"), 1);
  EXPECT_EQ(destroyed("engine_image"), 1);
  EXPECT_EQ(Page().Sum("denoised_call_states_created_total"), 2);
}

// As a page is written from top to bottom, an object that comes and goes meanwhile must not look as
// if it had only gone.
TEST_F(TelemetryTest, ReadsWhatIsGoneBeforeWhatThereWas) {
  const std::string page = prometheus::TextSerializer().Serialize(telemetry_.registry()->Collect());
  EXPECT_LT(page.find("denoised_call_states_destroyed_total"),
            page.find("denoised_call_states_created_total"));
}

TEST_F(TelemetryTest, CountsWhatTheEngineSays) {
  telemetry_.OnQueueDepth(3);
  telemetry_.OnOutstandingCost(absl::Milliseconds(2500));
  telemetry_.OnActiveRows("cpu", 6);
  telemetry_.OnEvaluation("cpu", {.trajectories = 2,
                                  .rows = 4,
                                  .rows_saved = 3,
                                  .rows_padded = 1,
                                  .network = absl::Milliseconds(900),
                                  .total = absl::Seconds(1)});
  telemetry_.OnEvaluation("cpu", {.trajectories = 1,
                                  .rows = 2,
                                  .network = absl::Milliseconds(100),
                                  .total = absl::Milliseconds(150)});
  telemetry_.OnBatchFailed("cpu", "out of memory");
  telemetry_.OnCaptureFailed("cpu", "out of memory");  // a line in the log, and no metric
  telemetry_.OnEncode("cpu", absl::Milliseconds(30));
  telemetry_.OnDecode("cpu", {.decoding = absl::Seconds(2), .waiting = absl::Seconds(3)});
  telemetry_.OnDecodeQueue("cpu", 7);
  telemetry_.AdapterMemory(1 << 20);
  telemetry_.AdapterLoaded(true);
  telemetry_.AdapterLoaded(false);
  telemetry_.OnSlice("cpu", absl::Milliseconds(300));
  telemetry_.OnSlice("cpu", absl::Milliseconds(200));
  telemetry_.OnTaskFailed("cpu", "out of memory");
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_failed_batches_total"), 1);
  EXPECT_EQ(page.Sum("denoised_queue_depth"), 3);
  EXPECT_EQ(page.Sum("denoised_outstanding_cost_seconds"), 2.5);
  EXPECT_EQ(page.Sum("denoised_active_rows", {{"device", "cpu"}}), 6);
  EXPECT_EQ(page.Sum("denoised_evaluations_total", {{"device", "cpu"}}), 2);
  EXPECT_EQ(page.Sum("denoised_rows_per_evaluation_sum"), 6);
  EXPECT_EQ(page.Sum("denoised_guidance_rows_saved_total", {{"device", "cpu"}}), 3);
  EXPECT_EQ(page.Sum("denoised_padded_rows_total", {{"device", "cpu"}}), 1);
  EXPECT_EQ(page.Sum("denoised_trajectories_per_evaluation_sum"), 3);
  EXPECT_NEAR(page.Sum("denoised_evaluation_seconds_sum"), 1.0, 1e-9);
  EXPECT_NEAR(page.Sum("denoised_worker_overhead_seconds_total"), 0.15, 1e-9);
  EXPECT_NEAR(page.Sum("denoised_encode_seconds_sum"), 0.03, 1e-9);
  EXPECT_NEAR(page.Sum("denoised_decode_seconds_sum"), 2, 1e-9);
  EXPECT_NEAR(page.Sum("denoised_decode_wait_seconds_sum"), 3, 1e-9);
  EXPECT_EQ(page.Sum("denoised_decode_queue", {{"device", "cpu"}}), 7);
  EXPECT_EQ(page.Sum("denoised_adapter_memory_bytes"), 1 << 20);
  EXPECT_EQ(page.Sum("denoised_adapter_loads_total", {{"outcome", "loaded"}}), 1);
  EXPECT_EQ(page.Sum("denoised_adapter_loads_total", {{"outcome", "failed"}}), 1);
  EXPECT_NEAR(page.Sum("denoised_training_seconds_total", {{"device", "cpu"}}), 0.5, 1e-9);
  EXPECT_EQ(page.Sum("denoised_failed_tasks_total", {{"device", "cpu"}}), 1);
}

TEST_F(TelemetryTest, CountsRequestsByOutcome) {
  telemetry_.RequestFinished(absl::StatusCode::kOk, absl::Seconds(2));
  telemetry_.RequestFinished(absl::StatusCode::kCancelled, absl::Seconds(1));
  telemetry_.FirstFrameSent(absl::Milliseconds(250));
  telemetry_.FramesDropped(4);
  telemetry_.GenerationFinished(absl::StatusCode::kInternal);
  telemetry_.ImageGenerated();
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_requests_total", {{"outcome", "OK"}}), 1);
  EXPECT_EQ(page.Sum("denoised_requests_total", {{"outcome", "CANCELLED"}}), 1);
  EXPECT_EQ(page.Sum("denoised_request_seconds_sum"), 3);
  EXPECT_EQ(page.Sum("denoised_time_to_first_frame_seconds_sum"), 0.25);
  EXPECT_EQ(page.Sum("denoised_frames_dropped_total"), 4);
  EXPECT_EQ(page.Sum("denoised_generations_total", {{"outcome", "INTERNAL"}}), 1);
  EXPECT_EQ(page.Sum("denoised_images_total"), 1);
}

TEST_F(TelemetryTest, CountsHttpByRouteAndStatus) {
  telemetry_.HttpConnections(3);
  telemetry_.HttpAnswered("rpc", 200);
  telemetry_.HttpAnswered("rpc", 400);
  telemetry_.HttpAnswered("rpc", 400);
  EXPECT_EQ(Page().Sum("denoised_http_connections"), 3);
  EXPECT_EQ(Page().Sum("denoised_http_requests_total", {{"route", "rpc"}, {"status", "400"}}), 2);
}

TEST_F(TelemetryTest, CountsADevicesTimeByKindOfTurn) {
  const absl::Time start = absl::UnixEpoch();
  const auto begin = [&](TurnReport::Kind kind, int second) {
    telemetry_.OnTurn("cpu", {.kind = kind, .began = start + absl::Seconds(second)});
  };
  begin(TurnReport::Kind::kEvaluate, 10);
  begin(TurnReport::Kind::kDecode, 13);
  begin(TurnReport::Kind::kEvaluate, 14);
  begin(TurnReport::Kind::kIdle, 16);
  begin(TurnReport::Kind::kTrain, 9);  // the clock was set back
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_turn_seconds_total", {{"turn", "evaluate"}}), 5);
  EXPECT_EQ(page.Sum("denoised_turn_seconds_total", {{"turn", "decode"}}), 1);
  EXPECT_EQ(page.Sum("denoised_turn_seconds_total", {{"device", "cpu"}}), 6);
}

TEST_F(TelemetryTest, ATurnSaysHowManyRowsThereAre) {
  telemetry_.OnTurn("cpu", {.kind = TurnReport::Kind::kEvaluate, .active_rows = 7});
  EXPECT_EQ(Page().Sum("denoised_active_rows"), 7) << "also if it never ends";
}

TEST_F(TelemetryTest, CountsWhatWasDoneForNothing) {
  telemetry_.EvaluationsLost(absl::StatusCode::kOk, 0, 0);
  telemetry_.EvaluationsLost(absl::StatusCode::kCancelled, 30, 70);
  telemetry_.EvaluationsLost(absl::StatusCode::kDeadlineExceeded, 5, 0);
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_evaluations_wasted_total", {{"outcome", "CANCELLED"}}), 30);
  EXPECT_EQ(page.Sum("denoised_evaluations_wasted_total"), 35);
  EXPECT_EQ(page.Sum("denoised_evaluations_cancelled_total"), 70);
}

TEST_F(TelemetryTest, CountsDeadlinesByWhereTheyPassed) {
  telemetry_.RequestHadDeadline();
  telemetry_.RequestHadDeadline();
  telemetry_.DeadlineMissed(DeadlineMiss::kQueued);
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_requests_with_deadline_total"), 2);
  EXPECT_EQ(page.Sum("denoised_deadline_misses_total", {{"cause", "queued"}}), 1);
  EXPECT_EQ(page.Sum("denoised_deadline_misses_total"), 1);
  for (const char* cause : {"late", "refused", "loading", "running", "reading"}) {
    EXPECT_EQ(page.Sum("denoised_deadline_misses_total", {{"cause", cause}}), 0) << cause;
  }
}

TEST_F(TelemetryTest, CountsCallsByMethod) {
  telemetry_.RpcFinished("denoised.v1.Models/ListModels", "OK");
  telemetry_.RpcFinished("denoised.v1.Models/ListModels", "OK");
  telemetry_.RpcFinished("denoised.v1.Models/GetModel", "NOT_FOUND");
  EXPECT_EQ(Page().Sum("denoised_rpcs_total",
                       {{"method", "denoised.v1.Models/ListModels"}, {"outcome", "OK"}}),
            2);
  EXPECT_EQ(Page().Sum("denoised_rpcs_total"), 3);
}

TEST_F(TelemetryTest, SaysWhatFillsUp) {
  EXPECT_FALSE(Page().Has("denoised_state_free_bytes")) << "there is no state";
  EXPECT_FALSE(Page().Has("denoised_tls_certificate_expiry_timestamp_seconds"));
  telemetry_.QueueCapacity(64);
  telemetry_.DeviceMemory("cpu", 3 << 20, 8 << 20);
  telemetry_.StateDisk(1 << 20, 4 << 20);
  telemetry_.CertificateExpires(absl::FromUnixSeconds(1'800'000'000));
  telemetry_.ModelLoaded(absl::Seconds(2));
  telemetry_.ModelBroken();
  telemetry_.AccessLogLinesDropped(3);
  telemetry_.AccessLogLinesDropped(5);
  const MetricsPage page = Page();
  EXPECT_EQ(page.Sum("denoised_queue_capacity"), 64);
  EXPECT_EQ(page.Sum("denoised_device_memory_free_bytes", {{"device", "cpu"}}), 3 << 20);
  EXPECT_EQ(page.Sum("denoised_device_memory_size_bytes", {{"device", "cpu"}}), 8 << 20);
  EXPECT_EQ(page.Sum("denoised_state_free_bytes"), 1 << 20);
  EXPECT_EQ(page.Sum("denoised_state_size_bytes"), 4 << 20);
  EXPECT_EQ(page.Sum("denoised_tls_certificate_expiry_timestamp_seconds"), 1'800'000'000);
  EXPECT_EQ(page.Sum("denoised_model_loads_total", {{"outcome", "loaded"}}), 1);
  EXPECT_EQ(page.Sum("denoised_model_loads_total", {{"outcome", "broken"}}), 1);
  EXPECT_EQ(page.Sum("denoised_model_load_seconds_sum"), 2);
  EXPECT_EQ(page.Sum("denoised_access_log_lines_dropped_total"), 5);
}

TEST(Log, QuotesWhatCouldBeMistaken) {
  EXPECT_EQ(QuoteLogValue("models/emoji-32"), "models/emoji-32");
  EXPECT_EQ(QuoteLogValue(""), "\"\"");
  EXPECT_EQ(QuoteLogValue("two words"), "\"two words\"");
  EXPECT_EQ(QuoteLogValue("a=b"), "\"a=b\"");
  EXPECT_EQ(QuoteLogValue("x\nlevel=error"), "\"x\\nlevel=error\"");
  EXPECT_EQ(QuoteLogValue("say \"hi\""), "\"say \\\"hi\\\"\"");
  EXPECT_EQ(QuoteLogValue("it's"), "\"it's\"");
  EXPECT_LT(QuoteLogValue(std::string(1'000'000, 'x')).size(), 2000u);
}

TEST(Log, FieldsAreKeyAndValue) {
  EXPECT_EQ(LogField("count", 3).text, "count=3");
  EXPECT_EQ(LogField("seconds", 0.25).text, "seconds=0.25");
  EXPECT_EQ(LogField("model", "m").text, "model=m");
}

}  // namespace
}  // namespace denoise
