// One Diffuse call, as gRPC's callback API sees it.
#pragma once

#include <optional>
#include <string>

#include "denoised/v1/image_generation.pb.h"
#include "server/requests/sample_budget.h"
#include "server/rpc/diffusion.h"
#include "server/rpc/generate_reactor.h"
#include "server/rpc/turn_stream.h"

namespace denoise {

class DiffuseReactor final : public TurnStream<denoised::v1::DiffuseEvent> {
 public:
  // `context` and `request` are gRPC's, and live until OnDone.
  DiffuseReactor(const GenerateEnvironment& environment, grpc::CallbackServerContext* context,
                 const denoised::v1::DiffuseRequest& request);

 private:
  absl::Status Start(const denoised::v1::DiffuseRequest& request);
  absl::StatusOr<Outcome> TakeTurn() override;
  void OnEnd(const absl::Status& status) override;
  void OnRelease() override { reservation_ = {}; }

  const GenerateEnvironment& environment_;
  const std::string model_;             // as the caller named it
  std::optional<Diffusion> diffusion_;  // absent where the request was refused
  SampleBudget::Reservation reservation_;
};

}  // namespace denoise
