#include "server/http/framing.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/escaping.h"

namespace denoise {
namespace {

TEST(EnvelopeReader, TakesMessagesOutOfPieces) {
  const std::string bytes = Envelope(0, "first") + Envelope(0, "") + Envelope(0, "third");
  for (size_t size = 1; size <= bytes.size(); ++size) {
    EnvelopeReader reader(100);
    std::vector<std::string> messages;
    for (size_t at = 0; at < bytes.size(); at += size) {
      reader.Add(std::string_view(bytes).substr(at, size));
      while (true) {
        const auto message = reader.Next();
        ASSERT_TRUE(message.ok()) << message.status();
        if (!*message) break;
        messages.push_back(**message);
      }
    }
    EXPECT_EQ(messages, (std::vector<std::string>{"first", "", "third"})) << size;
    EXPECT_EQ(reader.size(), 0u);
  }
}

TEST(EnvelopeReader, RefusesLargeMessagesBeforeTheyAreThere) {
  EnvelopeReader reader(1000);
  reader.Add(std::string("\0\xff\xff\xff\xff", 5));
  EXPECT_TRUE(absl::IsResourceExhausted(reader.Next().status()));
}

TEST(EnvelopeReader, RefusesFlags) {
  for (const uint8_t flags : {kCompressedFlag, kConnectEndFlag, kGrpcWebTrailersFlag}) {
    EnvelopeReader reader(1000);
    reader.Add(Envelope(flags, "{}"));
    EXPECT_TRUE(absl::IsInvalidArgument(reader.Next().status())) << int{flags};
  }
}

TEST(LineReader, TakesLinesOutOfPieces) {
  const std::string bytes = "{\"a\": 1}\r\n\n  \n{}\n{\"b\": 2}";
  for (size_t size = 1; size <= bytes.size(); ++size) {
    LineReader reader(100);
    std::vector<std::string> lines;
    for (size_t at = 0; at < bytes.size() + size; at += size) {
      if (at < bytes.size()) {
        reader.Add(std::string_view(bytes).substr(at, size));
      } else {
        reader.Add("\n");
      }
      while (true) {
        const auto line = reader.Next();
        ASSERT_TRUE(line.ok()) << line.status();
        if (!*line) break;
        lines.push_back(**line);
      }
    }
    EXPECT_EQ(lines, (std::vector<std::string>{"{\"a\": 1}\r", "{}", "{\"b\": 2}"})) << size;
    EXPECT_EQ(reader.size(), 0u);
  }
}

TEST(LineReader, RefusesLongLinesBeforeTheyEnd) {
  LineReader reader(10);
  reader.Add("12345678901");
  EXPECT_TRUE(absl::IsResourceExhausted(reader.Next().status()));
}

TEST(Base64Pieces, MayEachEndInPadding) {
  const std::string text =
      absl::Base64Escape("a") + absl::Base64Escape("bc") + absl::Base64Escape("def");
  EXPECT_EQ(*DecodeBase64Pieces(text), "abcdef");
  EXPECT_EQ(*DecodeBase64Pieces(""), "");
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeBase64Pieces("=").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(DecodeBase64Pieces("a!").status()));
}

TEST(Timeouts, HaveUnits) {
  EXPECT_EQ(*ParseConnectTimeout("1500"), absl::Milliseconds(1500));
  EXPECT_EQ(*ParseConnectTimeout("9999999999"), absl::Milliseconds(9'999'999'999));
  EXPECT_EQ(*ParseGrpcTimeout("2H"), absl::Hours(2));
  EXPECT_EQ(*ParseGrpcTimeout("3M"), absl::Minutes(3));
  EXPECT_EQ(*ParseGrpcTimeout("4S"), absl::Seconds(4));
  EXPECT_EQ(*ParseGrpcTimeout("5m"), absl::Milliseconds(5));
  EXPECT_EQ(*ParseGrpcTimeout("6u"), absl::Microseconds(6));
  EXPECT_EQ(*ParseGrpcTimeout("99999999n"), absl::Nanoseconds(99'999'999));
}

TEST(Timeouts, AreRefusedWhereTheyAreMalformed) {
  for (const char* text : {"", "-1", "1.5", "12345678901", " 1", "1s"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseConnectTimeout(text).status())) << text;
  }
  for (const char* text : {"", "S", "1", "1s", "-1S", "123456789S"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseGrpcTimeout(text).status())) << text;
  }
}

}  // namespace
}  // namespace denoise
