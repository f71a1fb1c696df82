// The metrics that tests look at, as server/telemetry names them.
#pragma once

namespace denoise {

inline constexpr char kActiveRows[] = "denoised_active_rows";
inline constexpr char kQueueDepth[] = "denoised_queue_depth";
inline constexpr char kEvaluations[] = "denoised_evaluations_total";
inline constexpr char kRows[] = "denoised_rows_per_evaluation_sum";
inline constexpr char kGuidanceRowsSaved[] = "denoised_guidance_rows_saved_total";
inline constexpr char kTrajectories[] = "denoised_trajectories_per_evaluation_sum";
inline constexpr char kNetworkSeconds[] = "denoised_evaluation_seconds_sum";
inline constexpr char kOverheadSeconds[] = "denoised_worker_overhead_seconds_total";
inline constexpr char kRequests[] = "denoised_requests_total";
inline constexpr char kModelsLoaded[] = "denoised_models_loaded";
inline constexpr char kModelsBroken[] = "denoised_models_broken";

inline constexpr char kOutcomeLabel[] = "outcome";
inline constexpr char kOutcomeOk[] = "OK";
inline constexpr char kOutcomeCancelled[] = "CANCELLED";
inline constexpr char kOutcomeInvalidArgument[] = "INVALID_ARGUMENT";
inline constexpr char kOutcomeUnavailable[] = "UNAVAILABLE";

}  // namespace denoise
