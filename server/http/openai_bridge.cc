#include "server/http/openai_bridge.h"

#include <google/protobuf/message_lite.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "core/base/error_details.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/retry.h"
#include "denoised/v1/image_generation.pb.h"
#include "denoised/v1/models.pb.h"
#include "server/http/openai/api_error.h"
#include "server/http/openai/images_request.h"
#include "server/http/openai/images_response.h"
#include "server/http/openai/model_objects.h"
#include "server/http/openai/request_body.h"
#include "server/http/openai/server_sent_event.h"
#include "server/http/rpc_status.h"
#include "server/models/model_id.h"
#include "server/rpc/call_record.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using google::protobuf::MessageLite;
using openai::ApiError;
using openai::Endpoint;
using RpcStatus = google::rpc::Status;

constexpr char kGenerate[] = "/denoised.v1.ImageGeneration/Generate";
constexpr char kGetModel[] = "/denoised.v1.Models/GetModel";
constexpr char kListModels[] = "/denoised.v1.Models/ListModels";

constexpr std::string_view kGenerationsPath = "/v1/images/generations";
constexpr std::string_view kEditsPath = "/v1/images/edits";
constexpr std::string_view kModelsPath = "/v1/models";
constexpr std::string_view kModelPathStart = "/v1/models/";
constexpr char kUnknownPath[] =
    "there is nothing here; the server has POST /v1/images/generations and /v1/images/edits, GET "
    "/v1/models and /v1/models/{model}";

constexpr int kMaxModels = 1000;  // that are listed
constexpr int kMaxNames = 20;     // that an error lists

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// What a path says in percent-encoding. What is malformed stays as it is, and names no model.
std::string PercentDecode(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_escape = text[i] == '%' && i + 2 < text.size() && HexValue(text[i + 1]) >= 0 &&
                           HexValue(text[i + 2]) >= 0;
    if (!is_escape) {
      decoded += text[i];
      continue;
    }
    decoded += static_cast<char>(HexValue(text[i + 1]) * 16 + HexValue(text[i + 2]));
    i += 2;
  }
  return decoded;
}

// "the server has emoji-32, faces"
std::string ListNames(const v1::ListModelsResponse& models) {
  if (models.models().empty()) return "the server has none";
  std::string names = "the server has ";
  for (int i = 0; i < std::min(models.models_size(), kMaxNames); ++i) {
    absl::StrAppend(&names, i == 0 ? "" : ", ", openai::ModelId(models.models(i)));
  }
  const int more = models.models_size() - kMaxNames;
  return more > 0 ? absl::StrCat(names, " and ", more, " more") : names;
}

// Whether the same request would fail again. Clients try again by themselves after every 5xx.
bool IsPermanent(const RpcStatus& status) {
  const std::string reason = openai::ReasonOf(status);
  return reason == "OUTPUT_NOT_FINITE" || reason == "OUT_OF_MEMORY" || reason == "EXCEEDS_DEVICE";
}

}  // namespace

// What all requests of the API share.
class OpenAiBridge::ApiCall {
 public:
  // `caller` says who calls, as metadata.
  ApiCall(const OpenAiBridge& bridge, HttpExchange& exchange, CallMetadata caller)
      : options_(bridge.options_), exchange_(exchange), caller_(std::move(caller)) {}

  Task<void> Fail(const ApiError& error) {
    const HttpResponse response = Json(error.http_status, openai::ErrorJson(error));
    co_await exchange_.Send(response);
  }

  Task<void> Fail(const RpcStatus& status) {
    if (IsPermanent(status)) exchange_.AddHeader("x-should-retry", "false");
    if (const std::string seconds = RetryAfter(status); !seconds.empty()) {
      exchange_.AddHeader("Retry-After", seconds);
    }
    const ApiError error = openai::ApiErrorOf(status);
    co_await Fail(error);
  }

  Task<void> Fail(const absl::Status& why) {
    const RpcStatus status = RpcStatusOf(why);
    co_await Fail(status);
  }

  Task<void> RefuseMethod(const char* allowed) {
    exchange_.AddHeader("Allow", allowed);
    const ApiError error = {.http_status = 405,
                            .message = absl::StrCat("the method must be ", allowed)};
    co_await Fail(error);
  }

 protected:
  static HttpResponse Json(int status, std::string json) {
    return {.status = status,
            .headers = {{"Content-Type", "application/json"}},
            .body = std::move(json)};
  }

