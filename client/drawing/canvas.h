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

// White at first. Positions are in pixels from the top left corner; one pixel is one point of an
// SVG. Errors surface in Finish. Used by one thread.
class Canvas {
 public:
  // A PNG has `scale` pixels per unit of length.
  Canvas(FileKind kind, int width, int height, double scale = 1);

  cairo_t* get() { return context_.get(); }

  void SetColor(const Color& color);
  // Sets the width of lines; dashed unless `dash` is 0.
  void SetLine(double width, double dash = 0);
  void Line(double x1, double y1, double x2, double y2);

  // One line of text with its baseline at `y`.
  void Text(double x, double y, double size, Align align, const std::string& text);
  double TextWidth(double size, const std::string& text);

  // Draws `image` with its top left corner at (x, y), each pixel a square of `scale`. Transparency
  // shows white.
  void Picture(double x, double y, int scale, const Image& image);

  // The bytes of the file. InvalidArgument if the page is too large for cairo.
  absl::StatusOr<std::string> Finish();

 private:
  struct Destroy {
    void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
    void operator()(cairo_t* context) const { cairo_destroy(context); }
  };

  const FileKind kind_;
  std::string bytes_;  // the surface writes to it and is destroyed first
  std::unique_ptr<cairo_surface_t, Destroy> surface_;
  std::unique_ptr<cairo_t, Destroy> context_;
};

}  // namespace denoise
