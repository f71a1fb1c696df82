// What the streams of Generate and WatchGeneration read: the log of a generation, as events of the
// contract.
#pragma once

#include <functional>
#include <memory>

#include "denoised/v1/generations.pb.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/generations/generations.h"
#include "server/migration/token_keys.h"
#include "server/models/model_repository.h"
#include "server/requests/request_validation.h"
#include "server/requests/sample_budget.h"
#include "server/rpc/adapter_reader.h"
#include "server/rpc/call.h"
#include "server/rpc/event_stream.h"
#include "server/telemetry/telemetry.h"

namespace denoise {

// What the calls that make pictures need; outlives all of them.
struct GenerationEnvironment {
  CallEnvironment calls;
  ModelRepository* models;
  AdapterReader* adapters;
  Generations* generations;
  // Engine::FittingEvaluations.
  std::function<int(const GenerationRequest&)> fitting_evaluations;
  SampleBudget* samples;
  Telemetry* telemetry;
  RequestLimits limits;
  TokenKeys handover_keys = {};  // empty: generations are neither handed over nor taken
  absl::Duration paused_lifetime = absl::Hours(7 * 24);  // of the token of a pause
};

using GenerateEventSource = EventSource<denoised::v1::GenerateEvent>;

// `request` is gRPC's, and lives until the call is over.
std::unique_ptr<GenerateEventSource> MakeGenerateSource(
    const GenerationEnvironment& environment, const denoised::v1::GenerateRequest& request,
    Call call);
std::unique_ptr<GenerateEventSource> MakeWatchSource(
    const GenerationEnvironment& environment, const denoised::v1::WatchGenerationRequest& request,
    Call call);

}  // namespace denoise
