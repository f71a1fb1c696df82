// What is shown, in parts that are functions.
#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "client/cli/display/generation_display.h"
#include "client/cli/display/model_text.h"
#include "client/cli/display/picture_grid.h"
#include "client/cli/display/picture_history.h"
#include "client/cli/display/text.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Image Picture(uint8_t value) { return Image{4, 2, 1, std::vector<uint8_t>(8, value)}; }

TEST(PictureHistory, KeepsABoundedSpreadOfFramesWithTheFirstAndTheLast) {
  PictureHistory history(1, 1000, 1);
  for (int step = 1; step <= 1000; ++step) {
    ASSERT_TRUE(history.AddFrame(0, step, Picture(static_cast<uint8_t>(step / 4))).ok());
  }
  ASSERT_TRUE(history.AddImage(0, Picture(255)).ok());
  const Image sheet = history.DenoisingSheet().value();
  // Ten columns of cells 24 times the size, 4 pixels around each: the first is step 1, the last the
  // image.
  ASSERT_EQ(sheet.width, 10 * 96 + 11 * 4);
  EXPECT_EQ(sheet.pixels[10 * sheet.width + 10], 0);
  EXPECT_EQ(sheet.pixels[10 * sheet.width + sheet.width - 10], 255);
  EXPECT_LT(sheet.pixels[10 * sheet.width + 450], sheet.pixels[10 * sheet.width + 650]);
  EXPECT_LT(history.DenoisingAnimation(AnimationFormat::kWebp).value().size(), size_t{200} << 10);
}

TEST(PictureHistory, KindsHaveRowsOfTheirOwnAndTheLastOneIsShownLive) {
  PictureHistory history(2, 3, 1, /*kinds=*/2);
  for (int step = 1; step <= 3; ++step) {
    for (int image = 0; image < 2; ++image) {
      for (int kind = 0; kind < 2; ++kind) {
        const int value = 100 * image + 50 * kind + step;
        ASSERT_TRUE(history.AddFrame(image, step, Picture(static_cast<uint8_t>(value)), kind).ok());
      }
    }
  }
  EXPECT_EQ(history.Latest()[1]->pixels[0], 153);
  ASSERT_TRUE(history.AddImage(0, Picture(255)).ok());
  EXPECT_EQ(history.Latest()[0]->pixels[0], 255);
  const Image sheet = history.DenoisingSheet().value();
  ASSERT_EQ(sheet.height, 4 * 48 + 5 * 4);
  std::vector<int> first, last;
  for (int row = 0; row < 4; ++row) {
    const int y = 10 + row * 52;
    first.push_back(sheet.pixels[y * sheet.width + 10]);
    last.push_back(sheet.pixels[y * sheet.width + sheet.width - 10]);
  }
  EXPECT_THAT(first, ElementsAre(1, 51, 101, 151));
  EXPECT_THAT(last, ElementsAre(255, 255, 103, 153)) << "both kinds end with the image";
  const std::string gif = history.DenoisingAnimation(AnimationFormat::kGif).value();
  const auto number = [&gif](size_t at) {
    return static_cast<uint8_t>(gif[at]) + 256 * static_cast<uint8_t>(gif[at + 1]);
  };
  EXPECT_EQ(number(6), 4 * 128 + 5 * 2) << "the kinds of both images side by side";
  EXPECT_EQ(number(8), 64 + 2 * 2);
}

TEST(PictureHistory, CountsEveryKindItKeeps) {
  PictureHistory history(512, 100, 1, /*kinds=*/2);
  for (int step = 1; step <= 100; ++step) {
    for (int kind = 0; kind < 2; ++kind) {
      ASSERT_TRUE(history.AddFrame(0, step, Image{1, 1, 1, {7}}, kind).ok());
    }
  }
  EXPECT_EQ(history.kept_frames(), 4u);
}

TEST(PictureHistory, AnOddSpreadOfAnEvenRunHasItsMiddle) {
  constexpr int kSteps = 201;
  PictureHistory history(1, kSteps, 1);
  for (int step = 1; step <= kSteps; ++step) {
    ASSERT_TRUE(history.AddFrame(0, step, Picture(step == kSteps / 2 + 1 ? 255 : 1)).ok());
  }
  const Image sheet = history.DenoisingSheet(/*most_columns=*/11).value();
  ASSERT_EQ(sheet.width, 11 * 96 + 12 * 4);
  EXPECT_EQ(sheet.pixels[10 * sheet.width + sheet.width / 2], 255);
}

