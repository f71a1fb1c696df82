// Models, for people and for scripts. No text ends with a newline.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "denoised/v1/models.pb.h"

namespace denoise {

// A line for each model below a line of headings, and below them the reasons of those that failed
// to load. Fits into 80 columns while names have at most 24.
std::string ModelTable(const std::vector<denoised::v1::Model>& models);

// Everything about one model, its classes included. Of one that failed, the reason.
std::string ModelDetails(const denoised::v1::Model& model);

// One line on its state: "model emoji-32 is loaded, version 0123abcd, 14.2 MB".
std::string ModelLine(const denoised::v1::Model& model);

// One line: protobuf's JSON mapping with the names of the .proto file (so that 64-bit numbers are
// strings).
std::string ModelJson(const denoised::v1::Model& model);
std::string ModelEventJson(const denoised::v1::ModelEvent& event);

// What the events of a watch tell that is new, over as many streams as it takes. Not thread-safe.
class ModelNews {
 public:
  // A new stream begins, which tells again of every model that there is.
  void BeginStream();

  // A line for each model that the event says something new of.
  std::vector<std::string> Add(const denoised::v1::ModelEvent& event);

 private:
  std::vector<std::string> Remove(const std::string& name);
  // Removes those that the stream has not told of, up to its `complete`.
  std::vector<std::string> RemoveMissing();

  std::map<std::string, std::string> lines_;  // the last one of each model
  std::set<std::string> reported_;            // by this stream
};

}  // namespace denoise
