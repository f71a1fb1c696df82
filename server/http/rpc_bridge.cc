#include "server/http/rpc_bridge.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/base/retry.h"
#include "core/base/status_macros.h"
#include "server/http/connect_protocol.h"
#include "server/http/framing.h"
#include "server/http/rpc_status.h"
#include "server/rpc/call_record.h"

namespace denoise {
namespace {

using Protocol = RpcEncoding::Protocol;

constexpr char kUnaryTypes[] =
    "application/json, application/proto, application/grpc-web+proto, "
    "application/grpc-web-text+proto, application/grpc-web+json";
constexpr char kStreamTypes[] =
    "application/json, application/x-ndjson, application/connect+json, application/connect+proto, "
    "application/grpc-web+proto, application/grpc-web-text+proto, application/grpc-web+json";

constexpr char kDetailsTrailer[] = "grpc-status-details-bin";

// JSON writes bytes in base64, and may be indented.
constexpr int64_t kJsonExpansion = 2;

// For the access log.
const char* NameOf(Protocol protocol) {
  switch (protocol) {
    case Protocol::kConnectUnary:
    case Protocol::kConnectStream:
      return "connect";
    case Protocol::kGrpcWeb:
      return "grpc-web";
    case Protocol::kJsonLines:
      break;
  }
  return "json-lines";
}

// As gRPC has it: it ends the process otherwise.
bool IsMetadataValue(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

}  // namespace

// One call, from its HTTP request to its answer.
class RpcBridge::Call {
 public:
  Call(RpcBridge& bridge, HttpExchange& exchange, const RpcMethod& method, RpcEncoding encoding)
      : bridge_(bridge), exchange_(exchange), method_(method), encoding_(encoding) {}

  // `caller` says who calls, as metadata.
  Task<void> Run(const CallMetadata& caller) {
    metadata_ = caller;
    metadata_.emplace_back(kProtocolKey, NameOf(encoding_.protocol));
    const absl::Status sent = co_await SendRequests();
    if (absl::IsCancelled(sent)) co_return;  // the client has gone
    if (!sent.ok()) co_return co_await Refuse(sent);
    exchange_.WatchClient([weak = std::weak_ptr(call_)] {
      if (const auto call = weak.lock()) call->Cancel();
    });
    if (encoding_.protocol == Protocol::kConnectUnary) {
      const std::optional<std::string> message = co_await call_->Read();
      co_await AnswerUnary(message);
    } else {
      co_await AnswerStream();
    }
  }

  // The call ends before gRPC has an answer.
  Task<void> Refuse(const absl::Status& why) {
    const google::rpc::Status status = RpcStatusOf(why);
    const bool before_stream =
        encoding_.protocol == Protocol::kConnectUnary || encoding_.protocol == Protocol::kJsonLines;
    if (before_stream) co_return co_await SendError(status);
    const bool is_there = co_await BeginStream();
    if (is_there) co_await EndStream(status);
  }

 private:
  Task<absl::Status> SendRequests() {
    const absl::Status ready = Prepare();
    if (!ready.ok()) co_return ready;
    if (encoding_.protocol == Protocol::kConnectUnary || encoding_.one_message ||
        encoding_.base64_text) {
      co_return co_await SendWholeBody();
    }
    if (encoding_.protocol == Protocol::kJsonLines) {
      LineReader lines(message_bytes_max());
      co_return co_await SendPieces(lines, /*end=*/"\n");
    }
    EnvelopeReader envelopes(message_bytes_max());
    co_return co_await SendPieces(envelopes, /*end=*/"");
  }

  // The body, as it comes, and then `end`.
  Task<absl::Status> SendPieces(MessageReader& reader, std::string_view end) {
    while (true) {
      const absl::StatusOr<std::string> part = co_await exchange_.ReadSome();
      if (!part.ok()) co_return part.status();
      reader.Add(*part);
      if (part->empty()) reader.Add(end);
      const absl::Status sent = co_await SendAll(reader);
      if (!sent.ok() || is_over_) co_return sent;
      const absl::Status held = exchange_.Hold(reader.size());
      if (!held.ok()) co_return held;
      if (!part->empty()) continue;
      if (reader.size() > 0) co_return IsCutOff();
      co_return co_await EndRequests();
    }
  }

