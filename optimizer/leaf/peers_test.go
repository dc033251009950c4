package leaf

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"

	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
)

// TestEveryOperatorQuantizes makes the int8 and the 16×8 leaf of every float network of hack/peers/goldens.py and holds it against its simulation.
func TestEveryOperatorQuantizes(t *testing.T) {
	files, err := filepath.Glob("../exec/integer/testdata/operators/*_f32.tflite")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d networks: %v", len(files), err)
	}
	for _, file := range files {
		for suffix, width := range map[string]quantize.Width{"": quantize.Narrow, "_16x8": quantize.Wide} {
			everyOperator(t, file, suffix, width)
		}
	}
}

func everyOperator(t *testing.T, file, suffix string, width quantize.Width) {
	name := strings.TrimSuffix(filepath.Base(file), ".tflite") + suffix
	t.Run(name, func(t *testing.T) {
		m, err := tflite.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ir.Specialize(m, nil); err != nil {
			t.Fatal(err)
		}
		feed, n := recorded(t, m, strings.TrimSuffix(file, ".tflite")+".npz")
		result, err := quantized(context.Background(), m, ptqOptions{Options: quantize.Options{Width: width}}, feed, n)
		if err != nil && strings.HasPrefix(err.Error(), "nothing to quantize") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		keep(t, "operator_"+name, result.Model)
		if _, err := Verify(context.Background(), result.Model, Checks{Feed: feed, Samples: n}); err != nil {
			t.Fatal(err)
		}
		if _, err := integer.Compile(result.Model, 0); err != nil {
			t.Fatal(err)
		}
	})
}

// recorded feeds the inputs of a golden.
func recorded(t *testing.T, m *tflite.Model, path string) (feed quantize.Feed, n int) {
	t.Helper()
	g, err := ir.Parse(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := npz.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := make([][]float32, len(g.Inputs))
	for i := range values {
		key := "input_" + string(rune('0'+i)) + ".npy"
		n = f.Header(key).Descr.Shape[0]
		if f.Header(key).Descr.Type == "<i4" {
			var ids []int32
			if err := f.Read(key, &ids); err != nil {
				t.Fatal(err)
			}
			for _, v := range ids {
				values[i] = append(values[i], float32(v))
			}
			continue
		}
		if err := f.Read(key, &values[i]); err != nil {
			t.Fatal(err)
		}
	}
	return func(i int, inputs [][]float32) error {
		for k, x := range inputs {
			size := len(values[k]) / n
			copy(x, values[k][i*size:(i+1)*size])
		}
		return nil
	}, n
}
