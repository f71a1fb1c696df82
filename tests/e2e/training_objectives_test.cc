// Every objective, schedule and way to train, on data sets in the formats of CIFAR-10 and MNIST,
// with classes and without: from the upload to pictures of the model that was published.
#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <ostream>

#include "client/client.h"
#include "client/training_client.h"
#include "core/image/image.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/published_formats.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"
#include "tests/e2e/upload_call.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using google::protobuf::util::MessageDifferencer;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using v1::NewNetwork;
using v1::Objective;
using v1::Optimizer;
using v1::TrainingSettings;

constexpr int kSteps = 4;
constexpr int kSize = 8;

// What is trained on, and whether its classes are told.
struct Material {
  const char* name;
  const char* data_set;
  int channels;
  bool classes;
};

constexpr Material kCifarWithClasses = {"CifarWithClasses", "cifar", 3, true};
constexpr Material kCifarWithout = {"CifarWithout", "cifar", 3, false};
constexpr Material kMnistWithClasses = {"MnistWithClasses", "mnist", 1, true};
constexpr Material kMnistWithout = {"MnistWithout", "unlabelled", 1, false};

struct Way {
  const char* name;
  std::function<void(TrainingSettings&)> set;
  bool needs_classes = false;
};

NewNetwork& Network(TrainingSettings& settings) { return *settings.mutable_new_network(); }
Objective& ObjectiveOf(TrainingSettings& settings) { return *settings.mutable_objective(); }

void Schedule(TrainingSettings& settings, const char* schedule, const char* prediction_type = "") {
  Network(settings).set_noise_schedule(schedule);
  Network(settings).set_prediction_type(prediction_type);
}

void Decay(TrainingSettings& settings, Optimizer::Decay decay) {
  settings.mutable_optimizer()->set_decay(decay);
  settings.mutable_optimizer()->set_warmup_steps(2);
}

const Way kWays[] = {
    {"Defaults", [](auto&) {}},
    {"EpsilonOnALinearSchedule", [](auto& s) { Schedule(s, "linear", "epsilon"); }},
    {"SampleOnAScaledLinearSchedule", [](auto& s) { Schedule(s, "scaled_linear", "sample"); }},
    {"VOnASigmoidSchedule", [](auto& s) { Schedule(s, "sigmoid", "v_prediction"); }},
    {"EpsilonOnACosineSchedule", [](auto& s) { Schedule(s, "squaredcos_cap_v2", "epsilon"); }},
    {"Edm", [](auto& s) { Schedule(s, "edm"); }},
    {"EdmOfVUniformly",
     [](auto& s) {
       Schedule(s, "edm", "v_prediction");
       ObjectiveOf(s).set_weighting(Objective::UNIFORM);
       ObjectiveOf(s).set_timestep_sampling(Objective::TIMESTEP_SAMPLING_UNIFORM);
     }},
    {"Flow", [](auto& s) { Schedule(s, "flow"); }},
    {"FlowAtLogNormalTimes",
     [](auto& s) {
       Schedule(s, "flow");
       ObjectiveOf(s).set_timestep_sampling(Objective::LOG_NORMAL);
       ObjectiveOf(s).set_log_normal_std(0.8);
     }},
    {"VariationalBound",
     [](auto& s) {
       Schedule(s, "linear", "epsilon");
       ObjectiveOf(s).set_loss(Objective::VARIATIONAL_BOUND);
       ObjectiveOf(s).set_timestep_sampling(Objective::LOSS_SECOND_MOMENT);
     }},
    {"VariationalBoundOfALearnedVariance",
     [](auto& s) {
       Network(s).set_learned_variance(true);
       ObjectiveOf(s).set_loss(Objective::VARIATIONAL_BOUND);
     }},
    {"Hybrid",
     [](auto& s) {
       Network(s).set_learned_variance(true);
       ObjectiveOf(s).set_loss(Objective::HYBRID);
       ObjectiveOf(s).set_vlb_weight(0.01);
       ObjectiveOf(s).set_timestep_sampling(Objective::LOSS_SECOND_MOMENT);
     }},
    {"MinSnr",
     [](auto& s) {
       ObjectiveOf(s).set_weighting(Objective::MIN_SNR);
       ObjectiveOf(s).set_min_snr_gamma(3);
       ObjectiveOf(s).set_timestep_sampling(Objective::LOSS_SECOND_MOMENT);
     }},
    {"P2",
     [](auto& s) {
       ObjectiveOf(s).set_weighting(Objective::P2);
       ObjectiveOf(s).set_p2_gamma(0.5);
     }},
    {"EdmWeightsAtLogNormalTimesOfACosineSchedule",
     [](auto& s) {
       ObjectiveOf(s).set_weighting(Objective::EDM);
       ObjectiveOf(s).set_timestep_sampling(Objective::LOG_NORMAL);
     }},
    {"BFloat16", [](auto& s) { s.set_precision(TrainingSettings::BFLOAT16); }},
    {"HybridInBFloat16",
     [](auto& s) {
       Network(s).set_learned_variance(true);
       s.set_precision(TrainingSettings::BFLOAT16);
     }},
    {"UnevenMicroBatches", [](auto& s) { s.set_micro_batch_size(3); }},
    {"CropsAndFlips",
     [](auto& s) {
       s.mutable_augmentation()->set_horizontal_flip(true);
       s.mutable_augmentation()->set_random_crop_scale(1.5);
     }},
    {"SeveralAverages",
     [](auto& s) {
       for (const double decay : {0.5, 0.9, 0.999, 0.9999}) s.add_ema_decays(decay);
     }},
    {"CosineDecayAfterAWarmUp", [](auto& s) { Decay(s, Optimizer::COSINE); }},
    {"LinearDecayAfterAWarmUp", [](auto& s) { Decay(s, Optimizer::LINEAR); }},
    {"AttentionAndScaleShift",
     [](auto& s) {
       Network(s).set_no_attention(false);
       Network(s).add_attention_levels(1);
       Network(s).set_scale_shift_norm(true);
       s.mutable_optimizer()->set_max_gradient_norm(0);
     }},
    {"HalfOfTheClassesTakenAway", [](auto& s) { ObjectiveOf(s).set_label_dropout(0.5); },
     /*needs_classes=*/true},
};

