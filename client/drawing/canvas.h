// A page to draw on with cairo. Internal to client/drawing.
#pragma once

#include <cairo.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/drawing/drawing.h"
#include "core/image/image.h"

namespace denoise {

struct Color {
  double red, green, blue;
};

enum class Align { kLeft, kCenter, kRight };

// White at first. Positions are in pixels from the top left corner, one to a point of an SVG. Used by
// one thread. What goes wrong below is told by Finish.
class Canvas {
 public:
  // A PNG holds `scale` pixels for each unit of length.
  Canvas(FileKind kind, int width, int height, double scale = 1);

  cairo_t* get() { return context_.get(); }

  void SetColor(const Color& color);
  // Lines of `width`, dashed where `dash` is not 0.
  void SetLine(double width, double dash = 0);
  void Line(double x1, double y1, double x2, double y2);

  // One line of text of `size`, its base line at `y`.
  void Text(double x, double y, double size, Align align, const std::string& text);
  double TextWidth(double size, const std::string& text);

  // `image`, each pixel a square of `scale`, with its top left corner at (x, y). Alpha shows white.
  void Picture(double x, double y, int scale, const Image& image);

  // The whole file. InvalidArgument: the page is too large for cairo.
  absl::StatusOr<std::string> Finish();

 private:
  struct Destroy {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* context) const { cairo_destroy(context); }
  };

  const FileKind kind_;
  std::string bytes_;  // written to by the surface, which is destroyed first
  std::unique_ptr<cairo_surface_t, Destroy> surface_;
  std::unique_ptr<cairo_t, Destroy> context_;
};

}  // namespace denoise
