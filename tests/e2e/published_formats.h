// Small files in the formats that CIFAR-10 and MNIST are published in.
#pragma once

#include <string>

namespace denoise {

// CIFAR-10's binary version: records of a label, 0 to 9 in turn, and planes of red, green and blue,
// each with its gradient.
std::string CifarFile(int records);

// MNIST's IDX files: pictures of 28 x 28 pixels, a bright bar on black, and their labels, 0 to 9 in
// turn.
std::string MnistPictures(int count);
std::string MnistLabels(int count);

// One member of a gzip stream.
std::string Gzipped(const std::string& bytes);

}  // namespace denoise
