#include "server/jobs/runs/picture_run.h"

#include <utility>

#include "core/base/check.h"

namespace denoise {

std::vector<Conditioning> SpreadOverClasses(const NetworkSpec& network,
                                            std::optional<int64_t> null_class_label,
                                            double guidance_scale) {
  std::vector<Conditioning> conditionings;
  for (int64_t label = 0; label < network.num_class_embeds; ++label) {
    if (label == null_class_label) continue;
    conditionings.push_back(
        {.conditions = {{ClassCondition(label)}},
         .unconditional = null_class_label ? ClassCondition(*null_class_label) : nullptr,
         .guidance = {.scale = guidance_scale}});
  }
  if (conditionings.empty()) conditionings.emplace_back();
  return conditionings;
}

PictureRun::PictureRun(std::shared_ptr<const Network> network,
                       std::shared_ptr<DeviceRuntime> runtime, const PictureOrder& order,
                       int max_rows)
    : network_(std::move(network)),
      run_(*network_, std::move(runtime), order.plan, order.count, max_rows,
           [seed = order.seed, conditionings = order.conditionings](int64_t i) {
             return SampleRequest{.seed = seed + static_cast<uint64_t>(i),
                                  .conditioning = conditionings[i % conditionings.size()]};
           }) {
  DENOISE_DCHECK(!order.conditionings.empty() && order.count >= 1);
}

}  // namespace denoise
