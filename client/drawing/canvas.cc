#include "client/drawing/canvas.h"

#include <cairo-svg.h>

#include "absl/strings/str_cat.h"

namespace denoise {
namespace {

cairo_status_t Append(void* bytes, const unsigned char* data, unsigned int size) noexcept {
  static_cast<std::string*>(bytes)->append(reinterpret_cast<const char*>(data), size);
  return CAIRO_STATUS_SUCCESS;
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
  cairo_new_path(get());  // text leaves a point that the next line would begin at
}

double Canvas::TextWidth(double size, const std::string& text) {
  cairo_set_font_size(get(), size);
  cairo_text_extents_t extents;
  cairo_text_extents(get(), text.c_str(), &extents);
  return extents.x_advance;
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
