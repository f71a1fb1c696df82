#include "server/jobs/settings/new_network.h"

#include <string>
#include <utility>
#include <vector>

#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "core/io/new_model.h"
#include "core/nn/unet2d.h"
#include "core/sampling/options/option_names.h"

namespace denoise {
namespace {

using denoised::v1::Dataset;
using denoised::v1::NewNetwork;

absl::StatusOr<std::vector<std::string>> ClassesOf(const NewNetwork& network,
                                                   const Dataset& data_set) {
  std::vector<std::string> names;
  if (!network.class_conditional()) return names;
  for (const auto& data_class : data_set.report().classes()) {
    names.push_back(data_class.display_name());
  }
  if (names.empty()) return InvalidField("class_conditional", "the data set has no classes");
  return names;
}

absl::StatusOr<NewModelOptions> OptionsOf(const NewNetwork& network, const Dataset& data_set) {
  if (network.no_attention() && !network.attention_levels().empty()) {
    return InvalidField("no_attention", "must not be set together with attention_levels");
  }
  NewModelOptions options;
  options.height = network.height();
  options.width = network.width();
  options.channels = network.channels();
  options.block_out_channels = {network.block_out_channels().begin(),
                                network.block_out_channels().end()};
  if (network.no_attention() || !network.attention_levels().empty()) {
    options.attention_levels.emplace(network.attention_levels().begin(),
                                     network.attention_levels().end());
  }
  options.layers_per_block = network.layers_per_block();
  options.noise_schedule = network.noise_schedule();
  options.num_train_timesteps = network.num_train_timesteps();
  options.prediction_type = network.prediction_type();
  options.learned_variance = network.learned_variance();
  options.scale_shift_norm = network.scale_shift_norm();
  ASSIGN_OR_RETURN(options.class_names, ClassesOf(network, data_set));
  return options;
}

void FillIn(NewNetwork& network, const Dataset& data_set) {
  const NewModelOptions defaults;
  if (!network.has_channels()) network.set_channels(static_cast<int32_t>(defaults.channels));
  if (network.block_out_channels().empty()) {
    for (const int64_t channels : defaults.block_out_channels) {
      network.add_block_out_channels(static_cast<int32_t>(channels));
    }
  }
  if (!network.has_layers_per_block()) {
    network.set_layers_per_block(static_cast<int32_t>(defaults.layers_per_block));
  }
  if (network.noise_schedule().empty()) network.set_noise_schedule(defaults.noise_schedule);
  if (!network.has_num_train_timesteps()) {
    network.set_num_train_timesteps(static_cast<int32_t>(defaults.num_train_timesteps));
  }
  if (!network.has_class_conditional()) {
    network.set_class_conditional(!data_set.report().classes().empty());
  }
}

// Fills in what follows from the other options, as NewModel has chosen it.
void FillInFrom(const ModelDescription& description, NewNetwork& network) {
  network.set_prediction_type(std::string(NameOf(description.scheduler.sampler.prediction_type)));
  if (network.no_attention()) return;
  network.clear_attention_levels();
  for (size_t level = 0; level < description.unet.down_blocks.size(); ++level) {
    if (description.unet.down_blocks[level].attention) {
      network.add_attention_levels(static_cast<int32_t>(level));
    }
  }
}

}  // namespace

absl::StatusOr<ParsedModel> MakeNewModel(NewNetwork& network, const Dataset& data_set,
                                         uint64_t seed) {
  FillIn(network, data_set);
  ASSIGN_OR_RETURN(const NewModelOptions options, OptionsOf(network, data_set));
  ASSIGN_OR_RETURN(ParsedModel model, NewModel(options));
  FillInFrom(model.description(), network);
  model.SetWeights(InitializeUNet2D(model.description().unet, seed));
  return model;
}

}  // namespace denoise
