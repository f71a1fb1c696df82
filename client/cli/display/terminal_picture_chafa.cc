#include <chafa.h>
#include <langinfo.h>

#include <algorithm>
#include <clocale>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "client/cli/display/terminal.h"
#include "core/base/c_deleter.h"

namespace denoise {
namespace {

// chafa's objects are reference-counted, each type with its own function to release it.
using TermInfo = std::unique_ptr<ChafaTermInfo, CDeleter<chafa_term_info_unref>>;
using SymbolMap = std::unique_ptr<ChafaSymbolMap, CDeleter<chafa_symbol_map_unref>>;
using CanvasConfig = std::unique_ptr<ChafaCanvasConfig, CDeleter<chafa_canvas_config_unref>>;
using Canvas = std::unique_ptr<ChafaCanvas, CDeleter<chafa_canvas_unref>>;

// kitty keeps pictures until told otherwise. Removes the one under the cursor, and its memory.
constexpr char kRemoveKittyPicture[] = "\x1b_Ga=d,d=C,q=2\x1b\\";

ChafaPixelMode PixelMode(const ChafaTermInfo* info) {
  if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_BEGIN_KITTY_IMMEDIATE_IMAGE_V1)) {
    return CHAFA_PIXEL_MODE_KITTY;
  }
  if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_BEGIN_ITERM2_IMAGE)) {
    return CHAFA_PIXEL_MODE_ITERM2;
  }
  if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_BEGIN_SIXELS)) return CHAFA_PIXEL_MODE_SIXELS;
  return CHAFA_PIXEL_MODE_SYMBOLS;
}

ChafaCanvasMode ColourMode(const ChafaTermInfo* info, ChafaPixelMode pixel_mode) {
  if (pixel_mode != CHAFA_PIXEL_MODE_SYMBOLS ||
      chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_SET_COLOR_FGBG_DIRECT)) {
    return CHAFA_CANVAS_MODE_TRUECOLOR;
  }
  if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_SET_COLOR_FGBG_256)) {
    return CHAFA_CANVAS_MODE_INDEXED_240;
  }
  if (chafa_term_info_have_seq(info, CHAFA_TERM_SEQ_SET_COLOR_FGBG_16)) {
    return CHAFA_CANVAS_MODE_INDEXED_16;
  }
  return CHAFA_CANVAS_MODE_FGBG;
}

// Half blocks show two exact pixels per cell, which suits small images; quadrants add detail to
// large ones.
SymbolMap Symbols(bool utf8) {
  SymbolMap symbols(chafa_symbol_map_new());
  chafa_symbol_map_add_by_tags(symbols.get(), CHAFA_SYMBOL_TAG_SPACE);
  const int tags = CHAFA_SYMBOL_TAG_SOLID | CHAFA_SYMBOL_TAG_HALF | CHAFA_SYMBOL_TAG_QUAD;
  chafa_symbol_map_add_by_tags(symbols.get(),
                               static_cast<ChafaSymbolTags>(utf8 ? tags : CHAFA_SYMBOL_TAG_ASCII));
  return symbols;
}

// By a whole factor: chafa would blur the pixels of a small image.
Image Enlarge(const Image& image, int factor) {
  absl::StatusOr<Image> enlarged =
      ContactSheet({&image, 1}, /*columns=*/1, /*padding=*/0, std::max(1, factor));
  return enlarged.ok() ? *std::move(enlarged) : image;
}

class ChafaPicture : public TerminalPicture {
 public:
  ChafaPicture(TermInfo info, bool utf8)
      : info_(std::move(info)),
        pixel_mode_(PixelMode(info_.get())),
        symbols_(Symbols(utf8)),
        colour_mode_(ColourMode(info_.get(), pixel_mode_)) {}

  std::string Render(const Image& small, int columns, int rows,
                     const TerminalSize& size) const override {
    const Image image = pixel_mode_ == CHAFA_PIXEL_MODE_SYMBOLS
                            ? small
                            : Enlarge(small, columns * size.cell_width / small.width);
    const Canvas canvas(chafa_canvas_new(Config(columns, rows, size).get()));
    chafa_canvas_draw_all_pixels(canvas.get(), CHAFA_PIXEL_RGBA8_UNASSOCIATED, image.pixels.data(),
                                 image.width, image.height, image.width * 4);
    GString* const printed = chafa_canvas_print(canvas.get(), info_.get());
    std::string text = pixel_mode_ == CHAFA_PIXEL_MODE_KITTY ? kRemoveKittyPicture : "";
    text.append(printed->str, printed->len);
    g_string_free(printed, TRUE);
    return text;
  }

 private:
  CanvasConfig Config(int columns, int rows, const TerminalSize& size) const {
    CanvasConfig config(chafa_canvas_config_new());
    chafa_canvas_config_set_geometry(config.get(), columns, rows);
    chafa_canvas_config_set_cell_geometry(config.get(), size.cell_width, size.cell_height);
    chafa_canvas_config_set_pixel_mode(config.get(), pixel_mode_);
    chafa_canvas_config_set_canvas_mode(config.get(), colour_mode_);
    chafa_canvas_config_set_symbol_map(config.get(), symbols_.get());
    return config;
  }

  const TermInfo info_;
  const ChafaPixelMode pixel_mode_;
  const SymbolMap symbols_;
  const ChafaCanvasMode colour_mode_;
};

}  // namespace

std::unique_ptr<TerminalPicture> TerminalPicture::Detect() {
  const char* const terminal = std::getenv("TERM");
  if (terminal == nullptr || std::string_view(terminal) == "dumb") return nullptr;
  std::setlocale(LC_CTYPE, "");
  // A Latin-1 terminal sets a locale for it. The bare "C" locale of containers and services says
  // nothing, and terminals are UTF-8 today.
  const std::string_view codeset = nl_langinfo(CODESET);
  const bool utf8 = codeset == "UTF-8" || codeset == "ANSI_X3.4-1968";
  gchar** const environment = g_get_environ();
  TermInfo info(chafa_term_db_detect(chafa_term_db_get_default(), environment));
  g_strfreev(environment);
  return std::make_unique<ChafaPicture>(std::move(info), utf8);
}

}  // namespace denoise
