#include "client/bench/report_json.h"

#include <optional>
#include <utility>
#include <vector>

#include "core/base/error_details.h"

namespace denoise {
namespace {

using nlohmann::ordered_json;

constexpr std::pair<const char*, double> kQuantiles[] = {
    {"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"max", 1}};

ordered_json SamplesToJson(const Samples& samples) {
  ordered_json json = {{"samples", samples.size()}};
  if (samples.empty()) return json;
  for (const auto& [name, p] : kQuantiles) json[name] = samples.Quantile(p);
  return json;
}

ordered_json GroupToJson(const BenchReport& report, const GroupReport& group) {
  return {{"name", group.name},
          {"requests", group.requests},
          {"not_sent", group.not_sent},
          {"succeeded", group.succeeded},
          {"in_time", group.in_time},
          {"shortened", group.shortened},
          {"images", group.images},
          {"frames", group.frames},
          {"frames_dropped", group.frames_dropped},
          {"row_evaluations", group.row_evaluations},
          {"images_per_second", report.PerSecond(static_cast<double>(group.images))},
          {"goodput_per_second", report.PerSecond(static_cast<double>(group.in_time))},
          {"device_share", report.Share(group)},
          {"queue_wait_seconds", SamplesToJson(group.queue_wait)},
          {"first_frame_seconds", SamplesToJson(group.first_frame)},
          {"request_seconds", SamplesToJson(group.request)}};
}

ordered_json GroupsToJson(const BenchReport& report, const std::vector<GroupReport>& groups) {
  ordered_json list = ordered_json::array();
  for (const GroupReport& group : groups) list.push_back(GroupToJson(report, group));
  return list;
}

ordered_json FailuresToJson(const std::vector<Failure>& failures) {
  ordered_json list = ordered_json::array();
  for (const Failure& failure : failures) {
    list.push_back({{"code", failure.code},
                    {"reason", failure.reason},
                    {"message", failure.message},
                    {"count", failure.count}});
  }
  return list;
}

ordered_json ServerToJson(const BenchReport& report) {
  if (!report.server) return nullptr;
  return {
      {"evaluations", report.server->evaluations},
      {"rows", report.server->rows},
      {"evaluations_per_second", report.PerSecond(static_cast<double>(report.server->evaluations))},
      {"rows_per_evaluation", report.RowsPerEvaluation().value_or(0)},
      {"evaluating_seconds", absl::ToDoubleSeconds(report.server->evaluating)},
      {"encoding_seconds", absl::ToDoubleSeconds(report.server->encoding)},
      {"decoding_seconds", absl::ToDoubleSeconds(report.server->decoding)},
      {"training_seconds", absl::ToDoubleSeconds(report.server->training)}};
}

ordered_json Seconds(const std::optional<absl::Duration>& duration) {
  return duration ? ordered_json(absl::ToDoubleSeconds(*duration)) : ordered_json(nullptr);
}

ordered_json OutcomeToJson(const TracedRequest& traced, const CallOutcome& outcome,
                           absl::Time start) {
  ordered_json json = {{"arrival_seconds", absl::ToDoubleSeconds(outcome.arrival - start)}};
  json.update(LoadRequestToJson(traced.load));
  json["sent"] = outcome.sent.has_value();
  if (!outcome.sent) return json;
  json["send_delay_seconds"] = absl::ToDoubleSeconds(*outcome.sent - outcome.arrival);
  json["queue_wait_seconds"] = Seconds(outcome.queue_wait);
  json["first_frame_seconds"] = Seconds(outcome.first_frame);
  json["request_seconds"] = absl::ToDoubleSeconds(outcome.latency());
  json["status"] = absl::StatusCodeToString(outcome.status.code());
  json["reason"] = GetErrorReason(outcome.status).value_or("");
  json["cut_off"] = outcome.cut_off;
  json["images"] = outcome.images;
  json["frames_received"] = outcome.frames;
  json["frames_dropped"] = outcome.frames_dropped;
  json["steps_left_out"] = outcome.steps_left_out;
  json["row_evaluations"] = outcome.row_evaluations;
  return json;
}

}  // namespace

ordered_json ReportToJson(const BenchReport& report) {
  return {{"seconds", report.seconds},
          {"offered_rate", report.offered_rate},
          {"interrupted", report.interrupted},
          {"cut_off", report.cut_off},
          {"all", GroupToJson(report, report.all)},
          {"entries", GroupsToJson(report, report.entries)},
          {"priorities", GroupsToJson(report, report.priorities)},
          {"tenants", GroupsToJson(report, report.tenants)},
          {"failures", FailuresToJson(report.failures)},
          {"send_delay_seconds", SamplesToJson(report.send_delay)},
          {"server", ServerToJson(report)}};
}

ordered_json OutcomesToJson(const Trace& trace, const RunResult& result) {
  ordered_json list = ordered_json::array();
  for (const CallOutcome& outcome : result.outcomes) {
    list.push_back(OutcomeToJson(trace[outcome.request], outcome, result.start));
  }
  return list;
}

}  // namespace denoise
