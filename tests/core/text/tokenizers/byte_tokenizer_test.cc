#include "core/text/tokenizers/byte_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/text/tokenizers/tokenizer_testing.h"

namespace denoise {
namespace {

using testing::ElementsAre;

TEST(ByteTokenizer, HasTheIdsThatClipHasForBytes) {
  const auto bytes = ClipTokenizer::Parse(ByteTokenizerFiles()).value();
  const auto clip = LoadTokenizer(kClipFolder);
  for (int64_t id = 0; id < 512; ++id) EXPECT_EQ(bytes->Piece(id), clip->Piece(id)) << id;
  EXPECT_EQ(bytes->Piece(512), "");
  EXPECT_EQ(bytes->start_id(), clip->start_id());
  EXPECT_EQ(bytes->end_id(), clip->end_id());
  EXPECT_EQ(bytes->pad_id(), clip->pad_id());
  EXPECT_EQ(bytes->id_limit(), clip->id_limit());
  EXPECT_EQ(bytes->max_length(), clip->max_length());
}

TEST(ByteTokenizer, ReadsTextsByteByByte) {
  const auto tokenizer = ClipTokenizer::Parse(ByteTokenizerFiles()).value();
  EXPECT_THAT(Pieces(*tokenizer, "A cat"), ElementsAre("a</w>", "c", "a", "t</w>"));
}

}  // namespace
}  // namespace denoise
