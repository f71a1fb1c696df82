#include "server/http/rpc_methods.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
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

constexpr std::string_view kUnknownField = ": Cannot find field.";

// "adapters[1].scale"
bool IsPath(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("_.[]").find(c) != std::string_view::npos;
  });
}

// Protobuf's messages begin with where the fault is: "(sampler.steps): invalid value ...",
// "(sampler) nope: Cannot find field.", or "nope: Cannot find field." at the top.
absl::Status BadJson(std::string message, const pb::Message& prototype) {
  const auto is_quote = [](char c) { return c == '"' || c == '\''; };
  std::replace_if(message.begin(), message.end(), is_quote, '`');  // those would be escaped
  const std::string_view text = message;
  const size_t end = text.ends_with(kUnknownField) ? text.size() - kUnknownField.size()
                                                   : std::min(text.find(": "), text.size());
  std::string_view name = text.substr(0, end);
  std::string field;
  if (name.starts_with('(')) {
    const size_t close = std::min(name.find(')'), name.size());
    field = name.substr(1, close - 1);
    name.remove_prefix(std::min(close + 2, name.size()));
  }
  if (!name.empty()) absl::StrAppend(&field, field.empty() ? "" : ".", std::string(name));
  if (IsPath(field) && end < text.size()) {
    return InvalidField(Escaped(field), Escaped(text.substr(end + 2)));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the body is not ", prototype.GetTypeName(),
                   " in JSON: ", Escaped(text.substr(text.starts_with(": ") ? 2 : 0))));
}

}  // namespace

namespace {

// Far more than any request has. Protobuf takes seconds to read millions.
constexpr int64_t kMaxJsonValues = 1 << 16;

// The commas outside strings of what may be JSON: about as many as it has values.
int64_t CountCommas(std::string_view json) {
  int64_t commas = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    if (in_string && json[i] == '\\') {
      ++i;
    } else if (json[i] == '"') {
      in_string = !in_string;
    } else if (!in_string && json[i] == ',') {
      ++commas;
    }
  }
  return commas;
}

}  // namespace

absl::StatusOr<std::string> JsonToBinary(std::string_view json, const pb::Message& prototype) {
  if (CountCommas(json) >= kMaxJsonValues) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body has more than ", kMaxJsonValues, " values"));
  }
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
