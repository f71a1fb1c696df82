#include "server/identity/method_scopes.h"

#include <algorithm>

namespace denoise {
namespace {

using enum Scope;

constexpr MethodScope kMethods[] = {
    {"/denoised.v1.Activity/WatchActivity", kGenerate},  // names of others are left out
    {"/denoised.v1.Datasets/DeleteDataset", kTrain},
    {"/denoised.v1.Datasets/GetDataset", kTrain},
    {"/denoised.v1.Datasets/ListDatasets", kTrain},
    {"/denoised.v1.Datasets/UploadDataset", kTrain},
    {"/denoised.v1.Generations/CancelGeneration", kGenerate},
    {"/denoised.v1.Generations/GetGeneration", kGenerate},
    {"/denoised.v1.Generations/ListGenerations", kGenerate},
    {"/denoised.v1.Generations/PauseGeneration", kGenerate},
    {"/denoised.v1.Generations/WatchGeneration", kGenerate},
    {"/denoised.v1.ImageGeneration/Diffuse", kGenerate},
    {"/denoised.v1.ImageGeneration/Generate", kGenerate},
    {"/denoised.v1.ImageGeneration/PlanSampler", kGenerate},
    {"/denoised.v1.Models/DeleteModel", kAdmin},
    {"/denoised.v1.Models/GetModel", kGenerate},
    {"/denoised.v1.Models/ListAdapters", kGenerate},
    {"/denoised.v1.Models/ListModels", kGenerate},
    {"/denoised.v1.Models/LoadModel", kAdmin},
    {"/denoised.v1.Models/UnloadModel", kAdmin},
    {"/denoised.v1.Models/WatchModels", kGenerate},
    {"/denoised.v1.Training/CancelTrainingJob", kTrain},
    {"/denoised.v1.Training/CreateTrainingJob", kTrain},
    {"/denoised.v1.Training/DeleteTrainingJob", kTrain},
    {"/denoised.v1.Training/GetTrainingJob", kTrain},
    {"/denoised.v1.Training/ListCheckpoints", kTrain},
    {"/denoised.v1.Training/ListTrainingJobs", kTrain},
    {"/denoised.v1.Training/PauseTrainingJob", kTrain},
    {"/denoised.v1.Training/PublishModel", kTrain},
    {"/denoised.v1.Training/ResumeTrainingJob", kTrain},
    {"/denoised.v1.Training/WatchTrainingJob", kTrain},
};

}  // namespace

std::span<const MethodScope> MethodScopes() { return kMethods; }

std::optional<Scope> ScopeOf(std::string_view method) {
  const auto* const found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                         [&](const auto& entry) { return entry.method == method; });
  if (found == std::end(kMethods)) return std::nullopt;
  return found->scope;
}

}  // namespace denoise
