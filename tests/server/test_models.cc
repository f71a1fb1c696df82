#include "tests/server/test_models.h"

#include <string>
#include <utility>

#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

Model MakeModel(std::string id, int classes) {
  VpOptions schedule_options;
  Schedule schedule = *Schedule::Create(schedule_options);
  SchedulerConfig scheduler;
  scheduler.schedule = schedule_options;
  scheduler.sampler.sampler = SamplerKind::kDdpm;
  scheduler.sampler.clip_sample = true;
  GaussianData data;
  if (classes > 0) data.means.assign(classes, 0.25);
  auto network = std::make_shared<GaussianNetwork>(schedule, data, 3, 8, 8);
  NetworkSpec spec = network->spec();
  spec.num_class_embeds = classes;
  ModelInfo info = {.source = "DDPMPipeline / UNet2DModel",
                    .spec = spec,
                    .schedule = std::move(schedule),
                    .scheduler = scheduler,
                    .default_sampler = scheduler.sampler,
                    .id2label = {},
                    .null_class_label = std::nullopt};
  return {std::move(info), std::move(id), "0123abcd", {std::move(network)}};
}

}  // namespace

ModelHandle UnconditionalModel() { return std::make_shared<Model>(MakeModel("faces", 0)); }

ModelHandle ClassConditionalModel() {
  Model model = MakeModel("emoji", 4);
  model.id2label = {{0, "a"}, {1, "b"}};
  model.null_class_label = 3;
  return std::make_shared<Model>(std::move(model));
}

std::vector<ModelHandle> TestModels() {
  return {UnconditionalModel(), ClassConditionalModel(),
          std::make_shared<Model>(MakeModel("labels", 4))};
}

}  // namespace denoise
