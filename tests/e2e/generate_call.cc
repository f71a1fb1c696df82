#include "tests/e2e/generate_call.h"

#include <grpcpp/support/sync_stream.h>

#include "absl/time/clock.h"
#include "google/rpc/status.pb.h"

namespace denoise {
namespace {

using denoised::v1::GenerateEvent;
using denoised::v1::GenerateRequest;
using denoised::v1::ImageGeneration;

// Reads events into `result` until the stream ends; `on_event` hears of each.
template <typename OnEvent>
void ReadAll(ImageGeneration::Stub& stub, grpc::ClientContext& context,
             const GenerateRequest& request, Generation& result, OnEvent on_event) {
  const auto reader = stub.Generate(&context, request);
  for (GenerateEvent event; reader->Read(&event);) {
    on_event(event);
    result.events.push_back(event);
  }
  result.status = reader->Finish();
  for (const auto& [key, value] : context.GetServerTrailingMetadata()) {
    result.trailers.emplace(std::string(key.data(), key.size()),
                            std::string(value.data(), value.size()));
  }
}

}  // namespace

std::vector<GenerateEvent> Generation::Of(EventCase kind) const {
  std::vector<GenerateEvent> found;
  for (const GenerateEvent& event : events) {
    if (event.event_case() == kind) found.push_back(event);
  }
  return found;
}

std::map<int, std::string> Generation::Images() const {
  std::map<int, std::string> images;
  for (const GenerateEvent& event : Of(GenerateEvent::kImage)) {
    images[event.image().image_index()] = event.image().image().data();
  }
  return images;
}

GenerateRequest GuidedRequest(int steps) {
  GenerateRequest request;
  request.set_model("models/guided");
  request.set_class_label(0);
  request.set_seed(1);
  request.mutable_sampler()->set_steps(steps);
  return request;
}

void AddClassWeight(GenerateRequest& request, int class_label, double weight) {
  denoised::v1::ClassWeight& entry = *request.add_class_weights();
  entry.set_class_label(class_label);
  entry.set_weight(weight);
}

Generation Generate(ImageGeneration::Stub& stub, const GenerateRequest& request,
                    absl::Duration timeout) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  Generation result;
  ReadAll(stub, context, request, result, [](const GenerateEvent&) {});
  return result;
}

BackgroundCall::BackgroundCall(ImageGeneration::Stub& stub, const GenerateRequest& request,
                               absl::Duration timeout) {
  context_.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  thread_ = std::thread([this, &stub, request] { Run(stub, request); });
}

BackgroundCall::~BackgroundCall() {
  if (!thread_.joinable()) return;
  Cancel();
  thread_.join();
}

void BackgroundCall::Run(ImageGeneration::Stub& stub, const GenerateRequest& request) {
  ReadAll(stub, context_, request, result_, [this](const GenerateEvent& event) {
    if (event.has_queued()) queued_ = true;
    if (event.has_started()) started_ = true;
  });
  finished_ = true;
}

const Generation& BackgroundCall::Join() {
  if (thread_.joinable()) thread_.join();
  return result_;
}

template <typename Detail>
std::vector<Detail> DetailsOf(const grpc::Status& status) {
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  std::vector<Detail> found;
  for (const auto& any : rich.details()) {
    if (Detail detail; any.UnpackTo(&detail)) found.push_back(detail);
  }
  return found;
}

template std::vector<google::rpc::BadRequest> DetailsOf(const grpc::Status&);
template std::vector<google::rpc::ErrorInfo> DetailsOf(const grpc::Status&);
template std::vector<google::rpc::ResourceInfo> DetailsOf(const grpc::Status&);
template std::vector<google::rpc::QuotaFailure> DetailsOf(const grpc::Status&);
template std::vector<google::rpc::RetryInfo> DetailsOf(const grpc::Status&);

std::vector<std::string> ViolatedFields(const grpc::Status& status) {
  std::vector<std::string> fields;
  for (const auto& detail : DetailsOf<google::rpc::BadRequest>(status)) {
    for (const auto& violation : detail.field_violations()) fields.push_back(violation.field());
  }
  return fields;
}

}  // namespace denoise
