// Prints how much of its arena an interpreter of TensorFlow Lite Micro uses for a model, built for 32 bits as microcontrollers are:
//
//	tflm32 MODEL [RESOURCE_VARIABLES [ARENA_BYTES]]
//
// fails where the arena is too small. Build it with TensorFlow Lite Micro's sources and reference kernels by a compiler for 32 bits
// that aligns numbers of eight bytes to eight (clang -target x86-linux-musl -malign-double), -DTF_LITE_STATIC_MEMORY, and ops.inc: a
// line r.AddX(); for every operator of micro_mutable_op_resolver.h.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

int main(int argc, char** argv) {
  static tflite::MicroMutableOpResolver<128> r;
#include "ops.inc"
  std::ifstream in(argv[1], std::ios::binary);
  std::vector<char> file((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  char* data = static_cast<char*>(aligned_alloc(64, (file.size() + 63) / 64 * 64));
  memcpy(data, file.data(), file.size());
  const int variables = argc > 2 ? atoi(argv[2]) : 0;
  const size_t size = argc > 3 ? atoi(argv[3]) : 64 << 20;
  uint8_t* arena = static_cast<uint8_t*>(aligned_alloc(64, (size + 63) / 64 * 64));
  tflite::MicroAllocator* allocator = tflite::MicroAllocator::Create(arena, size);
  tflite::MicroResourceVariables* resources =
      variables ? tflite::MicroResourceVariables::Create(allocator, variables) : nullptr;
  tflite::MicroInterpreter interpreter(tflite::GetModel(data), r, allocator, resources);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;
  printf("%zu\n", interpreter.arena_used_bytes());
}
