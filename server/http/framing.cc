#include "server/http/framing.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

constexpr size_t kPrefixBytes = 5;

bool IsNumber(std::string_view text, size_t max_digits, int64_t& number) {
  return text.size() <= max_digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number);
}

}  // namespace

std::string Envelope(uint8_t flags, std::string_view message) {
  std::string bytes(kPrefixBytes, '\0');
  bytes[0] = static_cast<char>(flags);
  for (int i = 0; i < 4; ++i) bytes[4 - i] = static_cast<char>(message.size() >> (8 * i));
  return bytes.append(message);
}

void ByteQueue::Add(std::string_view bytes) {
  if (taken_ > bytes_.size() / 2) {
    bytes_.erase(0, taken_);
    taken_ = 0;
  }
  bytes_.append(bytes);
}

absl::StatusOr<std::optional<std::string>> EnvelopeReader::Next() {
  const std::string_view unread = unread_.bytes();
  if (unread.size() < kPrefixBytes) return std::nullopt;
  if (unread[0] != 0) {
    return absl::InvalidArgumentError(
        "messages may not be compressed, and only the server ends with a message of flags");
  }
  int64_t size = 0;
  for (size_t i = 1; i < kPrefixBytes; ++i) size = size << 8 | static_cast<uint8_t>(unread[i]);
  if (size > bytes_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("a message has ", size, " bytes; the maximum is ", bytes_max_));
  }
  const size_t end = kPrefixBytes + static_cast<size_t>(size);
  if (unread.size() < end) return std::nullopt;
  std::string message(unread.substr(kPrefixBytes, static_cast<size_t>(size)));
  unread_.Take(end);
  return message;
}

absl::StatusOr<std::optional<std::string>> LineReader::Next() {
  while (true) {
    const std::string_view unread = unread_.bytes();
    const size_t end = unread.find('\n', searched_);
    if (static_cast<int64_t>(std::min(end, unread.size())) > bytes_max_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("a line has more than ", bytes_max_, " bytes, the maximum"));
    }
    searched_ = end == std::string_view::npos ? unread.size() : 0;
    if (end == std::string_view::npos) return std::nullopt;
    std::string line(unread.substr(0, end));
    unread_.Take(end + 1);
    if (line.find_first_not_of(" \t\r") != std::string::npos) return line;
  }
}

absl::StatusOr<std::string> DecodeBase64Pieces(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    size_t end = text.find('=');
    while (end < text.size() && text[end] == '=') ++end;
    const std::string_view piece = text.substr(0, end);
    std::string decoded;
    if (!absl::Base64Unescape({piece.data(), piece.size()}, &decoded)) {
      return absl::InvalidArgumentError("the body is not base64");
    }
    bytes += decoded;
    text.remove_prefix(piece.size());
  }
  return bytes;
}

absl::StatusOr<absl::Duration> ParseConnectTimeout(std::string_view text) {
  int64_t milliseconds = 0;
  if (!IsNumber(text, /*max_digits=*/10, milliseconds)) {
    return absl::InvalidArgumentError(
        "Connect-Timeout-Ms must be a whole number of at most 10 digits");
  }
  return absl::Milliseconds(milliseconds);
}

absl::StatusOr<absl::Duration> ParseGrpcTimeout(std::string_view text) {
  const absl::Status malformed = absl::InvalidArgumentError(
      "grpc-timeout must be at most 8 digits and a unit: H, M, S, m, u or n");
  int64_t number = 0;
  if (text.empty() || !IsNumber(text.substr(0, text.size() - 1), /*max_digits=*/8, number)) {
    return malformed;
  }
  switch (text.back()) {
    case 'H':
      return absl::Hours(number);
    case 'M':
      return absl::Minutes(number);
    case 'S':
      return absl::Seconds(number);
    case 'm':
      return absl::Milliseconds(number);
    case 'u':
      return absl::Microseconds(number);
    case 'n':
      return absl::Nanoseconds(number);
    default:
      return malformed;
  }
}

}  // namespace denoise
