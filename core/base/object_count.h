// Counts how many objects of a kind come and go, so that those that never go are noticed.
//
// An object is counted by a member, which the language creates and destroys with it:
//
//     class Connection {
//       ...
//       const CountedObject counted_;
//     };
#pragma once

namespace denoise {

// Where objects of one kind are counted. Outlives them. Thread-safe, and must neither block nor
// throw.
class ObjectCount {
 public:
  virtual ~ObjectCount() = default;
  virtual void OnCreated() = 0;
  virtual void OnDestroyed() = 0;
};

// Counts the object that it is a member of. Without a count, does nothing.
class CountedObject {
 public:
  explicit CountedObject(ObjectCount* count = nullptr) : count_(count) {
    if (count_ != nullptr) count_->OnCreated();
  }
  ~CountedObject() {
    if (count_ != nullptr) count_->OnDestroyed();
  }
  CountedObject(const CountedObject&) = delete;
  CountedObject& operator=(const CountedObject&) = delete;

 private:
  ObjectCount* const count_;
};

}  // namespace denoise
