// Every kind of job that cannot be gets its documented status and names its field, and the server
// keeps serving.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/published_formats.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/shared_training_server.h"
#include "tests/e2e/training_support.h"
#include "tests/e2e/upload_call.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using grpc::StatusCode;
using testing::HasSubstr;
using testing::Not;
using v1::CreateTrainingJobRequest;
using v1::TrainingSettings;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int32_t kHuge = std::numeric_limits<int32_t>::max();

struct BadJobCase {
  const char* name;
  std::vector<std::string> fields;  // below "training.", exactly those that are named
  std::function<void(TrainingSettings&)> spoil;
};

class TrainingBadInputTest : public SharedTrainingServer {
 protected:
  static void SetUpTestSuite() {
    auto models = std::make_unique<ModelsFolder>();
    models->AddGuided()
        .AddReference("class-conditional-v", "classes")
        .AddReference("resnet-resample", "plain");
    Start(std::move(models));
    WritePictures(folder_->path() / "shades", 3);
    UploadPictures(*server_, folder_->path() / "shades", "shades");
    UploadReady(*stubs_->datasets, "gray", v1::DATASET_FORMAT_MNIST, MnistPictures(6));
    Upload("uploading", v1::DATASET_FORMAT_CIFAR10, /*sent=*/1);
    Upload("failed", v1::DATASET_FORMAT_TAR, /*sent=*/CifarFile(1).size());
  }

  // Sends the beginning of a file of CIFAR-10.
  static void Upload(const std::string& name, v1::DatasetFormat format, size_t sent) {
    const std::string file = CifarFile(1);
    CallUpload(*stubs_->datasets,
               UploadMessages(UploadHeaderOf(name, format, file), file.substr(0, sent)));
  }

  static grpc::Status Create(const CreateTrainingJobRequest& request, std::string* name = nullptr) {
    grpc::ClientContext context;
    v1::TrainingJob job;
    const grpc::Status status = stubs_->training->CreateTrainingJob(&context, request, &job);
    if (name != nullptr) *name = job.name();
    return status;
  }

  static void ExpectHarmless(const grpc::Status& status) {
    for (const std::string& text : {status.error_message(), status.error_details()}) {
      EXPECT_THAT(text, Not(HasSubstr(folder_->path().string())));
      EXPECT_THAT(text, Not(HasSubstr(models_->path().string())));
      EXPECT_THAT(text, Not(HasSubstr(".cc")));
    }
    EXPECT_NE(status.error_message(), "");
  }

  static void ExpectRefused(const CreateTrainingJobRequest& request, StatusCode code) {
    const grpc::Status status = Create(request);
    EXPECT_EQ(status.error_code(), code) << status.error_message();
    ExpectHarmless(status);
  }

  static void ExpectInvalid(const std::vector<BadJobCase>& cases) {
    for (const BadJobCase& c : cases) {
      SCOPED_TRACE(c.name);
      CreateTrainingJobRequest request = SmallJob("shades", 2);
      c.spoil(*request.mutable_training());
      const grpc::Status status = Create(request);
      EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
      // A field may be wrong in two ways.
      const auto violated = ViolatedFields(status);
      std::set<std::string> fields;
      for (const std::string& field : c.fields) fields.insert("training." + field);
      EXPECT_EQ(std::set<std::string>(violated.begin(), violated.end()), fields);
      ExpectHarmless(status);
    }
  }
};

v1::Optimizer& Optimizer(TrainingSettings& s) { return *s.mutable_optimizer(); }
v1::NewNetwork& Network(TrainingSettings& s) { return *s.mutable_new_network(); }
v1::Objective& Objective(TrainingSettings& s) { return *s.mutable_objective(); }
v1::SamplerOptions& Sampler(TrainingSettings& s) { return *s.mutable_samples()->mutable_sampler(); }

void TrainFurther(TrainingSettings& settings, const char* data_set, const char* model) {
  settings.set_dataset(absl::StrCat("datasets/", data_set));
  settings.set_base_model(absl::StrCat("models/", model));
}