TEST(PictureHistory, AnIntervalBeyondAllStepsGivesTheLastStepOnly) {
  PictureHistory history(1, 1000, std::numeric_limits<int>::max());
  ASSERT_TRUE(history.AddFrame(0, 999, Picture(1)).ok());
  EXPECT_FALSE(history.has_frames()) << "no frame was asked for after this step";
  ASSERT_TRUE(history.AddFrame(0, 1000, Picture(2)).ok());
  EXPECT_EQ(history.DenoisingSheet().value().width, 96 + 2 * 4) << "one column";
}

TEST(PictureHistory, CountsPicturesAsLargeAsTheyAreShown) {
  // 1024 single pixels take next to nothing, but 128 x 128 each in the animation.
  PictureHistory history(1024, 100, 1);
  for (int step = 1; step <= 100; ++step) {
    ASSERT_TRUE(history.AddFrame(0, step, Image{1, 1, 1, {7}}).ok());
  }
  EXPECT_EQ(history.kept_frames(), 4u);
}

TEST(Printable, LeavesTextAndEscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("fr\xc3\xb8 \xe2\x82\xac \xf0\x9f\x98\x80!"),
            "fr\xc3\xb8 \xe2\x82\xac \xf0\x9f\x98\x80!");
  EXPECT_EQ(Printable("a\x1b[2Jb\r\n\tc\x7f"), "a\\x1b[2Jb\\x0d\\x0a\\x09c\\x7f");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "2J"),
            "\\xc2\\x9b2J")
      << "CSI as one character";
  EXPECT_EQ(Printable("\x9b"
                      "2J \xe2\x82"),
            "\\x9b2J \\xe2\\x82")
      << "not UTF-8";
}

TEST(PictureHistory, AFrameThatWasLeftOutLooksLikeTheOneBefore) {
  PictureHistory history(2, 2, 1);
  ASSERT_TRUE(history.AddFrame(0, 1, Picture(10)).ok());
  ASSERT_TRUE(history.AddFrame(1, 2, Picture(20)).ok());
  const Image sheet = history.DenoisingSheet().value();
  const auto pixel = [&sheet](int x, int y) { return sheet.pixels[y * sheet.width + x]; };
  EXPECT_EQ(pixel(10, 10), 10);
  EXPECT_EQ(pixel(110, 10), 10);
  EXPECT_EQ(pixel(10, 60), 20) << "before its first frame an image looks like it";
  EXPECT_EQ(pixel(110, 60), 20);
}

TEST(PictureHistory, RefusesPicturesOfAnotherShape) {
  PictureHistory history(2, 2, 0);
  ASSERT_TRUE(history.AddImage(0, Picture(1)).ok());
  EXPECT_FALSE(history.AddImage(1, Image{2, 4, 1, std::vector<uint8_t>(8, 1)}).ok());
}

v1::ModelEvent EventOf(const std::string& name, v1::Model::State state) {
  v1::ModelEvent event;
  event.mutable_model()->set_name(name);
  event.mutable_model()->set_state(state);
  return event;
}

TEST(ModelNews, TellsAChangeOnceAndWhatANewStreamNoLongerHas) {
  v1::ModelEvent complete, removed;
  complete.mutable_complete();
  removed.set_removed("models/c");
  ModelNews news;
  news.BeginStream();
  EXPECT_THAT(news.Add(EventOf("models/a", v1::Model::LOADING)), ElementsAre("model a is loading"));
  EXPECT_THAT(news.Add(EventOf("models/a", v1::Model::LOADING)), IsEmpty());
  EXPECT_THAT(news.Add(EventOf("models/b", v1::Model::FAILED)),
              ElementsAre("model b failed: no reason given"));
  EXPECT_THAT(news.Add(EventOf("models/c", v1::Model::UNLOADED)),
              ElementsAre("model c is unloaded"));
  EXPECT_THAT(news.Add(complete), IsEmpty());
  EXPECT_THAT(news.Add(removed), ElementsAre("model c is removed"));
  EXPECT_THAT(news.Add(removed), IsEmpty());
  news.BeginStream();
  EXPECT_THAT(news.Add(EventOf("models/a", v1::Model::LOADED)), ElementsAre("model a is loaded"));
  EXPECT_THAT(news.Add(complete), ElementsAre("model b is removed"));
}