  Task<absl::Status> SendWholeBody() {
    const absl::Status sent = co_await SendBody();
    const absl::Status released = exchange_.Hold(0);
    if (!sent.ok() || is_over_) co_return sent;
    if (!released.ok()) co_return released;
    co_return co_await EndRequests();
  }

  Task<absl::Status> SendBody() {
    const absl::StatusOr<std::string> body = co_await exchange_.ReadBody(message_bytes_max());
    if (!body.ok()) co_return body.status();
    if (!encoding_.base64_text) co_return co_await SendMessage(*body);
    const absl::StatusOr<std::string> bytes = DecodeBase64Pieces(*body);
    if (!bytes.ok()) co_return bytes.status();
    EnvelopeReader reader(message_bytes_max());
    reader.Add(*bytes);
    const absl::Status sent = co_await SendAll(reader);
    if (sent.ok() && !is_over_ && reader.size() > 0) co_return IsCutOff();
    co_return sent;
  }

  // What `reader` has.
  Task<absl::Status> SendAll(MessageReader& reader) {
    while (!is_over_) {
      const absl::StatusOr<std::optional<std::string>> message = reader.Next();
      if (!message.ok()) co_return message.status();
      if (!*message) break;
      const absl::Status sent = co_await SendMessage(**message);
      if (!sent.ok()) co_return sent;
    }
    co_return absl::OkStatus();
  }

  Task<absl::Status> SendMessage(const std::string& message) {
    if (++messages_ > 1 && !method_.client_streaming) {
      co_return absl::InvalidArgumentError("the method takes one message, and there are more");
    }
    absl::StatusOr<std::string> binary;
    const auto decode = [&] { binary = Decode(message); };
    co_await Convert(message.size(), decode);
    if (!binary.ok()) co_return binary.status();
    const absl::Status started = Start();
    if (!started.ok()) co_return started;
    const bool is_taken = co_await call_->Write(*binary);
    is_over_ = !is_taken;
    co_return absl::OkStatus();
  }

