#include "client/drawing/canvas.h"

#include <cairo-svg.h>

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

cairo_status_t Append(void* bytes, const unsigned char* data, unsigned int size) noexcept {
  static_cast<std::string*>(bytes)->append(reinterpret_cast<const char*>(data), size);
  return CAIRO_STATUS_SUCCESS;
}

// Cairo stores a pixel as a number of 32 bits, red above green above blue.
uint32_t PixelOf(const uint8_t* from, int channels) {
  const bool gray = channels < 3, has_alpha = channels % 2 == 0;
  const int alpha = has_alpha ? from[channels - 1] : 255;
  uint32_t pixel = 0;
  for (int c = 0; c < 3; ++c) {
    const int value = (from[gray ? 0 : c] * alpha + 255 * (255 - alpha)) / 255;
    pixel = pixel << 8 | static_cast<uint32_t>(value);
  }
  return pixel;
}

// Four bytes per pixel need no padding of rows.
std::vector<uint32_t> Pixels(const Image& image) {
  std::vector<uint32_t> pixels;
  for (size_t i = 0; i < image.pixels.size(); i += image.channels) {
    pixels.push_back(PixelOf(&image.pixels[i], image.channels));
  }
  return pixels;
}

cairo_surface_t* NewSurface(FileKind kind, int width, int height, double scale,
                            std::string* bytes) {
  if (kind == FileKind::kSvg)
    return cairo_svg_surface_create_for_stream(Append, bytes, width, height);
  cairo_surface_t* const surface = cairo_image_surface_create(
      CAIRO_FORMAT_RGB24, static_cast<int>(width * scale), static_cast<int>(height * scale));
  cairo_surface_set_device_scale(surface, scale, scale);
  return surface;
}

}  // namespace

Canvas::Canvas(FileKind kind, int width, int height, double scale)
    : kind_(kind),
      surface_(NewSurface(kind, width, height, scale, &bytes_)),
      context_(cairo_create(surface_.get())) {
  cairo_select_font_face(get(), "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
  SetColor({1, 1, 1});
  cairo_paint(get());
}

void Canvas::SetColor(const Color& color) {
  cairo_set_source_rgb(get(), color.red, color.green, color.blue);
}

void Canvas::SetLine(double width, double dash) {
  cairo_set_line_width(get(), width);
  cairo_set_dash(get(), &dash, dash == 0 ? 0 : 1, 0);
}

void Canvas::Line(double x1, double y1, double x2, double y2) {
  cairo_move_to(get(), x1, y1);
  cairo_line_to(get(), x2, y2);
  cairo_stroke(get());
}

void Canvas::Text(double x, double y, double size, Align align, const std::string& text) {
  const double width = TextWidth(size, text);
  const double left = align == Align::kLeft ? 0 : align == Align::kCenter ? width / 2 : width;
  cairo_move_to(get(), x - left, y);
  cairo_show_text(get(), text.c_str());
  cairo_new_path(get());  // text leaves a current point, where the next line would begin
}

double Canvas::TextWidth(double size, const std::string& text) {
  cairo_set_font_size(get(), size);
  cairo_text_extents_t extents;
  cairo_text_extents(get(), text.c_str(), &extents);
  return extents.x_advance;
}

void Canvas::Picture(double x, double y, int scale, const Image& image) {
  std::vector<uint32_t> pixels = Pixels(image);
  const std::unique_ptr<cairo_surface_t, Destroy> source(cairo_image_surface_create_for_data(
      reinterpret_cast<unsigned char*>(pixels.data()), CAIRO_FORMAT_RGB24, image.width,
      image.height, image.width * static_cast<int>(sizeof(uint32_t))));
  cairo_save(get());
  cairo_translate(get(), x, y);
  cairo_scale(get(), scale, scale);
  cairo_set_source_surface(get(), source.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(get()), CAIRO_FILTER_NEAREST);
  cairo_rectangle(get(), 0, 0, image.width, image.height);
  cairo_fill(get());
  cairo_restore(get());
}

absl::StatusOr<std::string> Canvas::Finish() {
  cairo_status_t status = cairo_status(get());
  if (status == CAIRO_STATUS_SUCCESS && kind_ == FileKind::kPng) {
    status = cairo_surface_write_to_png_stream(surface_.get(), Append, &bytes_);
  }
  cairo_surface_finish(surface_.get());
  if (status == CAIRO_STATUS_SUCCESS) status = cairo_surface_status(surface_.get());
  if (status == CAIRO_STATUS_SUCCESS) return bytes_;
  return absl::InvalidArgumentError(
      absl::StrCat("cannot draw this: ", cairo_status_to_string(status)));
}

}  // namespace denoise
