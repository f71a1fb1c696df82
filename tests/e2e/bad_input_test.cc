// Every kind of bad request gets its documented status and names its field, and the server keeps
// serving.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/raw_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using denoised::v1::GenerateRequest;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kMaxDetailsBytes = 4096;

class BadInputTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = std::make_unique<ModelsFolder>();
    models_->AddGuided()
        .AddReference("class-conditional-v", "classes")  // classes, but none that stands for none
        .AddReference("resnet-resample", "plain")        // no classes
        .AddReference("learned-range", "learned");
    server_ = StartServer(models_->path());
  }

  static void TearDownTestSuite() {
    server_.reset();
    models_.reset();
  }

  // After whatever a test did.
  void TearDown() override {
    EXPECT_TRUE(Generate(server_->generation(), GuidedRequest(/*steps=*/1)).status.ok())
        << "the server no longer serves";
  }

  static grpc::Status StatusOf(const GenerateRequest& request) {
    return Generate(server_->generation(), request).status;
  }

  static void ExpectHarmless(const grpc::Status& status) {
    EXPECT_LT(status.error_details().size(), kMaxDetailsBytes);
    EXPECT_THAT(status.error_message(), Not(HasSubstr(models_->path().string())));
    EXPECT_THAT(status.error_details(), Not(HasSubstr(models_->path().string())));
    EXPECT_THAT(status.error_message(), Not(HasSubstr(".cc")));
    EXPECT_NE(status.error_message(), "");
  }

  static inline std::unique_ptr<ModelsFolder> models_;
  static inline std::unique_ptr<ServerProcess> server_;
};

struct BadRequestCase {
  const char* name;
  std::vector<std::string> fields;  // exactly those that are named
  std::function<void(GenerateRequest&)> spoil;
};

denoised::v1::SamplerOptions& Ddim(GenerateRequest& request) {
  request.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDIM);
  return *request.mutable_sampler();
}

void SetTimesteps(GenerateRequest& request, std::initializer_list<double> timesteps) {
  request.mutable_sampler()->clear_steps();
  for (const double t : timesteps) request.mutable_sampler()->add_timesteps(t);
}