const std::vector<BadJobCase>& NumberCases() {
  static const auto* const cases = new std::vector<BadJobCase>{
      {"learning rate NaN",
       {"optimizer.learning_rate"},
       [](auto& s) { Optimizer(s).set_learning_rate(kNan); }},
      {"learning rate inf",
       {"optimizer.learning_rate"},
       [](auto& s) { Optimizer(s).set_learning_rate(kInfinity); }},
      {"learning rate negative",
       {"optimizer.learning_rate"},
       [](auto& s) { Optimizer(s).set_learning_rate(-1e-4); }},
      {"learning rate 0",
       {"optimizer.learning_rate"},
       [](auto& s) { Optimizer(s).set_learning_rate(0); }},
      {"beta 1", {"optimizer.beta2"}, [](auto& s) { Optimizer(s).set_beta2(1); }},
      {"weight decay NaN",
       {"optimizer.weight_decay"},
       [](auto& s) { Optimizer(s).set_weight_decay(kNan); }},
      {"gradient norm negative",
       {"optimizer.max_gradient_norm"},
       [](auto& s) { Optimizer(s).set_max_gradient_norm(-1); }},
      {"warm-up negative",
       {"optimizer.warmup_steps"},
       [](auto& s) { Optimizer(s).set_warmup_steps(-1); }},
      {"decay unknown",
       {"optimizer.decay"},
       [](auto& s) { Optimizer(s).set_decay(static_cast<v1::Optimizer::Decay>(9)); }},
      {"steps 0", {"max_steps"}, [](auto& s) { s.set_max_steps(0); }},
      {"steps negative", {"max_steps"}, [](auto& s) { s.set_max_steps(-1); }},
      {"duration negative",
       {"max_duration"},
       [](auto& s) { s.mutable_max_duration()->set_seconds(-1); }},
      {"batch 0", {"batch_size"}, [](auto& s) { s.set_batch_size(0); }},
      {"batch negative", {"batch_size"}, [](auto& s) { s.set_batch_size(-4); }},
      {"batch huge", {"batch_size"}, [](auto& s) { s.set_batch_size(kHuge); }},
      {"micro batch 0", {"micro_batch_size"}, [](auto& s) { s.set_micro_batch_size(0); }},
      {"micro batch negative", {"micro_batch_size"}, [](auto& s) { s.set_micro_batch_size(-1); }},
      {"micro batch huge", {"micro_batch_size"}, [](auto& s) { s.set_micro_batch_size(kHuge); }},
      {"average of decay 1",
       {"ema_decays[1]"},
       [](auto& s) {
         s.add_ema_decays(0.9);
         s.add_ema_decays(1);
       }},
      {"average NaN", {"ema_decays[0]"}, [](auto& s) { s.add_ema_decays(kNan); }},
      {"too many averages",
       {"ema_decays"},
       [](auto& s) {
         for (int i = 0; i < 1000; ++i) s.add_ema_decays(0.9);
       }},
      {"crop below 1",
       {"augmentation.random_crop_scale"},
       [](auto& s) { s.mutable_augmentation()->set_random_crop_scale(0.5); }},
      {"crop NaN",
       {"augmentation.random_crop_scale"},
       [](auto& s) { s.mutable_augmentation()->set_random_crop_scale(kNan); }},
      {"float16 on a CPU", {"precision"}, [](auto& s) { s.set_precision(s.FLOAT16); }},
      {"precision unknown",
       {"precision"},
       [](auto& s) { s.set_precision(static_cast<TrainingSettings::Precision>(9)); }},
      {"no checkpoints",
       {"checkpoints.every_n_steps"},
       [](auto& s) { s.mutable_checkpoints()->set_every_n_steps(0); }},
      {"no checkpoint kept",
       {"checkpoints.keep"},
       [](auto& s) { s.mutable_checkpoints()->set_keep(0); }},
      {"samples 0", {"samples.count"}, [](auto& s) { s.mutable_samples()->set_count(0); }},
      {"samples huge", {"samples.count"}, [](auto& s) { s.mutable_samples()->set_count(kHuge); }},
      {"sampler steps 0", {"samples.sampler.steps"}, [](auto& s) { Sampler(s).set_steps(0); }},
      {"sampler steps huge",
       {"samples.sampler.steps"},
       [](auto& s) { Sampler(s).set_steps(kHuge); }},
      {"sampler unknown",
       {"samples.sampler.sampler"},
       [](auto& s) { Sampler(s).set_sampler(static_cast<v1::Sampler>(99)); }},
      {"eta above 1",
       {"samples.sampler.eta"},
       [](auto& s) {
         Sampler(s).set_sampler(v1::SAMPLER_DDIM);
         Sampler(s).set_eta(1.5);
       }},
      {"guidance NaN",
       {"samples.guidance_scale"},
       [](auto& s) { s.mutable_samples()->set_guidance_scale(kNan); }},
      {"evaluation samples 1",
       {"evaluations.settings.sample_count"},
       [](auto& s) {
         s.mutable_evaluations()->set_every_n_steps(1);
         s.mutable_evaluations()->mutable_settings()->set_sample_count(1);
         s.mutable_evaluations()->mutable_settings()->set_nearest_neighbours(1);
       }},
      {"non-finite steps 0",
       {"max_non_finite_steps"},
       [](auto& s) { s.set_max_non_finite_steps(0); }},
      {"several at once",
       {"max_steps", "batch_size", "optimizer.learning_rate", "samples.count"},
       [](auto& s) {
         s.set_max_steps(0);
         s.set_batch_size(0);
         Optimizer(s).set_learning_rate(kNan);
         s.mutable_samples()->set_count(-1);
       }},
  };
  return *cases;
}

