#include <cstring>

#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

// The header's text without its padding.
std::string HeaderOf(const std::string& bytes) {
  const std::string header = bytes.substr(10, bytes.find('\n') - 10);
  return header.substr(0, header.find_last_not_of(' ') + 1);
}

TEST(EncodeNpy, HoldsHeaderThenValues) {
  const std::vector<float> values = {0, -1.5f, 3.25f, 1e30f, 5, 6};
  const std::string bytes = EncodeNpy(values, std::vector<int64_t>{1, 2, 3});
  EXPECT_EQ(bytes.substr(0, 8), std::string("\x93NUMPY\x01\x00", 8));
  const size_t header_size = static_cast<uint8_t>(bytes[8]) + 256 * static_cast<uint8_t>(bytes[9]);
  EXPECT_EQ((10 + header_size) % 64, 0u);
  EXPECT_EQ(bytes[10 + header_size - 1], '\n');
  EXPECT_EQ(HeaderOf(bytes), "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }");
  ASSERT_EQ(bytes.size(), 10 + header_size + values.size() * sizeof(float));
  EXPECT_EQ(std::memcmp(&bytes[10 + header_size], values.data(), values.size() * sizeof(float)), 0);
}

TEST(EncodeNpy, WritesShapesAsPythonTuples) {
  EXPECT_THAT(HeaderOf(EncodeNpy(std::vector<float>{1}, {})), testing::HasSubstr("'shape': (),"));
  EXPECT_THAT(HeaderOf(EncodeNpy(std::vector<float>{1, 2}, std::vector<int64_t>{2})),
              testing::HasSubstr("'shape': (2,),"));
  EXPECT_THAT(HeaderOf(EncodeNpy({}, std::vector<int64_t>{0, 4})),
              testing::HasSubstr("'shape': (0, 4),"));
}

// A file with this header, padded as numpy does, and these bytes of values.
std::string Npy(const std::string& header, const std::string& values) {
  const std::string text = header + std::string(118 - header.size() - 1, ' ') + "\n";
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + text + values;
}

TEST(DecodeNpy, ReadsWhatIsWritten) {
  const std::vector<float> values = {0, -1.5f, 3.25f, 1e30f, 5, 6};
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{1, 2, 3}, std::vector<int64_t>{6}, std::vector<int64_t>{3, 2}}) {
    const auto array = DecodeNpy(EncodeNpy(values, shape));
    ASSERT_TRUE(array.ok()) << array.status();
    EXPECT_EQ(array->shape, shape);
    EXPECT_EQ(array->values, values);
  }
  EXPECT_EQ(DecodeNpy(EncodeNpy(std::vector<float>{7}, {}))->values, std::vector<float>{7});
  EXPECT_TRUE(DecodeNpy(EncodeNpy({}, std::vector<int64_t>{0, 4}))->values.empty());
}

TEST(DecodeNpy, RefusesWhatIsNotAnArrayOfFloats) {
  const std::string four(4, 'x');
  const auto refused = [](const std::string& bytes, const std::string& part_of_message) {
    const absl::Status status = DecodeNpy(bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bytes;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(part_of_message));
  };
  ASSERT_TRUE(
      DecodeNpy(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", four)).ok());
  refused("", "version 1.0");
  refused(std::string("\x93NUMPY\x02\x00\x76\x00", 10), "version 1.0");
  refused(Npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", four), "float32");
  refused(Npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", four), "C order");
  for (const char* shape :
       {"(1,", "1,)", "(1)", "(-1,)", "(1 1)", "(1,,)", "(x,)", "(99999999999999999999,)"}) {
    refused(Npy(std::string("{'descr': '<f4', 'fortran_order': False, 'shape': ") + shape + ", }",
                four),
            "malformed");
  }
  for (const char* header : {"", "{", "{'shape': (1,), 'descr': '<f4', 'fortran_order': False, }",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } more"}) {
    refused(Npy(header, four), "malformed");
  }
}

TEST(DecodeNpy, AFileMustMatchItsShape) {
  const std::string bytes = EncodeNpy(std::vector<float>{1, 2, 3}, std::vector<int64_t>{3});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeNpy(bytes.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(DecodeNpy(bytes + "x").ok());
  const std::string huge = "(4294967296, 4294967296, 4294967296)";
  EXPECT_FALSE(
      DecodeNpy(Npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + huge + ", }", "")).ok());
}

}  // namespace
}  // namespace denoise