v1::CreateTrainingJobRequest JobOf(const Way& way, const Material& material) {
  v1::CreateTrainingJobRequest request = SmallJob(material.data_set, kSteps);
  TrainingSettings& settings = *request.mutable_training();
  NewNetwork& network = Network(settings);
  network.set_height(kSize);
  network.set_width(kSize);
  network.set_channels(material.channels);
  for (int& channels : *network.mutable_block_out_channels()) channels = 8;
  network.set_class_conditional(material.classes);
  settings.mutable_checkpoints()->set_every_n_steps(3);
  settings.mutable_samples()->set_every_n_steps(3);
  way.set(settings);
  return request;
}

// Settings that have a default, and none in `message`.
std::vector<std::string> Unresolved(const google::protobuf::Message& message) {
  std::vector<std::string> unresolved;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const auto* const field = message.GetDescriptor()->field(i);
    const bool is_choice = field->real_containing_oneof() != nullptr;
    if (field->message_type() != nullptr || field->is_repeated() || is_choice) continue;
    const auto& reflection = *message.GetReflection();
    const bool is_enum = field->enum_type() != nullptr;
    const bool resolved = is_enum ? reflection.GetEnumValue(message, field) != 0
                                  : !field->has_presence() || reflection.HasField(message, field);
    if (!resolved) unresolved.push_back(field->name());
  }
  return unresolved;
}

struct Case {
  Way way;
  Material material;
};

void PrintTo(const Case& job, std::ostream* out) {
  *out << job.way.name << " on " << job.material.name;
}

// Each way with classes and without, once on either format.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  bool swap = false;
  for (const Way& way : kWays) {
    cases.push_back({way, swap ? kMnistWithClasses : kCifarWithClasses});
    if (!way.needs_classes) cases.push_back({way, swap ? kCifarWithout : kMnistWithout});
    swap = !swap;
  }
  return cases;
}

// Settings of losses, weightings and samplings other than the objective's.
std::vector<std::string> OfWhatWasNotChosen(const Objective& objective) {
  std::vector<std::string> settings;
  const auto add_unless = [&](bool chosen, std::initializer_list<const char*> names) {
    if (!chosen) settings.insert(settings.end(), names.begin(), names.end());
  };
  add_unless(objective.loss() == Objective::HYBRID, {"vlb_weight"});
  add_unless(objective.weighting() == Objective::MIN_SNR, {"min_snr_gamma"});
  add_unless(objective.weighting() == Objective::P2, {"p2_gamma", "p2_k"});
  add_unless(objective.timestep_sampling() == Objective::LOG_NORMAL,
             {"log_normal_mean", "log_normal_std"});
  return settings;
}

class FormatsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TempDir>();
    fs::create_directories(folder_->path() / "models");
    server_ =
        StartServer(folder_->path() / "models", {"--state", (folder_->path() / "state").string()});
    const ClientOptions options = {.address = server_->address(), .unary_deadline = kPatience};
    training_ = std::make_unique<TrainingClient>(options);
    client_ = std::make_unique<Client>(options);
    const TrainingStubs stubs(*server_);
    UploadReady(*stubs.datasets, "cifar", v1::DATASET_FORMAT_CIFAR10, CifarFile(20));
    UploadReady(*stubs.datasets, "mnist", v1::DATASET_FORMAT_MNIST,
                Gzipped(MnistPictures(20)) + Gzipped(MnistLabels(20)));
    UploadReady(*stubs.datasets, "unlabelled", v1::DATASET_FORMAT_MNIST, MnistPictures(20));
  }

  static void TearDownTestSuite() {
    client_.reset();
    training_.reset();
    server_.reset();
    folder_.reset();
  }

  // Trains on what is `material`, and publishes it as `model`.
  static void Serve(const Material& material, const std::string& model) {
    const auto job = training_->CreateJob(JobOf(kWays[0], material));
    ASSERT_TRUE(job.ok()) << job.status();
    Watch(job->name());
    v1::PublishModelRequest publication;
    publication.set_source(job->name());
    publication.set_model("models/" + model);
    ASSERT_TRUE(training_->Publish(publication).ok());
  }

  static std::vector<v1::TrainingEvent> Watch(const std::string& job) {
    std::vector<v1::TrainingEvent> events;
    TrainingStream stream = training_->Watch(job);
    while (true) {
      auto event = stream.Next();
      EXPECT_TRUE(event.ok()) << event.status();
      if (!event.ok() || !event->has_value()) return events;
      events.push_back(**std::move(event));
    }
  }

  // The only picture that the model makes.
  static Image Generated(const v1::GenerateRequest& request) {
    Image picture;
    GenerateStream stream = client_->Generate(request);
    while (true) {
      const auto event = stream.Next();
      EXPECT_TRUE(event.ok()) << event.status();
      if (!event.ok() || !event->has_value()) return picture;
      if (!(*event)->has_image()) continue;
      picture = DecodeImage((*event)->image().image().data(), kSize * kSize).value();
    }
  }

  static inline std::unique_ptr<TempDir> folder_;
  static inline std::unique_ptr<ServerProcess> server_;
  static inline std::unique_ptr<TrainingClient> training_;
  static inline std::unique_ptr<Client> client_;
};

class ObjectivesTest : public FormatsTest, public testing::WithParamInterface<Case> {};

void ExpectEchoed(const TrainingSettings& requested, const TrainingSettings& echoed) {
  MessageDifferencer differencer;
  differencer.set_scope(MessageDifferencer::PARTIAL);
  std::string difference;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(requested, echoed)) << difference;
  EXPECT_THAT(Unresolved(echoed.new_network()), IsEmpty());
  EXPECT_THAT(Unresolved(echoed.optimizer()), IsEmpty());
  EXPECT_THAT(Unresolved(echoed.augmentation()), IsEmpty());
  EXPECT_THAT(Unresolved(echoed.checkpoints()), IsEmpty());
  EXPECT_THAT(Unresolved(echoed.samples()), IsEmpty());
  EXPECT_THAT(Unresolved(echoed), IsEmpty());
  EXPECT_EQ(Unresolved(echoed.objective()), OfWhatWasNotChosen(echoed.objective()));
  EXPECT_FALSE(echoed.ema_decays().empty());
}

// By step.
std::map<int64_t, v1::TrainingProgress> ProgressOf(const std::vector<v1::TrainingEvent>& events) {
  std::map<int64_t, v1::TrainingProgress> progress;
  for (const auto& event : events) {
    if (event.has_progress()) progress[event.progress().step()] = event.progress();
  }
  return progress;
}