TEST(LayOutGrid, FillsTheTerminalAndNeverOverflowsIt) {
  for (int columns : {1, 20, 40, 80, 110, 200}) {
    for (int rows : {1, 5, 10, 24, 50}) {
      for (int count : {0, 1, 2, 5, 8, 100}) {
        const TerminalSize size{.columns = columns, .rows = rows};
        const GridLayout layout = LayOutGrid(size, count, 32, 32);
        EXPECT_LE(layout.pictures, count);
        EXPECT_LT(layout.columns, columns);
        EXPECT_LE(layout.rows, std::max(0, rows - 3));
      }
    }
  }
  const GridLayout layout = LayOutGrid({.columns = 110, .rows = 34}, 8, 32, 32);
  EXPECT_EQ(layout.pictures, 8);
  EXPECT_EQ(layout.across, 4);
  EXPECT_GE(layout.picture_rows, 12);
}

TEST(DrawGrid, PutsPicturesSideBySideWithTransparencyBetween) {
  const Image picture = Picture(7);
  const GridLayout layout = LayOutGrid({.columns = 80, .rows = 24}, 2, 4, 2);
  ASSERT_EQ(layout.pictures, 2);
  const Image grid = DrawGrid({&picture, nullptr}, layout);
  EXPECT_EQ(grid.channels, 4);
  EXPECT_EQ(grid.pixels[0], 7);
  EXPECT_EQ(grid.pixels[3], 255);
  EXPECT_EQ(grid.pixels[grid.pixels.size() - 1], 0) << "what has not come is transparent";
}

TEST(GenerationProgress, TellsStepsImagesRateAndQueue) {
  GenerationProgress progress;
  absl::Time now = absl::UnixEpoch();
  v1::GenerateEvent event;
  EXPECT_EQ(progress.Line(80), "waiting for the server");
  event.mutable_accepted()->set_count(2);
  event.mutable_accepted()->set_steps(10);
  progress.Update(event, now);
  event.mutable_queued()->set_position(3);
  progress.Update(event, now);
  EXPECT_EQ(progress.Line(80), "queued, 3 ahead");
  event.mutable_started();
  progress.Update(event, now);
  event.mutable_progress()->set_steps_done(5);
  event.mutable_progress()->set_steps_total(20);
  progress.Update(event, now + absl::Seconds(1));
  EXPECT_EQ(progress.Line(60), "denoising   5/20 steps  0/2 images  5.0 steps/s  3 s left");
  EXPECT_THAT(progress.Line(100), HasSubstr("████████░░░░░░░░░░░░░░░░░░░░░░░░  5/20 steps"));
  for (int width = 1; width < 100; ++width) EXPECT_LE(progress.Line(width).size(), 3u * width);
}

TEST(GenerationProgress, AnotherServerStartsWithTheStepsOfTheFirst) {
  GenerationProgress progress;
  const absl::Time now = absl::UnixEpoch();
  v1::GenerateEvent event;
  event.mutable_accepted()->set_count(1);
  event.mutable_accepted()->set_steps(20);
  progress.Update(event, now);
  event.mutable_started();
  progress.Update(event, now);
  event.mutable_progress()->set_steps_done(10);
  event.mutable_progress()->set_steps_total(20);
  progress.Update(event, now + absl::Seconds(1));
  event.mutable_handover();
  progress.Update(event, now + absl::Seconds(1));
  EXPECT_EQ(progress.Line(80), "continues on another server");
  EXPECT_EQ(progress.Text(), "continues on another server");
  event.mutable_started();
  progress.Update(event, now + absl::Seconds(2));
  event.mutable_progress()->set_steps_done(14);
  event.mutable_progress()->set_steps_total(20);
  progress.Update(event, now + absl::Seconds(4));
  EXPECT_EQ(progress.Line(60), "denoising   14/20 steps  0/1 images  2.0 steps/s  3 s left");
}

}  // namespace
}  // namespace denoise
