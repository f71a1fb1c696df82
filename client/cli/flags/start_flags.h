// Where `denoise generate` starts, and what it keeps.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// Files that are not named are empty; what else is absent was not given.
struct StartFlags {
  std::string init;
  double strength = 0.8;
  std::string inpaint;
  std::string mask;
  std::optional<int32_t> repaint_jump;
  std::optional<int32_t> repaint_times;
  std::string branch;
  int32_t branch_step = 0;
  std::string noise;
  std::string noise_to;
  std::optional<uint64_t> from_seed;
  std::optional<uint64_t> to_seed;
  std::optional<double> variation;
  std::string invert;
};

// Declares the flags on `app`, which fills `flags` in when it parses. `flags` outlives `app`.
void AddStartFlags(CLI::App& app, StartFlags& flags);

// Sets `start` and `inpainting` of `request`, reading the files that are named. InvalidArgument names
// the field whose file cannot be read, or is no .npy file of float32; all else is the server's to
// judge.
absl::Status FillStart(const StartFlags& flags, denoised::v1::GenerateRequest& request);

}  // namespace denoise
