// dense_8_3: what it must answer.
#pragma once

namespace dense_8_3 {

// Test runs 2 test vectors and logs what differs. It returns how many outputs do, or -1 where the network does not run at all.
int Test();

}  // namespace dense_8_3
