// Runs the test vectors of dense_8_3 and says on the serial line what came of it.
#include <dense_8_3.h>
#include <dense_8_3_test.h>

void setup() {
  Serial.begin(115200);
  while (!Serial) {
  }
  const int wrong = dense_8_3::Test();
  if (wrong < 0) {
    Serial.println("dense_8_3 does not run");
  } else {
    Serial.print("dense_8_3: outputs that differ: ");
    Serial.println(wrong);
  }
}

void loop() {}
