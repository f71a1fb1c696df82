#include "tests/core/image/image_testing.h"

namespace denoise {
namespace {

TEST(ContactSheet, LaysCellsOutRowByRowWithWhiteBetweenAndAround) {
  const std::vector<Image> images = {{2, 1, 1, {1, 2}}, {2, 1, 1, {3, 4}}, {2, 1, 1, {5, 6}}};
  const auto sheet = ContactSheet(images, 2, 1, 1);
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  constexpr uint8_t W = 255;
  const std::vector<uint8_t> expected = {
      W, W, W, W, W, W, W,  //
      W, 1, 2, W, 3, 4, W,  //
      W, W, W, W, W, W, W,  //
      W, 5, 6, W, W, W, W,  // the last cell stays white
      W, W, W, W, W, W, W,
  };
  EXPECT_EQ(*sheet, (Image{7, 5, 1, expected}));
}

TEST(ContactSheet, EnlargesPixelsToSquares) {
  const std::vector<Image> images = {{2, 1, 3, {1, 2, 3, 4, 5, 6}}};
  const auto sheet = ContactSheet(images, 1, 0, 2);
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  const std::vector<uint8_t> row = {1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6};
  std::vector<uint8_t> expected = row;
  expected.insert(expected.end(), row.begin(), row.end());
  EXPECT_EQ(*sheet, (Image{4, 2, 3, expected}));
}

TEST(ContactSheet, FewerImagesThanColumnsLeaveWhiteCells) {
  const std::vector<Image> images = {{1, 1, 1, {9}}};
  const auto sheet = ContactSheet(images, 3, 0, 1);
  ASSERT_TRUE(sheet.ok()) << sheet.status();
  EXPECT_EQ(*sheet, (Image{3, 1, 1, {9, 255, 255}}));
}

TEST(ContactSheet, RefusesImagesThatDoNotMakeASheet) {
  const std::vector<Image> image = {TestImage(4, 4, 3)};
  const std::vector<Image> two_sizes = {TestImage(4, 4, 3), TestImage(4, 5, 3)};
  const std::vector<Image> two_kinds = {TestImage(4, 4, 3), TestImage(4, 4, 1)};
  const std::vector<Image> empty_image = {Image{}};
  const std::vector<Image> large(1000, TestImage(1024, 64, 1));
  for (const auto& sheet : {ContactSheet({}, 1, 0, 1), ContactSheet(two_sizes, 1, 0, 1),
                            ContactSheet(two_kinds, 1, 0, 1), ContactSheet(empty_image, 1, 0, 1),
                            ContactSheet(image, 0, 0, 1), ContactSheet(image, -1, 0, 1),
                            ContactSheet(image, 1 << 30, 0, 1), ContactSheet(image, 1, -1, 1),
                            ContactSheet(image, 1, 1 << 30, 1), ContactSheet(image, 1, 0, 0),
                            ContactSheet(image, 1, 0, 1 << 30), ContactSheet(large, 10, 0, 64)}) {
    EXPECT_EQ(sheet.status().code(), absl::StatusCode::kInvalidArgument) << sheet.status();
  }
}

}  // namespace
}  // namespace denoise
