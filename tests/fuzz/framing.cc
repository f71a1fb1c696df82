#include "server/http/framing.h"

#include <algorithm>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace denoise {
namespace {

constexpr int64_t kBytesMax = 64;

struct Messages {
  std::vector<std::string> messages;
  absl::Status status;
  size_t left = 0;

  bool operator==(const Messages&) const = default;
};

// Of `bytes`, which come `piece` at a time.
template <class Reader>
Messages ReadAll(std::string_view bytes, size_t piece) {
  Reader reader(kBytesMax);
  Messages read;
  while (!bytes.empty() && read.status.ok()) {
    reader.Add(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (true) {
      absl::StatusOr<std::optional<std::string>> message = reader.Next();
      read.status = message.status();
      if (!message.ok() || !*message) break;
      Require((*message)->size() <= kBytesMax, "messages are limited");
      read.messages.push_back(**std::move(message));
    }
  }
  read.left = read.status.ok() ? reader.size() : 0;
  return read;
}

template <class Reader>
void CheckReader(std::string_view bytes) {
  const Messages whole = ReadAll<Reader>(bytes, bytes.size());
  Require(whole.status.ok() || absl::IsInvalidArgument(whole.status) ||
              absl::IsResourceExhausted(whole.status),
          "a refusal is INVALID_ARGUMENT or RESOURCE_EXHAUSTED");
  for (const size_t piece : {size_t{1}, size_t{3}, size_t{7}}) {
    Require(ReadAll<Reader>(bytes, piece) == whole, "it makes no difference where bytes are split");
  }
}

void CheckTimeouts(std::string_view text) {
  for (const auto& timeout : {ParseConnectTimeout(text), ParseGrpcTimeout(text)}) {
    Require(
        timeout.ok() ? *timeout >= absl::ZeroDuration() : absl::IsInvalidArgument(timeout.status()),
        "a timeout is at least 0, or INVALID_ARGUMENT");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = AsText(data, size);
  CheckReader<EnvelopeReader>(bytes);
  CheckReader<LineReader>(bytes);
  CheckTimeouts(bytes);
  const auto decoded = DecodeBase64Pieces(bytes);
  Require(
      decoded.ok() ? decoded->size() <= bytes.size() : absl::IsInvalidArgument(decoded.status()),
      "base64 becomes shorter, or is INVALID_ARGUMENT");
  return 0;
}

}  // namespace denoise
