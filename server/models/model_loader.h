// From a checkpoint folder to a model on every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/io/checkpoint.h"
#include "core/nn/unet2d.h"
#include "server/models/model.h"

namespace denoise {

struct ModelLoadOptions {
  std::vector<at::Device> devices = {at::Device(at::kCPU)};
  at::ScalarType dtype = at::kFloat;  // what the network computes in
  UNet2DOptions network;
};

// Loads `folder`, copies its network to every device and warms each copy up. `folder` is hostile;
// errors name files relative to it and never its own path. InvalidArgument also where the parts do
// not fit together: a sampler that needs a variance the network does not predict, labels beyond the
// classes.
absl::StatusOr<ModelHandle> LoadModel(const std::filesystem::path& folder, std::string id,
                                      const ModelLoadOptions& options);

// What a request gets that asks for nothing: the checkpoint's scheduler, in 20 steps where its
// schedule has as many; a consistency model is there to take one.
SamplerOptions DefaultSampler(const SchedulerConfig& config, const Schedule& schedule);

// One evaluation of one row, so that the first request finds kernels chosen and memory allocated.
// Internal where the network throws; InvalidArgument where it answers with another shape, or with
// values that are not finite.
absl::Status WarmUp(const Network& network);

}  // namespace denoise
