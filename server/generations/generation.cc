#include "server/generations/generation.h"

#include <algorithm>

#include "core/base/error_details.h"
#include "proto/conversion/time_proto.h"
#include "server/telemetry/log.h"

namespace denoise {

namespace v1 = denoised::v1;

namespace {

v1::Generation::State StateOf(bool cancel_requested, const GenerationLog::Snapshot& now) {
  if (!now.ended) {
    if (cancel_requested) return v1::Generation::CANCELLING;
    return now.started ? v1::Generation::RUNNING : v1::Generation::QUEUED;
  }
  if (now.paused) return v1::Generation::PAUSED;
  if (now.status.ok()) return v1::Generation::SUCCEEDED;
  return absl::IsCancelled(now.status) ? v1::Generation::CANCELLED : v1::Generation::FAILED;
}

std::string PublicError(const absl::Status& status) {
  if (WithholdsMessage(status)) return "internal error; the server's log explains it";
  return std::string(status.message());
}

}  // namespace

std::string GenerationName(std::string_view id) {
  return std::string(kGenerationPrefix).append(id);
}

std::string_view GenerationId(std::string_view name) {
  if (name.starts_with(kGenerationPrefix)) name.remove_prefix(kGenerationPrefix.size());
  return name;
}

ListedGeneration ListedNow(const GenerationRef& generation) {
  return {generation, generation->readers, generation->cancel_requested};
}

bool CanBeJoined(const Generation& generation) {
  const GenerationLog::Snapshot now = generation.log.snapshot();
  return now.ended ? now.status.ok() || now.paused : !generation.cancel_requested;
}

bool IsSameGeneration(const Presented& token, const Generation& generation) {
  const v1::Accepted& accepted = generation.log.accepted();
  return token.seed == accepted.seed() && token.model_version == accepted.model_version();
}

bool ContinuesPause(const Presented& token, const Generation& generation) {
  const GenerationLog::Snapshot now = generation.log.snapshot();
  return now.paused && now.ended && token.evaluations_done >= now.evaluations_handed_over;
}

int64_t LargestEventBytes(const Generation& generation) {
  const GenerationLog::Snapshot now = generation.log.snapshot();
  const bool may_be_paused = !now.ended || now.paused;
  return std::max(generation.sample_bytes, may_be_paused ? generation.token_bytes : 0);
}

bool IsKept(const Generation& generation, const GenerationLog::Snapshot& now) {
  return generation.kept || now.paused;
}

absl::Time ExpiryOf(const GenerationLog::Snapshot& now, const KeepTimes& keep_times) {
  return *now.ended + (now.paused ? keep_times.pause : keep_times.result);
}

v1::Generation Describe(const ListedGeneration& listed, const Identity& viewer, bool with_timesteps,
                        const KeepTimes& keep_times) {
  const Generation& generation = *listed.generation;
  const GenerationLog::Snapshot now = generation.log.snapshot();
  v1::Generation proto;
  proto.set_name(NameFor(viewer, generation.full_name));
  proto.set_state(StateOf(listed.cancel_requested, now));
  if (proto.state() == v1::Generation::FAILED) proto.set_error(PublicError(now.status));
  *proto.mutable_accepted() = generation.log.accepted();
  proto.mutable_accepted()->set_generation(proto.name());
  if (!with_timesteps) proto.mutable_accepted()->clear_timesteps();
  proto.set_on_disconnect(generation.continues_without_readers ? v1::ON_DISCONNECT_DETACH
                                                               : v1::ON_DISCONNECT_CANCEL);
  proto.mutable_progress()->set_steps_done(now.progress.steps_done);
  proto.mutable_progress()->set_steps_total(now.progress.steps_total);
  proto.mutable_progress()->set_images_done(now.progress.images_done);
  proto.set_last_sequence(now.last_sequence);
  proto.set_readers(listed.readers);
  *proto.mutable_create_time() = ToProto(generation.arrival);
  if (now.started) *proto.mutable_start_time() = ToProto(*now.started);
  if (now.ended) *proto.mutable_end_time() = ToProto(*now.ended);
  if (now.ended && IsKept(generation, now))
    *proto.mutable_expire_time() = ToProto(ExpiryOf(now, keep_times));
  return proto;
}

}  // namespace denoise
