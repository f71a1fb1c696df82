// The configurations of published models, for new models of the same shape.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace denoise {

// The files of a model's folder without its weights and tokenizers, by their names in the folder.
// Null: there is no such name.
const std::map<std::string, std::string>* FindPublishedConfigs(std::string_view name);

// "sd15", "sdxl".
std::vector<std::string> PublishedConfigNames();

}  // namespace denoise
