// Three servers behind one client: one is killed and one drains while all generate. No request is
// lost, no image differs, and no evaluation is made twice but for those that the killed server lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/client.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/server_process.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

constexpr int kServers = 3;
constexpr int kRequests = 12;

class RollingRestartTest : public testing::Test {
 protected:
  RollingRestartTest() {
    models_.AddGuided();
    const auto key = RunProcess({DenoisedBinary(), "new-handover-key"}, kPatience);
    std::ofstream(File("key")) << key->output;
    for (int i = 0; i < kServers; ++i) {
      servers_.push_back(
          StartServer(models_.path(), {"--handover-key", File("key"), "--drain-seconds", "600",
                                       "--access-log", File(absl::StrCat("calls", i))}));
    }
  }

  std::string File(const std::string& name) const { return (folder_.path() / name).string(); }

  std::string Addresses() const {
    std::string addresses = "ipv4:";
    for (const auto& server : servers_) {
      absl::StrAppend(&addresses, addresses.back() == ':' ? "" : ",", server->address());
    }
    return addresses;
  }

  static v1::GenerateRequest Request(int number) {
    v1::GenerateRequest request = GuidedRequest(/*steps=*/150 + 10 * number);
    request.set_seed(number);
    request.set_request_id(absl::StrCat("picture-", number));
    return request;
  }

  // Evaluations of images that the server has made for calls that are over, by generation.
  std::map<std::string, int64_t> EvaluationsOf(int server) const {
    std::ifstream lines(File(absl::StrCat("calls", server)));
    std::map<std::string, int64_t> evaluations;
    for (std::string line; std::getline(lines, line);) {
      const auto parsed = nlohmann::json::parse(line);
      if (!parsed.contains("evaluations")) continue;
      evaluations[parsed.value("generation", "")] += parsed["evaluations"].get<int64_t>();
    }
    return evaluations;
  }

  TempDir folder_;
  ModelsFolder models_;
  std::vector<std::unique_ptr<ServerProcess>> servers_;
};

// An application that asks again, by the same request_id, when its server is lost.
class Application {
 public:
  Application(Client& client, v1::GenerateRequest request)
      : request_(std::move(request)), thread_([this, &client] { Run(client); }) {}
  ~Application() { Join(); }

  bool started() const { return started_; }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

  // After Join.
  const absl::Status& status() const { return status_; }
  const std::string& image() const { return image_; }
  int64_t evaluations() const { return evaluations_; }

 private:
  void Run(Client& client) {
    do {
      GenerateStream stream = client.Generate(request_, kPatience);
      status_ = Read(stream);
    } while (absl::IsUnavailable(status_));
  }

  absl::Status Read(GenerateStream& stream) {
    while (true) {
      const auto event = stream.Next();
      if (!event.ok()) return event.status();
      if (!event->has_value()) return absl::OkStatus();
      if ((*event)->has_accepted()) evaluations_ = (*event)->accepted().evaluations();
      if ((*event)->has_started()) started_ = true;
      if ((*event)->has_image()) image_ = (*event)->image().image().data();
    }
  }

  const v1::GenerateRequest request_;
  std::atomic<bool> started_ = false;
  absl::Status status_;
  std::string image_;
  int64_t evaluations_ = 0;
  std::thread thread_;  // last: it uses all of the above
};

TEST_F(RollingRestartTest, LosesNoRequestAndChangesNoImage) {
  Client client({.address = Addresses()});
  for (const auto& server : servers_) {  // calls go to those that the client has connected to
    ASSERT_TRUE(Eventually([&] {
      return client.ListModels().ok() &&
             server->Metrics().Sum("denoised_rpcs_total",
                                   {{"method", "denoised.v1.Models/ListModels"}}) > 0;
    }));
  }
  std::vector<std::unique_ptr<Application>> applications;
  for (int i = 0; i < kRequests; ++i) {
    applications.push_back(std::make_unique<Application>(client, Request(i)));
  }
  for (const auto& application : applications) {
    ASSERT_TRUE(Eventually([&] { return application->started(); }));
  }
  for (const auto& server : servers_) {
    EXPECT_EQ(server->Metrics().Sum("denoised_queue_wait_seconds_count"), kRequests / kServers)
        << "calls are not balanced";
  }
  servers_[0]->Kill();
  servers_[1]->process().Signal(SIGTERM);

  for (const auto& application : applications) {
    application->Join();
    EXPECT_TRUE(application->status().ok()) << application->status();
  }
  EXPECT_EQ(servers_[1]->process().Wait(kPatience), kExitedCleanly) << "without waiting";
  for (int i = 0; i < kRequests; ++i) {
    v1::GenerateRequest again = Request(i);
    again.clear_request_id();
    const auto alone = Generate(servers_[2]->generation(), again);
    ASSERT_TRUE(alone.status.ok());
    EXPECT_EQ(alone.Images().at(0), applications[static_cast<size_t>(i)]->image()) << i;
  }
  servers_[2].reset();  // writes its log to the end
  std::map<std::string, int64_t> made = EvaluationsOf(1);
  for (const auto& [generation, evaluations] : EvaluationsOf(2)) made[generation] += evaluations;
  int logged = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto found = made.find(absl::StrCat("generations/picture-", i));
    if (found == made.end()) continue;  // the killed server had finished it
    ++logged;
    EXPECT_EQ(found->second, applications[static_cast<size_t>(i)]->evaluations())
        << "what the drained server had done was done again";
  }
  EXPECT_GE(logged, kRequests - kRequests / kServers);
}

}  // namespace
}  // namespace denoise
