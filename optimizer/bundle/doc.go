// Package bundle writes a leaf as the sources of a firmware: what a C++ project needs to run it with TensorFlow Lite Micro, and to prove on the
// device that it answers as here.
//
//	b, err := bundle.Make(leaf, bundle.Options{Name: "kws", Target: device})
//	err = b.WriteFolder("kws")                 // or b.Zip()
//
// A bundle is an Arduino library, an ESP-IDF component and a CMake project at once. It holds the leaf as an aligned array, an interpreter with
// just the kernels that the leaf uses and an arena of the size that package target gives for the device, test vectors (inputs with the answers
// that package integer computes with the target's arithmetic), a test that runs them and compares every byte, and a model card.
//
// The same leaf and options give the same bytes.
package bundle
