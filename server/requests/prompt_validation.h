// What a request says in words, checked and resolved.
#pragma once

#include <optional>

#include "core/base/field_violations.h"
#include "core/diffusion/guidance.h"
#include "core/nn/network.h"
#include "denoised/v1/image_generation.pb.h"
#include "server/models/model.h"

namespace denoise {

struct ResolvedPrompts {
  Conditioning conditioning;  // with prompts that are not encoded yet
  denoised::v1::PromptTokens prompt;
  std::optional<denoised::v1::PromptTokens> negative_prompt;
  std::optional<denoised::v1::SizeConditioning> sizes;  // defaults filled in
};

// Of a model that takes prompts, images of `picture` with `adapters`. Where something is in
// violation, the result is of no use.
ResolvedPrompts ResolvePrompts(const denoised::v1::GenerateRequest& request, const Model& model,
                               const SampleShape& picture, const Guidance& guidance,
                               AppliedAdapters adapters, FieldViolations& violations);

// That a request to a model without prompts has none.
void CheckNoPrompts(const denoised::v1::GenerateRequest& request, FieldViolations& violations);

}  // namespace denoise
