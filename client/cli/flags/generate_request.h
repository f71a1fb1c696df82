// From flags to the message.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "client/cli/flags/generate_flags.h"
#include "client/client.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

// The model that `name` stands for, or the only one served where `name` is empty. NotFound and
// InvalidArgument say which there are.
absl::StatusOr<denoised::v1::Model> ResolveModel(Client& client, const std::string& name);

// "png", "jpeg", "webp" and "npy" on the wire.
denoised::v1::Encoding EncodingOf(const std::string& format);

// The request for these flags. InvalidArgument for what can only be told here: which classes they
// name, and files that cannot be read. All else is the server's to judge.
absl::StatusOr<denoised::v1::GenerateRequest> BuildGenerateRequest(
    const GenerateFlags& flags, const denoised::v1::Model& model);

}  // namespace denoise
