#pragma once
#define TFLITE_SCHEMA_VERSION 3
namespace tflite {
class Model {
 public:
  unsigned version() const { return 3; }
};
inline const Model* GetModel(const void*) {
  static Model model;
  return &model;
}
}  // namespace tflite
