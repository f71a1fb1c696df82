// One request of a benchmark: what it asks for, for whom, and how its answer is read.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/time.h"
#include "core/json/config_reader.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// How fast a client takes what the server sends. By default, as fast as it comes.
struct ReadPace {
  double pause_seconds = 0;     // after every message
  double bytes_per_second = 0;  // 0: no limit

  bool slow() const { return pause_seconds > 0 || bytes_per_second > 0; }
  // How long to wait after a message of `bytes`: at most a minute.
  absl::Duration PauseAfter(size_t bytes) const;

  bool operator==(const ReadPace&) const = default;
};

struct LoadRequest {
  std::string entry;  // of the mix that it was drawn from
  denoised::v1::GenerateRequest request;
  std::string tenant;                                  // empty: none
  absl::Duration deadline = absl::InfiniteDuration();  // from its arrival
  ReadPace pace;
};

// Reads the keys that an entry of a mix and a line of a trace have in common. What is wrong is left
// in `reader`. Without "name", the entry is named for what sets it apart: "20 steps, batch".
void ReadLoadRequest(ConfigReader& reader, LoadRequest& request);

// The same keys. Reading them gives an equal request.
nlohmann::ordered_json LoadRequestToJson(const LoadRequest& request);

// "interactive", "normal" or "batch"; "normal" if none is set.
std::string PriorityName(denoised::v1::Priority priority);

}  // namespace denoise
