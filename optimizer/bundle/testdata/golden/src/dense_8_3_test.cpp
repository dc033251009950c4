#include "dense_8_3_test.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dense_8_3.h"
#include "tensorflow/lite/micro/micro_log.h"

namespace dense_8_3 {
namespace {

constexpr int kVectors = 2;
// How far float outputs may be off, relative to values above 1. 0: every byte is compared.
constexpr double kTolerance = 0;

alignas(16) const uint8_t kInput0_0[] = {
    0x83, 0xd6, 0x72, 0x78, 0x0c, 0x04, 0xa6, 0x94};
alignas(16) const uint8_t kOutput0_0[] = {
    0x7d, 0xc5, 0x11};
alignas(16) const uint8_t kInput1_0[] = {
    0xe9, 0x1c, 0x33, 0x82, 0x28, 0xcb, 0xd3, 0x77};
alignas(16) const uint8_t kOutput1_0[] = {
    0xe6, 0x5e, 0xd3};

struct Bytes {
  const uint8_t* data;
  std::size_t size;
};

const Bytes kInputBytes[kVectors][kInputs] = {
    {{kInput0_0, sizeof kInput0_0}},
    {{kInput1_0, sizeof kInput1_0}},
};

const Bytes kOutputBytes[kVectors][kOutputs] = {
    {{kOutput0_0, sizeof kOutput0_0}},
    {{kOutput1_0, sizeof kOutput1_0}},
};

bool Agrees(const TfLiteTensor* tensor, const Bytes& want) {
  if (tensor->bytes != want.size) return false;
  if (kTolerance == 0 || tensor->type != kTfLiteFloat32) return std::memcmp(tensor->data.raw, want.data, want.size) == 0;
  for (std::size_t i = 0; i < want.size / sizeof(float); i++) {
    float expected;
    std::memcpy(&expected, want.data + i * sizeof(float), sizeof expected);
    const double scale = std::fabs(expected) > 1 ? std::fabs(expected) : 1;
    if (!(std::fabs(tensor->data.f[i] - expected) <= kTolerance * scale)) return false;
  }
  return true;
}

}  // namespace

int Test() {
  if (!Setup()) return -1;
  int wrong = 0;
  for (int v = 0; v < kVectors; v++) {
    if (!Reset()) return -1;
    for (int i = 0; i < kInputs; i++) {
      if (Input(i)->bytes != kInputBytes[v][i].size) {
        MicroPrintf("dense_8_3: input %d has %d bytes, the test vector %d", i, static_cast<int>(Input(i)->bytes), static_cast<int>(kInputBytes[v][i].size));
        return -1;
      }
      std::memcpy(Input(i)->data.raw, kInputBytes[v][i].data, kInputBytes[v][i].size);
    }
    if (!Run()) return -1;
    for (int i = 0; i < kOutputs; i++) {
      if (Agrees(Output(i), kOutputBytes[v][i])) continue;
      MicroPrintf("dense_8_3: test vector %d: output %d differs", v, i);
      wrong++;
    }
  }
  MicroPrintf("dense_8_3: %d of %d outputs as expected, %u of %u bytes of the arena used", kVectors * kOutputs - wrong, kVectors * kOutputs,
              static_cast<unsigned>(ArenaUsed()), static_cast<unsigned>(kArenaBytes));
  return wrong;
}

}  // namespace dense_8_3