  // Starts a call with its one message. Null where calls are refused.
  Task<std::shared_ptr<GrpcCall>> Start(const char* method, const MessageLite& request) {
    std::shared_ptr<GrpcCall> call = options_.calls->Start({.method = method, .metadata = caller_});
    if (!call) co_return call;
    const std::string bytes = request.SerializeAsString();
    const bool is_taken = co_await call->Write(bytes);
    if (is_taken) co_await call->WritesDone();
    co_return call;
  }

  // Calls a method that answers with one message.
  Task<RpcStatus> CallUnary(const char* method, const MessageLite& request, MessageLite& response) {
    const std::shared_ptr<GrpcCall> call = co_await Start(method, request);
    if (!call) co_return RpcStatusOf(DrainingError());
    const std::optional<std::string> bytes = co_await call->Read();
    const grpc::Status ended = co_await call->Finish();
    if (ended.ok() && !(bytes && response.ParseFromString(*bytes))) {
      co_return RpcStatusOf(absl::InternalError("the method has not answered"));
    }
    co_return RpcStatusOf(ended);
  }

  Task<RpcStatus> ListModels(v1::ListModelsResponse& models) {
    v1::ListModelsRequest request;
    request.set_page_size(kMaxModels);
    co_return co_await CallUnary(kListModels, request, models);
  }

  // The model of this name ("models/emoji-32"), or the only one where it is empty.
  Task<RpcStatus> FindModel(const std::string& name, v1::Model& model) {
    v1::ListModelsResponse all;
    if (name.empty()) {
      RpcStatus status = co_await ListModels(all);
      if (status.code() == 0 && all.models_size() != 1) {
        status = RpcStatusOf(InvalidField("model", "is missing; " + ListNames(all)));
      } else if (status.code() == 0) {
        model = all.models(0);
      }
      co_return status;
    }
    RpcStatus status = RpcStatusOf(ResourceNotFound("model", Escaped(name)));
    if (ParseModelName(name)) {
      v1::GetModelRequest request;
      request.set_name(name);
      status = co_await CallUnary(kGetModel, request, model);
    }
    if (status.code() != grpc::StatusCode::NOT_FOUND) co_return status;
    const RpcStatus listed = co_await ListModels(all);
    if (listed.code() == 0) status.set_message(status.message() + "; " + ListNames(all));
    co_return status;
  }

  const Options& options_;
  HttpExchange& exchange_;
  const CallMetadata caller_;
};

class OpenAiBridge::ModelsCall final : public ApiCall {
 public:
  using ApiCall::ApiCall;

  Task<void> List() {
    v1::ListModelsResponse models;
    const RpcStatus status = co_await ListModels(models);
    if (status.code() != 0) co_return co_await Fail(status);
    const HttpResponse response = Json(200, openai::ModelListJson(models));
    co_await exchange_.Send(response);
  }

  Task<void> Get(const std::string& name) {
    v1::Model model;
    const RpcStatus status = co_await FindModel(name, model);
    if (status.code() != 0) co_return co_await Fail(status);
    const HttpResponse response = Json(200, openai::ModelJson(model));
    co_await exchange_.Send(response);
  }
};

// A request for images, from its body to the last of them.
class OpenAiBridge::ImagesCall final : public ApiCall {
 public:
  ImagesCall(const OpenAiBridge& bridge, HttpExchange& exchange, CallMetadata caller,
             Endpoint endpoint)
      : ApiCall(bridge, exchange, std::move(caller)), endpoint_(endpoint) {}

  Task<void> Run() {
    const RpcStatus ready = co_await Prepare();
    if (client_is_gone_) co_return;
    if (ready.code() != 0) co_return co_await Fail(ready);
    call_ = co_await Start(kGenerate, request_.generate);
    request_.generate.Clear();
    const absl::Status released = call_ ? exchange_.Hold(0) : DrainingError();
    if (!released.ok()) co_return co_await Fail(released);
    exchange_.WatchClient([weak = std::weak_ptr(call_)] {
      if (const auto call = weak.lock()) call->Cancel();
    });
    const bool is_accepted = co_await ReadEvent();
    if (!is_accepted) co_return co_await FailAsCall();
    accepted_ = std::move(*event_.mutable_accepted());
    if (request_.stream) co_return co_await AnswerStream();
    co_await AnswerAtOnce();
  }

