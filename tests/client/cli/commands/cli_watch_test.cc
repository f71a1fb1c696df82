// `denoise watch` against a server that goes away and comes back.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "denoised/v1/generations.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/cli/commands/cli_training_testing.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// One generation, "generations/zoo".
class FakeGenerations final : public v1::Generations::Service {
 public:
  using Writer = grpc::ServerWriter<v1::GenerateEvent>;

  grpc::Status GetGeneration(grpc::ServerContext*, const v1::GetGenerationRequest* request,
                             v1::Generation* response) override {
    if (request->name() != "generations/zoo") {
      return grpc::Status(grpc::StatusCode::NOT_FOUND, "no such generation");
    }
    *response = generation;
    return grpc::Status::OK;
  }

  grpc::Status WatchGeneration(grpc::ServerContext*, const v1::WatchGenerationRequest* request,
                               Writer* writer) override {
    return watch(*request, *writer);
  }

  grpc::Status CancelGeneration(grpc::ServerContext*, const v1::CancelGenerationRequest*,
                                v1::Generation* response) override {
    *response = generation;
    return grpc::Status::OK;
  }

  v1::Generation generation;
  std::function<grpc::Status(const v1::WatchGenerationRequest&, Writer&)> watch;
};

// All that happens to a generation of one image.
std::vector<v1::GenerateEvent> WholeGeneration(const v1::Accepted& accepted) {
  std::vector<v1::GenerateEvent> events(4);
  for (size_t i = 0; i < events.size(); ++i) events[i].set_sequence(static_cast<int64_t>(i));
  *events[0].mutable_accepted() = accepted;
  events[1].mutable_started();
  *events[2].mutable_image()->mutable_image() = Picture();
  events[3].mutable_finished()->set_images(1);
  return events;
}

class CliWatchTest : public testing::Test {
 protected:
  CliWatchTest() {
    generations_.generation.set_name("generations/zoo");
    generations_.generation.set_state(v1::Generation::RUNNING);
    v1::Accepted& accepted = *generations_.generation.mutable_accepted();
    accepted.set_model("models/shapes");
    accepted.set_count(1);
    accepted.set_steps(2);
    accepted.set_generation("generations/zoo");
  }

  // Each stream ends with the next of `ends` after as many more events as that says; the last one
  // has all the rest.
  struct End {
    int events;
    grpc::Status status;
  };
  void Serve(std::vector<End> ends) {
    generations_.watch = [this, ends](const auto& request, auto& writer) {
      resumed_after_.push_back(request.has_resume_after() ? request.resume_after() : -1);
      const size_t stream = resumed_after_.size() - 1;
      int sent = 0;
      for (const v1::GenerateEvent& event : WholeGeneration(generations_.generation.accepted())) {
        if (event.sequence() <= resumed_after_.back()) continue;
        if (stream < ends.size() && sent == ends[stream].events) return ends[stream].status;
        writer.Write(event);
        ++sent;
      }
      return grpc::Status::OK;
    };
  }

  std::vector<std::string> Argv(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), DENOISE_BINARY);
    arguments.insert(arguments.end(), {"--server", server_.address()});
    return arguments;
  }
  ProcessResult Run(std::vector<std::string> arguments) const {
    return RunProcess(Argv(std::move(arguments)), kPatience).value();
  }

  std::string out() const { return (folder_.path() / "out").string(); }

  FakeGenerations generations_;
  FakeServer server_{{&generations_}};
  std::vector<int64_t> resumed_after_;  // -1: from the beginning
  TempDir folder_;
};

const grpc::Status kAway(grpc::StatusCode::UNAVAILABLE, "draining");
const grpc::Status kCancelled(grpc::StatusCode::CANCELLED, "cancelled");

TEST_F(CliWatchTest, ContinuesAfterTheLastEventOnceTheServerIsBack) {
  Serve({{0, kAway}, {2, kAway}, {1, kCancelled}});
  const auto result = Run({"watch", "zoo", "--json", "--out", out()});
  ASSERT_EQ(result.exit_status, Exited(0)) << result.error;
  EXPECT_THAT(resumed_after_, ElementsAre(-1, -1, 1, 2));
  EXPECT_THAT(result.error, HasSubstr("the server is away; watching continues"));
  const auto lines = Lines(result.output);
  ASSERT_EQ(lines.size(), 4u);
  for (size_t i = 0; i < lines.size(); ++i) EXPECT_EQ(lines[i]["sequence"], std::to_string(i));
  EXPECT_EQ(ReadFile(folder_.path() / "out" / "image-0.png"), Picture().data());
  EXPECT_TRUE(std::filesystem::exists(folder_.path() / "out" / "contact-sheet.png"));
}

TEST_F(CliWatchTest, EndsWhereTheGenerationWasCancelled) {
  Serve({{2, kCancelled}});
  generations_.generation.set_state(v1::Generation::CANCELLED);
  const auto result = Run({"watch", "zoo", "--out", out()});
  EXPECT_EQ(result.exit_status, Exited(1));
  EXPECT_THAT(resumed_after_, ElementsAre(-1));
}

TEST_F(CliWatchTest, AnInterruptWhileTheServerIsAwayEndsIt) {
  generations_.watch = [](const auto&, auto&) { return kAway; };
  generations_.generation.set_on_disconnect(v1::ON_DISCONNECT_DETACH);
  auto process = Subprocess::Start(Argv({"watch", "zoo", "--out", out()})).value();
  ASSERT_TRUE(process->standard_error().WaitForLine("denoise: the server is away", kPatience));
  process->Signal(SIGTERM);
  EXPECT_EQ(process->Wait(kPatience), Exited(130));
}

TEST_F(CliWatchTest, NamesAreToldAsTheyWereTyped) {
  const auto result = Run({"watch", "park", "--out", out()});
  EXPECT_EQ(result.exit_status, Exited(5));
  EXPECT_THAT(result.error, StartsWith("denoise: there is no generation park. `denoise "
                                       "generations list` shows what exists.\n"));
}

TEST_F(CliWatchTest, ACancellationIsOneLine) {
  generations_.generation.set_state(v1::Generation::CANCELLED);
  EXPECT_EQ(Run({"generations", "cancel", "zoo"}).output,
            "generation zoo is cancelled after 0/1 images\n");
}

}  // namespace
}  // namespace denoise
