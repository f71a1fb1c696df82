// Models and classes by the names that people give them.
#pragma once

#include <google/protobuf/message.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

// The model called `name`, or the only one served where `name` is empty. NotFound and
// InvalidArgument list the models that are served; FailedPrecondition says why this one is broken.
absl::StatusOr<denoised::v1::Model> ResolveModel(Client& client, const std::string& name);

// Loaders of GenerateRequest's flags (FlagForm::from_model). `text` is a class of `model`, by index
// or by name in any case; for the weights it is CLASS=WEIGHT,... InvalidArgument lists the classes.
absl::Status SetClassLabel(const std::string& text, const denoised::v1::Model& model,
                           google::protobuf::Message& request);
absl::Status SetClassWeights(const std::string& text, const denoised::v1::Model& model,
                             google::protobuf::Message& request);

// Loader of the flag for a request's adapters. `text` is NAME or NAME=SCALE, where SCALE is
// a number; `adapter` is an AppliedAdapter.
absl::Status SetAdapter(const std::string& text, const denoised::v1::Model& model,
                        google::protobuf::Message& adapter);

// "circle (0), square (1)".
std::string ClassNames(const denoised::v1::Model& model);

}  // namespace denoise
