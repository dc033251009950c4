#pragma once
#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/micro/micro_resource_variable.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {
class MicroOpResolver {};
class MicroAllocator {
 public:
  static MicroAllocator* Create(uint8_t*, size_t) { return nullptr; }
};
// Runs nothing: AllocateTensors fails.
class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t*, size_t) {}
  MicroInterpreter(const Model*, const MicroOpResolver&, MicroAllocator*, MicroResourceVariables*) {}
  TfLiteStatus AllocateTensors() { return kTfLiteError; }
  TfLiteStatus Invoke() { return kTfLiteError; }
  TfLiteStatus Reset() { return kTfLiteError; }
  TfLiteTensor* input(size_t) { return nullptr; }
  TfLiteTensor* output(size_t) { return nullptr; }
  size_t arena_used_bytes() const { return 0; }
};
}  // namespace tflite
