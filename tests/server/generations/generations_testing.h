// Generations over an engine that does what the test says.
#pragma once

#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/generations/generations.h"
#include "server/requests/field_checks.h"
#include "tests/server/test_models.h"
#include "tests/support/fake_clock.h"

namespace denoise {

class GenerationsFixture : public testing::Test {
 protected:
  using Request = denoised::v1::GenerateRequest;

  static Request Named(const std::string& id, int steps = 2) {
    Request request;
    request.set_model("models/faces");
    request.mutable_sampler()->set_steps(steps);
    request.set_request_id(id);
    return request;
  }

  Caller MakeCaller(absl::Time deadline = absl::InfiniteFuture()) {
    return {.arrival = clock_.Now(),
            .deadline = deadline,
            .wake = [this] { ++wakes_; },
            .identity = identity_};
  }

  // What a Generate call does: join, or else resolve and start.
  absl::StatusOr<std::unique_ptr<Generations::Reader>> Generate(
      const Request& request, absl::Time deadline = absl::InfiniteFuture()) {
    const RequestDigest digest = DigestOf(request);
    auto joined = generations_.Join(request.request_id(), digest, MakeCaller(deadline));
    if (!joined.ok() || *joined != nullptr) return joined;
    auto resolved = ResolveRequest(request, FindModel(request.model(), models_), {}, /*seed=*/1);
    if (!resolved.ok()) return resolved.status();
    return generations_.Start(request, digest, *std::move(resolved), MakeCaller(deadline));
  }

  static std::string IdOf(const Generations::Reader& reader) {
    return reader.name().substr(std::string("generations/").size());
  }

  absl::StatusOr<denoised::v1::Generation> Get(const std::string& id) {
    denoised::v1::GetGenerationRequest request;
    request.set_name(absl::StrCat("generations/", id));
    return generations_.Get(request, identity_);
  }

  absl::StatusOr<std::unique_ptr<Generations::Reader>> Watch(const std::string& id,
                                                             int64_t resume_after = -1) {
    denoised::v1::WatchGenerationRequest request;
    request.set_name(absl::StrCat("generations/", id));
    if (resume_after != -1) request.set_resume_after(resume_after);
    return generations_.Watch(request, MakeCaller());
  }

  absl::Status Cancel(const std::string& id) {
    denoised::v1::CancelGenerationRequest request;
    request.set_name(absl::StrCat("generations/", id));
    return generations_.Cancel(request, identity_).status();
  }

  absl::StatusOr<std::unique_ptr<Generations::Reader>> Pause(const std::string& id) {
    denoised::v1::PauseGenerationRequest request;
    request.set_name(absl::StrCat("generations/", id));
    return generations_.Pause(request, MakeCaller());
  }

  static FrameUpdate Frame(int step, int size = 8) {
    return {.image_index = 0,
            .step = step,
            .timestep = 100.5,
            .kind = FrameKind::kX0,
            .sample = at::zeros({3, size, size})};
  }

  static ImageUpdate Image(int index) {
    return {.image_index = index, .seed = 7, .sample = at::full({3, 8, 8}, 0.5)};
  }

  // The generation that the engine was given last.
  GenerationSink& sink() { return *sinks_.back(); }

  Identity identity_ = Anyone();  // of the callers
  FakeClock clock_;
  Telemetry telemetry_{"test", {}};
  ModelRepository models_{TestModels()};
  SampleBudget samples_{int64_t{64} << 20};
  std::vector<std::shared_ptr<GenerationSink>> sinks_;  // let go of by the test
  std::vector<GenerationRequest> submitted_;
  std::vector<Engine::Id> cancelled_;  // by index into sinks_
  std::vector<Engine::Id> paused_;     // the same
  absl::Status refusal_;               // what Submit says
  int wakes_ = 0;
  Generations generations_{
      {.submit = [this](GenerationRequest request,
                        std::shared_ptr<GenerationSink> sink) -> absl::StatusOr<Engine::Id> {
         if (!refusal_.ok()) return refusal_;
         submitted_.push_back(std::move(request));
         sinks_.push_back(std::move(sink));
         return sinks_.size() - 1;
       },
       .cancel = [this](Engine::Id id) { cancelled_.push_back(id); },
       .pause = [this](Engine::Id id) { paused_.push_back(id); },
       .clock = &clock_,
       .samples = &samples_,
       .telemetry = &telemetry_,
       .handover_bytes = 1 << 20},
      {.keep_time = absl::Minutes(10),
       .keep_bytes = int64_t{1} << 20,
       .expired_names = 3,
       .detached = 2}};
};

}  // namespace denoise
