// A device that stops answering. The threads that work on it are stopped from outside, inside
// LibTorch, as a driver that never answers would stop them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/http_call.h"
#include "tests/e2e/server_process.h"

namespace denoise {
namespace {

using testing::HasSubstr;

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The threads of a process whose names begin with "device". Used by one thread.
class DeviceThreads {
 public:
  explicit DeviceThreads(pid_t process) : process_(process) {}
  ~DeviceThreads() { Continue(); }

  // Whether they could be stopped where they compute: elsewhere they might hold a lock that others
  // wait for.
  bool Stop() {
    for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
      const pid_t thread = std::stoi(entry.path().filename().string());
      if (!absl::StartsWith(FirstLine(absl::StrCat(Folder(), thread, "/comm")), "device")) continue;
      if (ptrace(PTRACE_SEIZE, thread, nullptr, nullptr) != 0) {
        ADD_FAILURE() << "threads may not be traced here: " << strerror(errno);
        return false;
      }
      stopped_.push_back(thread);
      ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr);
      int status = 0;
      waitpid(thread, &status, __WALL);
    }
    const bool compute = !stopped_.empty() && std::all_of(stopped_.begin(), stopped_.end(),
                                                          [&](pid_t t) { return Computes(t); });
    if (!compute) Continue();
    return compute;
  }

  void Continue() {
    for (const pid_t thread : stopped_) ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
    stopped_.clear();
  }

  // A process does not end before the ends of its traced threads have been seen.
  void WaitForTheirEnd() {
    for (const pid_t thread : stopped_) {
      int status = 0;
      while (waitpid(thread, &status, __WALL) == thread && !WIFEXITED(status) &&
             !WIFSIGNALED(status)) {
      }
    }
    stopped_.clear();
  }

 private:
  std::string Folder() const { return absl::StrCat("/proc/", process_, "/task/"); }

  // Whether the thread is in LibTorch's code, or in what oneDNN has generated.
  bool Computes(pid_t thread) const {
    std::istringstream fields(FirstLine(absl::StrCat(Folder(), thread, "/syscall")));
    std::string field, counter;
    while (fields >> field) counter = field;
    const uint64_t address = std::stoull(counter, nullptr, 16);
    std::ifstream maps(absl::StrCat("/proc/", process_, "/maps"));
    for (std::string line; std::getline(maps, line);) {
      std::istringstream map(line);
      uint64_t begin = 0, end = 0;
      char dash = 0;
      std::string access, offset, device, inode, path;
      map >> std::hex >> begin >> dash >> end >> access >> offset >> device >> inode >> path;
      if (address < begin || address >= end) continue;
      return path.empty() || absl::StrContains(path, "libtorch");
    }
    return false;
  }

  const pid_t process_;
  std::vector<pid_t> stopped_;
};

class HangingDeviceTest : public testing::Test {
 protected:
  HangingDeviceTest() {
    models_.AddGuided();
    server_ =
        StartServer(models_.path(), {"--device-timeout-seconds", "4", "--drain-seconds", "1"});
  }

  int Probe(const std::string& path) const {
    return AskHttp(server_->http_address(), "GET", path).status;
  }

  double HangingDevices() const { return server_->Metrics().Sum("denoised_device_hanging"); }

  ModelsFolder models_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(HangingDeviceTest, EndsItsRequestsAndTheServerIsNotLiveUntilItAnswers) {
  BackgroundCall running(server_->generation(), GuidedRequest(/*steps=*/1000));
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  DeviceThreads device(server_->process().pid());
  ASSERT_TRUE(Eventually([&] { return device.Stop() || HasFailure(); }));

  const grpc::Status& ended = running.Join().status;
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE) << ended.error_message();
  EXPECT_EQ(DetailsOf<google::rpc::RetryInfo>(ended).size(), 1u);
  ASSERT_TRUE(Eventually([&] { return Probe("/healthz") == 503; }));
  EXPECT_EQ(Probe("/readyz"), 503);
  EXPECT_THAT(AskHttp(server_->http_address(), "GET", "/healthz").body,
              HasSubstr("cpu has not answered for --device-timeout-seconds: restart the server"));
  EXPECT_EQ(HangingDevices(), 1);
  const grpc::Status refused = Generate(server_->generation(), GuidedRequest(1)).status;
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::UNAVAILABLE) << refused.error_message();

  device.Continue();

  ASSERT_TRUE(Eventually([&] { return Probe("/healthz") == 200; }));
  EXPECT_EQ(Probe("/readyz"), 200);
  EXPECT_EQ(HangingDevices(), 0);
  const grpc::Status served = Generate(server_->generation(), GuidedRequest(1)).status;
  EXPECT_TRUE(served.ok()) << served.error_message();
}

TEST_F(HangingDeviceTest, DoesNotKeepTheServerFromEnding) {
  BackgroundCall running(server_->generation(), GuidedRequest(/*steps=*/1000));
  ASSERT_TRUE(Eventually([&] { return running.Started(); }));
  DeviceThreads device(server_->process().pid());
  ASSERT_TRUE(Eventually([&] { return device.Stop() || HasFailure(); }));

  server_->process().Signal(SIGTERM);
  device.WaitForTheirEnd();

  EXPECT_EQ(server_->process().Wait(kPatience), (ExitStatus{.code = 1, .signal = 0}));
  EXPECT_THAT(server_->process().standard_error().WaitForEnd(),
              HasSubstr("exiting although something hangs"));
}

}  // namespace
}  // namespace denoise
