// What once went wrong for users. Each row is what one of them does, with the real `denoise` and
// `denoised` or with one raw call, and the right answer. The code that begins its name is that of
// its kind.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tests/e2e/raw_call.h"
#include "tests/e2e/shared_training_server.h"

namespace denoise {
namespace {

namespace fs = std::filesystem;
namespace v1 = denoised::v1;
using ::testing::HasSubstr;
using ::testing::Not;
using Arguments = std::vector<std::string>;

struct Outcome {
  int code;  // the exit code of a command, or the code of a call's status
  std::string text;
};

struct UserCase {
  std::string name;
  std::function<Outcome()> act;
  int code;
  std::vector<std::string> says = {};
  std::vector<std::string> never_says = {};
};

void PrintTo(const UserCase& c, std::ostream* out) { *out << c.name; }

class UserCasesTest : public SharedTrainingServer, public testing::WithParamInterface<UserCase> {
 public:
  static void SetUpTestSuite() {
    auto models = std::make_unique<ModelsFolder>();
    models->AddGuided().AddGuided("unipc");
    const fs::path index = models->path() / "unipc/model_index.json";
    WriteFile(index,
              absl::StrReplaceAll(ReadFile(index), {{"DDPMScheduler", "UniPCMultistepScheduler"}}));
    WriteFile(models->path() / "unipc/scheduler/scheduler_config.json",
              R"({"_class_name": "UniPCMultistepScheduler", "predict_x0": false})");
    Start(std::move(models), {"--max-picture-pixels", "5000", "--max-receive-bytes", "67108864",
                              "--poll-models", "0.05", "--manage-models"});
    WritePictures(folder_->path() / "own", 3);
    fs::rename(folder_->path() / "own/dark", folder_->path() / "own/c0");
    fs::rename(folder_->path() / "own/light", folder_->path() / "own/c1");
    UploadPictures(*server_, folder_->path() / "own", "own");
  }

  void SetUp() override { scratch_ = std::make_unique<TempDir>(); }

  // A folder of the row's own, for which "@" stands in arguments.
  static fs::path Scratch() { return scratch_->path(); }
  static ServerProcess& server() { return *server_; }
  static ModelsFolder& models() { return *models_; }
  static TrainingStubs& stubs() { return *stubs_; }

