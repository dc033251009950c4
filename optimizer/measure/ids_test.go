package measure

import (
	"context"
	"errors"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// ids are samples of two ids.
type ids [][2]float32

func (s ids) Len() int                   { return len(s) }
func (ids) Inputs() []dataset.Array      { return []dataset.Array{{Name: "ids", Shape: []int{2}}} }
func (ids) Targets() []dataset.Target    { return nil }
func (ids) Truth(int, [][]float32) error { return nil }
func (s ids) Read(i int, x [][]float32) error {
	copy(x[0], s[i][:])
	return nil
}

func TestAnIdBeyondTheTableIsTheSamplesFault(t *testing.T) {
	b := tflitetest.New()
	in := b.Input("ids", 1, 2)
	b.SetType(in, schema.TensorTypeINT32)
	rows := b.Op("rows", schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, []int32{1, 2, 1}, b.Const("table", []float32{1, 2, 3}, 3, 1), in)
	b.Output(b.Flatten("y", rows))
	content, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(context.Background(), content, ids{{0, 1}, {2, 0}, {1, 7}}, Options{})
	var sample *dataset.SampleError
	if !errors.As(err, &sample) || !strings.Contains(err.Error(), "has the id 7, the network's table those from 0 to 2") || !strings.Contains(err.Error(), "GATHER") {
		t.Errorf("%v", err)
	}
}

func TestAnAnswerThatIsNoNumberIsNamed(t *testing.T) {
	b := tflitetest.New()
	b.Output(b.Unary("logarithm", schema.BuiltinOperatorLOG, b.Input("x", 1, 2)))
	content, err := b.Model().Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(context.Background(), content, ids{{2, 1}, {0, 1}, {1, -3}}, Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "value 1 of output logarithm is NaN for sample 2: ") {
		t.Errorf("%v", err)
	}
	if _, err = Run(context.Background(), content, ids{{-1, 2}}, Options{}); err == nil || !strings.HasPrefix(err.Error(), "value 0 of output logarithm is NaN for sample 0: ") {
		t.Errorf("%v", err)
	}
}
