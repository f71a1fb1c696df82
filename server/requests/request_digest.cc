#include "server/requests/request_digest.h"

#include <set>

#include "core/base/sha256.h"

namespace denoise {

RequestDigest DigestOf(const denoised::v1::GenerateRequest& request) {
  RequestDigest digest;
  if (request.request_id().empty()) return digest;
  denoised::v1::GenerateRequest rest = request;
  rest.clear_request_id();
  if (rest.on_disconnect() == denoised::v1::ON_DISCONNECT_CANCEL) rest.clear_on_disconnect();
  const google::protobuf::Reflection& reflection = *rest.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(rest, &fields);
  for (const auto* const field : fields) {
    denoised::v1::GenerateRequest alone;
    reflection.SwapFields(&rest, &alone, {field});
    Sha256 hash;
    hash.Update(alone.SerializeAsString());
    digest[field->name()] = hash.Finish();
  }
  return digest;
}

std::vector<std::string> Differences(const RequestDigest& a, const RequestDigest& b) {
  std::set<std::string> names;
  for (const auto& [name, hash] : a) {
    const auto found = b.find(name);
    if (found == b.end() || found->second != hash) names.insert(name);
  }
  for (const auto& [name, hash] : b) {
    if (!a.contains(name)) names.insert(name);
  }
  return {names.begin(), names.end()};
}

}  // namespace denoise
