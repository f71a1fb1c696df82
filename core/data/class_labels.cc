#include "core/data/class_labels.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status_macros.h"

namespace denoise {
namespace {

class RelabelledDataSet : public DataSet {
 public:
  RelabelledDataSet(std::shared_ptr<const DataSet> data_set, std::vector<int64_t> labels)
      : data_set_(std::move(data_set)),
        labels_(std::move(labels)),
        classes_(*std::max_element(labels_.begin(), labels_.end()) + 1) {
    for (size_t i = 0; i < labels_.size(); ++i) classes_[labels_[i]] = data_set_->classes()[i];
  }

  int64_t size() const override { return data_set_->size(); }
  const std::vector<std::string>& classes() const override { return classes_; }
  int64_t label(int64_t i) const override { return labels_[data_set_->label(i)]; }
  std::string name(int64_t i) const override { return data_set_->name(i); }
  absl::StatusOr<Image> Read(int64_t i) const override { return data_set_->Read(i); }

 private:
  const std::shared_ptr<const DataSet> data_set_;
  const std::vector<int64_t> labels_;
  std::vector<std::string> classes_;
};

bool NamesEveryClass(const ModelClasses& model) {
  for (int64_t label = 0; label < model.count; ++label) {
    if (label == model.null_class_label) continue;
    const auto name = model.names.find(label);
    if (name == model.names.end() || name->second.empty()) return false;
  }
  return true;
}

// `label` itself where its name is the class's, as some models have two classes of one name.
absl::StatusOr<int64_t> LabelOf(const std::string& name, int64_t label, const ModelClasses& model) {
  const auto is_it = [&](const auto& entry) {
    return entry.second == name && entry.first >= 0 && entry.first < model.count &&
           entry.first != model.null_class_label;
  };
  const auto same = model.names.find(label);
  if (same != model.names.end() && is_it(*same)) return label;
  const auto found = std::find_if(model.names.begin(), model.names.end(), is_it);
  if (found != model.names.end()) return found->first;
  return absl::InvalidArgumentError(
      absl::StrCat("has class ", label, " that the network has not: classes go by their names"));
}

// Of the names that there are.
absl::Status CheckNoNameDiffers(const std::vector<std::string>& classes,
                                const ModelClasses& model) {
  for (const auto& [label, name] : model.names) {
    if (name.empty() || label < 0 || label >= static_cast<int64_t>(classes.size())) continue;
    if (name == classes[label]) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("class ", label, " of the network has another name"));
  }
  return absl::OkStatus();
}

std::vector<int64_t> LabelsFromZero(size_t count) {
  std::vector<int64_t> labels(count);
  std::iota(labels.begin(), labels.end(), 0);
  return labels;
}

}  // namespace

absl::StatusOr<std::vector<int64_t>> MatchClasses(const std::vector<std::string>& classes,
                                                  const ModelClasses& model) {
  std::vector<int64_t> labels = LabelsFromZero(classes.size());
  const int64_t count = model.count - (model.null_class_label ? 1 : 0);
  if (classes.empty() || !NamesEveryClass(model)) {
    if (static_cast<int64_t>(classes.size()) != count) {
      return absl::InvalidArgumentError(
          absl::StrCat("has ", classes.size(), " classes, the network ", count));
    }
    RETURN_IF_ERROR(CheckNoNameDiffers(classes, model));
    return labels;
  }
  for (int64_t& label : labels) {
    ASSIGN_OR_RETURN(label, LabelOf(classes[label], label, model));
  }
  return labels;
}

std::shared_ptr<const DataSet> Relabelled(std::shared_ptr<const DataSet> data_set,
                                          std::vector<int64_t> labels) {
  if (labels == LabelsFromZero(data_set->classes().size())) return data_set;
  return std::make_shared<RelabelledDataSet>(std::move(data_set), std::move(labels));
}

}  // namespace denoise
