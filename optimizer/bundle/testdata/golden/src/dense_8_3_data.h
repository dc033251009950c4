// dense_8_3: the network, as TensorFlow Lite holds it. sha256:857b7295f7f5a98ff7a06c818c734e3d6b42b3f86ecc7a027630914dc07f8c0d
#pragma once

#include <cstddef>

namespace dense_8_3 {

extern const unsigned char kModel[];
constexpr std::size_t kModelBytes = 720;

}  // namespace dense_8_3