void ExpectProgress(const TrainingSettings& settings,
                    const std::vector<v1::TrainingEvent>& events) {
  const auto told = ProgressOf(events);
  ASSERT_THAT(told, SizeIs(kSteps));
  for (const auto& [step, progress] : told) {
    EXPECT_TRUE(std::isfinite(progress.loss())) << step;
    EXPECT_TRUE(std::isfinite(progress.gradient_norm())) << step;
    EXPECT_GT(progress.gradient_norm(), 0) << step;
    if (settings.objective().loss() == Objective::HYBRID) {
      EXPECT_TRUE(std::isfinite(progress.simple_loss()) && progress.has_simple_loss()) << step;
      EXPECT_TRUE(std::isfinite(progress.vlb_loss()) && progress.has_vlb_loss()) << step;
    }
  }
  EXPECT_EQ(told.at(kSteps).non_finite_steps(), 0);
  if (settings.optimizer().decay() == Optimizer::CONSTANT) return;
  EXPECT_LT(told.at(1).learning_rate(), told.at(2).learning_rate()) << "no warm-up";
  EXPECT_LT(told.at(kSteps).learning_rate(), told.at(3).learning_rate()) << "no decay";
}

void ExpectGridsAndCheckpoints(int channels, const std::vector<v1::TrainingEvent>& events) {
  std::vector<int64_t> grids, checkpoints;
  for (const auto& event : events) {
    if (event.has_checkpoint()) checkpoints.push_back(event.checkpoint().step());
    if (!event.has_sample_grid()) continue;
    grids.push_back(event.sample_grid().step());
    const auto grid = DecodeImage(event.sample_grid().image().data(), 1 << 20);
    ASSERT_TRUE(grid.ok()) << grid.status();
    EXPECT_GE(grid->width, 2 * kSize);
    EXPECT_EQ(grid->channels, channels);
  }
  EXPECT_THAT(grids, ElementsAre(3, kSteps));
  EXPECT_THAT(checkpoints, ElementsAre(3, kSteps));
}

TEST_P(ObjectivesTest, EndsInAModelThatIsServed) {
  const auto& [way, material] = GetParam();
  const v1::CreateTrainingJobRequest request = JobOf(way, material);
  const auto created = training_->CreateJob(request);
  ASSERT_TRUE(created.ok()) << created.status();
  ExpectEchoed(request.training(), created->training());

  const std::vector<v1::TrainingEvent> events = Watch(created->name());
  const auto job = training_->GetJob(created->name());
  ASSERT_TRUE(job.ok()) << job.status();
  ASSERT_EQ(job->state(), v1::TrainingJob::SUCCEEDED) << job->state_reason();
  EXPECT_TRUE(MessageDifferencer::Equals(job->training(), created->training()));
  ExpectProgress(job->training(), events);
  ExpectGridsAndCheckpoints(material.channels, events);

  v1::PublishModelRequest publication;
  publication.set_source(job->name());
  publication.set_model(std::string("models/") + way.name + material.name);
  publication.set_ema_decay(job->training().ema_decays(0));
  const auto model = training_->Publish(publication);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->classes_size(), material.classes ? 10 : 0);

  v1::GenerateRequest generation;
  generation.set_model(model->name());
  generation.mutable_sampler()->set_steps(2);
  if (material.classes) generation.set_class_label(7);
  const Image picture = Generated(generation);
  EXPECT_EQ(picture.width, kSize);
  EXPECT_EQ(picture.height, kSize);
  EXPECT_EQ(picture.channels, material.channels);
}

TEST_F(FormatsTest, ClassesGoByTheirPublishedNames) {
  Serve(kCifarWithClasses, "cifar");
  Serve(kMnistWithClasses, "mnist");
  for (const auto& [model, name] : {std::pair("cifar", "horse"), std::pair("mnist", "7")}) {
    const fs::path out = folder_->path() / model;
    const ProcessResult result =
        RunDenoise({"generate", "--server", server_->address(), "--model", model, "--class-label",
                    name, "--steps", "2", "--out", out.string()});
    EXPECT_EQ(result.exit_status, kExitedCleanly) << result.error;
    const auto picture = DecodeImage(ReadFile(out / "image-0.png"), kSize * kSize);
    ASSERT_TRUE(picture.ok()) << picture.status();
    EXPECT_EQ(picture->width, kSize);
  }
}

std::string NameOf(const testing::TestParamInfo<Case>& test) {
  return std::string(test.param.way.name) + "On" + test.param.material.name;
}

INSTANTIATE_TEST_SUITE_P(All, ObjectivesTest, testing::ValuesIn(Cases()), NameOf);

}  // namespace
}  // namespace denoise
