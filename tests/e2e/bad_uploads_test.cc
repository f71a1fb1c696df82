// Every kind of upload that is none gets its documented answer, costs the server little, and leaves
// it serving.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <zstd.h>

#include <fstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/core/data/upload_testing.h"
#include "tests/e2e/e2e_support.h"
#include "tests/e2e/generate_call.h"
#include "tests/e2e/published_formats.h"
#include "tests/e2e/server_process.h"
#include "tests/e2e/shared_training_server.h"
#include "tests/e2e/training_support.h"
#include "tests/e2e/upload_call.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using grpc::StatusCode;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

constexpr auto kTar = v1::DATASET_FORMAT_TAR;
constexpr auto kCifar = v1::DATASET_FORMAT_CIFAR10;
constexpr auto kMnist = v1::DATASET_FORMAT_MNIST;
constexpr int64_t kMiB = int64_t{1} << 20;

class BadUploadsTest : public SharedTrainingServer {
 protected:
  static void SetUpTestSuite() {
    auto models = std::make_unique<ModelsFolder>();
    models->AddGuided();
    Start(std::move(models), {"--max-dataset-gib", "1"});
  }

  static UploadResult Call(const std::vector<v1::UploadDatasetRequest>& messages) {
    return CallUpload(*stubs_->datasets, messages);
  }

  static v1::Dataset Get(const std::string& name) {
    v1::GetDatasetRequest request;
    request.set_name(name);
    grpc::ClientContext context;
    v1::Dataset response;
    EXPECT_TRUE(stubs_->datasets->GetDataset(&context, request, &response).ok()) << name;
    return response;
  }

  static void ExpectHarmless(const grpc::Status& status) {
    for (const std::string& text : {status.error_message(), status.error_details()}) {
      EXPECT_THAT(text, Not(HasSubstr(folder_->path().string())));
      EXPECT_THAT(text, Not(HasSubstr(".cc")));
    }
    EXPECT_NE(status.error_message(), "");
  }

  // The most memory that the server has held at a time, in bytes.
  static int64_t PeakMemory() {
    std::ifstream status(absl::StrCat("/proc/", server_->process().pid(), "/status"));
    for (std::string line; std::getline(status, line);) {
      absl::string_view text = line;
      int64_t kibibytes = 0;
      if (absl::ConsumePrefix(&text, "VmHWM:") && absl::ConsumeSuffix(&text, "kB") &&
          absl::SimpleAtoi(text, &kibibytes)) {
        return kibibytes << 10;
      }
    }
    ADD_FAILURE() << "the system does not say";
    return 0;
  }
};

std::string Pictures() { return TarFile("cats/1.png", Png(1)) + TarFile("dogs/1.png", Png(2)); }

std::string Zstd(const std::string& bytes) {
  std::string packed(ZSTD_compressBound(bytes.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 1));
  return packed;
}

std::string Xz(const std::string& bytes) {
  std::string packed(lzma_stream_buffer_bound(bytes.size()), '\0');
  size_t size = 0;
  EXPECT_EQ(
      lzma_easy_buffer_encode(/*preset=*/0, LZMA_CHECK_CRC32, nullptr,
                              reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(),
                              reinterpret_cast<uint8_t*>(packed.data()), &size, packed.size()),
      LZMA_OK);
  packed.resize(size);
  return packed;
}

// A picture, and the beginning of a file whose rest is zeros.
std::string Bomb(std::string (*pack)(const std::string&), int times_64_mib) {
  std::string bomb = pack(TarFile("cats/1.png", Png()) + MakeTarHeader("dogs/1.png", 4096 * kMiB));
  const std::string zeros = pack(std::string(64 * kMiB, '\0'));
  for (int i = 0; i < times_64_mib; ++i) bomb += zeros;
  return bomb;
}

struct BadContentCase {
  const char* name;
  v1::DatasetFormat format;
  std::string bytes;
};

