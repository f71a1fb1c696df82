// The mix of a benchmark: kinds of requests, and how often each comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/load_request.h"
#include "client/bench/seeded_random.h"
#include "denoised/v1/models.pb.h"

namespace denoise {

struct MixEntry {
  double weight = 1;  // relative to that of the other entries; above 0
  LoadRequest request;
  // Each request gets one of these, at random, in place of what `request` has.
  std::vector<std::string> prompts;
  std::vector<int64_t> class_labels;
};

using Mix = std::vector<MixEntry>;

// Parses a JSON list of entries; docs/bench.md lists their keys. InvalidArgument names the entry
// and the key ("[2].steps").
absl::StatusOr<Mix> ParseMix(std::string_view json);

// Requests of 5, 10, 20 and 50 steps; the more steps, the fewer requests. Frames come every five
// steps.
Mix DefaultMix();

// Fills in what `model` needs and `entry` leaves open: its name, a prompt, classes.
void CompleteEntry(const denoised::v1::Model& model, MixEntry& entry);

// A request of `mix`, which is not empty.
LoadRequest DrawRequest(const Mix& mix, SeededRandom& random);

}  // namespace denoise
