// What `denoise generate` and the commands akin to it were told: tables of the flags of their
// requests, and what else they take.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cli/flags/connection_flags.h"
#include "client/cli/flags/message_flags.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

// Every field of GenerateRequest, and of DiffuseRequest.
const FlagTable& GenerateTable();
const FlagTable& DiffuseTable();
// The fields of GenerateRequest that `roundtrip` and `sweep` let people choose.
const FlagTable& RoundTripTable();
const FlagTable& SweepTable();
// Those of them that one side of a sweep's grid may change.
const FlagTable& SweepAxisTable();

struct OutputFlags {
  std::string out;         // empty: "out", or the next that is free
  bool overwrite = false;  // files of an earlier run in `out`
  bool json = false;
  bool no_picture = false;
};

// `request` is as far as parsing could take it; BuildGenerateRequest does the rest.
struct GenerateFlags {
  ConnectionFlags connection;
  denoised::v1::GenerateRequest request;
  GivenFlags given;
  OutputFlags output;
  bool detach = false;    // leave once the server has accepted the request
  std::string resume;     // a file with a token, instead of a request
  std::string animation;  // a file, .webp or .gif; empty: denoising.webp in the folder
};

// Declare the flags of a command on `app`, which fills `flags` when it parses. `flags` outlives
// `app`.
void AddGenerateFlags(CLI::App& app, GenerateFlags& flags);
void AddRoundTripFlags(CLI::App& app, GenerateFlags& flags);
void AddSweepFlags(CLI::App& app, GenerateFlags& flags);
void AddSweepAxisFlags(CLI::App& app, GenerateFlags& flags);

// --out, --overwrite and --json.
void AddOutputFlags(CLI::App& app, OutputFlags& flags);
// --overwrite alone, for a command that writes to `what` ("--out").
CLI::Option* AddOverwriteFlag(CLI::App& app, bool& overwrite, const char* what = "--out");

// The request for these flags of the command that has `table`. InvalidArgument for what can only be
// checked here: names of classes, and files. Everything else is for the server to judge.
absl::StatusOr<denoised::v1::GenerateRequest> BuildGenerateRequest(
    const FlagTable& table, const GenerateFlags& flags, const denoised::v1::Model& model);

}  // namespace denoise