const std::vector<BadRequestCase>& BadRequestCases() {
  static const auto* const cases = new std::vector<BadRequestCase>{
      {"steps 0", {"sampler.steps"}, [](auto& r) { r.mutable_sampler()->set_steps(0); }},
      {"steps negative", {"sampler.steps"}, [](auto& r) { r.mutable_sampler()->set_steps(-1); }},
      {"steps 10^6", {"sampler.steps"}, [](auto& r) { r.mutable_sampler()->set_steps(1'000'000); }},
      {"guidance NaN", {"guidance.scale"}, [](auto& r) { r.mutable_guidance()->set_scale(kNan); }},
      {"guidance inf",
       {"guidance.scale"},
       [](auto& r) { r.mutable_guidance()->set_scale(kInfinity); }},
      {"guidance negative",
       {"guidance.scale"},
       [](auto& r) { r.mutable_guidance()->set_scale(-1); }},
      {"guidance bound NaN",
       {"guidance.timestep_min"},
       [](auto& r) {
         r.mutable_guidance()->set_scale(2);
         r.mutable_guidance()->set_timestep_min(kNan);
       }},
      {"guidance interval empty",
       {"guidance.timestep_min"},
       [](auto& r) {
         r.mutable_guidance()->set_scale(2);
         r.mutable_guidance()->set_timestep_min(500);
         r.mutable_guidance()->set_timestep_max(400);
       }},
      {"guidance rescale above 1",
       {"guidance.rescale"},
       [](auto& r) {
         r.mutable_guidance()->set_scale(2);
         r.mutable_guidance()->set_rescale(1.5);
       }},
      {"guidance between timesteps and noise levels",
       {"guidance.sigma_min"},
       [](auto& r) {
         r.mutable_guidance()->set_scale(2);
         r.mutable_guidance()->set_timestep_min(100);
         r.mutable_guidance()->set_sigma_min(1);
       }},
      {"guidance without a null class",
       {"guidance"},
       [](auto& r) {
         r.set_model("models/classes");
         r.mutable_guidance()->set_scale(2);
       }},
      {"class unknown", {"class_label"}, [](auto& r) { r.set_class_label(6); }},
      {"class negative", {"class_label"}, [](auto& r) { r.set_class_label(-1); }},
      {"class missing", {"class_label"}, [](auto& r) { r.clear_class_label(); }},
      {"class beside a blend", {"class_weights"}, [](auto& r) { AddClassWeight(r, 0, 1); }},
      {"class weight NaN",
       {"class_weights[0].weight"},
       [](auto& r) {
         r.clear_class_label();
         AddClassWeight(r, 0, kNan);
       }},
      {"class on a model without", {"class_label"}, [](auto& r) { r.set_model("models/plain"); }},
      {"count 0", {"count"}, [](auto& r) { r.set_count(0); }},
      {"count huge", {"count"}, [](auto& r) { r.set_count(std::numeric_limits<int32_t>::max()); }},
      {"sampler unknown",
       {"sampler.sampler"},
       [](auto& r) { r.mutable_sampler()->set_sampler(static_cast<denoised::v1::Sampler>(99)); }},
      {"image encoding unknown",
       {"image_encoding"},
       [](auto& r) { r.set_image_encoding(static_cast<denoised::v1::Encoding>(77)); }},
      {"frame kind unknown",
       {"frames.kinds[0]"},
       [](auto& r) {
         r.mutable_frames()->set_every_n_steps(1);
         r.mutable_frames()->add_kinds(static_cast<denoised::v1::FrameKind>(9));
       }},
      {"frame interval 0",
       {"frames.every_n_steps"},
       [](auto& r) { r.mutable_frames()->set_every_n_steps(0); }},
      {"frame bytes negative",
       {"frames.max_bytes"},
       [](auto& r) {
         r.mutable_frames()->set_every_n_steps(1);
         r.mutable_frames()->set_max_bytes(-1);
       }},
      {"eta above 1", {"sampler.eta"}, [](auto& r) { Ddim(r).set_eta(1.5); }},
      {"eta negative", {"sampler.eta"}, [](auto& r) { Ddim(r).set_eta(-0.1); }},
      {"eta NaN", {"sampler.eta"}, [](auto& r) { Ddim(r).set_eta(kNan); }},
      {"eta for a sampler that does not read it",
       {"sampler.eta"},
       [](auto& r) {
         r.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DPMPP);
         r.mutable_sampler()->set_eta(0.5);
       }},
      {"order for a sampler that does not read it",
       {"sampler.solver_order"},
       [](auto& r) { Ddim(r).set_solver_order(2); }},
      {"order 4",
       {"sampler.solver_order"},
       [](auto& r) {
         r.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DPMPP);
         r.mutable_sampler()->set_solver_order(4);
       }},
      {"solver of another family",
       {"sampler.solver_type"},
       [](auto& r) {
         r.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DPMPP);
         r.mutable_sampler()->set_solver_type(denoised::v1::SOLVER_TYPE_BH2);
       }},
      {"clip range 0",
       {"sampler.clip_sample_range"},
       [](auto& r) {
         Ddim(r).set_clip_sample(true);
         Ddim(r).set_clip_sample_range(0);
       }},
      {"timesteps ascending",
       {"sampler.timesteps[1]"},
       [](auto& r) {
         SetTimesteps(r, {100, 900});
       }},
      {"timesteps beyond the schedule",
       {"sampler.timesteps[0]"},
       [](auto& r) {
         SetTimesteps(r, {1000, 500, 0});
       }},
      {"timesteps negative",
       {"sampler.timesteps[1]"},
       [](auto& r) {
         SetTimesteps(r, {500, -1});
       }},
      {"timesteps NaN", {"sampler.timesteps[0]"}, [](auto& r) { SetTimesteps(r, {kNan}); }},
      {"timesteps together with steps",
       {"sampler.timesteps"},
       [](auto& r) {
         SetTimesteps(r, {500, 0});
         r.mutable_sampler()->set_steps(2);
       }},
      {"learned variance from a network without",
       {"sampler.variance_type"},
       [](auto& r) {
         r.mutable_sampler()->set_sampler(denoised::v1::SAMPLER_DDPM);
         r.mutable_sampler()->set_variance_type(denoised::v1::VARIANCE_TYPE_LEARNED_RANGE);
       }},
      {"model missing", {"model"}, [](auto& r) { r.clear_model(); }},
      {"model without its collection", {"model"}, [](auto& r) { r.set_model("guided"); }},
      {"model with a path", {"model"}, [](auto& r) { r.set_model("models/../guided"); }},
      {"model above the folder", {"model"}, [](auto& r) { r.set_model("models/.."); }},
      {"model absolute", {"model"}, [](auto& r) { r.set_model("models//etc/passwd"); }},
      {"model with a NUL",
       {"model"},
       [](auto& r) { r.set_model(std::string("models/guided\0x", 15)); }},
      {"model name of 100 kB",
       {"model"},
       [](auto& r) { r.set_model(absl::StrCat("models/", std::string(100'000, 'a'))); }},
      {"several at once",
       {"count", "sampler.steps", "guidance.scale"},
       [](auto& r) {
         r.mutable_sampler()->set_steps(0);
         r.mutable_guidance()->set_scale(kNan);
         r.set_count(-3);
       }},
  };
  return *cases;
}

TEST_F(BadInputTest, IsInvalidArgumentAndNamesEveryField) {
  for (const BadRequestCase& c : BadRequestCases()) {
    SCOPED_TRACE(c.name);
    GenerateRequest request = GuidedRequest(/*steps=*/2);
    c.spoil(request);
    const Generation run = Generate(server_->generation(), request);
    EXPECT_EQ(run.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
        << run.status.error_message();
    // A field may be wrong in two ways.
    const auto violated = ViolatedFields(run.status);
    EXPECT_THAT(std::set<std::string>(violated.begin(), violated.end()),
                testing::UnorderedElementsAreArray(c.fields));
    EXPECT_THAT(run.events, IsEmpty()) << "refused before anything is streamed";
    ExpectHarmless(run.status);
  }
}

TEST_F(BadInputTest, AnEmptyRequestNamesTheModel) {
  const grpc::Status status = StatusOf({});
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), testing::Contains("model"));
  ExpectHarmless(status);
}

TEST_F(BadInputTest, AnUnknownModelIsNotFoundAndSaysWhich) {
  GenerateRequest request = GuidedRequest(/*steps=*/2);
  request.set_model("models/absent");
  const grpc::Status status = StatusOf(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  const auto resources = DetailsOf<google::rpc::ResourceInfo>(status);
  ASSERT_THAT(resources, SizeIs(1));
  EXPECT_EQ(resources[0].resource_name(), "models/absent");
  ExpectHarmless(status);
}

TEST_F(BadInputTest, ThousandsOfViolationsStillFitTheTrailers) {
  GenerateRequest request = GuidedRequest(/*steps=*/2);
  request.mutable_sampler()->clear_steps();
  for (int i = 0; i < 1000; ++i) request.mutable_sampler()->add_timesteps(5000 + i);
  const grpc::Status status = StatusOf(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), Not(IsEmpty())) << "the details were lost on the way";
  ExpectHarmless(status);
}

TEST_F(BadInputTest, ALongNameFromOutsideIsNotEchoedWhole) {
  GenerateRequest request = GuidedRequest(/*steps=*/2);
  request.set_model(absl::StrCat("models/", std::string(120, 'a')));
  const grpc::Status status = StatusOf(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  ExpectHarmless(status);
}

TEST_F(BadInputTest, TwentyMegabytesGetGrpcsOwnStatus) {
  GenerateRequest request = GuidedRequest(/*steps=*/2);
  request.set_model(std::string(20'000'000, 'a'));
  EXPECT_EQ(StatusOf(request).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(BadInputTest, MalformedBytesAreInvalidAndLogged) {
  for (const std::string& bytes : {std::string("\xff\xff\xff\xff"), std::string("\x0a\x7f short"),
                                   std::string(1000, '\x07')}) {
    for (const char* method :
         {"/denoised.v1.ImageGeneration/Generate", "/denoised.v1.ImageGeneration/Diffuse",
          "/denoised.v1.Models/GetModel", "/denoised.v1.Generations/WatchGeneration"}) {
      const grpc::Status status = CallWithBytes(server_->channel(), method, bytes).status;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
      EXPECT_THAT(status.error_message(), HasSubstr("did not arrive as a message that"));
      const auto info = DetailsOf<google::rpc::ErrorInfo>(status);
      ASSERT_THAT(info, SizeIs(1));
      const std::string& id = info[0].metadata().at("request_id");
      EXPECT_TRUE(Eventually([&] { return absl::StrContains(server_->Log(), id); }));
    }
  }
}

// Each would be a violation of its own.
TEST_F(BadInputTest, MillionsOfEntriesAreCountedAndNotLookedAt) {
  const auto server = StartServer(models_->path(), {"--max-receive-bytes", "67108864"});
  GenerateRequest request = GuidedRequest(/*steps=*/2);
  request.set_request_id("many");
  request.mutable_frames()->mutable_kinds()->Resize(4'000'000,
                                                    static_cast<denoised::v1::FrameKind>(77));
  const grpc::Status status = Generate(server->generation(), request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(ViolatedFields(status), ElementsAre("frames.kinds"));
}

// The header "grpc-timeout: 2066045H" ends in the year 2262, beyond what 64 bits of nanoseconds
// hold.
TEST_F(BadInputTest, ADeadlineOfCenturiesIsServed) {
  for (const int64_t hours : {int64_t{2'066'045}, int64_t{5'124'095}, int64_t{99'999'999}}) {
    grpc::ClientContext context;
    gpr_timespec deadline = gpr_now(GPR_CLOCK_REALTIME);
    deadline.tv_sec += hours * 3600;
    context.set_deadline(deadline);
    const auto reader = server_->generation().Generate(&context, GuidedRequest(/*steps=*/2));
    for (denoised::v1::GenerateEvent event; reader->Read(&event);) {
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << hours << " hours: " << status.error_message();
  }
}

TEST_F(BadInputTest, AnUnknownMethodIsUnimplemented) {
  const auto response = CallWithBytes(server_->channel(), "/denoised.v1.ImageGeneration/Paint", "");
  EXPECT_EQ(response.status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

// gRPC complains of each in the log.
TEST_F(BadInputTest, CompressedRequestsAreRefusedAndDoNotFillTheLog) {
  const auto server = StartServer(models_->path());
  for (int i = 0; i < 100; ++i) {
    grpc::ClientContext context;
    context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    denoised::v1::Model model;
    const grpc::Status status = server->models().GetModel(&context, {}, &model);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED) << status.error_message();
  }
  server->process().Signal(SIGTERM);
  const std::string log = server->process().standard_error().WaitForEnd();
  const std::vector<std::string> lines = absl::StrSplit(log, "event=grpc");
  EXPECT_GT(lines.size(), 10u);
  EXPECT_LT(lines.size(), 60u);
}

TEST_F(BadInputTest, ModelsAnswersBadNamesAndPages) {
  const auto get = [](const std::string& name) {
    grpc::ClientContext context;
    denoised::v1::GetModelRequest request;
    request.set_name(name);
    denoised::v1::Model model;
    return server_->models().GetModel(&context, request, &model);
  };
  for (const char* name : {"", "guided", "models/", "models/../guided", "models/a/b", "voices/a"}) {
    const grpc::Status status = get(name);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << name;
    EXPECT_THAT(ViolatedFields(status), ElementsAre("name"));
    ExpectHarmless(status);
  }
  EXPECT_EQ(get("models/absent").error_code(), grpc::StatusCode::NOT_FOUND);

  const auto list = [](int page_size, const std::string& page_token) {
    grpc::ClientContext context;
    denoised::v1::ListModelsRequest request;
    request.set_page_size(page_size);
    request.set_page_token(page_token);
    denoised::v1::ListModelsResponse response;
    return server_->models().ListModels(&context, request, &response);
  };
  EXPECT_THAT(ViolatedFields(list(-1, "")), ElementsAre("page_size"));
  EXPECT_THAT(ViolatedFields(list(0, "../../etc")), ElementsAre("page_token"));
}

}  // namespace
}  // namespace denoise
