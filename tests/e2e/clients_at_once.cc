#include "tests/e2e/clients_at_once.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "denoised/v1/activity.grpc.pb.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/metric_names.h"
#include "tests/support/subprocess.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

// The last evaluation is counted after its image has been sent.
void WaitUntilIdle(const ServerProcess& server) {
  using denoised::v1::DeviceActivity;
  const auto stub = denoised::v1::Activity::NewStub(server.channel());
  grpc::ClientContext context;
  const auto reader = stub->WatchActivity(&context, {});
  denoised::v1::ActivitySnapshot snapshot;
  bool is_idle = false;
  while (!is_idle && reader->Read(&snapshot)) {
    is_idle = std::all_of(
        snapshot.devices().begin(), snapshot.devices().end(),
        [](const DeviceActivity& device) { return device.turn() == DeviceActivity::IDLE; });
  }
  EXPECT_TRUE(is_idle);
  context.TryCancel();
}

}  // namespace

std::vector<std::string> RunClients(const ServerProcess& server,
                                    const std::vector<std::vector<std::string>>& clients,
                                    size_t at_once) {
  std::vector<std::string> pictures;
  const TempDir out;
  const auto folder = [&](size_t i) { return out.path() / absl::StrCat(i); };
  for (size_t begin = 0; begin < clients.size(); begin += at_once) {
    std::vector<std::unique_ptr<Subprocess>> running;
    for (size_t i = begin; i < begin + at_once; ++i) {
      std::vector<std::string> arguments = {DenoiseBinary(),  "generate", "--server",
                                            server.address(), "--out",    folder(i).string()};
      arguments.insert(arguments.end(), clients[i].begin(), clients[i].end());
      auto client = Subprocess::Start(arguments);
      EXPECT_TRUE(client.ok()) << client.status();
      running.push_back(*std::move(client));
    }
    for (size_t i = begin; i < begin + at_once; ++i) {
      Subprocess& client = *running[i - begin];
      EXPECT_EQ(client.Wait(kPatience), kExitedCleanly) << client.standard_error().text();
      pictures.push_back(ReadFile(folder(i) / "image-0.png"));
    }
  }
  return pictures;
}

WorkDone WorkDoneBy(const ServerProcess& server) {
  WaitUntilIdle(server);
  const MetricsPage page = server.Metrics();
  return {page.Sum(kEvaluations), page.Sum(kTrajectories)};
}

}  // namespace denoise
