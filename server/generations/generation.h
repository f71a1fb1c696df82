// One generation, as the classes of this folder share it. Internal to server/generations.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "core/base/object_count.h"
#include "denoised/v1/generations.pb.h"
#include "server/engine/engine.h"
#include "server/generations/generation_log.h"
#include "server/generations/generations.h"
#include "server/requests/request_digest.h"
#include "server/requests/sample_budget.h"

namespace denoise {

inline constexpr std::string_view kGenerationPrefix = "generations/";

// "generations/" and the id.
std::string GenerationName(std::string_view id);

// Mutable fields are guarded by the mutex of Generations.
struct Generation {
  const std::string id;
  const std::string tenant;
  const std::string trace_id;         // of the call that started it here
  const std::string origin_trace_id;  // of the one that began it, here or on another server
  const std::string full_name;        // "tenants/acme/generations/17"
  const int64_t number;               // in order of arrival
  const RequestDigest digest;
  const bool continues_without_readers;
  const bool kept;  // after its end, however that comes
  const PictureEncoding encoding;
  const int64_t sample_bytes;                     // of one picture
  const std::shared_ptr<const SamplerPlan> plan;  // null where it is not handed over
  // As its first caller sent it, for a handover; else without a field.
  const denoised::v1::GenerateRequest request;
  const bool accepts_handover;  // its first caller does, whether or not there is room for one
  const int64_t token_bytes;    // the most that a token of it takes; 0: it has none
  const absl::Time arrival;
  GenerationLog log;

  const CountedObject counted;

  SampleBudget::Reservation reservation;
  int readers = 0;
  std::optional<Engine::Id> engine_id;  // once the engine has it
  bool cancel_requested = false;
  bool pause_requested = false;
  bool indexed = false;    // it can be found
  int64_t kept_bytes = 0;  // that are counted for it
};

using GenerationRef = std::shared_ptr<Generation>;

// What a description needs of a generation besides its log and what is constant: a copy that is
// made under the mutex, and described without it.
struct ListedGeneration {
  GenerationRef generation;
  int readers;
  bool cancel_requested;
};
ListedGeneration ListedNow(const GenerationRef& generation);

// Whether a retry gets this generation, which runs, has succeeded or is paused. After a failure, it
// starts a new one.
bool CanBeJoined(const Generation& generation);

// Whether the token was made of this generation, or of what it continues: with the same seed and
// model version, a request is the same generation on all servers.
bool IsSameGeneration(const Presented& token, const Generation& generation);

// Whether the token continues this generation, which is paused: not one with less work in it, which
// would be done twice.
bool ContinuesPause(const Presented& token, const Generation& generation);

// The largest event that a reader may still get: a picture, or the token of a pause.
int64_t LargestEventBytes(const Generation& generation);

// Whether it is kept after its end, of which `now` tells: if a caller can come back to it. The token
// of a pause can be asked for again.
bool IsKept(const Generation& generation, const GenerationLog::Snapshot& now);

// How long generations are kept after their end.
struct KeepTimes {
  absl::Duration result;
  absl::Duration pause;  // as long as the token is good, for callers who have lost it
};
// Until when one is kept that has ended.
absl::Time ExpiryOf(const GenerationLog::Snapshot& now, const KeepTimes& keep_times);

// The generation as `viewer` sees it.
denoised::v1::Generation Describe(const ListedGeneration& listed, const Identity& viewer,
                                  bool with_timesteps, const KeepTimes& keep_times);

}  // namespace denoise