std::vector<BadContentCase> BadContentCases() {
  const std::string archive = Pictures() + kTarEnd;
  const std::string packed = Gzipped(archive);
  return {
      {"not-a-tar", kTar, std::string(4096, 'x')},
      {"a-picture", kTar, Png()},
      {"tar-without-end", kTar, Pictures()},
      {"tar-cut-short", kTar, archive.substr(0, 700)},
      {"tar-cut-within-a-header", kTar, archive.substr(0, 300)},
      {"two-archives", kTar, archive + archive},
      {"without-pictures", kTar, TarFile("notes.txt", "none") + kTarEnd},
      {"empty-archive", kTar, kTarEnd},
      {"traversal", kTar, Pictures() + TarFile("../x.png", Png()) + kTarEnd},
      {"traversal-below", kTar, Pictures() + TarFile("cats/../../x.png", Png()) + kTarEnd},
      {"absolute", kTar, Pictures() + TarFile("/etc/x.png", Png()) + kTarEnd},
      {"link-alone", kTar, TarHeaderOf('2', "cats/1.png") + kTarEnd},
      {"class-of-broken-pictures", kTar, Pictures() + TarFile("cows/1.png", "moo") + kTarEnd},
      {"pictures-above-classes", kTar, Pictures() + TarFile("1.png", Png()) + kTarEnd},
      {"gzip-cut-short", kTar, packed.substr(0, packed.size() - 9)},
      {"gzip-damaged", kTar, packed.substr(0, packed.size() - 8) + std::string(8, 'x')},
      {"gzip-and-more", kTar, packed + "more"},
      {"cifar-cut-short", kCifar, CifarFile(2).substr(0, 3073 + 100)},
      {"cifar-of-another-label", kCifar, CifarFile(1) + CifarRecord(10, 0)},
      {"mnist-labels-alone", kMnist, MnistLabels(3)},
      {"mnist-cut-short", kMnist, MnistPictures(3).substr(0, 1000)},
      {"mnist-of-other-labels", kMnist, MnistPictures(3) + MnistLabels(4)},
      {"mnist-and-more", kMnist, MnistPictures(3) + MnistLabels(3) + "more"},
      {"mnist-of-billions", kMnist, IdxPictures(~0u, 28, 28, "")},
      {"mnist-of-gigapixels", kMnist, IdxPictures(1, 1 << 16, 1 << 16, "")},
  };
}

TEST_F(BadUploadsTest, WhatHoldsNoDataSetIsRefusedAndSaysWhy) {
  for (const BadContentCase& c : BadContentCases()) {
    SCOPED_TRACE(c.name);
    const auto header = UploadHeaderOf(c.name, c.format, c.bytes);
    const grpc::Status status = Call(UploadMessages(header, c.bytes)).status;
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
    ExpectHarmless(status);
    const v1::Dataset data_set = Get(header.name());
    EXPECT_EQ(data_set.state(), v1::Dataset::FAILED);
    EXPECT_EQ(data_set.error(), status.error_message());
  }
}

TEST_F(BadUploadsTest, BombsAreRefusedInLittleMemory) {
  const int64_t before = PeakMemory();
  // xz is slow.
  for (const auto& [name, bomb] :
       {std::pair("zstd-bomb", Bomb(Zstd, 24)), std::pair("xz-bomb", Bomb(Xz, 4))}) {
    ASSERT_LT(bomb.size(), kMiB);
    const auto header = UploadHeaderOf(name, kTar, bomb);
    const grpc::Status status = Call(UploadMessages(header, bomb)).status;
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
    ExpectHarmless(status);
  }
  EXPECT_LT(PeakMemory() - before, 256 * kMiB);
}

TEST_F(BadUploadsTest, WhatIsNoPictureIsLeftOutAndReported) {
  std::string archive = Pictures() + TarHeaderOf('5', "cows/");
  for (int i = 2; i < 12; ++i) archive += TarFile(absl::StrCat("cats/", i, ".png"), Png(i));
  archive += TarFile("dogs/broken.png", Png(3).substr(0, 40));
  archive += TarHeaderOf('2', "dogs/link.png") + kTarEnd;
  const UploadResult result = Call(UploadMessages(UploadHeaderOf("some", kTar, archive), archive));
  ASSERT_TRUE(result.status.ok()) << result.status.error_message();
  const v1::DatasetReport& report = result.data_set.report();
  EXPECT_EQ(report.pictures(), 12);
  EXPECT_THAT(report.classes(), SizeIs(2));
  EXPECT_EQ(report.unreadable_files(), 2);
  ASSERT_THAT(report.unreadable_examples(), SizeIs(2));
  EXPECT_EQ(report.unreadable_examples(0).file(), "dogs/broken.png");
  EXPECT_NE(report.unreadable_examples(0).reason(), "");
  EXPECT_EQ(report.unreadable_examples(1).file(), "dogs/link.png");
}

struct BadHeaderCase {
  const char* field;
  std::function<void(v1::UploadHeader&)> spoil;
};

const std::vector<BadHeaderCase>& BadHeaderCases() {
  static const auto* const cases = new std::vector<BadHeaderCase>{
      {"header.name", [](auto& h) { h.clear_name(); }},
      {"header.name", [](auto& h) { h.set_name("shades"); }},
      {"header.name", [](auto& h) { h.set_name("datasets/../x"); }},
      {"header.name", [](auto& h) { h.set_name("datasets/.hidden"); }},
      {"header.name", [](auto& h) { h.set_name("datasets//etc/passwd"); }},
      {"header.name", [](auto& h) { h.set_name("datasets/" + std::string(129, 'a')); }},
      {"header.format", [](auto& h) { h.clear_format(); }},
      {"header.format", [](auto& h) { h.set_format(static_cast<v1::DatasetFormat>(9)); }},
      {"header.total_bytes", [](auto& h) { h.set_total_bytes(0); }},
      {"header.total_bytes", [](auto& h) { h.set_total_bytes(-1); }},
      {"header.sha256", [](auto& h) { h.set_sha256("abc"); }},
      {"header.offset", [](auto& h) { h.set_offset(-1); }},
      {"header.offset", [](auto& h) { h.set_offset(h.total_bytes() + 1); }},
  };
  return *cases;
}