  absl::StatusOr<std::string> Decode(const std::string& message) const {
    absl::StatusOr<std::string> binary = message;
    if (encoding_.json) binary = JsonToBinary(message, *method_.request);
    RETURN_IF_ERROR(binary.status());
    if (static_cast<int64_t>(binary->size()) > bridge_.options_.message_bytes_max) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the message has ", binary->size(), " bytes; the maximum is ",
                       bridge_.options_.message_bytes_max, " (--max-receive-bytes)"));
    }
    return binary;
  }

  static absl::Status IsCutOff() {
    return absl::InvalidArgumentError("the body ends within a message");
  }

  Task<absl::Status> EndRequests() {
    if (messages_ == 0 && !method_.client_streaming) {
      co_return absl::InvalidArgumentError("the method takes a message, and the body has none");
    }
    const absl::Status started = Start();
    if (!started.ok()) co_return started;
    co_await call_->WritesDone();
    co_return absl::OkStatus();
  }

  // Reads what the headers say of the call.
  absl::Status Prepare() {
    const bool is_grpc_web = encoding_.protocol == Protocol::kGrpcWeb;
    const std::string_view version = exchange_.Header("Connect-Protocol-Version");
    if (!version.empty() && version != "1") {
      return absl::InvalidArgumentError("Connect-Protocol-Version must be 1");
    }
    for (const char* header : {"Content-Encoding", "Connect-Content-Encoding", "grpc-encoding"}) {
      if (!IsIdentity(exchange_.Header(header))) {
        return absl::UnimplementedError(
            absl::StrCat(header, ": requests may not be compressed (identity)"));
      }
    }
    const std::string_view timeout =
        exchange_.Header(is_grpc_web ? "grpc-timeout" : "Connect-Timeout-Ms");
    if (!timeout.empty()) {
      ASSIGN_OR_RETURN(const absl::Duration duration,
                       is_grpc_web ? ParseGrpcTimeout(timeout) : ParseConnectTimeout(timeout));
      deadline_ = bridge_.options_.clock->Now() + duration;
    }
    return ReadMetadata();
  }

  // Before the body, because what comes behind it (trailers) is not of the head.
  absl::Status ReadMetadata() {
    for (const auto& field : exchange_.head()) {
      const std::string name = absl::AsciiStrToLower(
          absl::string_view(field.name_string().data(), field.name_string().size()));
      if (!IsCallMetadata(name)) continue;
      std::string value(field.value());
      if (absl::EndsWith(name, "-bin")) {
        const std::string text = std::exchange(value, "");
        if (!absl::Base64Unescape(text, &value)) {
          return absl::InvalidArgumentError(absl::StrCat("the header ", name, " is not base64"));
        }
      } else if (!IsMetadataValue(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat("the header ", name, " may only have printable ASCII characters; name it ",
                         name, "-bin and write it in base64"));
      }
      metadata_.emplace_back(name, std::move(value));
    }
    return absl::OkStatus();
  }

  absl::Status Start() {
    if (call_) return absl::OkStatus();
    call_ = bridge_.options_.calls->Start({.method = std::string(exchange_.path()),
                                           .metadata = std::move(metadata_),
                                           .deadline = deadline_});
    if (!call_) return DrainingError();
    exchange_.SetIsCall();
    return absl::OkStatus();
  }

  Task<void> AnswerUnary(const std::optional<std::string>& message) {
    const grpc::Status ended = co_await call_->Finish();
    for (const auto& [name, value] : Trailers()) {
      exchange_.AddHeader(absl::StrCat("trailer-", name), MetadataText(name, value));
    }
    if (!ended.ok()) {
      const google::rpc::Status status = RpcStatusOf(ended);
      co_return co_await SendError(status);
    }
    absl::StatusOr<std::string> body = absl::InternalError("the method has not answered");
    if (message) body = co_await Encode(*message);
    if (!body.ok()) co_return co_await Refuse(body.status());
    HttpResponse response;
    response.headers = {{"Content-Type", encoding_.ContentType()}};
    response.body = *std::move(body);
    co_await exchange_.Send(response);
  }

  Task<void> AnswerStream() {
    std::optional<std::string> message;
    if (encoding_.protocol == Protocol::kJsonLines) {  // an error at once is one for HTTP, too
      message = co_await call_->Read();
      if (!message) co_return co_await AnswerUnary(message);
    }
    bool is_there = co_await BeginStream();
    if (is_there && !message) message = co_await call_->Read();
    while (is_there && message) {
      const absl::StatusOr<std::string> encoded = co_await Encode(*message);
      if (!encoded.ok()) {
        const google::rpc::Status why = RpcStatusOf(encoded.status());
        co_return co_await EndStream(why);
      }
      const std::string bytes = encoding_.protocol == Protocol::kJsonLines
                                    ? absl::StrCat(*encoded, "\n")
                                    : Envelope(0, *encoded);
      is_there = co_await Write(bytes);
      if (is_there) message = co_await call_->Read();
    }
    if (!is_there) co_return;
    const grpc::Status ended = co_await call_->Finish();
    trailers_ = Trailers();
    const google::rpc::Status status = RpcStatusOf(ended);
    co_await EndStream(status);
  }

  Task<bool> BeginStream() {
    HttpResponse head;
    head.headers = {{"Content-Type", encoding_.ContentType()}, {"Cache-Control", "no-store"}};
    co_return co_await exchange_.Begin(head);
  }

  Task<void> EndStream(const google::rpc::Status& status) {
    const bool ok = status.code() == 0;
    std::string bytes;
    if (encoding_.protocol == Protocol::kGrpcWeb) {
      bytes = Envelope(kGrpcWebTrailersFlag, GrpcWebTrailers(status, trailers_));
    } else if (encoding_.protocol == Protocol::kConnectStream) {
      bytes = Envelope(kConnectEndFlag, ConnectEndJson(ok ? nullptr : &status, trailers_));
    } else if (!ok) {
      bytes = ConnectEndJson(&status, {}) + "\n";
    }
    const bool is_there = co_await Write(bytes);
    if (is_there) co_await exchange_.End();
  }

  Task<bool> Write(const std::string& bytes) {
    const std::string text = encoding_.base64_text ? absl::Base64Escape(bytes) : "";
    co_return co_await exchange_.Write(encoding_.base64_text ? text : bytes);
  }

  // Without the details of errors, which each protocol writes in its own way.
  CallMetadata Trailers() const {
    CallMetadata trailers = call_->trailing_metadata();
    std::erase_if(trailers, [](const auto& entry) { return entry.first == kDetailsTrailer; });
    return trailers;
  }

  Task<absl::StatusOr<std::string>> Encode(const std::string& message) {
    absl::StatusOr<std::string> encoded = message;
    if (!encoding_.json) co_return encoded;
    const auto encode = [&] { encoded = BinaryToJson(message, *method_.response); };
    co_await Convert(message.size(), encode);
    co_return encoded;
  }

  // Converts a large message on another thread: other connections wait for this one.
  template <class Conversion>
  Task<void> Convert(size_t bytes, const Conversion& conversion) {
    // What is no JSON is only passed on.
    co_await RunBySize(encoding_.json ? bytes : 0, *bridge_.options_.pool, conversion);
  }

  Task<void> SendError(const google::rpc::Status& status) {
    HttpResponse response;
    response.status = HttpStatusOf(status.code());
    response.headers = {{"Content-Type", "application/json"}};
    if (const std::string seconds = RetryAfter(status); !seconds.empty()) {
      response.headers.emplace_back("Retry-After", seconds);
    }
    response.body = ConnectErrorJson(status);
    co_await exchange_.Send(response);
  }

  int64_t message_bytes_max() const {
    const bool expanded = encoding_.json || encoding_.base64_text;
    return bridge_.options_.message_bytes_max * (expanded ? kJsonExpansion : 1);
  }

  RpcBridge& bridge_;
  HttpExchange& exchange_;
  const RpcMethod& method_;
  const RpcEncoding encoding_;
  absl::Time deadline_ = absl::InfiniteFuture();
  std::shared_ptr<GrpcCall> call_;
  CallMetadata metadata_;
  CallMetadata trailers_;
  int messages_ = 0;
  bool is_over_ = false;  // gRPC takes no more messages
};