 private:
  // Reads the body and turns it into `request_`.
  Task<RpcStatus> Prepare() {
    const absl::StatusOr<std::string> bytes = co_await exchange_.ReadBody(body_bytes_max());
    client_is_gone_ = absl::IsCancelled(bytes.status());
    if (absl::IsResourceExhausted(bytes.status())) co_return RpcStatusOf(TooLarge());
    if (!bytes.ok()) co_return RpcStatusOf(bytes.status());
    absl::StatusOr<openai::RequestBody> body;
    const auto read = [&] { body = ReadFields(*bytes); };
    co_await RunBySize(bytes->size(), *options_.pool, read);
    if (!body.ok()) co_return RpcStatusOf(body.status());
    const absl::StatusOr<std::string> name = openai::RequestedModel(*body);
    if (!name.ok()) co_return RpcStatusOf(name.status());
    v1::Model model;
    const RpcStatus found = co_await FindModel(*name, model);
    if (found.code() != 0) co_return found;
    const absl::Status translated = co_await Translate(*body, model);
    co_return RpcStatusOf(translated);
  }

  absl::StatusOr<openai::RequestBody> ReadFields(std::string_view bytes) const {
    if (endpoint_ == Endpoint::kGenerations) return openai::ReadJsonBody(bytes);
    return openai::ReadFormBody(exchange_.Header("Content-Type"), bytes);
  }

  Task<absl::Status> Translate(const openai::RequestBody& body, const v1::Model& model) {
    absl::StatusOr<openai::ImagesRequest> request;
    const auto translate = [&] {
      request = openai::TranslateRequest(endpoint_, body, model, options_.picture_pixels_max);
    };
    if (body.image.empty()) {
      translate();
    } else {
      co_await RunOn(*options_.pool, translate);  // it decodes the picture
    }
    if (!request.ok()) co_return request.status();
    request_ = *std::move(request);
    const auto bytes = static_cast<int64_t>(request_.generate.ByteSizeLong());
    co_return bytes > options_.message_bytes_max ? TooLarge() : absl::OkStatus();
  }

  // Only a form brings a picture.
  int64_t body_bytes_max() const {
    if (endpoint_ == Endpoint::kEdits) return options_.message_bytes_max;
    return std::min(options_.message_bytes_max, openai::kJsonBytesMax);
  }

  absl::Status TooLarge() const {
    const char* const advice = endpoint_ == Endpoint::kEdits
                                   ? " (--max-receive-bytes). Send a smaller picture"
                                   : ". Send a shorter prompt";
    return WithErrorReason(
        absl::ResourceExhaustedError(absl::StrCat("the request has more than ", body_bytes_max(),
                                                  " bytes, the maximum", advice)),
        openai::kTooLargeReason);
  }

  // Reads the next event of the call; false after the last.
  Task<bool> ReadEvent() {
    const std::optional<std::string> bytes = co_await call_->Read();
    co_return bytes.has_value() && event_.ParseFromString(*bytes);
  }

  Task<void> FailAsCall() {
    const grpc::Status ended = co_await call_->Finish();
    const RpcStatus status = RpcStatusOf(ended);
    co_await Fail(status);
  }

  Task<void> AnswerAtOnce() {
    std::vector<v1::GeneratedImage> images;
    size_t bytes = 0;
    while (true) {
      const bool has_event = co_await ReadEvent();
      if (!has_event) break;
      if (!event_.has_image()) continue;
      bytes += event_.image().image().data().size();
      images.push_back(std::move(*event_.mutable_image()));
      const absl::Status held = exchange_.Hold(bytes);
      if (!held.ok()) co_return co_await Fail(held);
    }
    const grpc::Status ended = co_await call_->Finish();
    const RpcStatus status = RpcStatusOf(ended);
    if (status.code() != 0) co_return co_await Fail(status);
    if (images.empty()) {
      const absl::Status none = absl::InternalError("the generation made no image");
      co_return co_await Fail(none);
    }
    std::sort(images.begin(), images.end(), [](const auto& a, const auto& b) {
      return a.image_index() < b.image_index();  // several devices finish in any order
    });
    co_await SendImages(images);
  }

  // Image by image: in base64 they take more memory than they do now.
  Task<void> SendImages(std::vector<v1::GeneratedImage>& images) {
    const HttpResponse head = Json(200, "");
    bool is_there = co_await exchange_.Begin(head);
    std::string text =
        openai::BeginImages(accepted_, images.front().image(), event_.time().seconds());
    for (v1::GeneratedImage& image : images) {
      const auto encode = [&] { text += openai::ImageObject(image); };
      co_await RunBySize(image.ByteSizeLong(), *options_.pool, encode);
      image.Clear();
      if (is_there) is_there = co_await exchange_.Write(text);
      text = openai::kBetweenImages;
    }
    text = openai::kEndOfImages;
    if (is_there) is_there = co_await exchange_.Write(text);
    if (is_there) co_await exchange_.End();
  }

