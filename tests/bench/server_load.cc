#include "tests/bench/server_load.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status_macros.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/metric_names.h"

namespace denoise {
namespace {

absl::StatusOr<denoised::v1::GenerateRequest> MakeRequest(ServerProcess& server,
                                                          const ServerLoadOptions& options) {
  denoised::v1::GetModelRequest get;
  get.set_name(absl::StrCat("models/", options.model));
  denoised::v1::Model model;
  grpc::ClientContext context;
  if (const grpc::Status status = server.models().GetModel(&context, get, &model); !status.ok()) {
    return absl::NotFoundError(status.error_message());
  }
  denoised::v1::GenerateRequest request;
  request.set_model(get.name());
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  request.mutable_sampler()->set_steps(options.steps);
  if (model.classes_size() > 0) request.set_class_label(0);
  if (options.frames) request.mutable_frames()->set_every_n_steps(1);
  return request;
}

}  // namespace

absl::StatusOr<ServerLoad> MeasureServer(ServerProcess& server, const ServerLoadOptions& options) {
  ASSIGN_OR_RETURN(denoised::v1::GenerateRequest request, MakeRequest(server, options));
  const MetricsPage before = server.Metrics();
  const absl::Time start = absl::Now();
  std::vector<std::unique_ptr<BackgroundCall>> calls;
  for (int i = 0; i < options.clients; ++i) {
    request.set_seed(static_cast<uint64_t>(i));
    calls.push_back(std::make_unique<BackgroundCall>(server.generation(), request));
  }
  for (const auto& call : calls) {
    if (const grpc::Status& status = call->Join().status; !status.ok()) {
      return absl::UnavailableError(status.error_message());
    }
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start);

  // The last evaluation is counted just after its images have been sent.
  const double expected = static_cast<double>(options.clients) * options.steps;
  if (!Eventually([&] {
        return server.Metrics().Sum(kTrajectories) - before.Sum(kTrajectories) >= expected;
      })) {
    return absl::InternalError("the metrics do not tell of every evaluation");
  }
  const MetricsPage after = server.Metrics();
  const auto grown = [&](const char* name) { return after.Sum(name) - before.Sum(name); };
  const double overhead_seconds = grown(kOverheadSeconds);
  return ServerLoad{
      .evaluations_per_second = expected / seconds,
      .overhead = overhead_seconds / (overhead_seconds + grown(kNetworkSeconds)),
      .images_per_evaluation = grown(kTrajectories) / grown(kEvaluations),
  };
}

}  // namespace denoise
