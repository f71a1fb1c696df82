// Measures what loading a model takes of memory, in a process of its own.
//
//     load_peak make DIR     writes the folder of a model with random weights in float16
//     load_peak load DIR bfloat16
//                            loads it on the CPU, and prints "PEAK LEFT WEIGHTS" in bytes: the most
//                            memory beyond what the process had before, what it has afterwards, and
//                            what the weights take in that dtype
//     load_peak limited DIR  tries to load it in less memory than it takes, prints the error, and
//                            loads a small model to show that the process is well
#include <ATen/core/Tensor.h>
#include <malloc.h>
#include <sys/resource.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/status_macros.h"
#include "core/io/safetensors.h"
#include "core/nn/unet2d_condition.h"
#include "core/pipeline/parsed_pipeline.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;

constexpr char kModel[] = "tests/data/pipelines/sd15-like";

// A line of /proc/self/status, in bytes.
int64_t StatusBytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string key; file >> key;) {
    int64_t kib = 0;
    if (key == name + ":" && file >> kib) return kib << 10;
  }
  return 0;
}

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

absl::Status Make(const fs::path& folder) {
  fs::copy(kModel, folder, fs::copy_options::recursive);
  const fs::path unet = folder / "unet";
  auto json = nlohmann::json::parse(ReadText(unet / "config.json"));
  json["block_out_channels"] = {256, 768};
  json["layers_per_block"] = 2;
  std::ofstream(unet / "config.json") << json.dump();
  ASSIGN_OR_RETURN(const UNet2DConditionConfig config, ParseUNet2DConditionConfig(json.dump()));
  StateDict weights = InitializeUNet2DCondition(config, 1);
  for (auto& [name, tensor] : weights) tensor = tensor.to(at::kHalf);
  return WriteSafetensors(unet / "diffusion_pytorch_model.safetensors", weights);
}

// What a new process needs to load anything (kernels, tables) is there before it is measured.
absl::Status WarmUp(const PipelineOptions& options) {
  ASSIGN_OR_RETURN(const ParsedPipeline model, ParsedPipeline::Open(kModel));
  return model.Load(options).status();
}

absl::Status Load(const fs::path& folder, at::ScalarType dtype) {
  const PipelineOptions options{.placement = {.device = at::kCPU, .dtype = dtype}};
  RETURN_IF_ERROR(WarmUp(options));
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // VmHWM begins again
  const int64_t before = StatusBytes("VmRSS");
  absl::StatusOr<ParsedPipeline> model = ParsedPipeline::Open(folder);
  RETURN_IF_ERROR(model.status());
  RETURN_IF_ERROR(model->Version().status());
  ASSIGN_OR_RETURN(const Pipeline pipeline, model->Load(options));
  const int64_t parameters = model->description().num_parameters;
  model = absl::UnavailableError("let go of");
  std::cout << StatusBytes("VmHWM") - before << " " << StatusBytes("VmRSS") - before << " "
            << parameters * static_cast<int64_t>(c10::elementSize(dtype)) << "\n";
  return absl::OkStatus();
}

absl::Status LoadLimited(const fs::path& folder) {
  constexpr int64_t kSpareBytes = 128 << 20;
  RETURN_IF_ERROR(WarmUp({}));
  ASSIGN_OR_RETURN(const ParsedPipeline model, ParsedPipeline::Open(folder));
  const auto bytes = static_cast<rlim_t>(StatusBytes("VmSize") + kSpareBytes);
  const rlimit limit{.rlim_cur = bytes, .rlim_max = bytes};
  if (setrlimit(RLIMIT_AS, &limit) != 0) return absl::ErrnoToStatus(errno, "setrlimit");
  std::cout << model.Load({}).status() << "\n";
  return WarmUp({});
}

absl::Status Run(int argc, char** argv) {
  const std::string command = argc > 2 ? argv[1] : "";
  if (command == "make" && argc == 3) return Make(argv[2]);
  if (command == "load" && argc == 4) {
    return Load(argv[2], argv[3] == std::string("bfloat16") ? at::kBFloat16 : at::kFloat);
  }
  if (command == "limited" && argc == 3) return LoadLimited(argv[2]);
  return absl::InvalidArgumentError("usage: load_peak make DIR | load DIR DTYPE | limited DIR");
}

}  // namespace
}  // namespace denoise

int main(int argc, char** argv) {
  const absl::Status status = denoise::Run(argc, argv);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
