package target

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite/schema"
)

// recordedScratch is a line of testdata/scratch.txt: a convolution, and the scratch buffers of each library (hack/peers/scratch.c).
type recordedScratch struct {
	kind                                            int // of 8 bits, 16 bits, depthwise of 8, depthwise with weights of 4, transposed
	batch, h, w, channels, outH, outW, outChannels  int32
	kernelH, kernelW, kernelChannels                int32
	strideH, strideW, dilationH, dilationW, padding int32
	plain, dsp, helium                              [2]int // the second is that of reversed weights, −1 where none is asked for
	esp                                             int    // −1 where ESP-NN computes nothing
}

// node is the operator that a line is about.
func (r recordedScratch) node() *node {
	x, y := tensor(schema.TensorTypeINT8, 0, r.batch, r.h, r.w, r.channels), tensor(schema.TensorTypeINT8, 0, r.batch, r.outH, r.outW, r.outChannels)
	w := tensor(schema.TensorTypeINT8, 1, r.outChannels, r.kernelH, r.kernelW, r.kernelChannels)
	padding := schema.PaddingVALID
	if r.padding == 1 {
		padding = schema.PaddingSAME
	}
	n := &node{code: schema.BuiltinOperatorCONV_2D, op: &schema.OperatorT{Inputs: []int32{0, 1}, Outputs: []int32{2}}}
	n.subgraph = &schema.SubGraphT{Tensors: []*schema.TensorT{x, w, y}}
	var options any = &schema.Conv2DOptionsT{StrideH: r.strideH, StrideW: r.strideW, DilationHFactor: r.dilationH, DilationWFactor: r.dilationW, Padding: padding}
	switch r.kind {
	case 1:
		x.Type, y.Type = schema.TensorTypeINT16, schema.TensorTypeINT16
	case 2, 3:
		n.code = schema.BuiltinOperatorDEPTHWISE_CONV_2D
		w.Shape = []int32{1, r.kernelH, r.kernelW, r.outChannels}
		options = &schema.DepthwiseConv2DOptionsT{StrideH: r.strideH, StrideW: r.strideW, DilationHFactor: r.dilationH, DilationWFactor: r.dilationW, Padding: padding}
		if r.kind == 3 {
			w.Type = schema.TensorTypeINT4
		}
	case 4:
		n.code = schema.BuiltinOperatorTRANSPOSE_CONV
		n.subgraph.Tensors = append(n.subgraph.Tensors, tensor(schema.TensorTypeINT32, 1, 4))
		n.op.Inputs = []int32{3, 1, 0}
		options = &schema.TransposeConvOptionsT{StrideH: r.strideH, StrideW: r.strideW, Padding: padding}
	}
	n.op.BuiltinOptions = &schema.BuiltinOptionsT{Value: options}
	return n
}

