#include "client/cli/flags/model_lookup.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/base/field_violations.h"
#include "core/base/status_macros.h"
#include "denoised/v1/image_generation.pb.h"

namespace denoise {
namespace {

namespace v1 = denoised::v1;

std::string ModelNames(const std::vector<v1::Model>& models) {
  return absl::StrJoin(models, ", ", [](std::string* out, const v1::Model& model) {
    absl::StrAppend(out, ShortModelName(model.name()));
  });
}

absl::StatusOr<v1::Model> OnlyModel(Client& client) {
  ASSIGN_OR_RETURN(std::vector<v1::Model> models, client.ListModels());
  if (models.empty()) {
    return absl::NotFoundError(
        "the server has no model that can be used. `denoise models` shows broken ones. Put "
        "others into the folder that `denoised --models DIR` names.");
  }
  if (models.size() == 1) return models.front();
  return InvalidField(
      "model", absl::StrCat("is required, as several models are served: ", ModelNames(models)));
}

absl::Status CannotBeUsed(const v1::Model& model) {
  const std::string reason = model.error().empty() ? "its files are broken" : model.error();
  return absl::FailedPreconditionError(absl::StrCat(
      "model ", ShortModelName(model.name()), " cannot be used: ", absl::StripSuffix(reason, "."),
      ". `denoise models` shows which can."));
}

using Classes = std::vector<v1::ModelClass>;

template <class Predicate>
Classes ClassesThat(const v1::Model& model, const Predicate& fits) {
  Classes found;
  std::copy_if(model.classes().begin(), model.classes().end(), std::back_inserter(found), fits);
  return found;
}

// A whole number is always an index, even if a class has it as its name. Of names, those that are
// the same to the letter come first.
Classes FittingClasses(const std::string& text, const v1::Model& model) {
  if (int64_t label = 0; absl::SimpleAtoi(text, &label)) {
    return ClassesThat(model, [label](const auto& one) { return one.label() == label; });
  }
  if (text.empty()) return {};
  Classes same = ClassesThat(model, [&](const auto& one) { return one.display_name() == text; });
  if (!same.empty()) return same;
  return ClassesThat(
      model, [&](const auto& one) { return absl::EqualsIgnoreCase(one.display_name(), text); });
}

absl::StatusOr<int32_t> FindClass(const std::string& text, const v1::Model& model) {
  if (model.classes().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ShortModelName(model.name()), " has no classes; leave the flag out"));
  }
  const Classes found = FittingClasses(text, model);
  if (found.size() == 1) return found.front().label();
  if (!found.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("several classes are named ", text, "; choose one by its index: ",
                     absl::StrJoin(found, ", ", [](std::string* out, const v1::ModelClass& one) {
                       absl::StrAppend(out, one.display_name(), " (", one.label(), ")");
                     })));
  }
  int64_t label = 0;
  return absl::InvalidArgumentError(absl::StrCat(
      absl::SimpleAtoi(text, &label) ? "no class has the index " : "no class is named ",
      text.empty() ? "\"\"" : text, "; there are: ", ClassNames(model)));
}

}  // namespace

absl::StatusOr<v1::Model> ResolveModel(Client& client, const std::string& name) {
  if (name.empty()) return OnlyModel(client);
  absl::StatusOr<v1::Model> model = client.GetModel(name);
  if (absl::IsInvalidArgument(model.status())) {
    for (const FieldViolation& violation : GetFieldViolations(model.status())) {
      return InvalidField("model", violation.description);
    }
  }
  if (model.ok() && model->state() == v1::Model::FAILED) return CannotBeUsed(*model);
  if (!absl::IsNotFound(model.status())) return model;
  const auto models = client.ListModels();
  if (!models.ok()) return model;
  return absl::NotFoundError(absl::StrCat("there is no model ", ShortModelName(name), "; served: ",
                                          models->empty() ? "none" : ModelNames(*models)));
}

absl::Status SetClassLabel(const std::string& text, const v1::Model& model,
                           google::protobuf::Message& request) {
  ASSIGN_OR_RETURN(const int32_t label, FindClass(text, model));
  static_cast<v1::GenerateRequest&>(request).set_class_label(label);
  return absl::OkStatus();
}

absl::Status SetClassWeights(const std::string& text, const v1::Model& model,
                             google::protobuf::Message& request) {
  const std::vector<std::string> entries = absl::StrSplit(text, ',');
  for (const std::string& entry : entries) {
    const size_t equals = entry.rfind('=');
    double number = 0;
    if (equals == std::string::npos || !absl::SimpleAtod(entry.substr(equals + 1), &number)) {
      return absl::InvalidArgumentError(absl::StrCat("must be CLASS=WEIGHT,...; has ", entry));
    }
    ASSIGN_OR_RETURN(const int32_t label, FindClass(entry.substr(0, equals), model));
    v1::ClassWeight& weight = *static_cast<v1::GenerateRequest&>(request).add_class_weights();
    weight.set_class_label(label);
    weight.set_weight(number);
  }
  return absl::OkStatus();
}

absl::Status SetAdapter(const std::string& text, const v1::Model& model,
                        google::protobuf::Message& adapter) {
  if (!model.takes_adapters()) {
    return absl::InvalidArgumentError("must be absent: this model takes no adapters");
  }
  auto& applied = static_cast<v1::AppliedAdapter&>(adapter);
  const size_t equals = text.rfind('=');
  double scale = 0;
  const bool has_scale =
      equals != std::string::npos && absl::SimpleAtod(text.substr(equals + 1), &scale);
  if (has_scale) applied.set_scale(scale);
  applied.set_name(AdapterResourceName(has_scale ? text.substr(0, equals) : text));
  return absl::OkStatus();
}

std::string ClassNames(const v1::Model& model) {
  constexpr int kMostNames = 40;
  std::string names;
  for (int i = 0; i < std::min(model.classes_size(), kMostNames); ++i) {
    const v1::ModelClass& entry = model.classes(i);
    absl::StrAppend(&names, i == 0 ? "" : ", ", entry.display_name(),
                    entry.display_name().empty() ? "" : " ", "(", entry.label(), ")");
  }
  if (model.classes_size() > kMostNames) {
    absl::StrAppend(&names, " and ", model.classes_size() - kMostNames, " more, up to (",
                    model.classes().rbegin()->label(), "); `denoise models ",
                    ShortModelName(model.name()), "` lists them all");
  }
  return names;
}

}  // namespace denoise
