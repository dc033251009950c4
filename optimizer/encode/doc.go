// Package encode holds constants in flash as TensorFlow Lite Micro's operator DECODE reads them: an encoded tensor and an ancillary one,
// which begins with 16 bytes of metadata. There are three kinds:
//
//	LUT      every value is an index of 1 to 7 bits into a table of values, one table for all channels or one a channel
//	Huffman  every value is a codeword, found by tables that lead from one to the next
//	Prune    one bit a value says whether it is zero; those that are not follow one another
//
// The formats are those that tensorflow/tflite-micro has at commit 90b983c2: tensorflow/lite/micro/kernels/decode_state_*.cc and
// compression/decode.py. Decode(Of(data)) is data, byte for byte; Decode of anything else is an error or at most eight values a byte.
package encode
