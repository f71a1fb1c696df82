#include "server/requests/request_digest.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <set>

#include "core/base/sha256.h"

namespace denoise {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Hashes what is serialised into it.
class HashingStream : public google::protobuf::io::CopyingOutputStream {
 public:
  bool Write(const void* bytes, int size) override {
    hash_.Update({static_cast<const char*>(bytes), static_cast<size_t>(size)});
    return true;
  }
  std::string Finish() { return hash_.Finish(); }

 private:
  Sha256 hash_;
};

std::string HashOf(const Message& request, const FieldDescriptor& field) {
  HashingStream hash;
  const google::protobuf::Reflection& reflection = *request.GetReflection();
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_repeated()) {
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&hash);
    reflection.GetMessage(request, &field).SerializeToZeroCopyStream(&stream);
    stream.Flush();
    return hash.Finish();
  }
  const int count = field.is_repeated() ? reflection.FieldSize(request, &field) : 1;
  for (int i = 0; i < count; ++i) {
    std::string value;
    google::protobuf::TextFormat::PrintFieldValueToString(request, &field,
                                                          field.is_repeated() ? i : -1, &value);
    value += '\n';  // which the text of a value does not contain
    hash.Write(value.data(), static_cast<int>(value.size()));
  }
  return hash.Finish();
}

}  // namespace

RequestDigest DigestOf(const denoised::v1::GenerateRequest& request) {
  RequestDigest digest;
  if (request.request_id().empty()) return digest;
  std::vector<const FieldDescriptor*> fields;
  request.GetReflection()->ListFields(request, &fields);
  for (const FieldDescriptor* const field : fields) digest[field->name()] = HashOf(request, *field);
  digest.erase("request_id");
  digest.erase("accept_handover");  // says what the caller's stream may do
  if (request.on_disconnect() == denoised::v1::ON_DISCONNECT_CANCEL) digest.erase("on_disconnect");
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
