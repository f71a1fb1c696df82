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

}  // namespace
}  // namespace denoise
