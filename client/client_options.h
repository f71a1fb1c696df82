// How a client reaches its server.
#pragma once

#include <grpcpp/support/channel_arguments.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"

namespace denoise {

struct TlsOptions {
  // PEM. Empty: the roots that gRPC finds on this system.
  std::string root_certificates;
  // PEM, for servers that ask for a certificate: a chain and its private key.
  std::string certificate;
  std::string key;
};

struct ClientOptions {
  // See server_address.h. Calls are balanced among the servers behind a name, those that drain left
  // out.
  std::string address = "127.0.0.1:50051";
  std::optional<TlsOptions> tls;  // absent: plaintext

  std::string token;  // for servers that ask for one; empty: none
  // Without TLS anybody on the way can read it, so it goes to this machine only. True: anywhere.
  bool token_over_plaintext = false;

  // For calls that are given none.
  absl::Duration generate_deadline = absl::InfiniteDuration();
  absl::Duration unary_deadline = absl::Seconds(10);

  // One message. A raw frame is 4 * channels * height * width bytes: this admits 4096 x 4096 RGB.
  int max_receive_bytes = 256 << 20;

  // A connection that a firewall dropped without a word is noticed after about the sum of the two.
  absl::Duration keepalive_interval = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(20);

  // Attempts of one call while the server says UNAVAILABLE, at most 5; 1 never retries. A stream is
  // retried only before its first event. The waits between are the server's where it says them
  // (`grpc-retry-pushback-ms`).
  int max_attempts = 4;

  // Clients of one address and equal options share a connection, unless this is set.
  bool own_connection = false;

  // Becomes true once a server has answered a call. Null: nobody wants to know.
  std::shared_ptr<std::atomic<bool>> answered;
};

// Whether the token may be sent to the server. Calls leave it out otherwise.
bool MaySendToken(const ClientOptions& options);

// Checks `options` and turns them into gRPC's own. Pure.
grpc::ChannelArguments ToChannelArguments(const ClientOptions& options);

}  // namespace denoise
