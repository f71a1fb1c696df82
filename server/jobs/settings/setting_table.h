// Settings of the contract that are options of the core by another name: numbers, one to one. A new
// one is a row of a table; its default is the option's.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cstdint>
#include <variant>

namespace denoise {

template <class Options>
struct Setting {
  const char* field;  // an optional double, int32 or int64 of the message, as the option is one
  std::variant<double Options::*, int Options::*, int64_t Options::*> option;
};

inline double ReadNumber(const google::protobuf::Message& message,
                         const google::protobuf::FieldDescriptor& field, double) {
  return message.GetReflection()->GetDouble(message, &field);
}
inline int ReadNumber(const google::protobuf::Message& message,
                      const google::protobuf::FieldDescriptor& field, int) {
  return message.GetReflection()->GetInt32(message, &field);
}
inline int64_t ReadNumber(const google::protobuf::Message& message,
                          const google::protobuf::FieldDescriptor& field, int64_t) {
  return message.GetReflection()->GetInt64(message, &field);
}
inline void WriteNumber(google::protobuf::Message& message,
                        const google::protobuf::FieldDescriptor& field, double value) {
  message.GetReflection()->SetDouble(&message, &field, value);
}
inline void WriteNumber(google::protobuf::Message& message,
                        const google::protobuf::FieldDescriptor& field, int value) {
  message.GetReflection()->SetInt32(&message, &field, value);
}
inline void WriteNumber(google::protobuf::Message& message,
                        const google::protobuf::FieldDescriptor& field, int64_t value) {
  message.GetReflection()->SetInt64(&message, &field, value);
}

inline const google::protobuf::FieldDescriptor& FieldOf(const google::protobuf::Message& message,
                                                        const char* name) {
  return *message.GetDescriptor()->FindFieldByName(name);
}

inline bool IsSet(const google::protobuf::Message& message, const char* field) {
  return message.GetReflection()->HasField(message, &FieldOf(message, field));
}

// Gives the field the option's value in `defaults` where it is absent. (Inlined, it makes g++ 12
// warn of uninitialised padding between the options.)
template <class Options>
[[gnu::noinline]] void FillIn(const Setting<Options>& setting, const Options& defaults,
                              google::protobuf::Message& message) {
  if (IsSet(message, setting.field)) return;
  const auto& field = FieldOf(message, setting.field);
  std::visit([&](auto option) { WriteNumber(message, field, defaults.*option); }, setting.option);
}

// Gives the option the field's value, where it is set.
template <class Options>
void Apply(const Setting<Options>& setting, const google::protobuf::Message& message,
           Options& options) {
  if (!IsSet(message, setting.field)) return;
  const auto& field = FieldOf(message, setting.field);
  std::visit([&](auto option) { options.*option = ReadNumber(message, field, options.*option); },
             setting.option);
}

}  // namespace denoise