const std::vector<BadJobCase>& WorkCases() {
  static const auto* const cases = new std::vector<BadJobCase>{
      {"size not divisible", {"new_network.height"}, [](auto& s) { Network(s).set_height(15); }},
      {"size 0", {"new_network.width"}, [](auto& s) { Network(s).set_width(0); }},
      {"size huge", {"new_network.width"}, [](auto& s) { Network(s).set_width(kHuge); }},
      {"two channels", {"new_network.channels"}, [](auto& s) { Network(s).set_channels(2); }},
      {"channels of a level negative",
       {"new_network.block_out_channels[1]"},
       [](auto& s) { Network(s).set_block_out_channels(1, -16); }},
      {"levels without end",
       {"new_network.block_out_channels"},
       [](auto& s) {
         for (int i = 0; i < 1000; ++i) Network(s).add_block_out_channels(8);
       }},
      {"layers huge",
       {"new_network.layers_per_block"},
       [](auto& s) { Network(s).set_layers_per_block(kHuge); }},
      {"attention at no level",
       {"new_network.attention_levels[0]"},
       [](auto& s) {
         Network(s).set_no_attention(false);
         Network(s).add_attention_levels(2);
       }},
      {"schedule unknown",
       {"new_network.noise_schedule"},
       [](auto& s) { Network(s).set_noise_schedule("../linear"); }},
      {"prediction of another schedule",
       {"new_network.prediction_type"},
       [](auto& s) { Network(s).set_prediction_type("flow_prediction"); }},
      {"learned variance on a flow",
       {"new_network.learned_variance"},
       [](auto& s) {
         Network(s).set_noise_schedule("flow");
         Network(s).set_learned_variance(true);
       }},
      {"bound on a flow",
       {"objective.loss"},
       [](auto& s) {
         Network(s).set_noise_schedule("flow");
         Objective(s).set_loss(Objective(s).VARIATIONAL_BOUND);
       }},
      {"hybrid of a fixed variance",
       {"objective.loss"},
       [](auto& s) { Objective(s).set_loss(Objective(s).HYBRID); }},
      {"gamma of another weighting",
       {"objective.min_snr_gamma"},
       [](auto& s) { Objective(s).set_min_snr_gamma(5); }},
      {"label dropout above 1",
       {"objective.label_dropout"},
       [](auto& s) { Objective(s).set_label_dropout(1.5); }},
      {"data set not named", {"dataset"}, [](auto& s) { s.clear_dataset(); }},
      {"data set as a path", {"dataset"}, [](auto& s) { s.set_dataset("datasets/../shades"); }},
      {"nothing to train", {"base"}, [](auto& s) { s.clear_new_network(); }},
      {"classes of a data set without",
       {"new_network.class_conditional"},
       [](auto& s) {
         s.set_dataset("datasets/gray");
         Network(s).set_class_conditional(true);
       }},
      {"base model as a path",
       {"base_model"},
       [](auto& s) { s.set_base_model("models/../plain"); }},
      {"base model of as many classes as the data set has not",
       {"dataset"},
       [](auto& s) { TrainFurther(s, "shades", "classes"); }},
      {"base model with classes, data set without",
       {"dataset"},
       [](auto& s) { TrainFurther(s, "gray", "guided"); }},
      {"base model without classes, data set with",
       {"dataset"},
       [](auto& s) { TrainFurther(s, "shades", "plain"); }},
  };
  return *cases;
}

TEST_F(TrainingBadInputTest, NumbersOutOfRangeAreNamed) { ExpectInvalid(NumberCases()); }

TEST_F(TrainingBadInputTest, WhatCannotBeTrainedIsNamed) { ExpectInvalid(WorkCases()); }

TEST_F(TrainingBadInputTest, ADataSetThatIsNotReadyIsAFailedPrecondition) {
  ExpectRefused(SmallJob("uploading", 2), StatusCode::FAILED_PRECONDITION);
  ExpectRefused(SmallJob("failed", 2), StatusCode::FAILED_PRECONDITION);
}

TEST_F(TrainingBadInputTest, WhatIsNotThereIsNotFound) {
  ExpectRefused(SmallJob("absent", 2), StatusCode::NOT_FOUND);
  CreateTrainingJobRequest request = SmallJob("shades", 2);
  request.mutable_training()->set_base_model("models/absent");
  ExpectRefused(request, StatusCode::NOT_FOUND);
}

// Gray pictures are trained on as RGB and the other way round; shapes are cut to the network's.
TEST_F(TrainingBadInputTest, PicturesOfAnotherShapeAreMadeToFit) {
  CreateTrainingJobRequest request = SmallJob("gray", 1);
  TrainFurther(*request.mutable_training(), "gray", "plain");
  std::string name;
  const grpc::Status status = Create(request, &name);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::TrainingJob job = WaitForEnd(*stubs_->training, name);
  EXPECT_EQ(job.state(), v1::TrainingJob::SUCCEEDED) << job.state_reason();
}

// A rate that is a number, and makes weights that are none.
TEST_F(TrainingBadInputTest, AJobThatDivergesFailsAndSaysWhy) {
  CreateTrainingJobRequest request = SmallJob("shades", 100);
  request.mutable_training()->set_max_non_finite_steps(2);
  Optimizer(*request.mutable_training()).set_learning_rate(1e30);
  std::string name;
  ASSERT_TRUE(Create(request, &name).ok());
  const v1::TrainingJob job = WaitForEnd(*stubs_->training, name);
  EXPECT_EQ(job.state(), v1::TrainingJob::FAILED);
  EXPECT_THAT(job.state_reason(), HasSubstr("finite"));
}

}  // namespace
}  // namespace denoise
