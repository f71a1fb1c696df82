#include "server/rpc/model_conversion.h"

#include <string>

#include "core/sampling/options/option_names.h"
#include "core/sampling/options/sampler_overrides.h"
#include "proto/conversion/sampler_proto.h"

namespace denoise {
namespace {

// Every label but the one that stands for no class.
void AddClasses(const Model& model, denoised::v1::Model& proto) {
  for (int64_t label = 0; label < model.spec.num_class_embeds; ++label) {
    if (label == model.null_class_label) continue;
    auto& entry = *proto.add_classes();
    entry.set_label(static_cast<int32_t>(label));
    if (const auto name = model.id2label.find(label); name != model.id2label.end()) {
      entry.set_display_name(name->second);
    }
  }
}

}  // namespace

denoised::v1::Model ModelToProto(const Model& model) {
  denoised::v1::Model proto;
  proto.set_name(ModelName(model.id));
  proto.set_version(model.version);
  proto.set_channels(static_cast<int32_t>(model.spec.in_channels));
  proto.set_height(static_cast<int32_t>(model.spec.height));
  proto.set_width(static_cast<int32_t>(model.spec.width));
  AddClasses(model, proto);
  proto.set_supports_guidance(model.null_class_label.has_value());
  proto.set_parameter_count(model.spec.num_parameters);
  *proto.mutable_default_sampler() = SamplerToProto(EffectiveOverrides(model.default_sampler));
  proto.set_num_train_timesteps(model.schedule.num_train_timesteps());
  proto.set_prediction_type(std::string(NameOf(model.default_sampler.prediction_type)));
  proto.set_source(model.source);
  return proto;
}

}  // namespace denoise
