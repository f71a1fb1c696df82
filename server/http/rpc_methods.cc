#include "server/http/rpc_methods.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"

namespace denoise {
namespace {

namespace pb = google::protobuf;

const pb::Message* PrototypeOf(const pb::Descriptor* type) {
  return pb::MessageFactory::generated_factory()->GetPrototype(type);
}

}  // namespace

RpcMethods::RpcMethods(const std::vector<std::string>& services) {
  for (const std::string& name : services) {
    const auto* service = pb::DescriptorPool::generated_pool()->FindServiceByName(name);
    if (service == nullptr) continue;
    for (int i = 0; i < service->method_count(); ++i) {
      const pb::MethodDescriptor& method = *service->method(i);
      methods_[absl::StrCat("/", name, "/", method.name())] = {
          .request = PrototypeOf(method.input_type()),
          .response = PrototypeOf(method.output_type()),
          .client_streaming = method.client_streaming(),
          .server_streaming = method.server_streaming()};
    }
  }
}

const RpcMethod* RpcMethods::Find(std::string_view path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : &found->second;
}

namespace {

// Protobuf's messages begin with where the fault is: "(sampler.steps): invalid value ...",
// "(sampler) nope: Cannot find field.", or "nope: Cannot find field." at the top.
absl::Status BadJson(std::string message, const pb::Message& prototype) {
  std::replace(message.begin(), message.end(), '"', '\'');  // or they would be escaped
  const size_t end = message.find(": ");
  const std::string field =
      absl::StrReplaceAll(message.substr(0, end), {{") ", "."}, {"(", ""}, {")", ""}});
  if (end == std::string::npos || field.empty() || field.find(' ') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body is not ", prototype.GetTypeName(), " in JSON: ", Escaped(message)));
  }
  return InvalidField(Escaped(field), Escaped(message.substr(end + 2)));
}

}  // namespace

absl::StatusOr<std::string> JsonToBinary(std::string_view json, const pb::Message& prototype) {
  const std::unique_ptr<pb::Message> message(prototype.New());
  const auto status = pb::util::JsonStringToMessage({json.data(), json.size()}, message.get());
  if (!status.ok()) return BadJson(status.message().ToString(), prototype);
  return message->SerializeAsString();
}

absl::StatusOr<std::string> BinaryToJson(std::string_view binary, const pb::Message& prototype) {
  const std::unique_ptr<pb::Message> message(prototype.New());
  std::string json;
  if (!message->ParseFromArray(binary.data(), static_cast<int>(binary.size())) ||
      !pb::util::MessageToJsonString(*message, &json).ok()) {
    return absl::InternalError("a message cannot be written as JSON");
  }
  return json;
}

}  // namespace denoise
