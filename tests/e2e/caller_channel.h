// Channels whose calls carry the same metadata, such as a token.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace denoise {

using Metadata = std::vector<std::pair<std::string, std::string>>;

// Without TLS, unless `credentials` says otherwise.
std::shared_ptr<grpc::Channel> ChannelWith(
    const std::string& address, const Metadata& metadata,
    const std::shared_ptr<grpc::ChannelCredentials>& credentials = nullptr);

inline Metadata Bearer(const std::string& token) { return {{"authorization", "Bearer " + token}}; }

}  // namespace denoise
