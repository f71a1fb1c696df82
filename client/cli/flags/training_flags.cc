#include "client/cli/flags/training_flags.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/cli/error_report.h"

namespace denoise {
namespace {

constexpr char kNetwork[] = "New network";
constexpr char kObjective[] = "Objective";
constexpr char kOptimizer[] = "Optimizer";
constexpr char kLength[] = "Length and batches";
constexpr char kData[] = "Augmentation";
constexpr char kPolicies[] = "Checkpoints, samples, evaluations";
constexpr char kJob[] = "Job";

constexpr MessageFlag kTrainingFlags[] = {
    {"-d,--dataset", "training.dataset", "The data set, as `denoise datasets list` names it", kJob},
    {"--priority", "priority", "Jobs with a higher one run first. Default: 0", kJob},
    {"--request-id", "request_id", "Any text; makes it safe to send the same command again", kJob},

    {"-m,--base-model", "training.base_model", "Train this served model further", kNetwork},
    {"--height", "training.new_network.height", "Pixels of a new network's pictures", kNetwork},
    {"--width", "training.new_network.width", "The same across", kNetwork},
    {"--channels", "training.new_network.channels", "1 gray, 3 RGB. Default: 3", kNetwork},
    {"--block-out-channels", "training.new_network.block_out_channels",
     "Channels of each level, the finest first. Default: 64,128,128,128", kNetwork},
    {"--attention-levels", "training.new_network.attention_levels",
     "Levels with attention, 0 the finest. Default: those of 16 x 16 pixels and less", kNetwork},
    {"--no-attention", "training.new_network.no_attention", "None at all", kNetwork},
    {"--layers-per-block", "training.new_network.layers_per_block", "Default: 2", kNetwork},
    {"--noise-schedule", "training.new_network.noise_schedule",
     "linear, scaled_linear, squaredcos_cap_v2 (the default), sigmoid, edm or flow", kNetwork},
    {"--num-train-timesteps", "training.new_network.num_train_timesteps", "Default: 1000",
     kNetwork},
    {"--prediction-type", "training.new_network.prediction_type",
     "epsilon, sample, v_prediction or flow_prediction. Default: v_prediction, or what the noise "
     "schedule is made for",
     kNetwork},
    {"--learned-variance", "training.new_network.learned_variance",
     "Predict the variance, too (Nichol & Dhariwal 2021)", kNetwork},
    {"--class-conditional", "training.new_network.class_conditional",
     "Tell the network the classes; --class-conditional=false does not. Default: where the data "
     "set "
     "has any",
     kNetwork},
    {"--scale-shift-norm", "training.new_network.scale_shift_norm",
     "Time scales and shifts each block's second norm", kNetwork},

    {"--loss", "training.objective.loss",
     "Default: hybrid where the variance is learned, else simple", kObjective},
    {"--vlb-weight", "training.objective.vlb_weight", "Of L_vlb in the hybrid loss. Default: 0.001",
     kObjective},
    {"--weighting", "training.objective.weighting",
     "Of the error by signal-to-noise ratio. Default: uniform; edm on EDM's schedule", kObjective},
    {"--min-snr-gamma", "training.objective.min_snr_gamma", "Default: 5", kObjective},
    {"--p2-gamma", "training.objective.p2_gamma", "Default: 1", kObjective},
    {"--p2-k", "training.objective.p2_k", "Default: 1", kObjective},
    {"--timestep-sampling", "training.objective.timestep_sampling",
     "Default: uniform; log-normal on EDM's schedule", kObjective},
    {"--log-normal-mean", "training.objective.log_normal_mean", "Default: -1.2; on a flow 0",
     kObjective},
    {"--log-normal-std", "training.objective.log_normal_std", "Default: 1.2; on a flow 1",
     kObjective},
    {"--label-dropout", "training.objective.label_dropout",
     "The part of pictures whose class is taken away, so that guidance works. Default: 0.1",
     kObjective},

    {"--learning-rate", "training.optimizer.learning_rate", "Default: 0.0001", kOptimizer},
    {"--beta1", "training.optimizer.beta1", "Default: 0.9", kOptimizer},
    {"--beta2", "training.optimizer.beta2", "Default: 0.999", kOptimizer},
    {"--epsilon", "training.optimizer.epsilon", "Default: 1e-8", kOptimizer},
    {"--weight-decay", "training.optimizer.weight_decay", "Default: 0", kOptimizer},
    {"--max-gradient-norm", "training.optimizer.max_gradient_norm", "Default: 1; 0: no bound",
     kOptimizer},
    {"--warmup-steps", "training.optimizer.warmup_steps",
     "The learning rate rises over these. Default: 0", kOptimizer},
    {"--decay", "training.optimizer.decay", "Of the learning rate, to 0. Default: constant",
     kOptimizer},

    {"-n,--max-steps", "training.max_steps", "Steps of the optimizer", kLength},
    {"--max-duration", "training.max_duration", "Time of training that ends it earlier", kLength},
    {"-b,--batch-size", "training.batch_size", "Pictures a step. Default: 64", kLength},
    {"--micro-batch-size", "training.micro_batch_size",
     "Pictures a network call. Default: 8 on a CPU, else the batch size", kLength},
    {"-s,--seed", "training.seed", "Of everything random. Default: the server chooses", kLength},
    {"--ema-decays", "training.ema_decays", "Of the averages that are kept. Default: 0.999",
     kLength},
    {"--precision", "training.precision",
     "What the network computes in. Default: float32 on a CPU, else bfloat16", kLength},
    {"--max-non-finite-steps", "training.max_non_finite_steps",
     "As many in a row, and the job goes back to its last checkpoint. Default: 10", kLength},

    {"--horizontal-flip", "training.augmentation.horizontal_flip", "Mirror half of the pictures",
     kData},
    {"--random-crop-scale", "training.augmentation.random_crop_scale",
     "Take windows out of pictures this many times as large. Default: 1", kData},

    {"--checkpoint-every", "training.checkpoints.every_n_steps", "Steps. Default: 500", kPolicies},
    {"--keep-checkpoints", "training.checkpoints.keep", "The newest. Default: 2", kPolicies},
    {"--sample-every", "training.samples.every_n_steps", "Steps; 0: never. Default: 500",
     kPolicies},
    {"--sample-count", "training.samples.count", "Pictures of a grid. Default: 16", kPolicies},
    {"--sample-guidance-scale", "training.samples.guidance_scale", "Default: 2 where it can be",
     kPolicies},
    {"--evaluate-every", "training.evaluations.every_n_steps", "Steps; 0, the default: never",
     kPolicies},
    {"--evaluation-samples", "training.evaluations.settings.sample_count", "Default: 1000",
     kPolicies},
    {"--evaluation-features", "training.evaluations.settings.features",
     "Default: random-convolutions", kPolicies},
    {"--evaluation-bits-per-dim", "training.evaluations.settings.bits_per_dim_pictures",
     "Bits per dimension of as many pictures, too", kPolicies},
};

constexpr MessageFlag kEvaluationFlags[] = {
    {"-m,--model", "evaluation.model", "Which model. Default: the only one that is served"},
    {"-d,--dataset", "evaluation.dataset", "What its pictures are compared with"},
    {"-n,--samples", "evaluation.sample_count",
     "Pictures to make; as many of the data set are taken. Default: 1000, or all there are"},
    {"-g,--guidance-scale", "evaluation.guidance_scale", "Default: no guidance"},
    {"-s,--seed", "evaluation.seed", "Image i is made from seed S + i"},
    {"--features", "evaluation.features",
     "What pictures are compared by. Default: random-convolutions"},
    {"--nearest-neighbours", "evaluation.nearest_neighbours",
     "Of precision, recall, density and coverage. Default: 5"},
    {"--bits-per-dim", "evaluation.bits_per_dim_pictures",
     "The variational bound of as many pictures of the data set, too"},
    {"--priority", "priority", "Jobs with a higher one run first. Default: 0"},
};

std::string FlagOfJobField(std::span<const MessageFlag> flags, std::string_view sampler_prefix,
                           std::string_view field) {
  if (field == "labels") return "--label";
  const size_t bracket = std::min(field.find('['), field.size());
  if (std::string flag = FlagOf(flags, field.substr(0, bracket)); !flag.empty()) {
    return flag.append(field.substr(bracket));
  }
  if (field.starts_with(sampler_prefix)) {
    return FlagOfField(std::string("sampler.").append(field.substr(sampler_prefix.size())));
  }
  return std::string(field);
}

}  // namespace

std::span<const MessageFlag> TrainingFlags() { return kTrainingFlags; }
std::span<const MessageFlag> EvaluationFlags() { return kEvaluationFlags; }

std::string FlagOfTrainingField(std::string_view field) {
  return FlagOfJobField(kTrainingFlags, "training.samples.sampler.", field);
}

std::string FlagOfEvaluationField(std::string_view field) {
  return FlagOfJobField(kEvaluationFlags, "evaluation.sampler.", field);
}

}  // namespace denoise
