package op

import "espalier.dev/espalier/optimizer/tflite/schema"

const (
	complexNumbers = "it reads complex numbers, which are not quantized"
	spectrumBefore = "compute the spectrum before the network (dataset.preprocessing.audio), or by constant cosines and sines (FULLY_CONNECTED)"
)

// spectra are about complex numbers.
var spectra = []*Op{
	{Code: schema.BuiltinOperatorRFFT2D, Inputs: []Slot{Data, Param}, Int8: Int8{Why: noKernel, Instead: spectrumBefore}, Since: []string{"2.5.0"}, Note: "lengths are powers of two, the last of 2 or more; what reads its complex numbers may only reshape them or take a part; what lies between these and a LOG stays float, as its values span more than 256 codes hold"},
	{Code: schema.BuiltinOperatorCOMPLEX_ABS, Inputs: []Slot{Data}, Int8: Int8{Why: complexNumbers, Instead: spectrumBefore}, Since: []string{"2.5.0"}},
	{Code: schema.BuiltinOperatorREAL, Inputs: []Slot{Data}, Int8: Int8{Why: complexNumbers, Instead: spectrumBefore}, Since: []string{"2.5.0"}},
	{Code: schema.BuiltinOperatorIMAG, Inputs: []Slot{Data}, Int8: Int8{Why: complexNumbers, Instead: spectrumBefore}, Since: []string{"2.5.0"}},
}
