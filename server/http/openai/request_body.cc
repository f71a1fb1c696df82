#include "server/http/openai/request_body.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/base/field_violations.h"
#include "core/base/quoted.h"
#include "core/base/status_macros.h"
#include "core/base/utf8.h"
#include "core/json/strict_json.h"
#include "server/http/openai/multipart_form.h"

namespace denoise::openai {
namespace {

using nlohmann::json;

constexpr JsonOptions kJson = {
    .max_bytes = size_t{kJsonBytesMax}, .max_depth = 8, .max_values = 1024};

// Fields that are text whatever they look like: a prompt may be "42".
bool IsText(std::string_view name) {
  return name == "prompt" || name == "negative_prompt" || name == "model" || name == "user" ||
         name == "safety_identifier" || name == "class_label";
}

json ValueOf(std::string_view text) {
  absl::StatusOr<json> value = ParseStrictJson(text, kJson);
  return value.ok() ? *std::move(value) : json(std::string(text));  // a word, such as "png"
}

class FormReader {
 public:
  absl::StatusOr<RequestBody> Read(const std::vector<FormPart>& parts) && {
    for (const FormPart& part : parts) Add(part);
    RETURN_IF_ERROR(violations_.ToStatus());
    return std::move(body_);
  }

 private:
  void Add(const FormPart& part) {
    if (part.name == "image" || part.name == "image[]")
      return AddPicture("image", part, body_.image);
    if (part.name == "mask") return AddPicture("mask", part, body_.mask);
    const std::string name = Escaped(part.name);
    if (!IsUtf8(part.name) || !IsUtf8(part.data)) {
      violations_.Add(name, "must be UTF-8");
    } else if (part.name.find("[]") != std::string::npos) {
      violations_.Add(Escaped(part.name.substr(0, part.name.find('['))),
                      "cannot be a list in a form; send an object as JSON, such as {\"ink\": 0.8}");
    } else if (!seen_.insert(part.name).second) {
      violations_.Add(name, "is given twice; send each field once");
    } else {
      AddValue(part);
    }
  }

  void AddPicture(const std::string& name, const FormPart& part, std::string_view& picture) {
    if (!seen_.insert(name).second) {
      violations_.Add(name, absl::StrCat("must be one file: a request edits one picture, with one "
                                         "mask at most"));
    } else if (part.data.empty()) {
      violations_.Add(name, "is an empty file; send a PNG, JPEG or WebP picture");
    }
    picture = part.data;
  }

  void AddValue(const FormPart& part) {
    const size_t open = part.name.find('[');
    const bool is_member = open != std::string::npos && open > 0 && part.name.ends_with("]");
    if (!is_member) {
      if (!body_.fields.contains(part.name)) {
        body_.fields[part.name] =
            IsText(part.name) ? json(std::string(part.data)) : ValueOf(part.data);
        return;
      }
    } else {
      json& object = body_.fields[part.name.substr(0, open)];
      const std::string member = part.name.substr(open + 1, part.name.size() - open - 2);
      if (object.is_null() || object.is_object()) {
        object[member] = ValueOf(part.data);
        return;
      }
    }
    violations_.Add(Escaped(part.name.substr(0, open)),
                    "is given both as a value and as an object; send one of them");
  }

  RequestBody body_{.fields = json::object(), .image = {}, .mask = {}};
  std::set<std::string> seen_;
  FieldViolations violations_;
};

}  // namespace

absl::StatusOr<RequestBody> ReadJsonBody(std::string_view body) {
  absl::StatusOr<json> fields = ParseStrictJsonObject(body, kJson);
  if (!fields.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the body must be a JSON object: ", fields.status().message()));
  }
  return RequestBody{.fields = *std::move(fields), .image = {}, .mask = {}};
}

absl::StatusOr<RequestBody> ReadFormBody(std::string_view content_type, std::string_view body) {
  ASSIGN_OR_RETURN(const std::vector<FormPart> parts, ReadMultipartForm(content_type, body));
  return FormReader().Read(parts);
}

}  // namespace denoise::openai
