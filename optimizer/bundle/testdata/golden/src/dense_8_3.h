// dense_8_3: runs the network with TensorFlow Lite Micro. For cortex-m4: Arm Cortex-M4 with TensorFlow Lite Micro and CMSIS-NN.
//
//   if (!dense_8_3::Setup()) { /* its log says why */ }
//   // fill dense_8_3::Input()->data
//   if (dense_8_3::Run()) { /* read dense_8_3::Output()->data */ }
#pragma once

#include <cstddef>

#include "tensorflow/lite/c/common.h"

// What cortex-m4 needs, a margin of 512 bytes in it. Where pointers have eight bytes, as on a computer that runs the test, twice that and 64 KiB.
#ifndef DENSE_8_3_ARENA_BYTES
#define DENSE_8_3_ARENA_BYTES (sizeof(void*) == 4 ? 1200 : 2 * 1200 + 65536)
#endif

namespace dense_8_3 {

constexpr std::size_t kArenaBytes = DENSE_8_3_ARENA_BYTES;
constexpr int kInputs = 1;
constexpr int kOutputs = 1;

// Setup makes the interpreter, once. False: the arena is too small, or a kernel is missing.
bool Setup();

// Input 0, x: INT8 [1 8]; real = 0.5 * (code - (3))
TfLiteTensor* Input(int i = 0);

// Output 0, dense: INT8 [1 3]; real = 8 * (code - (-1))
TfLiteTensor* Output(int i = 0);

// Run computes the outputs from the inputs. Planning may place an output where an input was: set the inputs before every run.
bool Run();

// Reset sets variables back to what they were before the first run.
bool Reset();

// ArenaUsed is how much of the arena is taken, in bytes.
std::size_t ArenaUsed();

}  // namespace dense_8_3
