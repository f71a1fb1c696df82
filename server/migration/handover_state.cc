#include "server/migration/handover_state.h"

#include <ATen/ops/empty.h>

#include <bit>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/sha256.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

static_assert(std::endian::native == std::endian::little, "slots are little-endian");

absl::Status Unsuitable(std::string_view why) {
  return WithErrorReason(
      absl::FailedPreconditionError(absl::StrCat(
          "this server cannot continue the generation: ", absl::string_view(why.data(), why.size()),
          ". Send the request again without handover")),
      "HANDOVER_UNSUITABLE");
}

std::string HashOf(const SamplerPlan& plan) {
  Sha256 hash;
  hash.Update(PlanToJson(plan));
  return hash.Finish();
}

std::string ToBytes(const at::Tensor& slots) {
  return {reinterpret_cast<const char*>(slots.const_data_ptr<float>()), slots.nbytes()};
}

absl::StatusOr<at::Tensor> FromBytes(const std::string& bytes, int slots,
                                     const SampleShape& shape) {
  const int64_t expected = slots * shape.numel() * static_cast<int64_t>(sizeof(float));
  if (static_cast<int64_t>(bytes.size()) != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat("the slots take ", bytes.size(), " bytes, must take ", expected));
  }
  at::Tensor tensor = at::empty({slots, shape.channels, shape.height, shape.width}, at::kFloat);
  std::memcpy(tensor.mutable_data_ptr<float>(), bytes.data(), bytes.size());
  return tensor;
}

absl::StatusOr<TrajectorySnapshot> ToSnapshot(const BegunImage& image, const SamplerPlan& plan,
                                              const SampleShape& shape) {
  TrajectorySnapshot snapshot{.evaluations_done = image.evaluations_done(), .slots = {}};
  ASSIGN_OR_RETURN(snapshot.slots, FromBytes(image.slots(), plan.slots, shape));
  RETURN_IF_ERROR(CheckSnapshot(snapshot, plan, shape));
  return snapshot;
}

// Of images 0 to count - 1, each at most once.
class ImageIndices {
 public:
  explicit ImageIndices(int count) : count_(count) {}

  absl::Status Add(int index) {
    if (index >= 0 && index < count_ && seen_.insert(index).second) return absl::OkStatus();
    return Unsuitable(
        absl::StrCat("image ", index, " is none of its ", count_, " images, or is named twice"));
  }

 private:
  const int count_;
  std::set<int> seen_;
};

absl::StatusOr<Continuation> ReadImages(const HandoverState& state,
                                        const GenerationRequest& generation) {
  Continuation done;
  ImageIndices indices(generation.count);
  for (const int index : state.images_done()) {
    RETURN_IF_ERROR(indices.Add(index));
    done.images_done.push_back(index);
  }
  for (const BegunImage& image : state.images_begun()) {
    RETURN_IF_ERROR(indices.Add(image.image_index()));
    absl::StatusOr<TrajectorySnapshot> snapshot =
        ToSnapshot(image, *generation.plan, generation.shape);
    if (!snapshot.ok()) {
      return Unsuitable(
          absl::StrCat("image ", image.image_index(), ": ", snapshot.status().message()));
    }
    done.images_begun.push_back({image.image_index(), *std::move(snapshot)});
  }
  return done;
}

absl::Status CheckVersion(std::string_view name, std::string_view there, std::string_view here) {
  if (there == here) return absl::OkStatus();
  return Unsuitable(
      absl::StrCat(std::string(name), " has another version here than where it began"));
}

absl::Status CheckSame(const v1::Accepted& there, const v1::Accepted& here) {
  RETURN_IF_ERROR(CheckVersion(there.model(), there.model_version(), here.model_version()));
  if (there.adapters_size() != here.adapters_size())
    return Unsuitable("it has other adapters here");
  for (int i = 0; i < there.adapters_size(); ++i) {
    RETURN_IF_ERROR(CheckVersion(there.adapters(i).name(), there.adapters(i).version(),
                                 here.adapters(i).version()));
  }
  return absl::OkStatus();
}

int EvaluationsDone(const Continuation& done, const SamplerPlan& plan) {
  size_t evaluations = done.images_done.size() * plan.evaluations.size();
  for (const ImageSnapshot& image : done.images_begun) {
    evaluations += image.trajectory.evaluations_done;
  }
  return static_cast<int>(evaluations);
}

}  // namespace

HandoverState MakeHandoverState(const v1::GenerateRequest& request, const v1::Accepted& accepted,
                                const SamplerPlan& plan, const Continuation& done,
                                int64_t next_sequence, const std::string& trace_id) {
  HandoverState state;
  state.set_trace_id(trace_id);
  *state.mutable_request() = request;
  *state.mutable_accepted() = accepted;
  state.set_plan_hash(HashOf(plan));
  state.set_next_sequence(next_sequence);
  for (const int index : done.images_done) state.add_images_done(index);
  for (const auto& [index, trajectory] : done.images_begun) {
    BegunImage& image = *state.add_images_begun();
    image.set_image_index(index);
    image.set_evaluations_done(trajectory.evaluations_done);
    image.set_slots(ToBytes(trajectory.slots));
  }
  return state;
}

absl::StatusOr<HandoverState> ParseHandoverState(std::string_view content) {
  HandoverState state;
  if (!state.ParseFromArray(content.data(), static_cast<int>(content.size()))) {
    return Unsuitable("what was handed over is of a release that this server does not read");
  }
  return state;
}

int64_t EvaluationsDone(const HandoverState& state) {
  int64_t evaluations = int64_t{state.images_done_size()} * state.accepted().evaluations();
  for (const BegunImage& image : state.images_begun()) evaluations += image.evaluations_done();
  return evaluations;
}

v1::GenerateRequest RequestToResolve(const HandoverState& state) {
  v1::GenerateRequest request = state.request();
  request.set_model(state.accepted().model());  // the very version, where a name stands for several
  if (state.accepted().steps_requested() > 0) {  // fewer fitted the deadline of the first call
    request.mutable_sampler()->set_steps(state.accepted().sampler().steps());
    request.set_allow_fewer_steps(false);
  }
  return request;
}

absl::Status ContinueFrom(const HandoverState& state, ResolvedRequest& resolved) {
  RETURN_IF_ERROR(CheckSame(state.accepted(), resolved.accepted));
  if (state.plan_hash() != HashOf(*resolved.generation.plan)) {
    return Unsuitable("its release compiles the sampler to another plan");
  }
  if (state.next_sequence() < 0) return Unsuitable("its events have negative numbers");
  GenerationRequest& generation = resolved.generation;
  ASSIGN_OR_RETURN(generation.continues_from, ReadImages(state, generation));
  resolved.first_sequence = state.next_sequence();
  resolved.accepted = state.accepted();
  resolved.accepted.set_evaluations_done(
      EvaluationsDone(generation.continues_from, *generation.plan));
  return absl::OkStatus();
}

}  // namespace denoise
