// A stub of the declarations of TensorFlow Lite that a bundle uses, for compiling it where the sources are not there.
#pragma once
#include <cstddef>

enum TfLiteStatus { kTfLiteOk, kTfLiteError };
enum TfLiteType { kTfLiteNoType, kTfLiteFloat32 };
struct TfLiteTensor {
  TfLiteType type;
  union {
    char* raw;
    float* f;
  } data;
  size_t bytes;
};
#define TF_LITE_ENSURE_STATUS(a)             \
  do {                                       \
    const TfLiteStatus s = (a);              \
    if (s != kTfLiteOk) return s;            \
  } while (0)
