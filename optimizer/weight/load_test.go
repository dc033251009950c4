package weight

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// TFMOT's files of the material: what it promised of the float files is there to be recognised.
func TestForeignFilesAreRecognised(t *testing.T) {
	const conv, dense = "model/conv2d/Conv2D", "model/dense/MatMul"
	type found struct {
		Name     string
		Pruned   int
		Scope    Scope
		Clusters int
	}
	tests := map[string][]found{
		"peers/tfmot_mnist_cnn/pruned_float.tflite":           {{conv, 54, "", 0}, {dense, 10140, "", 0}},
		"peers/tfmot_mnist_cnn/clustered_float.tflite":        {{conv, 0, PerTensor, 8}, {dense, 0, PerTensor, 8}},
		"peers/tfmot_mnist_cnn/sparse_clustered_float.tflite": {{conv, 54, PerTensor, 8}, {dense, 10140, PerTensor, 8}},
		"peers/tfmot_mnist_cnn/pruned_ptq.tflite":             {{conv, 54, "", 0}, {dense, 10140, "", 0}},
		"models/mnist_cnn_float.tflite":                       nil,
		"models/kws_ref_float.tflite":                         nil,
		"models/fsdd_ds_cnn_l_float.tflite":                   nil,
		"models/pretrainedResnet.tflite":                      nil,
		"models/ad01_int8.tflite":                             nil,
		"models/person_detect.tflite":                         nil,
	}
	for file, want := range tests {
		t.Run(file, func(t *testing.T) {
			m := must(tflite.ReadFile(testmaterial.Path(t, file)))(t)
			var got []found
			for _, f := range must(Load(m, DefaultThresholds))(t) {
				got = append(got, found{f.Name, f.State.Pruned(), f.State.Scope, f.State.Clusters})
				if f.State.Clustered() && f.SNR < 40 {
					t.Errorf("%s", f)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestTheRecordGoesBeforeRecognition(t *testing.T) {
	m, index, w := recorded(t, modes["PCQAT"])
	findings := must(Load(m, DefaultThresholds))(t)
	want := []Finding{{Kernel: Kernels(m)[0], State: w.State(), Recorded: true, SNR: math.Inf(1)}}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got, want := findings[0].String(), `weights "conv/kernel": 50.0% zeros: 8 clusters, scope Shared (recorded)`; got != want {
		t.Errorf("in words %s, want %s", got, want)
	}
	m.DeleteMetadata(MetadataName)
	findings = must(Load(m, DefaultThresholds))(t)
	if len(findings) != 1 || findings[0].Tensor != index || findings[0].Recorded {
		t.Fatalf("without the record: %v", findings)
	}
	if s := findings[0].State; s.Scope != Shared || s.Clusters != w.State().Clusters || !math.IsInf(findings[0].SNR, 1) {
		t.Errorf("without the record: %v", findings[0])
	}
}

// What an integer file of others holds is found without a record, zero points taken off.
func TestIntegerKernelsAreRecognised(t *testing.T) {
	const n = 12 * 3 * 3 * 8
	few, natural, wide := make([]int8, n), make([]int8, n), make([]int8, n)
	for i := range few {
		few[i] = []int8{-127, -60, -20, 0, 20, 55, 90}[i%7]
		natural[i] = int8(i*37%200 - 100)
		if wide[i] = natural[i]; i%2 == 0 {
			wide[i] = 0
		}
	}
	wide[1] = -128
	shifted := func(codes []int8, zero int) []int8 {
		all := make([]int8, n)
		for i, q := range codes {
			all[i] = int8(max(int(q)+zero, -128))
		}
		return all
	}
	scale := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	quantization := func(scale []float32, zeros ...int64) *schema.QuantizationParametersT {
		return &schema.QuantizationParametersT{Scale: scale, ZeroPoint: zeros}
	}
	pruned := func(codes []int8) (n int) {
		for _, q := range codes {
			if q == 0 {
				n++
			}
		}
		return n
	}
	for name, test := range map[string]struct {
		codes        []int8
		kind         schema.TensorType
		quantization *schema.QuantizationParametersT
		scope        Scope
		clusters     int
		pruned       int
		say          string // "": nothing is found
	}{
		"clusters under scales": {few, schema.TensorTypeINT8, quantization(scale), Shared, 7, pruned(few), "7 clusters, scope Shared (recognised)"},
		"clusters under one":    {few, schema.TensorTypeINT8, quantization(scale[:1], 0), PerTensor, 7, pruned(few), "7 clusters, scope Tensor (recognised)"},
		"with a zero point":     {shifted(few, 5), schema.TensorTypeINT8, quantization(scale[:1], 5), PerTensor, 7, pruned(few), "7 clusters, scope Tensor (recognised)"},
		"clamped, its zeros":    {wide, schema.TensorTypeINT8, quantization(scale), "", 0, pruned(wide), "% zeros (recognised)"},
		"clamped, no zeros":     {shifted(few, -1), schema.TensorTypeINT8, quantization(scale[:1], 100), "", 0, 0, ""},
		"as quantized":          {natural, schema.TensorTypeINT8, quantization(scale), "", 0, 0, ""},
		"without quantization":  {few, schema.TensorTypeINT8, nil, "", 0, 0, ""},
		"of another type":       {few, schema.TensorTypeUINT8, quantization(scale), "", 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, index, _ := twoLayers(make([]float32, n), gaussian(1, []int{1, 3, 3, 12}, 3, 1))
			w := m.Subgraph().Tensors[index]
			w.Type, w.Quantization = test.kind, test.quantization
			data := make([]byte, n)
			for i, q := range test.codes {
				data[i] = byte(q)
			}
			m.Buffers[w.Buffer].Data = data
			findings := must(Load(m, DefaultThresholds))(t)
			if test.say == "" {
				if len(findings) > 0 {
					t.Errorf("found %s", findings[0])
				}
				return
			}
			if len(findings) != 1 || findings[0].Tensor != index {
				t.Fatalf("found %v", findings)
			}
			f := findings[0]
			if f.State.Scope != test.scope || f.State.Clusters != test.clusters || f.State.Pruned() != test.pruned || f.State.Found != (test.scope != "") {
				t.Errorf("scope %q, %d clusters, %d pruned, found %v", f.State.Scope, f.State.Clusters, f.State.Pruned(), f.State.Found)
			}
			if !math.IsInf(f.SNR, 1) || !strings.HasSuffix(f.String(), test.say) {
				t.Errorf("in words %s, %v dB", f, f.SNR)
			}
			if left := must(Load(m, OnlyRecorded))(t); test.pruned == 0 && len(left) > 0 {
				t.Errorf("recognised although only the record counts: %v", left)
			}
		})
	}
}

func TestOperatorsWithoutTheirWeightsHaveNoKernel(t *testing.T) {
	for name, inputs := range map[string][]int32{"no inputs": {}, "no weights": {0}, "weights left out": {0, -1, -1}, "weights that are computed": {0, 0}} {
		m, _, depthwise := twoLayers(make([]float32, 12*72), make([]float32, 108))
		m.Subgraph().Operators[0].Inputs = inputs
		if kernels := Kernels(m); len(kernels) != 1 || kernels[0].Tensor != depthwise {
			t.Errorf("%s: %v", name, kernels)
		}
	}
}

// A weight has a vote, one of a depthwise kernel none.
func TestClustersCountWhereMostWeightsHaveThem(t *testing.T) {
	wide := Kernel{Tensor: 1, Op: schema.BuiltinOperatorFULLY_CONNECTED, Shape: []int{4, 6}}
	half := Kernel{Tensor: 2, Op: schema.BuiltinOperatorCONV_2D, Shape: []int{2, 2, 2, 3}}
	small := Kernel{Tensor: 3, Op: schema.BuiltinOperatorFULLY_CONNECTED, Shape: []int{1, 1}}
	depthwise := Kernel{Tensor: 4, Op: schema.BuiltinOperatorDEPTHWISE_CONV_2D, Shape: []int{1, 9, 9, 9}}
	for name, c := range map[string]struct {
		kernels   []Kernel
		clustered []int
		want      bool
	}{
		"all":                    {[]Kernel{wide, half}, []int{1, 2}, true},
		"just half":              {[]Kernel{wide, half}, []int{1}, false},
		"half and one":           {[]Kernel{wide, half, small}, []int{1, 3}, true},
		"one less than half":     {[]Kernel{wide, half, small}, []int{1}, false},
		"most kernels, few each": {[]Kernel{wide, small, small}, []int{3}, false},
		"none":                   {[]Kernel{wide}, nil, false},
		"no kernels":             {nil, []int{1}, false},
		"depthwise ones aside":   {[]Kernel{wide, depthwise}, []int{1}, true},
		"depthwise ones alone":   {[]Kernel{wide, depthwise}, []int{4}, false},
	} {
		clustered := map[int]bool{}
		for _, index := range c.clustered {
			clustered[index] = true
		}
		if got := MostlyClustered(c.kernels, clustered); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNamesListsADozen(t *testing.T) {
	kernels := make([]Kernel, 13)
	for i := range kernels {
		kernels[i].Name = string(rune('a' + i))
	}
	for n, want := range map[int]string{
		0:  "no convolution or fully connected weights",
		1:  `weights "a"`,
		12: `weights "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"`,
		13: `weights "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", …`,
	} {
		if got := Names(kernels[:n]); got != want {
			t.Errorf("%d kernels: %s, want %s", n, got, want)
		}
	}
}

func TestSNR(t *testing.T) {
	for _, c := range []struct {
		values, approximation []float32
		want                  float64
	}{
		{[]float32{3, 4}, []float32{3, 4}, math.Inf(1)},
		{[]float32{6, 8}, []float32{6, 7}, 20},
		{[]float32{1, 0}, []float32{0, 0}, 0},
		{[]float32{1, 0}, []float32{1, 10}, -20},
	} {
		if got := SNR(c.values, c.approximation); !(math.Abs(got-c.want) < 1e-9 || got == c.want) {
			t.Errorf("SNR(%v, %v) = %v dB, want %v", c.values, c.approximation, got, c.want)
		}
	}
}
