// Runs the test vectors of dense_8_3. The exit code is 0 where every output is as expected.
#include "dense_8_3_test.h"

int main() { return dense_8_3::Test() == 0 ? 0 : 1; }
