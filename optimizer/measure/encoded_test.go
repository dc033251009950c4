package measure

import (
	"os"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/target"
)

// What a network with encoded weights is measured as is the plain network, and the file that lies in flash.
func TestEncodedWeightsAreMeasuredAsWhatTheyStandFor(t *testing.T) {
	model, err := os.ReadFile("../exec/integer/testdata/encoded/conv_16_codes_LUT.tflite")
	if err != nil {
		t.Fatal(err)
	}
	in, err := Inspect(model)
	if err != nil || in.Unsupported != "" {
		t.Fatal(err, in.Unsupported)
	}
	at := slices.IndexFunc(in.Tensors, func(t Tensor) bool { return t.Encoding != "" })
	if at < 0 || in.Tensors[at].Encoding != "LUT" || in.Tensors[at].Role != RoleKernel || in.Tensors[at].Bytes != 1152 || in.Tensors[at].StoredBytes != 576+16+16 || in.Tensors[at].Zeros < 500 {
		t.Errorf("%+v", in.Tensors)
	}
	if len(in.Operators) != 1 || in.Multiplications == 0 || in.Sparsity < 0.4 {
		t.Errorf("%d operators, %d multiplications, %v zeros", len(in.Operators), in.Multiplications, in.Sparsity)
	}
	figures, err := File(model, nil)
	if err != nil || figures[FileBytes] != float64(len(model)) || figures[Sparsity] != in.Sparsity {
		t.Errorf("%v, %v", figures, err)
	}
	for _, runtime := range []target.Runtime{target.TFLM, target.LiteRT} {
		d, err := target.Find(runtime, "")
		if err != nil {
			t.Fatal(err)
		}
		arena, err := arenaOn(model, d)
		if decodes := runtime == target.TFLM; decodes != (err == nil) || decodes && arena < 1872 || !decodes && !strings.Contains(err.Error(), "make the leaf without encode") {
			t.Errorf("%s: arena %d, %v", runtime, arena, err)
		}
	}
}

func TestClustersAreToldByWhatAFileHolds(t *testing.T) {
	for file, want := range map[string]int{"conv_16_codes_LUT": 16, "fc_16_codes_peer": 16, "conv_sparse_LUT": NoClusters, "depthwise_16_codes_LUT": NoClusters} {
		model, err := os.ReadFile("../exec/integer/testdata/encoded/" + file + ".tflite")
		if err != nil {
			t.Fatal(err)
		}
		m, err := specialized(model)
		if err != nil {
			t.Fatal(err)
		}
		list, err := clusteredIn(m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := clusters(m, list); err != nil || got != want {
			t.Errorf("%s: %d clusters, %v; want %d", file, got, err, want)
		}
	}
}
