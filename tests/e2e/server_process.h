// The real server, in a process of its own, on free ports.
#pragma once

#include <grpcpp/channel.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "denoised/v1/models.grpc.pb.h"
#include "tests/support/metrics_text.h"
#include "tests/support/subprocess.h"

namespace denoise {

// Asked to shut down, if it still runs, when destroyed: the test fails unless it then ends cleanly,
// or when a sanitizer has complained. Its log goes to the test's log when a test has failed.
class ServerProcess {
 public:
  // Starts `denoised --models MODELS` with `flags` added, and waits until it listens. The status
  // carries the end of its log when it does not.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(
      const std::filesystem::path& models, const std::vector<std::string>& flags = {});
  ~ServerProcess();

  const std::string& address() const { return address_; }  // "HOST:PORT"
  const std::string& http_address() const { return http_address_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  denoised::v1::ImageGeneration::Stub& generation() { return *generation_; }
  denoised::v1::Models::Stub& models() { return *models_; }

  // Fails the test when nobody answers. The page is empty then, and Sum() is not a number: a dead
  // server satisfies no condition.
  MetricsPage Metrics() const;
  std::string Log() const { return process_->standard_error().text(); }
  Subprocess& process() { return *process_; }

  // As a crash or a power cut ends it, at once.
  void Kill();

 private:
  ServerProcess(std::unique_ptr<Subprocess> process, std::string address, std::string http_address);

  void ShutDown();

  std::unique_ptr<Subprocess> process_;
  std::string address_;
  std::string http_address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<denoised::v1::ImageGeneration::Stub> generation_;
  std::unique_ptr<denoised::v1::Models::Stub> models_;
};

// The same with one thread for the network and batches as large as they may be; the test ends here
// when the server does not start.
std::unique_ptr<ServerProcess> StartServer(const std::filesystem::path& models,
                                           const std::vector<std::string>& flags = {});

}  // namespace denoise
