#include "tests/server/test_models.h"

#include <string>
#include <utility>

#include "core/codec/identity_codec.h"
#include "tests/support/gaussian_network.h"

namespace denoise {
namespace {

struct Made {
  Model model;
  std::shared_ptr<const Network> network;
};

Made Make(std::string id, int classes) {
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
                    .codec = IdentityCodec(spec.sample.channels)->spec(),
                    .schedule = std::move(schedule),
                    .scheduler = scheduler,
                    .default_sampler = scheduler.sampler,
                    .id2label = {},
                    .null_class_label = std::nullopt};
  return {{std::move(info), std::move(id), "0123abcd"}, std::move(network)};
}

LoadedModelHandle Load(Made made) {
  return std::make_shared<LoadedModel>(LoadedModel{std::make_shared<Model>(std::move(made.model)),
                                                   {PixelPipeline(std::move(made.network))}});
}

}  // namespace

LoadedModelHandle UnconditionalModel() { return Load(Make("faces", 0)); }

LoadedModelHandle ClassConditionalModel() {
  Made made = Make("emoji", 4);
  made.model.id2label = {{0, "a"}, {1, "b"}};
  made.model.null_class_label = 3;
  return Load(std::move(made));
}

std::vector<LoadedModelHandle> TestModels() {
  return {UnconditionalModel(), ClassConditionalModel(), Load(Make("labels", 4))};
}

}  // namespace denoise
