#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "client/cli/commands/sweep_grid.h"
#include "client/cli/commands/sweep_runner.h"
#include "client/drawing/drawing.h"
#include "core/base/field_violations.h"
#include "tests/client/fake_server.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

SweepAxis Axis(const std::string& text) { return ParseSweepAxis("--rows", text).value(); }

std::string Violation(const absl::Status& status) {
  const std::vector<FieldViolation> violations = GetFieldViolations(status);
  return violations.empty() ? "" : violations[0].field + ": " + violations[0].description;
}

TEST(SweepAxis, IsAFlagAndItsValues) {
  const SweepAxis axis = Axis("steps=4,8");
  EXPECT_EQ(axis.flag, "steps");
  EXPECT_THAT(axis.values, ElementsAre("4", "8"));
  EXPECT_EQ(axis.Label(1), "steps 8");
  EXPECT_EQ(Axis("guidance=2").flag, "guidance-scale");
  EXPECT_EQ(Axis("class=a").flag, "class-label");
}

TEST(SweepAxis, OfNothingIsOneCellThatChangesNothing) {
  EXPECT_EQ(Axis("").values.size(), 1u);
  EXPECT_EQ(Axis("").Label(0), "");
}

TEST(SweepAxis, SaysWhatIsWrongWithIt) {
  for (const char* text : {"steps", "steps=", "=4", "steps=,", "steps=1,,2", "steps=1,"}) {
    EXPECT_THAT(Violation(ParseSweepAxis("--rows", text).status()),
                HasSubstr("--rows: must be a flag and its values"));
  }
  std::string many = "seed=0";
  for (int i = 0; i < 64; ++i) many += ",1";
  EXPECT_THAT(Violation(ParseSweepAxis("--rows", many).status()), HasSubstr("at most 64 values"));
}

v1::Model Model() {
  v1::Model model;
  model.set_name("models/shapes");
  for (const char* name : {"circle", "square"}) model.add_classes()->set_display_name(name);
  model.mutable_classes(1)->set_label(1);
  return model;
}

GenerateFlags Base() {
  GenerateFlags flags;
  flags.given["class_label"] = {"circle"};
  flags.request.set_seed(7);
  return flags;
}

TEST(SweepCells, AreTheFlagsOfTheirRowAndColumnOverTheOthers) {
  GenerateFlags base = Base();
  base.request.mutable_sampler()->set_eta(0.5);
  const auto cells = SweepCells(base, Axis("guidance=1,2"), Axis("steps=4,8,16"), Model());
  ASSERT_TRUE(cells.ok()) << cells.status();
  ASSERT_EQ(cells->size(), 6u);
  EXPECT_EQ((*cells)[5].label, "guidance-scale 2, steps 16");
  EXPECT_EQ((*cells)[5].request.ShortDebugString(),
            "model: \"models/shapes\" class_label: 0 seed: 7 sampler { steps: 16 eta: 0.5 } "
            "guidance { scale: 2 } image_encoding: ENCODING_PNG");
  EXPECT_EQ((*cells)[1].label, "guidance-scale 1, steps 8");
}

TEST(SweepCells, MaySweepClassesSeedsAndNamedSamplers) {
  const auto cells =
      SweepCells(Base(), Axis("class=square"), Axis("sampler=ddim,dpmpp_3m"), Model());
  ASSERT_TRUE(cells.ok()) << cells.status();
  EXPECT_EQ((*cells)[1].request.class_label(), 1);
  EXPECT_EQ((*cells)[1].request.sampler().solver_order(), 3);
  EXPECT_FALSE((*cells)[0].request.sampler().has_solver_order());
  const auto seeds = SweepCells(Base(), Axis(""), Axis("seed=3,9"), Model());
  EXPECT_EQ((*seeds)[1].request.seed(), 9u);
}

TEST(SweepCells, SayWhatGenerateWouldSayOfAFlag) {
  const auto refuse = [](const std::string& rows, const std::string& columns) {
    return Violation(SweepCells(Base(), Axis(rows), Axis(columns), Model()).status());
  };
  EXPECT_THAT(refuse("sampler=ddim,dbim", ""), HasSubstr("--rows: --sampler: must be one of"));
  EXPECT_THAT(refuse("stebs=1", ""),
              HasSubstr("--rows: unknown flag --stebs; did you mean --steps?"));
  EXPECT_THAT(refuse("foo=1", ""), HasSubstr("--rows: unknown flag --foo"));
  EXPECT_THAT(refuse("", "steps=four"), HasSubstr("--columns: "));
  EXPECT_THAT(refuse("model=x", ""), HasSubstr("--rows: "));
  EXPECT_THAT(refuse("help=x", ""), HasSubstr("--rows: "));
  EXPECT_THAT(refuse("class=cirle", ""), HasSubstr("class_label: no class is named cirle"));
  EXPECT_THAT(refuse("steps=1", "steps=2"), HasSubstr("--columns: must be another flag"));
}

class SweepRunnerTest : public testing::Test {
 protected:
  SweepRunnerTest() : client_({.address = server_.address()}) {}

