#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "core/base/sha256.h"
#include "core/io/safetensors.h"
#include "tests/core/io/io_testing.h"
#include "tests/support/temp_dir.h"

namespace denoise {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// One legal file of 12 bytes of data, to start from.
constexpr char kHeader[] =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}})";

TEST(ParseSafetensorsHeader, ListsTensorsAndMetadata) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("none":{"dtype":"F32","shape":[3,0],"data_offsets":[8,8]},)"
      R"("b":{"dtype":"BF16","shape":[2,1],"data_offsets":[8,12]}}    )";
  const auto parsed = ParseSafetensorsHeader(SafetensorsBytes(header, std::string(12, '\0')));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_EQ(parsed->data_offset, 8 + header.size());
  ASSERT_EQ(parsed->tensors.size(), 3u);
  EXPECT_EQ(parsed->tensors.at("a").dtype, "I64");
  EXPECT_TRUE(parsed->tensors.at("a").shape.empty());
  EXPECT_EQ(parsed->tensors.at("b").shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(parsed->tensors.at("b").begin, 8u);
  EXPECT_EQ(parsed->tensors.at("b").end, 12u);
}

TEST(ParseSafetensorsHeader, KnowsTheSizeOfEveryDtype) {
  const std::pair<const char*, int> dtypes[] = {
      {"F64", 8}, {"F32", 4},     {"F16", 2},     {"BF16", 2}, {"C64", 8}, {"I64", 8},
      {"U64", 8}, {"I32", 4},     {"U32", 4},     {"I16", 2},  {"U16", 2}, {"I8", 1},
      {"U8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"BOOL", 1}};
  for (const auto& [dtype, size] : dtypes) {
    const std::string header = std::string(R"({"a":{"dtype":")") + dtype +
                               R"(","shape":[3],"data_offsets":[0,)" + std::to_string(3 * size) +
                               "]}}";
    EXPECT_TRUE(ParseSafetensorsHeader(SafetensorsBytes(header, std::string(3 * size, 'x'))).ok())
        << dtype;
    EXPECT_FALSE(
        ParseSafetensorsHeader(SafetensorsBytes(header, std::string(3 * size + 1, 'x'))).ok())
        << dtype;
  }
}

TEST(ParseSafetensorsHeader, AcceptsAFileWithoutTensors) {
  const auto parsed = ParseSafetensorsHeader(SafetensorsBytes("{}"));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->tensors.empty());
}

TEST(ParseSafetensorsHeader, RefusesBrokenHeaderSizes) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "is empty"},
      {std::string(7, '\1'), "shorter than the 8 bytes"},
      {HeaderSize(0), "begins with zeros only"},
      {HeaderSize(2) + "[]", "does not begin with {"},
      {HeaderSize(1), "beyond the end of the file"},
      {HeaderSize(3) + "{}", "beyond the end of the file"},
      {HeaderSize(100'000'001) + "{}", "larger than 100000000"},
      {HeaderSize(uint64_t{1} << 63) + "{}", "larger than 100000000"},
      {HeaderSize(~uint64_t{0}) + "{}", "larger than 100000000"},
  };
  for (const auto& [file, message] : cases) {
    ExpectStatus(ParseSafetensorsHeader(file).status(), kInvalid, message);
  }
}

TEST(ParseSafetensorsHeader, SaysThatOtherFilesAreNone) {
  const std::pair<std::string, const char*> cases[] = {
      {"Entry not found", "is text, not weights: \"Entry not found\""},
      {"denied", "is text, not weights: \"denied\""},
      {"Invalid username or password.\nTry again\n", ": \"Invalid username or password.\";"},
      {absl::StrCat("\x7f", "ELF\2\1\1", std::string(57, '\2')), "is not a safetensors file"},
      {absl::StrCat("7z\xbc\xaf\x27\x1c", std::string(26, '\4')), "is not a safetensors file"},
      {absl::StrCat("unet/config.json", std::string(84, '\0')), "is not a safetensors file"},
  };
  for (const auto& [file, message] : cases) {
    ExpectStatus(ParseSafetensorsHeader(file).status(), kInvalid, message);
  }
}

