#include "server/jobs/ranks/run_document.h"

#include <ATen/ops/empty.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

constexpr absl::Duration kReadyTimeout = absl::Minutes(10);

enum Field {
  kSettings,
  kModelIndex,
  kUnetConfig,
  kSchedulerConfig,
  kPictures,
  kRolledBackTo,  // empty: never
  kStep,
  kState,
  kTensors,  // a line of name, tab and sizes for each tensor, in the order in which they follow
  kFields
};

absl::Status Malformed() {
  return absl::InvalidArgumentError("the leader has sent something that is not a run");
}

std::string Describe(const StateDict& tensors) {
  std::vector<std::string> lines;
  for (const auto& [name, tensor] : tensors) {
    lines.push_back(absl::StrCat(name, "\t", absl::StrJoin(tensor.sizes(), ",")));
  }
  return absl::StrJoin(lines, "\n");
}

absl::StatusOr<StateDict> EmptyTensors(const std::string& description) {
  StateDict tensors;
  for (const auto& line : absl::StrSplit(description, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, '\t');
    if (parts.size() != 2) return Malformed();
    std::vector<int64_t> sizes;
    for (const auto& size : absl::StrSplit(parts[1], ',', absl::SkipEmpty())) {
      if (!absl::SimpleAtoi(size, &sizes.emplace_back()) || sizes.back() < 0) return Malformed();
    }
    tensors[parts[0]] = at::empty(sizes, at::kFloat);
  }
  return tensors;
}

// One after another: a model's weights, moments and averages are large.
absl::Status BroadcastTensors(const StateDict& tensors, RankGroup& group, const Stopped& stopped) {
  for (const auto& [name, tensor] : tensors) {
    if (stopped()) return absl::CancelledError("the run was stopped before it began");
    RETURN_IF_ERROR(group.Broadcast(tensor));
  }
  return absl::OkStatus();
}

}  // namespace

std::string RankVersion() { return "denoised " DENOISED_VERSION ", ranks 2"; }

absl::Status SendRun(const RunDocument& run, RankGroup& group, const Stopped& stopped) {
  std::vector<std::string> texts(kFields);
  texts[kSettings] = run.settings.SerializeAsString();
  texts[kModelIndex] = run.model.model_index;
  texts[kUnetConfig] = run.model.unet_config;
  texts[kSchedulerConfig] = run.model.scheduler_config;
  texts[kPictures] = absl::StrCat(run.pictures);
  if (run.rolled_back_to) texts[kRolledBackTo] = absl::StrCat(*run.rolled_back_to);
  texts[kStep] = absl::StrCat(run.snapshot.step);
  texts[kState] = run.snapshot.state;
  texts[kTensors] = Describe(run.snapshot.tensors);
  RETURN_IF_ERROR(group.Broadcast(texts));
  RETURN_IF_ERROR(BroadcastTensors(run.snapshot.tensors, group, stopped));
  return group.AwaitOthers(kReadyTimeout);
}

absl::StatusOr<RunDocument> ReceiveRun(RankGroup& group) {
  std::vector<std::string> texts;
  RETURN_IF_ERROR(group.Broadcast(texts));
  RunDocument run;
  if (texts.size() != kFields || !run.settings.ParseFromString(texts[kSettings]) ||
      !absl::SimpleAtoi(texts[kPictures], &run.pictures) ||
      !absl::SimpleAtoi(texts[kStep], &run.snapshot.step)) {
    return Malformed();
  }
  if (!texts[kRolledBackTo].empty() &&
      !absl::SimpleAtoi(texts[kRolledBackTo], &run.rolled_back_to.emplace())) {
    return Malformed();
  }
  run.model = {.model_index = std::move(texts[kModelIndex]),
               .unet_config = std::move(texts[kUnetConfig]),
               .scheduler_config = std::move(texts[kSchedulerConfig])};
  run.snapshot.state = std::move(texts[kState]);
  ASSIGN_OR_RETURN(run.snapshot.tensors, EmptyTensors(texts[kTensors]));
  RETURN_IF_ERROR(BroadcastTensors(run.snapshot.tensors, group, [] { return false; }));
  return run;
}

}  // namespace denoise
