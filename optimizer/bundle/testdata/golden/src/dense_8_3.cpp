#include "dense_8_3.h"

#include <cstdint>

#include "dense_8_3_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace dense_8_3 {
namespace {

alignas(16) uint8_t arena[kArenaBytes];
tflite::MicroInterpreter* interpreter = nullptr;

// Just the kernels that the network uses.
TfLiteStatus Register(tflite::MicroMutableOpResolver<1>& resolver) {
  TF_LITE_ENSURE_STATUS(resolver.AddFullyConnected());
  return kTfLiteOk;
}

}  // namespace

bool Setup() {
  if (interpreter != nullptr) return true;
  const tflite::Model* model = tflite::GetModel(kModel);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    MicroPrintf("dense_8_3: version %d of the file format, TensorFlow Lite Micro reads %d", static_cast<int>(model->version()), TFLITE_SCHEMA_VERSION);
    return false;
  }
  static tflite::MicroMutableOpResolver<1> resolver;
  if (Register(resolver) != kTfLiteOk) return false;
  static tflite::MicroInterpreter made(model, resolver, arena, kArenaBytes);
  if (made.AllocateTensors() != kTfLiteOk) {
    MicroPrintf("dense_8_3: an arena of %u bytes does not do: define DENSE_8_3_ARENA_BYTES larger", static_cast<unsigned>(kArenaBytes));
    return false;
  }
  interpreter = &made;
  return true;
}

TfLiteTensor* Input(int i) { return interpreter->input(i); }

TfLiteTensor* Output(int i) { return interpreter->output(i); }

bool Run() { return interpreter->Invoke() == kTfLiteOk; }

bool Reset() { return interpreter->Reset() == kTfLiteOk; }

std::size_t ArenaUsed() { return interpreter->arena_used_bytes(); }

}  // namespace dense_8_3
