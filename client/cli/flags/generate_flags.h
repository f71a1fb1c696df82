// What `denoise generate` was told on the command line.
#pragma once

#include <CLI/App.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/start_flags.h"
#include "core/sampling/options/sampler_overrides.h"

namespace denoise {

// Absent: the server's default. Names are checked when they are parsed; numbers are the server's to
// judge.
struct GenerateFlags {
  ConnectionFlags connection;
  std::string model;                         // empty: the only one served
  std::optional<std::string> class_label;    // a name or an index
  std::optional<std::string> class_weights;  // "animals=0.7,5=0.3"
  std::optional<int32_t> count;
  std::optional<uint64_t> seed;
  SamplerOverrides sampler;
  std::optional<double> guidance_scale;
  std::optional<double> guidance_min;
  std::optional<double> guidance_max;
  std::optional<double> guidance_sigma_min;
  std::optional<double> guidance_sigma_max;
  double guidance_rescale = 0;
  StartFlags start;
  int32_t frames = 0;                             // every n-th step; 0: none
  std::vector<std::string> frame_kinds = {"x0"};  // "x0", "x_t"
  std::string frame_encoding = "png";             // "png", "jpeg", "webp", "npy"
  int32_t frame_max_bytes = 0;
  std::string format = "png";  // "png", "webp", "jpeg", "npy"
  std::string animation;       // a file, .webp or .gif; empty: denoising.webp in `out`
  std::string out = "out";
  bool json = false;
  bool no_picture = false;
};

void AddModelFlag(CLI::App& app, std::string& model);

// Declares the flags that say which picture a seed becomes: class, seed, sampler and guidance.
// `flags` outlives `app`.
void AddPictureFlags(CLI::App& app, GenerateFlags& flags);

// Declares the flags that say where and how pictures are written and what is shown meanwhile.
void AddOutputFlags(CLI::App& app, GenerateFlags& flags);

// Declares every flag of `denoise generate` on `app`, which fills `flags` in when it parses.
// `flags` outlives `app`.
void AddGenerateFlags(CLI::App& app, GenerateFlags& flags);

}  // namespace denoise