  std::vector<SweepCell> Cells(const std::string& columns) {
    return SweepCells(Base(), Axis(""), Axis(columns), Model()).value();
  }

  FakeServer server_;
  Client client_;
};

TEST_F(SweepRunnerTest, GivesAPictureForEveryCellAndCountsThem) {
  std::vector<size_t> counts;
  SweepRunner runner(client_, Cells("seed=1,2,3,4,5"), [&](size_t n) { counts.push_back(n); });
  const auto pictures = runner.Run(/*parallel=*/3);
  ASSERT_TRUE(pictures.ok()) << pictures.status();
  ASSERT_EQ(pictures->size(), 5u);
  for (const Image& picture : *pictures) EXPECT_EQ(picture.width, 16);
  EXPECT_THAT(counts, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ(server_.requests().size(), 5u);
}

TEST_F(SweepRunnerTest, AsksForAsManyAtATimeAsItMay) {
  server_.never_ends = true;
  SweepRunner runner(client_, Cells("seed=1,2,3,4,5"), [](size_t) {});
  std::thread canceller([&] {
    EXPECT_TRUE(server_.WaitForRequests(3));
    runner.Cancel();
  });
  EXPECT_TRUE(absl::IsCancelled(runner.Run(/*parallel=*/3).status()));
  canceller.join();
  EXPECT_EQ(server_.requests().size(), 3u);
  EXPECT_EQ(runner.failed_cell(), nullptr);
}

TEST_F(SweepRunnerTest, NeverHasMoreUnderWayThanItMay) {
  server_.holds_calls = true;
  SweepRunner runner(client_, Cells("seed=1,2,3,4,5,6,7,8,9"), [](size_t) {});
  std::thread server([&] {
    for (size_t requests = 3; requests <= 9; ++requests) {
      EXPECT_TRUE(server_.WaitForRequests(requests));
      server_.LetOneCallFinish();
    }
    server_.LetOneCallFinish();
    server_.LetOneCallFinish();
  });
  EXPECT_TRUE(runner.Run(/*parallel=*/3).ok());
  server.join();
  EXPECT_EQ(server_.requests().size(), 9u);
  EXPECT_EQ(server_.most_open_calls(), 3);
}

TEST_F(SweepRunnerTest, AFailureNamesItsCellAndEndsTheOthers) {
  server_.answer = BadRequestStatus({{"sampler.steps", "must be at least 1"}});
  SweepRunner runner(client_, Cells("steps=0,1,2,3,4,5,6,7"), [](size_t) {});
  const absl::Status status = runner.Run(/*parallel=*/1).status();
  EXPECT_THAT(Violation(status), HasSubstr("sampler.steps"));
  ASSERT_NE(runner.failed_cell(), nullptr);
  EXPECT_EQ(runner.failed_cell()->label, "steps 0");
  EXPECT_EQ(server_.requests().size(), 1u);
}

Image Cell(uint8_t value, int width = 4) {
  return {width, 2, 1, std::vector<uint8_t>(static_cast<size_t>(width) * 2, value)};
}

TEST(LabelledSheet, HoldsEveryPictureEnlargedInItsPlace) {
  const auto png = DrawLabelledSheet(
      {"title", {"a", "b"}, {"x", "y"}, {Cell(10), Cell(60), Cell(110), Cell(200)}});
  ASSERT_TRUE(png.ok()) << png.status();
  const Image sheet = DecodeImage(*png, 1 << 24).value();
  std::vector<std::pair<int, int>> corners;
  for (const uint8_t value : {10, 60, 110, 200}) {
    int pixels = 0, first = -1;
    for (int i = 0; i < sheet.width * sheet.height; ++i) {
      const uint8_t* at = &sheet.pixels[static_cast<size_t>(i) * sheet.channels];
      if (at[0] != value || at[1] != value || at[2] != value) continue;
      if (first < 0 && at[sheet.channels] == value) first = i;  // two in a row: not of a letter
      ++pixels;
    }
    EXPECT_NEAR(pixels, 128 * 64, 60) << int{value};  // letters have such shades, too
    corners.emplace_back(first % sheet.width, first / sheet.width);
  }
  EXPECT_EQ(corners[0].second, corners[1].second);
  EXPECT_EQ(corners[2].second, corners[3].second);
  EXPECT_LT(corners[0].first + 127, corners[1].first);
  EXPECT_LT(corners[0].second + 63, corners[2].second);
}

TEST(LabelledSheet, RefusesWhatDoesNotFit) {
  const LabelledSheet sheets[] = {
      {"", {}, {}, {}},
      {"", {"a"}, {"x", "y"}, {Cell(1)}},
      {"", {"a"}, {"x", "y"}, {Cell(1), Cell(2, 5)}},
      {"", {"a"}, {"x"}, {Cell(1, 40000)}},
  };
  for (const LabelledSheet& sheet : sheets) {
    EXPECT_TRUE(absl::IsInvalidArgument(DrawLabelledSheet(sheet).status()));
  }
}

}  // namespace
}  // namespace denoise
