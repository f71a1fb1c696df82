// Servers on which everything happens that has a metric.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/e2e/e2e_support.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/training_support.h"
#include "tests/support/temp_dir.h"

namespace denoise {

// One that generates and trains, and one with TLS that does nothing. Used by one thread.
class MeasuredServers {
 public:
  MeasuredServers();
  ~MeasuredServers();

  const ServerProcess& main() const { return *main_; }
  // By HTTPS, with the certificate at certificate().
  const ServerProcess& with_tls() const { return *with_tls_; }
  std::string certificate() const { return (folder_.path() / "certificate.pem").string(); }
  // What both say of their metrics.
  std::vector<std::string> Pages() const;

  // Makes requests of every kind: to pixel and latent models, with frames, cancelled while they
  // run, with deadlines that pass, refused, diffusions, and calls over HTTP.
  void MakeRequests();
  // The same again and again, until this goes away.
  void KeepBusy();
  // Uploads pictures, trains on them to the end of a short job, and starts one that does not end.
  void StartTraining();

 private:
  void MakeCertificate() const;
  std::string CreateJob(int max_steps);

  TempDir folder_;
  ModelsFolder models_;
  std::unique_ptr<ServerProcess> main_;
  std::unique_ptr<ServerProcess> with_tls_;
  std::unique_ptr<TrainingStubs> stubs_;
  std::atomic<bool> stopping_ = false;
  std::thread load_;
};

}  // namespace denoise