TEST_F(BadUploadsTest, AWrongHeaderIsNamed) {
  const std::string archive = Pictures() + kTarEnd;
  for (const BadHeaderCase& c : BadHeaderCases()) {
    v1::UploadHeader header = UploadHeaderOf("never", kTar, archive);
    c.spoil(header);
    SCOPED_TRACE(header.ShortDebugString());
    const grpc::Status status = Call({UploadMessages(header, "")}).status;
    EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << status.error_message();
    EXPECT_THAT(ViolatedFields(status), testing::Contains(c.field));
    ExpectHarmless(status);
  }
}

TEST_F(BadUploadsTest, MessagesOutOfOrderAreRefused) {
  const std::string archive = Pictures() + kTarEnd;
  const auto messages = UploadMessages(UploadHeaderOf("order", kTar, archive), archive);
  ASSERT_THAT(messages, SizeIs(2));
  EXPECT_THAT(ViolatedFields(Call({}).status), ElementsAre("header"));
  EXPECT_THAT(ViolatedFields(Call({messages[1]}).status), ElementsAre("header"));
  EXPECT_THAT(ViolatedFields(Call({messages[0], messages[0]}).status), ElementsAre("header"));
  EXPECT_THAT(ViolatedFields(Call({v1::UploadDatasetRequest()}).status), ElementsAre("message"));

  v1::UploadDatasetRequest large;
  large.mutable_chunk()->set_data(std::string(kMiB + 1, 'x'));
  EXPECT_THAT(ViolatedFields(Call({messages[0], large}).status), ElementsAre("chunk.data"));
  EXPECT_THAT(ViolatedFields(Call({messages[0], messages[1], messages[1]}).status),
              ElementsAre("chunk.data"));
}

// What the server says it has received, in the details of `status`.
std::string ReceivedBytesIn(const grpc::Status& status) {
  for (const auto& info : DetailsOf<google::rpc::ErrorInfo>(status)) {
    const auto found = info.metadata().find("received_bytes");
    if (found != info.metadata().end()) return found->second;
  }
  return "";
}

TEST_F(BadUploadsTest, AnUploadGoesOnWhereItWasAndNowhereElse) {
  const std::string archive = Pictures() + kTarEnd;
  v1::UploadHeader header = UploadHeaderOf("parts", kTar, archive);
  grpc::Status status = Call(UploadMessages(header, archive.substr(0, 1000))).status;
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT) << "it is not complete";
  EXPECT_EQ(Get(header.name()).state(), v1::Dataset::UPLOADING);
  EXPECT_EQ(Get(header.name()).received_bytes(), 1000);

  for (const int64_t offset : {0, 999, 1001}) {
    header.set_offset(offset);
    status = Call(UploadMessages(header, archive)).status;
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION) << offset;
    EXPECT_EQ(ReceivedBytesIn(status), "1000");
    ExpectHarmless(status);
  }
  header.set_offset(1000);
  auto spoilt = UploadMessages(header, archive);
  spoilt[1].mutable_chunk()->set_crc32(0);
  EXPECT_EQ(Call(spoilt).status.error_code(), StatusCode::DATA_LOSS);
  EXPECT_EQ(Get(header.name()).received_bytes(), 1000);

  v1::UploadHeader other = header;
  other.set_total_bytes(header.total_bytes() + 1);
  EXPECT_EQ(Call(UploadMessages(other, archive)).status.error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_TRUE(Call(UploadMessages(header, archive)).status.ok());
  EXPECT_EQ(Call(UploadMessages(header, archive)).status.error_code(), StatusCode::ALREADY_EXISTS);
}

TEST_F(BadUploadsTest, AnUploadThatIsNotWhatWasPromisedBeginsAgain) {
  const std::string archive = Pictures() + kTarEnd;
  const v1::UploadHeader header = UploadHeaderOf("promise", kTar, archive);
  std::string damaged = archive;
  damaged[600] ^= 1;
  const grpc::Status status = Call(UploadMessages(header, damaged)).status;
  EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS) << status.error_message();
  EXPECT_EQ(ReceivedBytesIn(status), "0");
  EXPECT_TRUE(Call(UploadMessages(header, archive)).status.ok());
}

TEST_F(BadUploadsTest, WhatIsBeyondTheQuotaIsRefusedAtOnce) {
  v1::UploadHeader header = UploadHeaderOf("large", kTar, kTarEnd);
  header.set_total_bytes(1025 * kMiB);
  const grpc::Status status = Call(UploadMessages(header, "")).status;
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_details(), HasSubstr("google.rpc.QuotaFailure"));
}

}  // namespace
}  // namespace denoise