TEST(ParseSafetensorsHeader, RefusesHeadersThatAreNoStrictJsonObject) {
  const std::pair<std::string, const char*> cases[] = {
      {"[]", "does not begin with {"},
      {" {}", "does not begin with {"},
      {"\xef\xbb\xbf{}", "does not begin with {"},
      {"{", "not valid JSON"},
      {"{} {}", "not valid JSON"},
      {std::string("{}\0", 3), "not valid JSON"},
      {std::string("{}\0{\"a\"", 7), "not valid JSON"},
      {"{\"\xff\":1}", "not valid JSON"},
      {"{\"a\\u0000\":1}", "tensor \"a\\x00\""},
      {std::string("{\"a\":") + std::string(100'000, '['), "nested deeper"},
      {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})",
       "the key \"a\" is there twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}})",
       "the key \"dtype\" is there twice"},
  };
  for (const auto& [header, message] : cases) {
    ExpectStatus(ParseSafetensorsHeader(SafetensorsBytes(header, "1234")).status(), kInvalid,
                 message);
  }
}

TEST(ParseSafetensorsHeader, RefusesBrokenMetadata) {
  ExpectStatus(ParseSafetensorsHeader(SafetensorsBytes(R"({"__metadata__":["a"]})")).status(),
               kInvalid, "__metadata__ is not an object");
  ExpectStatus(ParseSafetensorsHeader(SafetensorsBytes(R"({"__metadata__":{"k":1}})")).status(),
               kInvalid, "__metadata__: \"k\" is not a string");
}

TEST(ParseSafetensorsHeader, RefusesBrokenEntriesAndNamesTheTensor) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(7)", "not described by an object"},
      {R"({})", "has no dtype"},
      {R"({"dtype":"F32","shape":[1]})", "has no data_offsets"},
      {R"({"dtype":"F32","data_offsets":[0,4]})", "has no shape"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", "unknown key \"x\""},
      {R"({"dtype":32,"shape":[1],"data_offsets":[0,4]})", "dtype is not a string"},
      {R"({"dtype":"F31","shape":[1],"data_offsets":[0,4]})", "unknown dtype \"F31\""},
      {R"({"dtype":"f32","shape":[1],"data_offsets":[0,4]})", "unknown dtype \"f32\""},
      {R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", "shape is not a list"},
      {R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", "non-negative integers"},
      {R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", "non-negative integers"},
      {R"({"dtype":"F32","shape":["1"],"data_offsets":[0,4]})", "non-negative integers"},
      {R"({"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]})",
       "non-negative integers"},
      {R"({"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]})",
       "non-negative integers"},
      {R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})",
       "product of its shape overflows"},
      {R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})",
       "product of its shape overflows"},
      {R"({"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]})",
       "product of its shape overflows"},
      {R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})",
       "more than 32 dimensions"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":4})", "data_offsets is not a pair"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", "data_offsets is not a pair"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[0,4,8]})", "data_offsets is not a pair"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[-4,0]})", "data_offsets are not non-negative"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[0,4.0]})",
       "data_offsets are not non-negative"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", "end before they begin"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", "beyond the 4 bytes"},
      {R"({"dtype":"F32","shape":[1],"data_offsets":[9223372036854775800,9223372036854775804]})",
       "beyond the 4 bytes"},
      {R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})",
       "its shape takes 8 bytes, its data_offsets 4"},
      {R"({"dtype":"F32","shape":[],"data_offsets":[0,3]})",
       "its shape takes 4 bytes, its data_offsets 3"},
      {R"({"dtype":"F32","shape":[0],"data_offsets":[0,4]})",
       "its shape takes 0 bytes, its data_offsets 4"},
  };
  for (const auto& [entry, message] : cases) {
    const std::string header = std::string(R"({"conv.weight":)") + entry + "}";
    const absl::Status status = ParseSafetensorsHeader(SafetensorsBytes(header, "1234")).status();
    ExpectStatus(status, kInvalid, message);
    ExpectStatus(status, kInvalid, "tensor \"conv.weight\"");
  }
}

