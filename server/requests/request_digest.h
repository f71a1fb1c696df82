// Whether two requests are the same, without keeping either: a request may bring megabytes along.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "denoised/v1/image_generation.pb.h"

namespace denoise {

// A hash of each field that is set, by its name.
using RequestDigest = std::map<std::string, std::string>;

// Of every field but request_id and accept_handover; an on_disconnect of CANCEL counts as none.
// Empty where the request has no request_id, and so is never compared. Hashes everything that the
// request brings along, without a copy of its pictures.
RequestDigest DigestOf(const denoised::v1::GenerateRequest& request);

// The names of the fields that differ, in order.
std::vector<std::string> Differences(const RequestDigest& a, const RequestDigest& b);

}  // namespace denoise
