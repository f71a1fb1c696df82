#include "client/cli/flags/training_flags.h"

#include <CLI/App.hpp>
#include <CLI/Option.hpp>

#include "client/cli/flags/sampler_flags.h"

namespace denoise {
namespace {

constexpr char kNetwork[] = "New network";
constexpr char kObjective[] = "Objective";
constexpr char kOptimizer[] = "Optimizer";
constexpr char kLength[] = "Length and batches";
constexpr char kAugmentation[] = "Augmentation";
constexpr char kPolicies[] = "Checkpoints, samples, evaluations";
constexpr char kJob[] = "Job";

FlagTable JobRows() {
  return {{"-d,--dataset",
           "training.dataset",
           "The data set to train on; `denoise datasets list` lists them",
           kJob,
           {.required = true}},
          {"--priority", "priority", "Jobs of higher priority run first. Default: 0", kJob},
          {"--request-id",
           "request_id",
           "Any text. A repeated command with the same text starts no second job",
           kJob,
           {.value = "TEXT"}},
          {"--label", "labels", "A label to find the job by; may be repeated", kJob}};
}

FlagTable NetworkRows() {
  return {
      {"-m,--base-model", "training.base_model", "Train this served model further", kNetwork},
      {"--height", "training.new_network.height",
       "Height of the images in pixels. Required without --base-model", kNetwork},
      {"--width", "training.new_network.width",
       "Width of the images in pixels. Required without --base-model", kNetwork},
      {"--channels", "training.new_network.channels", "1 for gray, 3 for RGB. Default: 3",
       kNetwork},
      {"--block-out-channels", "training.new_network.block_out_channels",
       "Channels of each level, the finest first. Default: 64,128,128,128", kNetwork},
      {"--attention-levels", "training.new_network.attention_levels",
       "Levels with attention; 0 is the finest. Default: those of at most 16 x 16 pixels",
       kNetwork},
      {"--no-attention", "training.new_network.no_attention", "No attention at any level",
       kNetwork},
      {"--layers-per-block", "training.new_network.layers_per_block",
       "Residual blocks per level. Default: 2", kNetwork},
      {"--noise-schedule", "training.new_network.noise_schedule",
       "linear, scaled_linear, squaredcos_cap_v2 (the default), sigmoid, edm or flow", kNetwork},
      {"--num-train-timesteps", "training.new_network.num_train_timesteps",
       "Timesteps of the noise schedule. Default: 1000", kNetwork},
      {"--prediction-type", "training.new_network.prediction_type",
       "What the network predicts: epsilon, sample, v_prediction or flow_prediction. Default: "
       "v_prediction, or the one made for the noise schedule",
       kNetwork},
      {"--learned-variance", "training.new_network.learned_variance",
       "Also predict the variance (Nichol & Dhariwal 2021)", kNetwork},
      {"--class-conditional", "training.new_network.class_conditional",
       "Condition the network on the classes; =false does not. Default: if the data set has any",
       kNetwork},
      {"--scale-shift-norm", "training.new_network.scale_shift_norm",
       "Let the timestep scale and shift the second norm of each block", kNetwork}};
}

FlagTable ObjectiveRows() {
  return {
      {"--loss", "training.objective.loss",
       "The loss. Default: hybrid if the variance is learned, otherwise simple", kObjective},
      {"--vlb-weight", "training.objective.vlb_weight",
       "Weight of L_vlb in the hybrid loss. Default: 0.001", kObjective},
      {"--weighting", "training.objective.weighting",
       "How the error is weighted by signal-to-noise ratio. Default: uniform; edm with the edm "
       "schedule",
       kObjective},
      {"--min-snr-gamma", "training.objective.min_snr_gamma",
       "Gamma of the min-snr weighting. Default: 5", kObjective},
      {"--p2-gamma", "training.objective.p2_gamma", "Gamma of the p2 weighting. Default: 1",
       kObjective},
      {"--p2-k", "training.objective.p2_k", "k of the p2 weighting. Default: 1", kObjective},
      {"--timestep-sampling", "training.objective.timestep_sampling",
       "How timesteps are drawn. Default: uniform; log-normal with the edm schedule", kObjective},
      {"--log-normal-mean", "training.objective.log_normal_mean",
       "Mean of log-normal sampling. Default: -1.2; 0 with the flow schedule", kObjective},
      {"--log-normal-std", "training.objective.log_normal_std",
       "Its standard deviation. Default: 1.2; 1 with the flow schedule", kObjective},
      {"--label-dropout", "training.objective.label_dropout",
       "Fraction of images trained without their class, which makes guidance possible. Default: "
       "0.1",
       kObjective}};
}

FlagTable OptimizerRows() {
  return {
      {"--learning-rate", "training.optimizer.learning_rate",
       "Learning rate of AdamW. Default: 0.0001", kOptimizer},
      {"--beta1", "training.optimizer.beta1", "beta1 of AdamW. Default: 0.9", kOptimizer},
      {"--beta2", "training.optimizer.beta2", "beta2 of AdamW. Default: 0.999", kOptimizer},
      {"--epsilon", "training.optimizer.epsilon", "epsilon of AdamW. Default: 1e-8", kOptimizer},
      {"--weight-decay", "training.optimizer.weight_decay", "Weight decay of AdamW. Default: 0",
       kOptimizer},
      {"--max-gradient-norm", "training.optimizer.max_gradient_norm",
       "Clip the norm of the gradient to this; 0 does not clip. Default: 1", kOptimizer},
      {"--warmup-steps", "training.optimizer.warmup_steps",
       "Steps over which the learning rate rises from 0. Default: 0", kOptimizer},
      {"--decay", "training.optimizer.decay",
       "How the learning rate falls to 0. Default: constant, it does not", kOptimizer}};
}

FlagTable LengthRows() {
  return {{"-n,--max-steps",
           "training.max_steps",
           "Optimizer steps to run",
           kLength,
           {.required = true}},
          {"--max-duration", "training.max_duration",
           "Stop earlier, after this much time spent training", kLength},
          {"-b,--batch-size", "training.batch_size", "Images per step. Default: 64", kLength},
          {"--micro-batch-size", "training.micro_batch_size",
           "Images per network call. Default: 8 on a CPU, otherwise the batch size", kLength},
          {"-s,--seed", "training.seed",
           "Seed of everything random. Default: the server chooses and reports it", kLength},
          {"--ema-decays", "training.ema_decays",
           "Decays of the averages of the weights to keep. Default: 0.999", kLength},
          {"--precision", "training.precision",
           "What the network computes in. Default: float32 on a CPU, otherwise bfloat16", kLength},
          {"--max-non-finite-steps", "training.max_non_finite_steps",
           "Go back to the last checkpoint after this many non-finite steps in a row. Default: 10",
           kLength}};
}

FlagTable AugmentationRows() {
  return {{"--horizontal-flip", "training.augmentation.horizontal_flip",
           "Mirror half of the images", kAugmentation},
          {"--random-crop-scale", "training.augmentation.random_crop_scale",
           "Resize images to this many times the model's size and crop at random. Default: 1",
           kAugmentation}};
}

FlagTable PolicyRows() {
  return {{"--checkpoint-every", "training.checkpoints.every_n_steps",
           "Steps between checkpoints. Default: 500", kPolicies},
          {"--keep-checkpoints", "training.checkpoints.keep",
           "How many of the newest checkpoints to keep. Default: 2", kPolicies},
          {"--sample-every", "training.samples.every_n_steps",
           "Steps between sample grids; 0 makes none. Default: 500", kPolicies},
          {"--sample-count", "training.samples.count", "Images per grid. Default: 16", kPolicies},
          {"--sample-guidance-scale", "training.samples.guidance_scale",
           "Guidance scale of the samples. Default: 2 if the model supports guidance", kPolicies},
          {"--evaluate-every", "training.evaluations.every_n_steps",
           "Steps between evaluations. Default: 0, none", kPolicies},
          {"--evaluation-samples", "training.evaluations.settings.sample_count",
           "Images to generate per evaluation. Default: 1000", kPolicies},
          {"--evaluation-features", "training.evaluations.settings.features",
           "Features that images are compared by. Default: random-convolutions", kPolicies},
          {"--evaluation-bits-per-dim", "training.evaluations.settings.bits_per_dim_pictures",
           "Also compute bits per dimension, on this many images of the data set", kPolicies}};
}

FlagTable EvaluationRows() {
  return {{"-m,--model", "evaluation.model",
           "The model to evaluate. Default: the only one that is served"},
          {"-d,--dataset",
           "evaluation.dataset",
           "The data set to compare its images with",
           "Options",
           {.required = true}},
          {"-n,--samples", "evaluation.sample_count",
           "Images to generate, compared with as many of the data set. Default: 1000, or all that "
           "there are"},
          {"-g,--guidance-scale", "evaluation.guidance_scale", "Default: no guidance"},
          {"-s,--seed",
           "evaluation.seed",
           "Image i is generated from seed S + i",
           "Options",
           {.value = "S"}},
          {"--features", "evaluation.features",
           "Features that images are compared by. Default: random-convolutions"},
          {"--nearest-neighbours", "evaluation.nearest_neighbours",
           "Neighbours for precision, recall, density and coverage. Default: 5"},
          {"--bits-per-dim", "evaluation.bits_per_dim_pictures",
           "Also compute bits per dimension, on this many images of the data set"},
          {"--priority", "priority", "Jobs of higher priority run first. Default: 0"}};
}

}  // namespace

const FlagTable& TrainingFlags() {
  static const auto* const table = new FlagTable(
      Join({JobRows(), NetworkRows(), ObjectiveRows(), OptimizerRows(), LengthRows(),
            AugmentationRows(), PolicyRows(), SamplerFlags("training.samples.sampler")}));
  return *table;
}

const FlagTable& EvaluationFlags() {
  static const auto* const table =
      new FlagTable(Join({EvaluationRows(), SamplerFlags("evaluation.sampler")}));
  return *table;
}

void RelateTrainingFlags(CLI::App& app) {
  for (const char* flag :
       {"--evaluation-samples", "--evaluation-features", "--evaluation-bits-per-dim"}) {
    app.get_option(flag)->needs(app.get_option("--evaluate-every"));
  }
  app.get_option("--height")->needs(app.get_option("--width"));
  app.get_option("--width")->needs(app.get_option("--height"));
  app.get_option("--no-attention")->excludes(app.get_option("--attention-levels"));
}

const FlagTable& PublishFlags() {
  static const auto* const table = new FlagTable{
      {"-m,--model",
       "model",
       "The model to create, or to replace by a new version",
       "Options",
       {.required = true}},
      {"--ema-decay", "ema_decay",
       "Which average of the weights, by its decay. Default: the one with the greatest decay"},
      {"--precision", "precision", "The precision of the weights in the file. Default: float32"},
      {"--allow-replace", "allow_replace",
       "Replace the model even if its shape, classes or schedule differ"}};
  return *table;
}

}  // namespace denoise