 private:
  static inline std::unique_ptr<TempDir> scratch_;
};

Outcome OutcomeOf(const ProcessResult& result) {
  EXPECT_EQ(result.exit_status.signal, 0);
  return {result.exit_status.code, result.output + result.error};
}

// Runs `denoise` without a server's address.
Outcome RunAlone(Arguments arguments) {
  for (std::string& argument : arguments) {
    if (argument.starts_with("@")) {
      argument = (UserCasesTest::Scratch() / argument.substr(1)).string();
    }
  }
  return OutcomeOf(RunDenoise(arguments));
}

Outcome Run(Arguments arguments) {
  arguments.insert(arguments.end(), {"--server", UserCasesTest::server().address()});
  return RunAlone(arguments);
}

std::function<Outcome()> Denoise(const Arguments& arguments) {
  return [=] { return Run(arguments); };
}

// `generate` by the model "guided", with further flags.
Arguments GenerateWith(const Arguments& more) {
  Arguments arguments = {"generate", "--model", "guided", "--steps", "2", "--seed", "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// --- Pictures and data sets ----------------------------------------------------------------------

constexpr char kPictures[] = "tests/data/pictures/";
constexpr char kTooLarge[] = "tests/data/uploads/5120-pixels.png";
constexpr char kSmall[] = "tests/data/uploads/jfif/0.jfif";
const std::string kLimit = "the picture has 64 x 80 pixels; at most 5000 are allowed";

// Uploads a folder with these files: where they lie in it, and what they are copies of.
Outcome Upload(const std::map<std::string, std::string>& files, const Arguments& more = {}) {
  for (const auto& [name, source] : files) {
    const fs::path path = UserCasesTest::Scratch() / "uploaded" / name;
    fs::create_directories(path.parent_path());
    fs::copy_file(source, path);
  }
  static int number = 0;
  Arguments arguments = {"datasets", "upload", "@uploaded", "--name",
                         absl::StrCat("set-", ++number)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return Run(arguments);
}

// Runs a command on a picture and on the same one as a camera that was held sideways stores it, and
// compares a file that it writes.
Outcome OnUprightAndTurned(const Arguments& arguments, const std::string& written) {
  Outcome outcome;
  std::string upright;
  for (const std::string picture : {"upright.png", "orientation-6.png"}) {
    Arguments with = arguments;
    std::replace(with.begin(), with.end(), std::string("PICTURE"), kPictures + picture);
    with.insert(with.end(), {"--out", "@" + picture});
    outcome = Run(with);
    if (outcome.code != 0) return outcome;
    const std::string file = ReadFile(UserCasesTest::Scratch() / picture / written);
    if (upright.empty()) upright = file;
    EXPECT_TRUE(file == upright) << written << " of " << picture;
  }
  return outcome;
}

// One path for each of these lengths of the class's and the file's name.
std::map<std::string, std::string> NamesOfLengths(const std::vector<size_t>& classes,
                                                  const std::vector<size_t>& names) {
  std::map<std::string, std::string> files;
  for (const size_t c : classes) {
    for (const size_t n : names) files[std::string(c, 'c') + "/" + std::string(n, 'n')] = kSmall;
  }
  return files;
}

std::vector<size_t> EveryLength() {
  std::vector<size_t> lengths;
  for (size_t length = 1; length <= 255; ++length) lengths.push_back(length);
  return lengths;
}

Outcome UploadCutPicture() {
  const fs::path cut = UserCasesTest::Scratch() / "cut.jpg";
  WriteFile(cut, ReadFile(kPictures + std::string("scan-parameters.jpg")).substr(0, 500));
  return Upload({{"cats/0.jpg", cut.string()}});
}

std::vector<UserCase> PictureCases() {
  const std::string odd = kPictures + std::string("scan-parameters.jpg");
  return {
      {"P2_Diffuse",
       [] {
         return OnUprightAndTurned(
             {"diffuse", "PICTURE", "--model", "guided", "--timesteps", "0", "--seed", "1"},
             "frames/picture-0-level-001.png");
       },
       0},
      {"P2_Init",
       [] {
         return OnUprightAndTurned(GenerateWith({"-c", "c1", "--init", "PICTURE"}), "image-0.png");
       },
       0},
      {"P2_Inpaint",
       [] {
         return OnUprightAndTurned(
             GenerateWith({"-c", "c1", "--inpaint", "PICTURE", "--mask", "PICTURE"}),
             "image-0.png");
       },
       0},
      {"P2_DataSet",
       [] {
         return Upload({{"0.png", kPictures + std::string("orientation-6-tall.png")}});
       },
       0,
       {"1  32 x 48\n"}},  // stored as 48 x 32
      {"P3_Diffuse",
       Denoise({"diffuse", odd, "--model", "guided", "--timesteps", "0", "--out", "@out"}), 0},
      {"P3_Init", Denoise(GenerateWith({"-c", "c1", "--init", odd, "--out", "@out"})), 0},
      {"P3_DataSet",
       [=] {
         return Upload({{"cats/0.jpg", odd}});
       },
       0,
       {"ready"}},
      {"P3_MissingPicture",
       UploadCutPicture,
       2,
       {"its only file, \"cats/0.jpg\", is no picture: JPEG: Premature end"}},
      {"P7_DataSet",
       [] {
         return Upload({{"cats/0.jpg", kSmall}, {"dogs/0.png", kTooLarge}});
       },
       2,
       {"the folder \"dogs\" holds no readable picture", "\"0.png\": " + kLimit}},
      {"P7_DataSetAsJson",
       [] {
         return Upload({{"cats/0.jpg", kSmall}, {"dogs/0.png", kTooLarge}}, {"--json"});
       },
       2,
       {"\"code\":\"INVALID_ARGUMENT\"", "\\\"0.png\\\": " + kLimit}},
      {"P7_Diffuse",
       Denoise({"diffuse", kTooLarge, "--model", "guided", "--out", "@out"}),
       2,
       {kLimit}},
      {"P7_Init",
       Denoise(GenerateWith({"-c", "c1", "--init", kTooLarge, "--out", "@out"})),
       2,
       {"--init: " + kLimit}},
      {"P8_ClassesOfEveryLength",
       [] { return Upload(NamesOfLengths(EveryLength(), {5})); },
       0,
       {"ready", "pictures          255\n", "classes           255"}},
      {"P8_FilesOfEveryLength",
       [] { return Upload(NamesOfLengths({99}, EveryLength())); },
       0,
       {"ready", "pictures          255\n"}},
      {"P8_BothLong",
       [] {
         return Upload(NamesOfLengths({98, 99, 100, 101, 154, 155, 156, 254, 255},
                                      {1, 98, 99, 100, 101, 154, 155, 156, 254, 255}));
       },
       0,
       {"ready", "pictures          90\n"}},
  };
}

// --- Models --------------------------------------------------------------------------------------

Outcome PlanOf(const std::string& config) {
  WriteFile(UserCasesTest::Scratch() / "config.json", config);
  return RunAlone({"plan", "--steps", "5", "--scheduler-config", "@config.json", "--json"});
}

// The same as a plan that takes another path, so that the key is not merely ignored.
Outcome PlanUnlike(const std::string& config, const std::string& other) {
  const Outcome outcome = PlanOf(config);
  EXPECT_NE(outcome.text, PlanOf(other).text);
  return outcome;
}

// Copies a model into the folder and removes it again, and tells what a watch prints of that.
Outcome WatchAFolderComeAndGo() {
  auto watch = *Subprocess::Start(
      {DenoiseBinary(), "models", "watch", "--server", UserCasesTest::server().address()});
  const auto told = [&](const std::string& line) {
    EXPECT_TRUE(watch->standard_output().WaitForLine(line, kPatience)) << line;
  };
  told("model guided is loaded");
  UserCasesTest::models().AddGuided("late");
  told("model late is loaded");
  EXPECT_EQ(Run({"generate", "--model", "late", "-c", "c1", "--steps", "1", "--out", "@out"}).code,
            0);
  fs::remove_all(UserCasesTest::models().path() / "late");
  told("model late is removed");
  EXPECT_EQ(Run({"models", "late"}).code, 5) << "not found";
  watch->Signal(SIGINT);
  const auto end = watch->Wait(kPatience);
  return {end.has_value() ? end->code : -1, watch->standard_output().WaitForEnd()};
}

// Copies a model into the folder, and runs `denoise models COMMAND` on it.
Outcome CopyAnd(const std::string& command, const std::string& model) {
  UserCasesTest::models().AddGuided(model);
  EXPECT_EQ(Run({"models", "load", model}).code, 0);
  const Outcome outcome = Run({"models", command, model});
  EXPECT_EQ(fs::exists(UserCasesTest::models().path() / model), command != "delete");
  return outcome;
}

std::vector<UserCase> ModelCases() {
  const std::string solver = R"({"_class_name": "DPMSolverMultistepScheduler", )";
  const std::string unipc = R"({"_class_name": "UniPCMultistepScheduler", )";
  return {
      {"M9_SdeOfOrder3",
       [=] {
         const std::string sde = solver + R"("algorithm_type": "sde-dpmsolver++", )";
         return PlanUnlike(sde + R"("solver_order": 3})", sde + R"("solver_order": 2})");
       },
       0},
      {"M9_UniPcOfTheNoise",
       [=] {
         return PlanUnlike(unipc + R"("predict_x0": false})", unipc + R"("predict_x0": true})");
       },
       0},
      {"M9_GenerateOfOrder3",
       Denoise(GenerateWith(
           {"-c", "c1", "--sampler", "dpmpp_sde", "--solver-order", "3", "--out", "@out"})),
       0,
       {"2 steps of dpmpp_3m_sde"}},
      {"M9_GenerateSinglestepOfOrder3",
       Denoise(GenerateWith({"-c", "c1", "--sampler", "dpmpp_sde_singlestep", "--solver-order", "3",
                             "--out", "@out"})),
       0,
       {"2 steps of dpmpp_sde_singlestep"}},
      {"M9_GenerateByAModelOfTheNoise",
       Denoise({"generate", "--model", "unipc", "-c", "c1", "--steps", "4", "--out", "@out"}),
       0,
       {"4 steps of unipc"}},
      {"M10_AFolderComesAndGoes",
       WatchAFolderComeAndGo,
       130,
       {"model late is loaded", "model late is removed"}},
      {"M10_Load", [] { return CopyAnd("load", "loaded"); }, 0, {"model loaded is loaded"}},
      {"M10_Unload",
       [] { return CopyAnd("unload", "unloaded"); },
       0,
       {"model unloaded is unloaded"}},
      {"M10_Delete", [] { return CopyAnd("delete", "deleted"); }, 0, {"model deleted is deleted"}},
  };
}

// --- Server and wire -----------------------------------------------------------------------------

Outcome OutcomeOf(const grpc::Status& status) {
  return {status.error_code(), absl::StrCat(status.error_message(), "\nfields: ",
                                            absl::StrJoin(ViolatedFields(status), ","), ".")};
}

// A request of 2 steps that `change` spoils.
std::function<Outcome()> GenerateAfter(std::function<void(v1::GenerateRequest&)> change) {
  return [=] {
    v1::GenerateRequest request = GuidedRequest(/*steps=*/2);
    change(request);
    return OutcomeOf(Generate(UserCasesTest::server().generation(), request).status);
  };
}

Outcome TrainWithAMillionDecays() {
  v1::CreateTrainingJobRequest request = SmallJob("own", 2);
  request.mutable_training()->mutable_ema_decays()->Resize(1'000'000, 7);
  grpc::ClientContext context;
  v1::TrainingJob job;
  return OutcomeOf(UserCasesTest::stubs().training->CreateTrainingJob(&context, request, &job));
}

Outcome DiffuseToAMillionTimesteps() {
  v1::DiffuseRequest request;
  request.set_model("models/guided");
  request.add_pictures()->set_data(ReadFile(kSmall));
  request.mutable_timesteps()->Resize(1'000'000, -1);
  grpc::ClientContext context;
  const auto reader = UserCasesTest::server().generation().Diffuse(&context, request);
  for (v1::DiffuseEvent event; reader->Read(&event);) {
  }
  return OutcomeOf(reader->Finish());
}

// Generates with a deadline that is as far away.
Outcome GenerateWithin(int64_t hours) {
  grpc::ClientContext context;
  gpr_timespec deadline = gpr_now(GPR_CLOCK_REALTIME);
  deadline.tv_sec += hours * 3600;
  context.set_deadline(deadline);
  const auto reader = UserCasesTest::server().generation().Generate(&context, GuidedRequest(2));
  for (v1::GenerateEvent event; reader->Read(&event);) {
  }
  return OutcomeOf(reader->Finish());
}

// Sends bytes that are no message. The answer must have an id that the log has too.
Outcome SendBytes(const std::string& method) {
  const grpc::Status status =
      CallWithBytes(UserCasesTest::server().channel(), method, "\xff\xff\xff\xff").status;
  const auto info = DetailsOf<google::rpc::ErrorInfo>(status);
  if (info.size() != 1 || !info[0].metadata().contains("request_id")) return {-1, "no request id"};
  EXPECT_TRUE(Eventually([&] {
    return absl::StrContains(UserCasesTest::server().Log(), info[0].metadata().at("request_id"));
  })) << "not in the log";
  return OutcomeOf(status);
}

// Starts a server that must refuse its flags.
Outcome RunDenoised(const Arguments& flags) {
  Arguments argv = {DenoisedBinary(), "--models", UserCasesTest::models().path().string()};
  argv.insert(argv.end(), flags.begin(), flags.end());
  return OutcomeOf(*RunProcess(argv, kPatience));
}

// Ends a server while it generates: the images still come, and it ends in order.
Outcome SignalWhileGenerating(int signal) {
  const auto server = StartServer(ModelsFolder().AddGuided().path(), {"--drain-seconds", "150"});
  BackgroundCall call(server->generation(), GuidedRequest(/*steps=*/100));
  EXPECT_TRUE(Eventually([&] { return call.Started(); }));
  server->process().Signal(signal);
  const Outcome outcome = OutcomeOf(call.Join().status);
  EXPECT_EQ(call.Join().Images().size(), 1u);
  EXPECT_EQ(server->process().Wait(kPatience), kExitedCleanly);
  return outcome;
}

// Asks reflection by a field of ServerReflectionRequest: 3 is a file's name, 4 is a symbol.
Outcome Reflect(int field, const std::string& name) {
  const RawResponse response =
      CallWithBytes(UserCasesTest::server().channel(),
                    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                    absl::StrCat(std::string(1, static_cast<char>(field << 3 | 2)),
                                 std::string(1, static_cast<char>(name.size())), name));
  return {response.status.error_code(), response.bytes};
}

Outcome ReadProc(const std::string& file) {
  return {0, ReadFile(absl::StrCat("/proc/", UserCasesTest::server().process().pid(), "/", file))};
}

std::vector<UserCase> WireCases() {
  constexpr int kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  const std::string no_message = "did not arrive as a message that";
  const std::string wrong_port = "must be HOST:PORT with a port from 0 (any free one) to 65535";
  return {
      {"W1_FrameKinds",
       GenerateAfter([](auto& r) {
         r.mutable_frames()->mutable_kinds()->Resize(4'000'000, static_cast<v1::FrameKind>(77));
       }),
       kInvalid,
       {"fields: frames.kinds."}},
      {"W1_Timesteps",
       GenerateAfter([](auto& r) {
         r.mutable_sampler()->clear_steps();
         r.mutable_sampler()->mutable_timesteps()->Resize(1'000'000, -1);
       }),
       kInvalid,
       {"fields: sampler.timesteps."}},
      {"W1_ClassWeights",
       GenerateAfter([](auto& r) {
         r.clear_class_label();
         for (int i = 0; i < 300'000; ++i) AddClassWeight(r, -1, -1);
       }),
       kInvalid,
       {"fields: class_weights."}},
      {"W1_EmaDecays", TrainWithAMillionDecays, kInvalid, {"fields: training.ema_decays."}},
      {"W1_DiffuseTimesteps", DiffuseToAMillionTimesteps, kInvalid, {"fields: timesteps."}},
      {"W2_UntilTheYear2262", [] { return GenerateWithin(2'066'045); }, 0},
      {"W2_BeyondSixtyFourBits", [] { return GenerateWithin(5'124'095); }, 0},
      {"W2_AsLongAsCanBeSaid", [] { return GenerateWithin(99'999'999); }, 0},
      {"W3_Generate",
       [] { return SendBytes("/denoised.v1.ImageGeneration/Generate"); },
       kInvalid,
       {no_message}},
      {"W3_ListModels",
       [] { return SendBytes("/denoised.v1.Models/ListModels"); },
       kInvalid,
       {no_message}},
      {"W3_UploadDataset",
       [] { return SendBytes("/denoised.v1.Datasets/UploadDataset"); },
       kInvalid,
       {"before a message that UploadDataset takes"}},
      {"W3_CreateTrainingJob",
       [] { return SendBytes("/denoised.v1.Training/CreateTrainingJob"); },
       kInvalid,
       {no_message}},
      {"W4_Port99999",
       [] {
         return RunDenoised({"--listen", "127.0.0.1:99999"});
       },
       2,
       {"--listen: \"127.0.0.1:99999\" " + wrong_port}},
      {"W4_Port65536",
       [] {
         return RunDenoised({"--listen", "[::1]:65536"});
       },
       2,
       {"\"[::1]:65536\" " + wrong_port}},
      {"W4_PortOfHttp",
       [] {
         return RunDenoised({"--listen", "127.0.0.1:0", "--http", "127.0.0.1:-1"});
       },
       2,
       {"--http: \"127.0.0.1:-1\" " + wrong_port}},
      {"W4_PortInUse",
       [] {
         return RunDenoised({"--listen", UserCasesTest::server().address()});
       },
       1,
       {"is in use by another program. Choose another address with --listen; port 0"}},
      {"W4_PortOfHttpInUse",
       [] {
         return RunDenoised(
             {"--listen", "127.0.0.1:0", "--http", UserCasesTest::server().address()});
       },
       1,
       {"is in use by another program. Choose another address with --http; port 0"}},
      {"W4_NoModelsFolder",
       [] {
         return OutcomeOf(*RunProcess(
             {DenoisedBinary(), "--models", "/nowhere", "--listen", "127.0.0.1:0", "--http", "off"},
             kPatience));
       },
       1,
       {"denoised: --models /nowhere: the models folder does not exist; create it"}},
      {"W5_Hangup", [] { return SignalWhileGenerating(SIGHUP); }, 0},
      {"W5_Interrupt", [] { return SignalWhileGenerating(SIGINT); }, 0},
      {"W5_Quit", [] { return SignalWhileGenerating(SIGQUIT); }, 0},
      {"W7_Health",
       [] { return Reflect(4, "grpc.health.v1.Health"); },
       0,
       {"grpc/health/v1/health.proto", "HealthCheckRequest"}},
      {"W7_AMethodOfHealth",
       [] { return Reflect(4, "grpc.health.v1.Health.Watch"); },
       0,
       {"grpc/health/v1/health.proto", "HealthCheckRequest"}},
      {"W7_TheFileOfHealth",
       [] { return Reflect(3, "grpc/health/v1/health.proto"); },
       0,
       {"HealthCheckResponse"}},
      {"W8_Comm", [] { return ReadProc("comm"); }, 0, {"denoised\n"}},
      {"W8_Status", [] { return ReadProc("status"); }, 0, {"Name:\tdenoised\n"}},
      {"W8_CommandLine", [] { return ReadProc("cmdline"); }, 0, {"/denoised", "--models"}},
  };
}

// --- The command ---------------------------------------------------------------------------------

// A job that runs until this is destroyed.
class LongJob {
 public:
  LongJob() {
    grpc::ClientContext context;
    v1::TrainingJob job;
    EXPECT_TRUE(training_.CreateTrainingJob(&context, SmallJob("own", 1'000'000), &job).ok());
    name_ = job.name();
    Await(v1::TrainingJob::RUNNING);
  }
  ~LongJob() {
    grpc::ClientContext context;
    v1::CancelTrainingJobRequest request;
    request.set_name(name_);
    v1::TrainingJob job;
    (void)training_.CancelTrainingJob(&context, request, &job);  // may already be
    WaitForEnd(training_, name_);
  }
  LongJob(const LongJob&) = delete;
  LongJob& operator=(const LongJob&) = delete;

  void Await(v1::TrainingJob::State state) {
    EXPECT_EQ(WaitForState(training_, name_, state).state(), state);
  }
  Outcome Do(const std::string& command) const {
    return Run({"train", command, name_.substr(name_.find('/') + 1)});
  }

 private:
  v1::Training::Stub& training_ = *UserCasesTest::stubs().training;
  std::string name_;
};

Outcome ResumeAPausedJob() {
  LongJob job;
  EXPECT_EQ(job.Do("pause").code, 0);
  job.Await(v1::TrainingJob::PAUSED);
  return job.Do("resume");
}

Arguments Train(int steps, const Arguments& more) {
  Arguments arguments = {"train", "create", "-d", "own"};
  const Arguments flags = SmallJobFlags(steps);
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// The second of two commands, the first of which must work.
std::function<Outcome()> After(const Arguments& first, const Arguments& second) {
  return [=] {
    const Outcome outcome = Run(first);
    EXPECT_EQ(outcome.code, 0) << outcome.text;
    return Run(second);
  };
}

// Runs `denoise` by way of `env`, with its flags and variables.
Outcome RunInEnvironment(const Arguments& environment, const Arguments& arguments) {
  Arguments argv = {"/usr/bin/env"};
  argv.insert(argv.end(), environment.begin(), environment.end());
  argv.push_back(fs::absolute(DenoiseBinary()).string());
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return OutcomeOf(*RunProcess(argv, kPatience));
}

Outcome ListModelsBehind(const std::string& variable) {
  return RunInEnvironment({variable + "=http://127.0.0.1:1"},
                          {"models", "--server", UserCasesTest::server().address()});
}

Outcome GenerateTwiceWithoutAFolder() {
  Outcome outcome;
  for (int run = 0; run < 2; ++run) {
    outcome =
        RunInEnvironment({"-C", UserCasesTest::Scratch().string()},
                         GenerateWith({"-c", "c1", "--server", UserCasesTest::server().address()}));
  }
  return outcome;
}

std::vector<UserCase> HelpCases() {
  const std::map<std::string, std::vector<std::string>> commands = {
      {"datasets", {"upload", "list", "report", "delete"}},
      {"generations", {"list", "get", "cancel"}},
      {"models", {"load", "unload", "delete", "watch"}},
      {"train",
       {"create", "watch", "list", "get", "cancel", "pause", "resume", "delete", "checkpoints",
        "publish"}}};
  std::vector<UserCase> cases;
  for (const auto& [command, subcommands] : commands) {
    for (const std::string& subcommand : subcommands) {
      cases.push_back({absl::StrCat("C7_", command, "_", subcommand),
                       [=] {
                         return RunAlone({command, subcommand, "--help"});
                       },
                       0,
                       {absl::StrCat("Examples:\n  denoise ", command, " ", subcommand)},
                       {"  denoise health\n", "  denoise roundtrip"}});
    }
  }
  return cases;
}

std::vector<UserCase> TrainingCommandCases() {
  const std::string no_base = "--base-model or --height: is required: --base-model trains";
  const std::string not_finite = "the loss was not finite";
  return {
      {"C2_Text",
       Denoise({"train", "create", "-d", "own", "-n", "5"}),
       2,
       {no_base},
       {"training."}},
      {"C2_Json",
       Denoise({"train", "create", "-d", "own", "-n", "5", "--json"}),
       2,
       {"\"message\":\"" + no_base, "\"flag\":\"--base-model or --height\""}},
      {"C2_AnotherField",
       Denoise(Train(2, {"--ema-decays", "0.9,2"})),
       2,
       {"--ema-decays[1]: "},
       {"training."}},
      {"C3_Get", Denoise({"train", "get", "abc"}), 2, {"job: must be", "is abc"}, {"--model"}},
      {"C3_Pause", Denoise({"train", "pause", "abc"}), 2, {"job: must be", "is abc"}, {"--model"}},
      {"C3_Checkpoints",
       Denoise({"train", "checkpoints", "abc"}),
       2,
       {"job: must be", "is abc"},
       {"--model"}},
      {"C3_Publish",
       Denoise({"train", "publish", "abc", "--model", "m"}),
       2,
       {"job: must be", "is abc"},
       {"--model"}},
      {"C3_DataSet",
       Denoise({"datasets", "report", "a b"}),
       2,
       {"name: must be a data set", "is a b"},
       {"--model"}},
      {"C3_Generation",
       Denoise({"generations", "get", "a b"}),
       2,
       {"generation: must be a generation", "is a b"},
       {"--model"}},
      {"C4_NewNetwork",
       Denoise(Train(40, {"--learning-rate", "1e30", "--max-non-finite-steps", "2", "--watch"})),
       1,
       {"failed: ", not_finite, "--learning-rate"},
       {"succeeded"}},
      {"C4_LastStep",
       Denoise(Train(2, {"--learning-rate", "1e30", "--watch"})),
       1,
       {"failed: ", not_finite},
       {"succeeded"}},
      {"C4_ServedModel",
       Denoise({"train", "create", "-d", "own", "-m", "guided", "-n", "2", "-b", "2",
                "--learning-rate", "1e30", "--watch"}),
       1,
       {"failed: ", not_finite},
       {"succeeded"}},
      {"C8_Pause",
       [] { return LongJob().Do("pause"); },
       0,
       {"job ", " is still running; it pauses as soon as it has saved a checkpoint\n"},
       {"\n  "}},
      {"C8_Resume", ResumeAPausedJob, 0, {"job ", " at step ", " of 1000000"}, {"\n  "}},
      {"C8_Cancel",
       [] { return LongJob().Do("cancel"); },
       0,
       {"job ", " is being cancelled\n"},
       {"\n  "}},
      {"C11_Create", Denoise(Train(3, {})), 0, {"\n  estimate    "}},
      {"C11_CreateAfterAJobLikeIt",
       After(Train(3, {"--watch"}), Train(4, {})),
       0,
       {"\n  estimate    about ", " images/s of job "}},
      {"C11_Watch", Denoise(Train(5, {"--watch"})), 0, {"step 1  loss", " left\n"}},
  };
}

std::vector<UserCase> CommandCases() {
  const Arguments generate = GenerateWith({"-c", "c1", "--out", "@out"});
  const auto and_more = [&](const Arguments& more) {
    Arguments arguments = generate;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const std::string classes = "; there are: c0 (0), c1 (1), c2 (2), c3 (3), c4 (4)";
  return {
      {"C6_Prompt",
       Denoise(GenerateWith({"--prompt", "a dog"})),
       2,
       {"--prompt: must be absent: this model takes no prompts. Choose a class with --class-label"},
       {"not expected"}},
      {"C6_Upload",
       Denoise({"datasets", "upload", "LICENSE", "--nmae", "x"}),
       2,
       {"unknown flag --nmae; did you mean --name?"}},
      {"C6_Watch",
       Denoise({"train", "watch", "1", "--resume-afer", "3"}),
       2,
       {"unknown flag --resume-afer; did you mean --resume-after?"}},
      {"C9_Server", Denoise({"plan"}), 2, {"--server needs --model"}},
      {"C9_Deadline",
       [] {
         return RunAlone({"plan", "--deadline", "1s"});
       },
       2,
       {"--deadline needs --model"}},
      {"C9_Tls",
       [] {
         return RunAlone({"plan", "--tls"});
       },
       2,
       {"--tls needs --model"}},
      {"C9_Asked", Denoise({"plan", "--model", "guided"}), 0, {"on guided, version "}},
      {"C10_SameFolder",
       After(generate, generate),
       2,
       {"--out: ", "holds the files of an earlier run", "--overwrite"}},
      {"C10_Overwrite", After(generate, and_more({"--overwrite"})), 0, {"image-0.png"}},
      {"C10_AnotherCommand",
       After(generate,
             {"diffuse", kSmall, "--model", "guided", "--timesteps", "0", "--out", "@out"}),
       2,
       {"--out: ", "holds the files of an earlier run", "--overwrite"}},
      {"C10_NoFolder", GenerateTwiceWithoutAFolder, 0, {"  out-2/image-0.png"}},
      {"C12_HttpProxy", [] { return ListModelsBehind("http_proxy"); }, 0, {"guided"}},
      {"C12_HttpsProxy", [] { return ListModelsBehind("https_proxy"); }, 0, {"guided"}},
      {"C12_GrpcProxy", [] { return ListModelsBehind("grpc_proxy"); }, 0, {"guided"}},
      {"C12_AnotherHost",
       [] {
         return RunInEnvironment({"http_proxy=http://127.0.0.1:1"},
                                 {"models", "--server", "denoised.invalid:50051"});
       },
       3,
       {"through the proxy http://127.0.0.1:1 of the variable http_proxy"},
       {"Is denoised running there?"}},
      {"C13_TheNullClass",
       Denoise(GenerateWith({"-c", "5"})),
       2,
       {"--class-label: no class has the index 5" + classes}},
      {"C13_FarBeyond",
       Denoise(GenerateWith({"-c", "99"})),
       2,
       {"--class-label: no class has the index 99" + classes}},
      {"C13_InABlend",
       Denoise(GenerateWith({"--class-weights", "c1=1,5=1"})),
       2,
       {"--class-weights: no class has the index 5" + classes}},
      {"C13_TheLast", Denoise(GenerateWith({"-c", "4", "--out", "@out"})), 0, {"image-0.png"}},
  };
}

std::vector<UserCase> AllCases() {
  std::vector<UserCase> all;
  for (const auto& cases : {PictureCases(), ModelCases(), WireCases(), HelpCases(),
                            TrainingCommandCases(), CommandCases()}) {
    all.insert(all.end(), cases.begin(), cases.end());
  }
  return all;
}

TEST_P(UserCasesTest, IsAnsweredWell) {
  const Outcome outcome = GetParam().act();
  EXPECT_EQ(outcome.code, GetParam().code) << outcome.text;
  for (const std::string& words : GetParam().says) EXPECT_THAT(outcome.text, HasSubstr(words));
  for (const std::string& words : GetParam().never_says) {
    EXPECT_THAT(outcome.text, Not(HasSubstr(words)));
  }
}

INSTANTIATE_TEST_SUITE_P(, UserCasesTest, testing::ValuesIn(AllCases()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace denoise
