#include "tests/e2e/server_process.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"
#include "tests/e2e/e2e_support.h"
#include "tests/support/http_get.h"

namespace denoise {

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(
    const std::filesystem::path& models, const std::vector<std::string>& flags) {
  std::vector<std::string> argv = {DenoisedBinary(), "--models", models.string(), "--listen",
                                   "127.0.0.1:0",    "--http",   "127.0.0.1:0"};
  argv.insert(argv.end(), flags.begin(), flags.end());
  ASSIGN_OR_RETURN(auto process, Subprocess::Start(argv));
  const auto address = process->standard_output().WaitForLine("listening on ", kPatience);
  const auto http = process->standard_output().WaitForLine("http on ", kPatience);
  if (!address || !http) {
    return absl::UnavailableError(
        absl::StrCat("denoised does not listen: ", process->standard_error().text()));
  }
  return std::unique_ptr<ServerProcess>(new ServerProcess(std::move(process), *address, *http));
}

ServerProcess::ServerProcess(std::unique_ptr<Subprocess> process, std::string address,
                             std::string http_address)
    : process_(std::move(process)),
      address_(std::move(address)),
      http_address_(std::move(http_address)),
      channel_(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials())),
      generation_(denoised::v1::ImageGeneration::NewStub(channel_)),
      models_(denoised::v1::Models::NewStub(channel_)) {}

void ServerProcess::ShutDown() {
  process_->Signal(SIGTERM);
  const auto exit_status = process_->Wait(kPatience);
  EXPECT_TRUE(exit_status == kExitedCleanly) << "the server did not shut down cleanly";
}

void ServerProcess::Kill() {
  process_->Signal(SIGKILL);
  EXPECT_TRUE(process_->Wait(kPatience).has_value());
}

ServerProcess::~ServerProcess() {
  if (process_->running()) ShutDown();
  // What an ended server has said last may still be on its way.
  const std::string log = process_->running() ? Log() : process_->standard_error().WaitForEnd();
  for (const char* complaint : {"Sanitizer: ", "runtime error: "}) {
    EXPECT_THAT(log, testing::Not(testing::HasSubstr(complaint)));
  }
  if (testing::Test::HasFailure()) {
    std::fprintf(stderr, "--- the server's log ---\n%s------------------------\n", log.c_str());
  }
}

MetricsPage ServerProcess::Metrics() const {
  const auto page = HttpGet(http_address_, "/metrics");
  if (!page.ok()) {
    ADD_FAILURE() << "no metrics: " << page.status();
    return MetricsPage::Unreadable();
  }
  return MetricsPage(*page);
}

std::unique_ptr<ServerProcess> StartServer(const std::filesystem::path& models,
                                           const std::vector<std::string>& flags) {
  // Several tests run at once, each with a server: threads that wait for each other would take
  // longer than one alone. On a busy machine, measurements would suggest batches of any size.
  std::vector<std::string> all_flags = {"--threads", "1", "--batch-efficiency", "1"};
  all_flags.insert(all_flags.end(), flags.begin(), flags.end());
  auto server = ServerProcess::Start(models, all_flags);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    std::abort();
  }
  return *std::move(server);
}

}  // namespace denoise
