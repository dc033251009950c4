package integer_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// The digests are those of TensorFlow Lite Micro's wheel 0.dev20261023182759 (hack/peers/tflm_answers.py).
func TestTFLMAnswersBitForBit(t *testing.T) {
	content, err := os.ReadFile("testdata/tflm.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if err := json.Unmarshal(content, &want); err != nil {
		t.Fatal(err)
	}
	differ := 0
	for name, digest := range want {
		t.Run(name, func(t *testing.T) {
			m, err := tflite.ReadFile(testmaterial.Path(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if got := tflmDigest(t, m, integer.TFLM()); got != digest {
				t.Error("answers are not those of TFLM")
			}
			if testing.Short() {
				t.Skip("of the plain loops, which take their time; those that run answer as TFLM")
			}
			if got := tflmDigest(t, m, integer.TFLM(), integer.Reference()); got != digest {
				t.Error("answers of the plain loops are not those of TFLM")
			}
			if tflmDigest(t, m) != digest {
				differ++
			}
		})
	}
	if !t.Failed() && !testing.Short() && differ == 0 {
		t.Error("LiteRT answers as TFLM on every model: the option tests nothing")
	}
}

// The models have one operator each, whose factors TFLM computes to another width than LiteRT; digests are recorded as above.
func TestTFLMsFactorsBitForBit(t *testing.T) {
	for name, want := range map[string]string{
		"lstm_int8.tflite":     "ab29c2e5e19a5fb932972dbd60b078314d32567c09b269ccaab2ba84c0d33c20",
		"mul_int8.tflite":      "b1e3f26af6cfb3d37599e5ec1d12ab163b4d91b6a6e979098d21ca220d718fc5",
		"mul_int16.tflite":     "c06502437d8295b029c48bc0568d934dbbd6218502c32018e381f2a4c415d4fe",
		"prelu_int8.tflite":    "003c9d2db82430268f0ee4dbb6b101491695823dd1083613b7942fef38dc0beb",
		"relu_int8.tflite":     "2dc53f4beb223c5e76b018cd8fe901b83f7e718fdc450a6376e2018dde1e64d1",
		"softmax_int16.tflite": "7efe8d323ca707036bfc9d4129bafa8629d6771979e4d4d583de713deb13518d",
	} {
		m, err := tflite.ReadFile(filepath.Join("testdata", "tflm", name))
		if err != nil {
			t.Fatal(err)
		}
		if got := tflmDigest(t, m, integer.TFLM()); got != want {
			t.Errorf("%s: answers are not those of TFLM", name)
		}
		if tflmDigest(t, m) == want {
			t.Errorf("%s: LiteRT answers as TFLM: the model tests nothing", name)
		}
	}
}

// A cell's state of any power of two is TFLM's to run, as a converter writes for states that stay small. Digests are recorded as above.
func TestTFLMRunsLSTMsOfSmallStates(t *testing.T) {
	for power, want := range map[int]string{
		-8:  "de7f83bad65366cdf24d3dfaca8fab3df39f941600c21fc9ae0f5f996237eafe",
		-16: "ee87997beafbb8f7abb0615524c82b40d4ec6d24f6a8255302a7bcebbc5e8100",
		-20: "01d4c88e3f6a035460c22665843956391019a4a4d6b626d3d306da0c7a0a3aed",
		-30: "0c5cc90b079d0d9c1ded1376357d23a9782a704a83e01731f50ccd162e246492",
	} {
		m, err := tflite.ReadFile("testdata/tflm/lstm_int8.tflite")
		if err != nil {
			t.Fatal(err)
		}
		for _, tensor := range m.Subgraph().Tensors {
			if tensor.IsVariable && tensor.Type == schema.TensorTypeINT16 {
				tensor.Quantization.Scale[0] = float32(math.Ldexp(1, power))
			}
		}
		if got := tflmDigest(t, m, integer.TFLM()); got != want {
			t.Errorf("2^%d: answers are not those of TFLM", power)
		}
	}
}

// tflmDigest is the digest of the first output for 100 samples.
func tflmDigest(t *testing.T, m *tflite.Model, options ...integer.Option) string {
	t.Helper()
	e, err := integer.Compile(m, 0, options...)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.New()
	x := e.Graph().Tensors[e.Graph().Inputs[0]]
	input := make([]byte, x.Numel())
	if x.Type == schema.TensorTypeINT16 {
		input = make([]byte, 2*x.Numel())
	}
	for k := range 100 {
		for j := range input {
			input[j] = byte(uint32(j+1) * uint32(k+3) * 2654435761 >> 24)
		}
		if err := e.SetInputBytes(0, input); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		digest.Write(e.OutputBytes(0))
	}
	return hex.EncodeToString(digest.Sum(nil))
}
