#include "client/cli/display/live_display.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace denoise {
namespace {

constexpr absl::Duration kShortestInterval = absl::Milliseconds(100);

}  // namespace

LiveDisplay::LiveDisplay(bool shown, std::unique_ptr<TerminalPicture> pictures)
    : screen_(shown, std::move(pictures)) {}

void LiveDisplay::Update(const Progress& progress, const PictureHistory* history, absl::Time now) {
  if (now - drawn_ < kShortestInterval) return;
  drawn_ = now;
  Draw(progress, history);
}

void LiveDisplay::Close(const Progress& progress, const PictureHistory* history) {
  Draw(progress, history);
  Close();
}

void LiveDisplay::Draw(const Progress& progress, const PictureHistory* history) {
  if (!screen_.shown()) return;
  const TerminalSize size = screen_.size();
  // One column is left free: a full line would wrap.
  const std::string line = progress.Line(std::max(1, size.columns - 1));
  const auto latest = screen_.shows_pictures() && history != nullptr ? history->Latest()
                                                                     : std::vector<const Image*>();
  const auto first =
      std::find_if(latest.begin(), latest.end(), [](auto* p) { return p != nullptr; });
  if (first == latest.end()) return screen_.Draw(nullptr, {}, line);
  if (layout_.rows == 0) {
    layout_ = LayOutGrid(size, static_cast<int>(latest.size()), (*first)->width, (*first)->height);
  }
  if (layout_.rows == 0) return screen_.Draw(nullptr, {}, line);
  const Image grid = DrawGrid(latest, layout_);
  screen_.Draw(&grid, {layout_.columns, layout_.rows}, line);
}

}  // namespace denoise
