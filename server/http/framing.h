// How calls are cut into messages, and timeouts written, by the Connect protocol and gRPC-Web. Reads
// hostile bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace denoise {

// Messages of streams are preceded by a byte of flags and their length in four bytes.
inline constexpr uint8_t kCompressedFlag = 0x01;
inline constexpr uint8_t kConnectEndFlag = 0x02;
inline constexpr uint8_t kGrpcWebTrailersFlag = 0x80;
std::string Envelope(uint8_t flags, std::string_view message);

// Bytes that come in pieces of one size and are taken out in pieces of another, in linear time.
class ByteQueue {
 public:
  void Add(std::string_view bytes);
  std::string_view bytes() const { return std::string_view(bytes_).substr(taken_); }
  void Take(size_t bytes) { taken_ += bytes; }

 private:
  std::string bytes_;
  size_t taken_ = 0;
};

// Takes messages out of the bytes of a stream.
class MessageReader {
 public:
  virtual ~MessageReader() = default;

  void Add(std::string_view bytes) { unread_.Add(bytes); }
  // The next message; nullopt while it is not complete. ResourceExhausted for one beyond `bytes_max`.
  virtual absl::StatusOr<std::optional<std::string>> Next() = 0;
  // What is not taken out yet.
  size_t size() const { return unread_.bytes().size(); }

 protected:
  explicit MessageReader(int64_t bytes_max) : bytes_max_(bytes_max) {}

  const int64_t bytes_max_;
  ByteQueue unread_;
};

// Each message in its envelope. InvalidArgument where one is compressed.
class EnvelopeReader final : public MessageReader {
 public:
  explicit EnvelopeReader(int64_t bytes_max) : MessageReader(bytes_max) {}
  absl::StatusOr<std::optional<std::string>> Next() override;
};

// Each message in a line of JSON with its end. Empty lines are none.
class LineReader final : public MessageReader {
 public:
  explicit LineReader(int64_t bytes_max) : MessageReader(bytes_max) {}
  absl::StatusOr<std::optional<std::string>> Next() override;

 private:
  size_t searched_ = 0;  // of what is unread; there is no end of a line in it
};

// Decodes gRPC-Web's text form, of which each piece may end in padding. InvalidArgument.
absl::StatusOr<std::string> DecodeBase64Pieces(std::string_view text);

// "Connect-Timeout-Ms" and "grpc-timeout". InvalidArgument where they are malformed.
absl::StatusOr<absl::Duration> ParseConnectTimeout(std::string_view text);
absl::StatusOr<absl::Duration> ParseGrpcTimeout(std::string_view text);

}  // namespace denoise
