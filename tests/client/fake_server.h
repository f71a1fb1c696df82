// A server without a network behind it: answers over real gRPC what a test tells it to.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_context.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "denoised/v1/image_generation.grpc.pb.h"
#include "denoised/v1/models.grpc.pb.h"

namespace denoise {

// Serves "models/shapes" (16 x 12 RGB, classes "circle" and "square", guidance) and "models/plain"
// (no classes), both without a state as older servers do, on a free port of 127.0.0.1 until
// destroyed. By default every request gets
// well-formed events with small PNG, JPEG, WebP or raw pictures, or a plan of our defaults on a
// linear schedule; pictures that are sent to it are not looked at. The fields below, set before the
// call, change that. Thread-safe except for the fields.
class FakeServer {
 public:
  // Serves `more`, too, which outlive it.
  explicit FakeServer(const std::vector<grpc::Service*>& more = {});
  ~FakeServer();

  // Cancels all calls and returns once their handlers have returned. A handler can outlive the
  // client's call: stop the server before what the handlers use goes away.
  void Stop();

  const std::string& address() const { return address_; }

  // What the health service says of ImageGeneration; serving at first.
  void SetServing(bool serving);

  // Adds a model, or replaces the one of its name. Only listings that ask for failed models have
  // those that are FAILED.
  void SetModel(const denoised::v1::Model& model);
  // Calls to load, unload and delete models so far, in order: "load models/shapes".
  std::vector<std::string> model_calls() const;

  // Requests to Generate and to Diffuse so far, in order.
  std::vector<denoised::v1::GenerateRequest> requests() const;
  std::vector<denoised::v1::DiffuseRequest> diffusions() const;
  // What the calls to Generate carried under this metadata key, in order; empty for none.
  std::vector<std::string> metadata(const std::string& key) const;
  // Calls that ended because the client went away or gave up.
  int cancelled_calls() const;

  // Wait until there have been as many; false if that takes more than a minute.
  bool WaitForRequests(size_t count) const;
  bool WaitForCancelledCalls(int count) const;

  // With `holds_calls`: lets one call that waits, or the next, go on.
  void LetOneCallFinish();
  // The most calls to Generate that were under way at a time.
  int most_open_calls() const;

  // The next this many calls fail with UNAVAILABLE, telling gRPC to come back after `pushback`.
  std::atomic<int> failures_before_success = 0;
  absl::Duration pushback = absl::ZeroDuration();
  // The service config of the client decides over pushback when false.
  bool sends_pushback = true;

  grpc::Status answer;           // instead of events, unless OK
  grpc::Status end;              // after the events
  size_t extra_event_bytes = 0;  // pads the first image's PNG with bytes after its end
  bool leaves_out_finished = false;
  bool never_ends = false;   // waits for cancellation after `started`
  bool holds_calls = false;  // waits for LetOneCallFinish() after `started`
  int list_page_size = 1;
  std::function<void(denoised::v1::GenerateEvent&)> edit_event;  // the last word on every event
  std::function<void(denoised::v1::DiffuseEvent&)> edit_diffuse_event;
  std::function<void(denoised::v1::SamplerPlan&)> edit_plan;  // and on every plan

  bool manages_models = true;    // as with --manage-models
  bool loads_never_end = false;  // LoadModel waits for cancellation
  // Answers WatchModels; by default every model is told, and nothing more until the client leaves.
  using ModelWriter = grpc::ServerWriter<denoised::v1::ModelEvent>;
  std::function<grpc::Status(grpc::ServerContext&, ModelWriter&)> watch_models;

 private:
  class ImageGeneration;
  class Models;

  bool ShouldFail(grpc::ServerContext& context);
  void BeginCall(const denoised::v1::GenerateRequest& request, const grpc::ServerContext& context);
  void EndCall(bool whole);
  void WaitForPermit();

  std::unique_ptr<ImageGeneration> image_generation_;
  std::unique_ptr<Models> models_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<denoised::v1::GenerateRequest> requests_;       // guarded by mutex_
  std::vector<denoised::v1::DiffuseRequest> diffusions_;      // likewise, as everything below
  std::vector<std::map<std::string, std::string>> metadata_;  // of requests_
  std::map<std::string, denoised::v1::Model> served_;
  std::vector<std::string> model_calls_;
  int cancelled_calls_ = 0;
  int open_calls_ = 0;
  int most_open_calls_ = 0;
  int permits_ = 0;  // calls that may still finish
};

// Returns once the client has cancelled the call or is gone. The synchronous API of gRPC has no
// event for that: this is the one place that asks again and again.
void WaitUntilCancelled(const grpc::ServerContext& context);

// A status with one of google.rpc's details.
grpc::Status StatusWithDetail(grpc::StatusCode code, const std::string& message,
                              const google::protobuf::Message& detail);

// A status with google.rpc details: a BadRequest of {field, description} pairs.
grpc::Status BadRequestStatus(const std::vector<std::pair<std::string, std::string>>& violations);

// UNAVAILABLE with a RetryInfo.
grpc::Status RetryLaterStatus(absl::Duration delay);

}  // namespace denoise