  Task<void> AnswerStream() {
    HttpResponse head;
    head.headers = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}};
    bool is_there = co_await exchange_.Begin(head);
    while (is_there) {
      const bool has_event = co_await ReadEvent();
      if (!has_event) break;
      is_there = co_await WriteEvent();
    }
    if (is_there) is_there = co_await WriteEnd();
    if (is_there) co_await exchange_.End();
  }

  Task<bool> WriteEvent() {
    if (!event_.has_frame() && !event_.has_image()) co_return true;
    std::string text;
    const auto encode = [&] { text = event_.has_frame() ? PartialImage() : CompletedImage(); };
    co_await RunBySize(event_.ByteSizeLong(), *options_.pool, encode);
    co_return co_await exchange_.Write(text);
  }

  std::string PartialImage() {
    int& sent = partial_images_[event_.frame().image_index()];
    if (sent == request_.partial_images) return "";
    return openai::PartialImageEvent(endpoint_, event_, sent++);
  }

  std::string CompletedImage() {
    const bool is_last = ++images_ == accepted_.count();
    return openai::CompletedEvent(endpoint_, event_, is_last ? &accepted_ : nullptr);
  }

  // Says why the call has failed, if it has.
  Task<bool> WriteEnd() {
    const grpc::Status ended = co_await call_->Finish();
    if (ended.ok()) co_return true;
    const ApiError error = openai::ApiErrorOf(RpcStatusOf(ended));
    const std::string event = openai::ServerSentEvent("error", openai::ErrorJson(error));
    co_return co_await exchange_.Write(event);
  }

  const Endpoint endpoint_;
  bool client_is_gone_ = false;
  openai::ImagesRequest request_;
  std::shared_ptr<GrpcCall> call_;
  v1::GenerateEvent event_;  // the latest
  v1::Accepted accepted_;
  std::map<int, int> partial_images_;  // sent so far, by image
  int images_ = 0;                     // sent so far
};

Task<void> OpenAiBridge::Images(HttpExchange& exchange, const CallMetadata& caller,
                                bool edits) const {
  ImagesCall call(*this, exchange, caller, edits ? Endpoint::kEdits : Endpoint::kGenerations);
  const char* const type = edits ? "multipart/form-data" : "application/json";
  if (MediaType(exchange.Header("Content-Type")) != type) {
    exchange.AddHeader("Accept-Post", type);
    const ApiError error = {.http_status = 415,
                            .message = absl::StrCat("the Content-Type must be ", type)};
    co_return co_await call.Fail(error);
  }
  if (!IsIdentity(exchange.Header("Content-Encoding"))) {
    const ApiError error = {.http_status = 415,
                            .message = "the body may not have a Content-Encoding"};
    co_return co_await call.Fail(error);
  }
  const absl::Status admitted = options_.admit();
  if (!admitted.ok()) co_return co_await call.Fail(admitted);
  co_await call.Run();
}

Task<void> OpenAiBridge::Serve(HttpExchange& exchange) const {
  const std::string_view path = exchange.path();
  const bool generates = path == kGenerationsPath, edits = path == kEditsPath;
  const bool lists = path == kModelsPath, gets = path.starts_with(kModelPathStart);
  absl::StatusOr<CallMetadata> caller =
      AdmitCaller(*options_.access, generates || edits ? kGenerate : kListModels, exchange);
  if (!caller.ok()) {
    ApiCall refused(*this, exchange, {});
    co_return co_await refused.Fail(caller.status());
  }
  caller->emplace_back(kProtocolKey, "openai");
  ModelsCall call(*this, exchange, *caller);
  if (!generates && !edits && !lists && !gets) {
    const ApiError error = {.http_status = 404, .message = kUnknownPath};
    co_return co_await call.Fail(error);
  }
  const std::string_view method = exchange.method();
  if (generates || edits) {
    if (method != "POST") co_return co_await call.RefuseMethod("POST");
    co_return co_await Images(exchange, *caller, edits);
  }
  if (method != "GET" && method != "HEAD") co_return co_await call.RefuseMethod("GET, HEAD");
  if (lists) co_return co_await call.List();
  const std::string name = openai::ModelNameOf(PercentDecode(path.substr(kModelPathStart.size())));
  co_await call.Get(name);
}

}  // namespace denoise
