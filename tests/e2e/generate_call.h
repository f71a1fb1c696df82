// Calls ImageGeneration.Generate and looks at what comes back.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "google/rpc/error_details.pb.h"
#include "tests/e2e/e2e_support.h"

namespace denoise {

using EventCase = denoised::v1::GenerateEvent::EventCase;

// Everything one call brought back.
struct Generation {
  std::vector<denoised::v1::GenerateEvent> events;
  grpc::Status status;
  std::multimap<std::string, std::string> trailers;

  // The events of one kind, in order.
  std::vector<denoised::v1::GenerateEvent> Of(EventCase kind) const;
  // Encoded final images by index.
  std::map<int, std::string> Images() const;
};

// A request for `steps` steps of one image of class 0 of the model "guided".
denoised::v1::GenerateRequest GuidedRequest(int steps);

// Adds a class to its blend.
void AddClassWeight(denoised::v1::GenerateRequest& request, int class_label, double weight);

// Runs the call to its end.
Generation Generate(denoised::v1::ImageGeneration::Stub& stub,
                    const denoised::v1::GenerateRequest& request,
                    absl::Duration timeout = kPatience);

// A call that runs on a thread of its own while the test does other things. Used by one thread.
class BackgroundCall {
 public:
  BackgroundCall(denoised::v1::ImageGeneration::Stub& stub,
                 const denoised::v1::GenerateRequest& request,
                 absl::Duration timeout = absl::Hours(1));
  ~BackgroundCall();  // cancels it

  bool Queued() const { return queued_; }      // was told to wait, and where
  bool Started() const { return started_; }    // left the queue
  bool Finished() const { return finished_; }  // its status is there
  void Cancel() { context_.TryCancel(); }

  // Waits for the end.
  const Generation& Join();

 private:
  void Run(denoised::v1::ImageGeneration::Stub& stub, const denoised::v1::GenerateRequest& request);

  grpc::ClientContext context_;
  std::atomic<bool> queued_ = false;
  std::atomic<bool> started_ = false;
  std::atomic<bool> finished_ = false;
  Generation result_;  // the thread's until joined
  std::thread thread_;
};

// The details of one type in a status; empty where there are none.
template <typename Detail>
std::vector<Detail> DetailsOf(const grpc::Status& status);

extern template std::vector<google::rpc::BadRequest> DetailsOf(const grpc::Status&);
extern template std::vector<google::rpc::ErrorInfo> DetailsOf(const grpc::Status&);
extern template std::vector<google::rpc::ResourceInfo> DetailsOf(const grpc::Status&);
extern template std::vector<google::rpc::QuotaFailure> DetailsOf(const grpc::Status&);
extern template std::vector<google::rpc::RetryInfo> DetailsOf(const grpc::Status&);

// The fields that a status' BadRequest names, in order.
std::vector<std::string> ViolatedFields(const grpc::Status& status);

}  // namespace denoise
