#include <gtest/gtest.h>
#include <lzma.h>
#include <zstd.h>

#include "core/data/unpacked_source.h"
#include "tests/core/data/upload_testing.h"
#include "tests/support/gzip.h"

namespace denoise {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr int64_t kNoByteLimit = int64_t{1} << 40;

std::string XzWith(std::string_view bytes, uint32_t dictionary_bytes) {
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 0);
  options.dict_size = dictionary_bytes;
  const lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  std::string packed(lzma_stream_buffer_bound(bytes.size()), '\0');
  size_t size = 0;
  EXPECT_EQ(
      lzma_stream_buffer_encode(const_cast<lzma_filter*>(filters), LZMA_CHECK_CRC32, nullptr,
                                reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                                reinterpret_cast<uint8_t*>(packed.data()), &size, packed.size()),
      LZMA_OK);
  packed.resize(size);
  return packed;
}

std::string Xz(std::string_view bytes) { return XzWith(bytes, 1 << 20); }

std::string Zstd(std::string_view bytes) {
  std::string packed(ZSTD_compressBound(bytes.size()), '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  packed.resize(ZSTD_compress2(context, packed.data(), packed.size(), bytes.data(), bytes.size()));
  ZSTD_freeCCtx(context);
  return packed;
}

absl::StatusOr<std::string> Unpacked(std::string packed, int64_t max_bytes = kNoByteLimit) {
  const auto source = Unpack(std::make_unique<StringSource>(std::move(packed)), max_bytes);
  return ReadString(*source, size_t{1} << 30);
}

std::string Text(size_t size) {
  std::string text;
  for (size_t i = 0; text.size() < size; ++i) text += std::to_string(i * i % 7919) + " ";
  return text.substr(0, size);
}

struct Packer {
  const char* name;
  std::string (*pack)(std::string_view);
};

class UnpackTest : public testing::TestWithParam<Packer> {};

TEST_P(UnpackTest, GivesBackWhatWasPacked) {
  for (size_t size : {size_t{0}, size_t{1}, size_t{65536}, size_t{1'000'000}}) {
    const std::string text = Text(size);
    const auto unpacked = Unpacked(GetParam().pack(text));
    ASSERT_TRUE(unpacked.ok()) << unpacked.status();
    EXPECT_EQ(*unpacked, text) << size;
  }
}

TEST_P(UnpackTest, MembersOneAfterTheOtherAreOne) {
  const auto unpacked =
      Unpacked(GetParam().pack("one, ") + GetParam().pack("") + GetParam().pack("two"));
  ASSERT_TRUE(unpacked.ok()) << unpacked.status();
  EXPECT_EQ(*unpacked, "one, two");
}

TEST_P(UnpackTest, MembersMayEndWhereABufferDoes) {
  // Packed bytes are read 64 KiB at a time, and noise does not shrink.
  std::string noise(66'000, '\0');
  uint32_t state = 1;
  for (char& c : noise) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  const size_t overhead = GetParam().pack(noise.substr(0, 65'400)).size() - 65'400;
  for (size_t packed_size = 65'535; packed_size <= 65'537; ++packed_size) {
    const std::string first = noise.substr(0, packed_size - overhead);
    const auto unpacked = Unpacked(GetParam().pack(first) + GetParam().pack("two"));
    ASSERT_TRUE(unpacked.ok()) << packed_size << ": " << unpacked.status();
    ASSERT_TRUE(*unpacked == first + "two") << packed_size;
  }
}

TEST_P(UnpackTest, EveryTruncationIsRefused) {
  const std::string packed = GetParam().pack(Text(300));
  for (size_t size = 6; size < packed.size(); ++size) {  // the magic number has six bytes at most
    ExpectStatus(Unpacked(packed.substr(0, size)).status(), kInvalid, "cut short");
  }
}

TEST_P(UnpackTest, DamageIsNoticedByTheChecksum) {
  const std::string packed = GetParam().pack(std::string(1000, 'a'));
  int refused = 0;
  for (size_t i = 6; i < packed.size(); ++i) {
    std::string damaged = packed;
    damaged[i] ^= 0x10;
    const auto unpacked = Unpacked(damaged);
    if (!unpacked.ok()) {
      EXPECT_EQ(unpacked.status().code(), kInvalid);
      ++refused;
    } else {
      EXPECT_EQ(*unpacked, std::string(1000, 'a')) << i;  // a byte that does not affect the content
    }
  }
  EXPECT_GT(refused, 10);
}

TEST_P(UnpackTest, WhatFollowsIsRefused) {
  ExpectStatus(Unpacked(GetParam().pack("text") + "garbage garbage").status(), kInvalid, "");
}

TEST_P(UnpackTest, ABombEndsAtTheLimit) {
  const std::string bomb = GetParam().pack(std::string(50'000'000, '\0'));
  EXPECT_LT(bomb.size(), 60'000u);
  ExpectStatus(Unpacked(bomb, 49'999'999).status(), kInvalid, "more than 49999999 bytes");
  EXPECT_TRUE(Unpacked(bomb, 50'000'000).ok());
}

TEST_P(UnpackTest, OnlyOneCompressionIsTakenOff) {
  const std::string once = GetParam().pack("text");
  const auto unpacked = Unpacked(GetParam().pack(once));
  ASSERT_TRUE(unpacked.ok()) << unpacked.status();
  EXPECT_EQ(*unpacked, once);
}

INSTANTIATE_TEST_SUITE_P(EveryCompression, UnpackTest,
                         testing::Values(Packer{"gzip", Gzip}, Packer{"xz", Xz},
                                         Packer{"zstd", Zstd}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Unpack, OtherBytesAreHandedOn) {
  for (const std::string& text : {std::string(), std::string("\x1f"), Text(200'000)}) {
    const auto unpacked = Unpacked(text);
    ASSERT_TRUE(unpacked.ok()) << unpacked.status();
    EXPECT_EQ(*unpacked, text);
  }
  ExpectStatus(Unpacked(Text(101), 100).status(), kInvalid, "more than 100 bytes");
}

TEST(Unpack, AStreamThatAsksForMuchMemoryIsRefused) {
  std::string xz = XzWith("text", 64 << 20);  // as xz -9 has it
  EXPECT_TRUE(Unpacked(xz).ok());
  ExpectStatus(Unpacked(XzWith("text", 256 << 20)).status(), kInvalid, "more memory than xz -9");
  // A frame header: no checksum, a window of 2^31 bytes, no content size.
  const std::string zstd("\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00", 9);
  ExpectStatus(Unpacked(zstd).status(), kInvalid, "more memory than zstd --ultra");
}

TEST(Unpack, AGzipHeaderWithoutEndTakesNoMemory) {
  constexpr static int64_t kBytes = 200'000'000;
  class LongName : public ByteSource {
   public:
    absl::StatusOr<size_t> Read(std::span<char> buffer) override {
      if (left_ <= 0) return 0;
      const std::string start("\x1f\x8b\x08\x08\0\0\0\0\0\3", 10);  // a name follows
      std::fill(buffer.begin(), buffer.end(), 'n');
      if (left_ == kBytes) std::copy(start.begin(), start.end(), buffer.begin());
      left_ -= static_cast<int64_t>(buffer.size());
      return buffer.size();
    }

   private:
    int64_t left_ = kBytes;
  };
  const auto source = Unpack(std::make_unique<LongName>(), kNoByteLimit);
  char byte;
  ExpectStatus(source->Read({&byte, 1}).status(), kInvalid, "cut short");
}

}  // namespace
}  // namespace denoise