TEST(ParseSafetensorsHeader, RefusesOverlapsHolesAndBytesThatBelongToNoTensor) {
  const auto entry = [](const char* name, int begin, int end) {
    return std::string("\"") + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) +
           R"(],"data_offsets":[)" + std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  const std::pair<std::string, const char*> cases[] = {
      {entry("a", 0, 6) + "," + entry("b", 5, 8), "tensor \"b\" overlaps \"a\""},
      {entry("a", 0, 8) + "," + entry("b", 0, 8), "tensor \"b\" overlaps \"a\""},
      {entry("a", 0, 8) + "," + entry("b", 2, 4), "tensor \"b\" overlaps \"a\""},
      {entry("a", 0, 8) + "," + entry("b", 4, 4),
       "tensor \"b\" overlaps \"a\""},  // empty, in the middle
      {entry("a", 0, 3) + "," + entry("b", 5, 8), "hole of 2 bytes before tensor \"b\""},
      {entry("a", 1, 8), "hole of 1 bytes before tensor \"a\""},
      {entry("a", 0, 7), "1 bytes at the end belong to no tensor"},
  };
  for (const auto& [entries, message] : cases) {
    ExpectStatus(ParseSafetensorsHeader(SafetensorsBytes("{" + entries + "}", "12345678")).status(),
                 kInvalid, message);
  }
  ExpectStatus(ParseSafetensorsHeader(SafetensorsBytes("{}", "1")).status(), kInvalid,
               "belong to no tensor");
}

TEST(ParseSafetensorsHeader, RefusesEveryTruncationAndAnyExtension) {
  const std::string file = SafetensorsBytes(kHeader, "123456789012");
  ASSERT_TRUE(ParseSafetensorsHeader(file).ok());
  for (size_t size = 0; size < file.size(); ++size) {
    const std::string cut = file.substr(0, size);
    EXPECT_EQ(ParseSafetensorsHeader(cut).status().code(), kInvalid) << size;
  }
  EXPECT_EQ(ParseSafetensorsHeader(file + "x").status().code(), kInvalid);
}

TEST(ParseSafetensorsHeader, AnswersEveryDamagedByte) {
  const std::string file = SafetensorsBytes(kHeader, "123456789012");
  int refused = 0;
  for (size_t i = 0; i < 8 + sizeof(kHeader) - 1; ++i) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = file;
      damaged[i] = static_cast<char>(value);
      refused += !ParseSafetensorsHeader(damaged).ok();
    }
  }
  EXPECT_GT(refused, 20'000);  // other names and a few other digits are legal
}

class SafetensorsFileTest : public testing::Test {
 protected:
  absl::StatusOr<SafetensorsFile> Open(const std::string& bytes) {
    WriteFile(folder_.path() / "a.safetensors", bytes);
    return SafetensorsFile::Open(folder_.path() / "a.safetensors");
  }

  TempDir folder_;
};