func TestScratchIsWhatTheLibrariesAskFor(t *testing.T) {
	file, err := os.Open("testdata/scratch.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	count := 0
	for ; lines.Scan(); count++ {
		var r recordedScratch
		if _, err := fmt.Sscan(lines.Text(), &r.kind, &r.batch, &r.h, &r.w, &r.channels, &r.outH, &r.outW, &r.outChannels, &r.kernelH, &r.kernelW, &r.kernelChannels,
			&r.strideH, &r.strideW, &r.dilationH, &r.dilationW, &r.padding, &r.plain[0], &r.plain[1], &r.dsp[0], &r.dsp[1], &r.helium[0], &r.helium[1], &r.esp); err != nil {
			t.Fatal(err)
		}
		n := r.node()
		for library, want := range map[string][2]int{"cmsis-nn": r.plain, "cmsis-nn-dsp": r.dsp, "cmsis-nn-mve": r.helium} {
			k, _ := memoryOf(n, library)
			if deep := library == "cmsis-nn-dsp" && r.kind == 2 && r.kernelH == 3 && r.kernelW == 3; deep && want[0] == 0 && r.channels == r.outChannels &&
				r.batch == 1 && r.dilationH == 1 && r.dilationW == 1 {
				want[0] = int(2 * 9 * r.channels) // as libraries before 2023 ask
			}
			var asked []int
			if want[0] > 0 {
				asked = append(asked, want[0])
			}
			if want[1] >= 0 {
				asked = append(asked, want[1])
			}
			if diff := cmp.Diff(asked, k.scratch); diff != "" {
				t.Errorf("%s: %s: (-library +counted)\n%s", lines.Text(), library, diff)
			}
		}
		if r.esp >= 0 {
			if k, _ := memoryOf(n, "esp-nn"); !cmp.Equal(k.scratch, []int{r.esp}) {
				t.Errorf("%s: esp-nn: %v, the library asks for %d", lines.Text(), k.scratch, r.esp)
			}
		}
	}
	if err := lines.Err(); err != nil || count < 380 {
		t.Errorf("%d lines: %v", count, err)
	}
}

func TestScratchBesideConvolutions(t *testing.T) {
	i8, i16, i32 := schema.TensorTypeINT8, schema.TensorTypeINT16, schema.TensorTypeINT32
	constant := func(typ schema.TensorType, scales int, shape ...int32) *schema.TensorT {
		out := tensor(typ, 1, shape...)
		out.Quantization = &schema.QuantizationParametersT{Scale: make([]float32, scales), ZeroPoint: make([]int64, scales)}
		return out
	}
	pool := &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsPool2DOptions, Value: &schema.Pool2DOptionsT{StrideH: 2, StrideW: 2, FilterHeight: 2, FilterWidth: 2}}
	type taken struct{ Scratch, Prepared []int }
	lstm := func(typ schema.TensorType) []*schema.TensorT { // 3 steps of 5 values, 6 cells
		out := []*schema.TensorT{tensor(typ, 0, 1, 3, 5)}
		for range 23 {
			out = append(out, constant(i8, 1, 6, 5))
		}
		out[cellState-1], out[cellState] = tensor(typ, 0, 1, 6), tensor(i16, 0, 1, 6)
		return append(out, tensor(typ, 0, 1, 3, 6))
	}
	gates := func(bytes int) []int { return slices.Repeat([]int{bytes}, 8) }
	tests := map[string]struct {
		code    schema.BuiltinOperator
		options *schema.BuiltinOptionsT
		tensors []*schema.TensorT
		want    map[string]taken // by library; the rest nothing
	}{
		"a dense layer": {schema.BuiltinOperatorFULLY_CONNECTED, nil, []*schema.TensorT{tensor(i8, 0, 1, 20), constant(i8, 1, 10, 20), constant(i32, 1, 10), tensor(i8, 0, 1, 10)},
			map[string]taken{"cmsis-nn-mve": {Prepared: []int{40}}}},
		"one whose weights are computed": {schema.BuiltinOperatorFULLY_CONNECTED, nil, []*schema.TensorT{tensor(i8, 0, 1, 20), tensor(i8, 0, 10, 20), constant(i32, 1, 10), tensor(i8, 0, 1, 10)},
			map[string]taken{"cmsis-nn-mve": {Scratch: []int{40}}}},
		"one over a sequence": {schema.BuiltinOperatorFULLY_CONNECTED, nil, []*schema.TensorT{tensor(i8, 0, 1, 7, 20), constant(i8, 1, 10, 20), constant(i32, 1, 10), tensor(i8, 0, 1, 7, 10)},
			map[string]taken{"cmsis-nn": {Scratch: []int{80}}, "cmsis-nn-dsp": {Scratch: []int{80}}, "cmsis-nn-mve": {Scratch: []int{80}}}},
		"over a sequence, with scales of its own for each output": {schema.BuiltinOperatorFULLY_CONNECTED, nil,
			[]*schema.TensorT{tensor(i8, 0, 1, 7, 20), constant(i8, 10, 10, 20), constant(i32, 10, 10), tensor(i8, 0, 1, 7, 10)},
			map[string]taken{"cmsis-nn": {Prepared: []int{40, 40}}, "cmsis-nn-dsp": {Prepared: []int{40, 40}}, "cmsis-nn-mve": {Prepared: []int{40, 40}}, "esp-nn": {Prepared: []int{40, 40}}}},
		"of 16 bits":            {schema.BuiltinOperatorFULLY_CONNECTED, nil, []*schema.TensorT{tensor(i16, 0, 1, 7, 20), constant(i8, 1, 10, 20), constant(i32, 1, 10), tensor(i16, 0, 1, 7, 10)}, nil},
		"an average":            {schema.BuiltinOperatorAVERAGE_POOL_2D, pool, []*schema.TensorT{tensor(i8, 0, 1, 8, 8, 16), tensor(i8, 0, 1, 4, 4, 16)}, map[string]taken{"cmsis-nn-dsp": {Scratch: []int{64}}}},
		"an average of 16 bits": {schema.BuiltinOperatorAVERAGE_POOL_2D, pool, []*schema.TensorT{tensor(i16, 0, 1, 8, 8, 16), tensor(i16, 0, 1, 4, 4, 16)}, map[string]taken{"cmsis-nn-dsp": {Scratch: []int{64}}}},
		"a softmax":             {schema.BuiltinOperatorSOFTMAX, nil, []*schema.TensorT{tensor(i8, 0, 1, 12), tensor(i8, 0, 1, 12)}, map[string]taken{"esp-nn": {Scratch: []int{48}}}},
		"a product of two that are computed": {schema.BuiltinOperatorBATCH_MATMUL, nil, []*schema.TensorT{tensor(i8, 0, 1, 5, 20), tensor(i8, 0, 1, 20, 9), tensor(i8, 0, 1, 5, 9)},
			map[string]taken{"cmsis-nn": {Prepared: []int{100, 180}}, "cmsis-nn-dsp": {Prepared: []int{100, 180}}, "cmsis-nn-mve": {Prepared: []int{100, 180}, Scratch: []int{36}}, "esp-nn": {Prepared: []int{100, 180}}}},
		"a maximum": {schema.BuiltinOperatorMAX_POOL_2D, pool, []*schema.TensorT{tensor(i8, 0, 1, 8, 8, 16), tensor(i8, 0, 1, 4, 4, 16)}, nil},
		"a recurrent layer (LSTM)": {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, nil, lstm(i8), map[string]taken{ // the sums of a gate's two weights are of 32 bits
			"cmsis-nn": {Scratch: []int{12, 12, 12}, Prepared: gates(24)}, "cmsis-nn-dsp": {Scratch: []int{12, 12, 12}, Prepared: gates(24)},
			"cmsis-nn-mve": {Scratch: []int{12, 12, 12}, Prepared: gates(24)}, "esp-nn": {Scratch: []int{12, 12, 12, 12}}}},
		"one of 16 bits": {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, nil, lstm(i16), map[string]taken{ // of 64 bits
			"cmsis-nn": {Scratch: []int{12, 12, 12}, Prepared: gates(48)}, "cmsis-nn-dsp": {Scratch: []int{12, 12, 12}, Prepared: gates(48)},
			"cmsis-nn-mve": {Scratch: []int{12, 12, 12}, Prepared: gates(48)}, "esp-nn": {Scratch: []int{12, 12, 12, 12}}}},
		"one in float": {schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, nil, lstm(schema.TensorTypeFLOAT32), map[string]taken{
			"cmsis-nn": {Scratch: []int{12, 12, 12, 12}}, "cmsis-nn-dsp": {Scratch: []int{12, 12, 12, 12}}, "cmsis-nn-mve": {Scratch: []int{12, 12, 12, 12}}, "esp-nn": {Scratch: []int{12, 12, 12, 12}}}},
		"an average in float":      {schema.BuiltinOperatorAVERAGE_POOL_2D, pool, []*schema.TensorT{tensor(schema.TensorTypeFLOAT32, 0, 1, 8, 8, 16), tensor(schema.TensorTypeFLOAT32, 0, 1, 4, 4, 16)}, nil},
		"an average without sizes": {schema.BuiltinOperatorAVERAGE_POOL_2D, pool, []*schema.TensorT{tensor(i8, 0), tensor(i8, 0)}, nil},
		"a streaming filter (SVDF)": {schema.BuiltinOperatorSVDF, nil, []*schema.TensorT{tensor(i8, 0, 2, 20), constant(i8, 1, 8, 20), constant(i16, 1, 8, 5), constant(i32, 1, 4), tensor(i16, 0, 2, 40), tensor(i8, 0, 2, 4)},
			map[string]taken{"cmsis-nn": {Scratch: []int{64, 32}}, "cmsis-nn-dsp": {Scratch: []int{64, 32}}, "cmsis-nn-mve": {Scratch: []int{64, 32}, Prepared: []int{32}}, "esp-nn": {Scratch: []int{64, 32}}}},
	}
	for name, tt := range tests {
		m := oneOperator(tt.code, tt.options, tt.tensors...)
		n := &node{model: m, subgraph: m.Subgraphs[0], op: m.Subgraphs[0].Operators[0], code: tt.code}
		for _, library := range []string{"cmsis-nn", "cmsis-nn-dsp", "cmsis-nn-mve", "esp-nn"} {
			k, _ := memoryOf(n, library)
			if diff := cmp.Diff(tt.want[library], taken{k.scratch, k.prepared}); diff != "" {
				t.Errorf("%s: %s: %s", name, library, diff)
			}
		}
	}
}
