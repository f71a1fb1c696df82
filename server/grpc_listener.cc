#include "server/grpc_listener.h"

#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>
#include <grpc/impl/codegen/grpc_types.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/clock.h"
#include "core/base/status_macros.h"
#include "grpc/health/v1/health.pb.h"
#include "server/connections/log_limit.h"
#include "server/listener_options.h"
#include "server/rpc/call_record.h"
#include "server/rpc/malformed_requests.h"
#include "server/telemetry/log.h"

namespace denoise {
namespace {

// A peer that has vanished without a word is noticed, and its rows are freed, within kKeepaliveMs +
// kKeepaliveTimeoutMs.
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
// Clients may ping this often; others are disconnected.
constexpr int kMinPingIntervalMs = 5'000;

// gRPC's own complaints go where ours go, a line each. Many are of what a caller did.
void ForwardLog(gpr_log_func_args* args) {
  static auto* const lines = new LogLimit(&Clock::Real());
  const std::optional<int> lines_left_out = lines->Take();
  if (!lines_left_out) return;
  const auto level = args->severity == GPR_LOG_SEVERITY_ERROR  ? spdlog::level::err
                     : args->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::info
                                                               : spdlog::level::debug;
  LogEvent(level, "grpc", {{"message", args->message}, {"lines_left_out", *lines_left_out}});
}

// Those of protobuf, too: it complains of bytes from callers, which are told so anyway.
void ForwardProtobufLog(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  LogEvent(spdlog::level::debug, "protobuf", {{"message", message}});
}

void SetLimits(const ServerFlags& flags, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(flags.max_receive_bytes);
  builder.SetMaxSendMessageSize(-1);  // raw images are as large as the model makes them
  builder.SetResourceQuota(
      grpc::ResourceQuota("denoised").Resize(static_cast<size_t>(flags.memory_quota_mib) << 20));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, flags.max_concurrent_streams);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinPingIntervalMs);
  // Two servers on one port would each get some of the calls; say that the port is in use instead.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // A few compressed bytes can hold a message far beyond the receive cap, which is checked too
  // late; and pictures are compressed already.
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
}

const char* ReasonLabel(ConnectionRelay::Refusal refusal) {
  switch (refusal) {
    case ConnectionRelay::Refusal::kConnections:
      return "connections";
    case ConnectionRelay::Refusal::kMemory:
      return "memory";
    case ConnectionRelay::Refusal::kDescriptors:
      return "descriptors";
    case ConnectionRelay::Refusal::kProtocol:
      return "protocol";
  }
  return "";
}

absl::StatusOr<ConnectionRelay::Options> RelayOptions(const ServerFlags& flags, MemoryGuard* memory,
                                                      Telemetry* telemetry) {
  ConnectionRelay::Options options;
  options.connections = ConnectionLimitsOf(flags);
  options.unread_time = absl::Seconds(flags.max_write_seconds);
  options.http2.calls_before_settings = flags.max_concurrent_streams;
  options.memory = memory;
  ASSIGN_OR_RETURN(options.tls, ReadTlsFiles(flags));
  if (telemetry != nullptr) {
    options.on_connections = [telemetry](int connections) { telemetry->Connections(connections); };
    options.on_refusal = [telemetry](auto refusal) {
      telemetry->ConnectionRefused(ReasonLabel(refusal));
    };
    options.connection_count = &telemetry->count(ObjectKind::kGrpcConnection);
  }
  return options;
}

}  // namespace

absl::StatusOr<GrpcListener> Listen(const ServerFlags& flags,
                                    const std::vector<NamedService>& services, MemoryGuard* memory,
                                    Telemetry* telemetry, AccessControl* access,
                                    AccessLog* access_log) {
  gpr_set_log_function(ForwardLog);
  google::protobuf::SetLogHandler(ForwardProtobufLog);
  // The health service's descriptor, for reflection: the library is otherwise not linked.
  google::protobuf::LinkMessageReflection<grpc::health::v1::HealthCheckRequest>();
  ASSIGN_OR_RETURN(ListeningSockets sockets, OpenListener(kListenFlag, flags.listen));
  ASSIGN_OR_RETURN(ConnectionRelay::Options relay, RelayOptions(flags, memory, telemetry));

  GrpcListener listener;
  for (const NamedService& named : services) listener.services.push_back(named.name);
  grpc::EnableDefaultHealthCheckService(true);
  if (flags.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetLimits(flags, builder);
  // The relay has ended TLS already.
  const std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          grpc::InsecureServerCredentials());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MalformedRequests(listener.services, access));
  // After those who change how a call ends.
  interceptors.push_back(CallRecords(listener.services, telemetry, access_log));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  for (const NamedService& named : services) builder.RegisterService(named.service);
  listener.server = builder.BuildAndStart();
  if (!listener.server) return absl::InternalError("gRPC cannot start; its log says why");
  listener.address = sockets.address();
  SetHealth(listener, {});

  relay.serve = [acceptor](int descriptor) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
    connection.fd = descriptor;
    acceptor->HandleNewConnection(&connection);
  };
  if (access != nullptr && !flags.tls_client_ca.empty()) {
    PeerCertificates* const certificates = &access->peer_certificates();
    relay.on_certificate = [certificates](const auto& peer, const auto& name) {
      certificates->Add(peer, name);
    };
    relay.on_leave = [certificates](const auto& peer) { certificates->Remove(peer); };
  }
  ASSIGN_OR_RETURN(listener.relay, ConnectionRelay::Start(std::move(sockets), std::move(relay)));
  return listener;
}

std::shared_ptr<grpc::Channel> InProcessChannel(GrpcListener& listener) {
  grpc::ChannelArguments unlimited;
  unlimited.SetMaxReceiveMessageSize(-1);
  unlimited.SetMaxSendMessageSize(-1);
  return listener.server->InProcessChannel(unlimited);
}

void SetHealth(GrpcListener& listener, const HealthState& state) {
  constexpr char kServer[] = "";  // as a whole
  grpc::HealthCheckServiceInterface* health = listener.server->GetHealthCheckService();
  health->SetServingStatus(kLivenessService, state.live);
  health->SetServingStatus(kServer, state.ready);
  for (const std::string& service : listener.services) {
    health->SetServingStatus(service, state.ready);
  }
}

}  // namespace denoise