std::string BytesOf(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

TEST_F(SafetensorsFileTest, TensorsOutliveTheFileTheyCameFrom) {
  at::Tensor tensor;
  {
    const std::string header = R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
    const auto file = Open(SafetensorsBytes(header, BytesOf({0, 1, 2, 3, 4, 5})));
    ASSERT_TRUE(file.ok()) << file.status();
    tensor = *file->Get("a");
  }
  std::filesystem::remove(folder_.path() / "a.safetensors");
  EXPECT_TRUE(tensor.equal(at::arange(6, at::kFloat).reshape({2, 3})));
}

TEST_F(SafetensorsFileTest, TensorsMayBeAtOddAddresses) {
  for (int padding = 0; padding < 8; ++padding) {
    const std::string header =
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + std::string(padding, ' ');
    const auto file = Open(SafetensorsBytes(header, BytesOf({1.5f, -2})));
    ASSERT_TRUE(file.ok()) << file.status();
    const at::Tensor tensor = *file->Get("a");
    EXPECT_TRUE(tensor.equal(at::tensor({1.5f, -2.0f})));
  }
}

TEST_F(SafetensorsFileTest, HeadersMayBeLongerThanWhatIsReadFirst) {
  const std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" +
                             std::string(size_t{1} << 20, ' ');
  const auto file = Open(SafetensorsBytes(header, BytesOf({1.5f, -2})));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(file->Get("a")->equal(at::tensor({1.5f, -2.0f})));
}

// What a file of one large tensor looks like that its readers change.
class ChangingFileTest : public SafetensorsFileTest {
 protected:
  static constexpr int64_t kNumbers = int64_t{3} << 20;

  ChangingFileTest() {
    EXPECT_TRUE(WriteSafetensors(path_, {{"a", at::ones({kNumbers})}}).ok());
    file_ = SafetensorsFile::Open(path_);
    EXPECT_TRUE(file_.ok()) << file_.status();
  }

  const std::filesystem::path path_ = folder_.path() / "a.safetensors";
  absl::StatusOr<SafetensorsFile> file_;
};

TEST_F(ChangingFileTest, ATruncatedFileIsAnErrorAndNoSignal) {
  std::filesystem::resize_file(path_, 1000);
  ExpectStatus(file_->Get("a").status(), absl::StatusCode::kAborted, "has changed while");
  Sha256 hash;
  ExpectStatus(file_->AddTo(hash, "a"), absl::StatusCode::kAborted, "has changed while");
}

TEST_F(ChangingFileTest, AFileThatIsWrittenToIsAnError) {
  const auto written = std::filesystem::last_write_time(path_);
  std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary).seekp(-4, std::ios::end)
      << "abcd";
  std::filesystem::last_write_time(path_, written);  // as copying programs do
  ExpectStatus(file_->Get("a").status(), absl::StatusCode::kAborted, "has changed while");
}

TEST_F(ChangingFileTest, AFileThatIsReplacedOrRemovedCanStillBeRead) {
  ASSERT_TRUE(WriteSafetensors(path_, {{"a", at::zeros({kNumbers})}}).ok());
  EXPECT_TRUE(file_->Get("a")->equal(at::ones({kNumbers})));
  std::filesystem::remove(path_);
  EXPECT_TRUE(file_->Get("a")->equal(at::ones({kNumbers})));
}

TEST_F(SafetensorsFileTest, OnlyFloatsAreWeights) {
  const auto file = Open(SafetensorsBytes(
      R"({"steps":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", "12345678"));
  ASSERT_TRUE(file.ok()) << file.status();
  ExpectStatus(file->Get("steps").status(), kInvalid, "tensor \"steps\" is of dtype I64");
  ExpectStatus(file->Get("other").status(), absl::StatusCode::kNotFound, "no tensor \"other\"");
}

TEST_F(SafetensorsFileTest, OnlyRegularFilesAreOpened) {
  ExpectStatus(SafetensorsFile::Open(folder_.path() / "none").status(), absl::StatusCode::kNotFound,
               "");
  ExpectStatus(SafetensorsFile::Open(folder_.path()).status(), kInvalid, "not a regular file");
  ExpectStatus(SafetensorsFile::Open("/dev/zero").status(), kInvalid, "not a regular file");
  const auto pipe = folder_.path() / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);  // nobody writes to it: must not block
  ExpectStatus(SafetensorsFile::Open(pipe).status(), kInvalid, "not a regular file");
  ExpectStatus(Open("").status(), kInvalid, "is empty");
}

}  // namespace
}  // namespace denoise