namespace {

// nullopt where the Content-Type does not suit the method.
std::optional<RpcEncoding> EncodingOf(std::string_view content_type, const RpcMethod& method) {
  std::optional<RpcEncoding> encoding = RpcEncoding::Parse(content_type);
  if (!encoding || encoding->protocol == Protocol::kGrpcWeb) return encoding;
  if (encoding->protocol != Protocol::kConnectUnary) {
    return method.streams() ? encoding : std::nullopt;
  }
  if (!method.streams()) return encoding;
  if (!encoding->json || method.client_streaming) return std::nullopt;
  encoding->protocol = Protocol::kJsonLines;
  encoding->one_message = true;
  return encoding;
}

}  // namespace

Task<void> RpcBridge::Serve(HttpExchange& exchange) {
  const RpcMethod& method = *methods_.Find(exchange.path());
  absl::StatusOr<CallMetadata> caller = AdmitCaller(*options_.access, exchange.path(), exchange);
  const std::optional<RpcEncoding> encoding = EncodingOf(exchange.Header("Content-Type"), method);
  if (!encoding) {
    exchange.AddHeader("Accept-Post", method.streams() ? kStreamTypes : kUnaryTypes);
    const HttpResponse response =
        PlainText(415, absl::StrCat("the Content-Type of this method is one of ",
                                    method.streams() ? kStreamTypes : kUnaryTypes));
    co_return co_await exchange.Send(response);
  }
  Call call(*this, exchange, method, *encoding);
  const absl::Status admitted = caller.ok() ? options_.admit() : caller.status();
  if (!admitted.ok()) co_return co_await call.Refuse(admitted);
  co_await call.Run(*caller);
}

}  // namespace denoise
