package measure

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/target"
)

// The autoencoder of fully connected layers answers otherwise on TFLM than on LiteRT.
func TestALeafIsComputedAsItsTargetDoes(t *testing.T) {
	model := material(t, "models/ad01_int8.tflite")
	answer := func(d *target.Target) []byte {
		m, err := specialized(model)
		if err != nil {
			t.Fatal(err)
		}
		exec, err := compile(m, 1, arithmetic(d)...)
		if err != nil {
			t.Fatal(err)
		}
		input := make([]byte, 640)
		for i := range input {
			input[i] = byte(i * 37)
		}
		if err := exec.SetInputBytes(0, input); err != nil {
			t.Fatal(err)
		}
		if err := exec.Run(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(exec.OutputBytes(0))
	}
	find := func(runtime target.Runtime) *target.Target {
		d, err := target.Find(runtime, "")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	litert := answer(nil)
	if !bytes.Equal(litert, answer(find(target.LiteRT))) {
		t.Error("the target LiteRT is not computed as LiteRT")
	}
	if bytes.Equal(litert, answer(find(target.TFLM))) {
		t.Error("the target TFLM is computed as LiteRT")
	}
	if arena, err := arenaOn(model, find(target.TFLM)); err != nil || arena < 2380 {
		t.Errorf("arena %d: %v", arena, err)
	}
	if arena, err := arenaOn(model, find(target.LiteRT)); err != nil || arena != 0 {
		t.Errorf("LiteRT's arena is the executor's own: %d, %v", arena, err)
	}
	_, err := arenaOn(material(t, "models/ops/gelu_int8.tflite"), find(target.TFLM))
	var refused *TargetError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "GELU") {
		t.Errorf("a model that does not run there: %v", err)
	}
}
