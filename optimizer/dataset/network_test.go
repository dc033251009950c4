package dataset

import (
	"archive/zip"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Arrays find inputs and outputs by the names of the signature, by those of the tensors, and by what converters put around these.
func TestANetworkIsDescribedByItsFile(t *testing.T) {
	quantized := &schema.QuantizationParametersT{Scale: []float32{0.5}, ZeroPoint: []int64{3}}
	m := &tflite.Model{ModelT: &schema.ModelT{
		Subgraphs: []*schema.SubGraphT{{
			Tensors: []*schema.TensorT{
				{Name: "serving_default_image:0", Shape: []int32{1, 1, 8, 3}, ShapeSignature: []int32{-1, -1, 8, 3}, Type: schema.TensorTypeFLOAT32},
				{Name: "ids", Shape: []int32{1, 5}, Type: schema.TensorTypeINT32},
				{Name: "pixels", Shape: []int32{1, 4}, Type: schema.TensorTypeUINT8},
				{Name: "scaled", Shape: []int32{1, 4}, Type: schema.TensorTypeUINT8, Quantization: quantized},
				{Name: "mask", Shape: []int32{1}, Type: schema.TensorTypeBOOL},
				{Name: "StatefulPartitionedCall:0", Shape: []int32{1, 10}, Type: schema.TensorTypeFLOAT32},
			},
			Inputs: []int32{0, 1, 2, 3, 4}, Outputs: []int32{5},
		}},
		SignatureDefs: []*schema.SignatureDefT{
			{Inputs: []*schema.TensorMapT{{Name: "picture", TensorIndex: 0}, {Name: "", TensorIndex: 1}}, Outputs: []*schema.TensorMapT{{Name: "scores", TensorIndex: 5}}},
			{SubgraphIndex: 1, Inputs: []*schema.TensorMapT{{Name: "of another graph", TensorIndex: 0}}},
		},
	}}
	want := &Network{
		Inputs: []Input{
			{Names: []string{"picture", "image", "serving_default_image:0"}, Shape: []int{-1, 8, 3}},
			{Names: []string{"ids"}, Shape: []int{5}, Integer: true},
			{Names: []string{"pixels"}, Shape: []int{4}, Integer: true},
			{Names: []string{"scaled"}, Shape: []int{4}},
			{Names: []string{"mask"}, Shape: []int{}, Integer: true},
		},
		Outputs: []Output{{Names: []string{"scores", "StatefulPartitionedCall", "StatefulPartitionedCall:0"}, Shape: []int{10}}},
	}
	if diff := cmp.Diff(want, NetworkOf(m)); diff != "" {
		t.Error(diff)
	}
}

func TestSamplesAndNumbersOfAManifestAreTextsToo(t *testing.T) {
	var spec Spec
	if err := json.Unmarshal([]byte(`{"samples": "images", "preprocessing": {"scale": 0.50, "mean": ["1/2", 3e1]}}`), &spec); err != nil {
		t.Fatal(err)
	}
	if want := (Spec{Samples: Samples{"": "images"}, Preprocessing: Preprocessing{Scale: "0.50", Mean: []Number{"1/2", "3e1"}}}); !cmp.Equal(want, spec) {
		t.Error(cmp.Diff(want, spec))
	}
	spec = Spec{}
	if err := json.Unmarshal([]byte(`{"samples": {"a": "x", "b": "y"}}`), &spec); err != nil || !cmp.Equal(spec.Samples, Samples{"a": "x", "b": "y"}) {
		t.Errorf("samples %v: %v", spec.Samples, err)
	}
	for _, text := range []string{`{"samples": 1}`, `{"samples": "a`, `{"preprocessing": {"scale": true}}`, `{"preprocessing": {"scale": []}}`} {
		if err := json.Unmarshal([]byte(text), &spec); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// What labels are follows from the output that they are for.
func TestLabelsBesideOutputs(t *testing.T) {
	f, i, half := "<f4", "<i4", float32(0.5)
	outputs := func(shapes ...[]int) *Network {
		n := &Network{Inputs: []Input{{Names: []string{"x"}, Shape: []int{2}}}}
		for k, shape := range shapes {
			n.Outputs = append(n.Outputs, Output{Names: []string{string(rune('a' + k))}, Shape: shape})
		}
		return n
	}
	targeted := outputs([]int{3}, []int{3})
	targeted.Tell("B", "y_other")
	targeted.Tell("nothing", "y_third")
	steps := outputs([]int{3})
	steps.Outputs[0].Steps = true
	type told struct {
		Name    string
		Kind    Kind
		Classes int
		Shape   []int
	}
	type labels struct {
		name  string
		descr string
		dims  []int // behind the sample's, of which there are 2
		of    any
	}
	for name, c := range map[string]struct {
		labels []labels
		spec   Spec
		want   []told
		err    string
	}{
		"whole numbers beside as many scores":    {[]labels{{"y", f, nil, []float32{0, 2}}}, Spec{Network: outputs([]int{3})}, []told{{"y", Class, 3, nil}}, ""},
		"fractions beside scores":                {[]labels{{"y", f, nil, []float32{0, half}}}, Spec{Network: outputs([]int{3})}, []told{{"y", Value, 0, []int{}}}, ""},
		"negative numbers beside scores":         {[]labels{{"y", f, nil, []float32{0, -1}}}, Spec{Network: outputs([]int{3})}, []told{{"y", Value, 0, []int{}}}, ""},
		"numbers far above the scores":           {[]labels{{"y", f, nil, []float32{0, 4}}}, Spec{Network: outputs([]int{3})}, []told{{"y", Value, 0, []int{}}}, ""},
		"whole numbers beside one value":         {[]labels{{"y", f, nil, []float32{0, 2}}}, Spec{Network: outputs([]int{1})}, []told{{"y", Value, 0, []int{}}}, ""},
		"integers beside one value":              {[]labels{{"y", i, nil, []int32{0, 1}}}, Spec{Network: outputs([]int{1})}, []told{{"y", Class, 2, nil}}, ""},
		"integers, of which many are said":       {[]labels{{"y", i, nil, []int32{0, 1}}}, Spec{Classes: 7, Network: outputs([]int{9})}, []told{{"y", Class, 7, nil}}, ""},
		"integers that are values":               {[]labels{{"y", i, nil, []int32{0, 1}}}, Spec{Target: Values, Network: outputs([]int{3})}, []told{{"y", Value, 0, []int{}}}, ""},
		"a class at every position":              {[]labels{{"y", i, []int{4}, []int32{0, 1, 2, 0, 0, 0, 0, 1}}}, Spec{Network: outputs([]int{4, 3})}, []told{{"y", Class, 3, []int{4}}}, ""},
		"as fractions that are whole":            {[]labels{{"y", f, []int{4}, []float32{0, 1, 2, 0, 0, 0, 0, 1}}}, Spec{Network: outputs([]int{4, 3})}, []told{{"y", Class, 3, []int{4}}}, ""},
		"of more classes than are seen":          {[]labels{{"y", i, []int{4}, []int32{0, 1, 1, 0, 0, 0, 0, 1}}}, Spec{Classes: 3, Network: outputs([]int{4, 3})}, []told{{"y", Class, 3, []int{4}}}, ""},
		"a value at every position":              {[]labels{{"y", f, []int{4}, []float32{0, half, 2, 0, 0, 0, 0, 1}}}, Spec{Network: outputs([]int{4, 3})}, []told{{"y", Value, 0, []int{4}}}, ""},
		"a row for every position":               {[]labels{{"y", i, []int{2, 2}, []int32{0, 1, 1, 0, 0, 1, 0, 1}}}, Spec{Network: outputs([]int{2, 2})}, []told{{"y", Value, 0, []int{2, 2}}}, ""},
		"a label a step":                         {[]labels{{"y", i, []int{2}, []int32{0, 1, 1, 0}}}, Spec{Network: steps}, []told{{"y", Value, 0, []int{2}}}, ""},
		"rows that are one-hot":                  {[]labels{{"y", f, []int{3}, []float32{0, 1, 0, 0, 0, 1}}}, Spec{Network: outputs([]int{3})}, []told{{"y", Class, 3, nil}}, ""},
		"rows of two ones":                       {[]labels{{"y", f, []int{3}, []float32{0, 1, 1, 0, 0, 1}}}, Spec{Network: outputs([]int{3})}, []told{{"y", Value, 0, []int{3}}}, ""},
		"an array for each output":               {[]labels{{"y_a", i, nil, []int32{0, 1}}, {"y_b", f, nil, []float32{1, half}}}, Spec{Network: outputs([]int{3}, []int{1})}, []told{{"y_a", Class, 2, nil}, {"y_b", Value, 0, []int{}}}, ""},
		"outputs of one size, by their names":    {[]labels{{"y_a", f, nil, []float32{0, 2}}, {"y_b", f, nil, []float32{half, 0}}}, Spec{Network: outputs([]int{4}, []int{4})}, []told{{"y_a", Class, 3, nil}, {"y_b", Value, 0, []int{}}}, ""},
		"the output that is told by it":          {[]labels{{"y_a", i, nil, []int32{0, 1}}, {"y_other", f, nil, []float32{1, 2}}}, Spec{Network: targeted}, []told{{"y_a", Class, 2, nil}, {"y_other", Class, 3, nil}}, ""},
		"a label that the output does not have":  {[]labels{{"y", i, nil, []int32{0, 3}}}, Spec{Network: outputs([]int{3})}, nil, "has labels up to 3 (y_train: sample 1); output a has the 3 classes 0 … 2; is it the right dataset?"},
		"labels that begin with 1":               {[]labels{{"y", i, nil, []int32{3, 1}}}, Spec{Network: outputs([]int{3})}, nil, "has labels up to 3 (y_train: sample 0); output a has the 3 classes 0 … 2; they begin with 1, classes with 0: subtract 1 from y_train"},
		"what is to be ignored":                  {[]labels{{"y", i, nil, []int32{255, 0}}}, Spec{Network: outputs([]int{3})}, nil, "if 255 marks what is to be ignored, give it the class that is behind it"},
		"a class that no position has":           {[]labels{{"y", i, []int{2}, []int32{0, 1, 1, 5}}}, Spec{Network: outputs([]int{2, 3})}, nil, "has labels up to 5 (y_train: sample 1); output a has the 3 classes 0 … 2; is it the right dataset?"},
		"what is to be ignored at some position": {[]labels{{"y", i, []int{2}, []int32{0, 1, 255, 2}}}, Spec{Network: outputs([]int{2, 3})}, nil, "if 255 marks what is to be ignored"},
	} {
		t.Run(name, func(t *testing.T) {
			members := []member{{"x_train", npyBytes(f, []int{2, 2}, make([]float32, 4))}, {"x_test", npyBytes(f, []int{2, 2}, make([]float32, 4))}}
			for _, l := range c.labels {
				dims := append([]int{2}, l.dims...)
				for _, split := range []string{"_train", "_test"} {
					members = append(members, member{l.name + split, npyBytes(l.descr, dims, l.of)})
				}
			}
			d, err := Open(filepath.Join(folder(t, map[string][]byte{"d.npz": npzBytes(zip.Deflate, members...)}), "d.npz"), c.spec)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var got []told
			for _, target := range d.Train.Targets() {
				got = append(got, told{target.Name, target.Kind, target.Classes, target.Shape})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A shared label of several inputs, which are prepared and which stay as they are.
func TestWhichInputsArePrepared(t *testing.T) {
	real, other, ids := Input{Names: []string{"a"}, Shape: []int{2}}, Input{Names: []string{"b"}, Shape: []int{2}}, Input{Names: []string{"ids"}, Shape: []int{2}, Integer: true}
	half := Preprocessing{Scale: "0.5"}
	named := func(names ...string) Preprocessing { p := half; p.Inputs = names; return p }
	for name, c := range map[string]struct {
		inputs []Input
		made   Preprocessing
		want   []float32 // of the ones that every input's samples are
		err    string
	}{
		"the only one":            {[]Input{real}, half, []float32{0.5}, ""},
		"ids alone":               {[]Input{ids}, Preprocessing{}, []float32{1}, ""},
		"the one of real numbers": {[]Input{real, ids}, half, []float32{0.5, 1}, ""},
		"nothing to be done":      {[]Input{real, other}, Preprocessing{}, []float32{1, 1}, ""},
		"one of two":              {[]Input{real, other}, named("B"), []float32{1, 0.5}, ""},
		"both":                    {[]Input{real, other}, named("a", "b"), []float32{0.5, 0.5}, ""},
		"one of two, but which":   {[]Input{real, other}, half, nil, "which of the inputs a [2], b [2] are preprocessing, stored and augmentation for? preprocessing.inputs: [a] says so"},
		"one that there is not":   {[]Input{real, other}, named("c"), nil, `preprocessing.inputs names "c"; the network has a [2], b [2]`},
	} {
		t.Run(name, func(t *testing.T) {
			members := []member{{"y", npyBytes("<i4", []int{4}, make([]int32, 4))}}
			for _, in := range c.inputs {
				descr, values := "<f4", any([]float32{1, 1, 1, 1, 1, 1, 1, 1})
				if in.Integer {
					descr, values = "<i4", []int32{1, 1, 1, 1, 1, 1, 1, 1}
				}
				members = append(members, member{"x_" + in.Names[0], npyBytes(descr, []int{4, 2}, values)})
			}
			d, err := Open(filepath.Join(folder(t, map[string][]byte{"d.npz": npzBytes(zip.Store, members...)}), "d.npz"),
				Spec{Network: &Network{Inputs: c.inputs, Outputs: []Output{{Names: []string{"o"}, Shape: []int{2}}}}, Preprocessing: c.made})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("got %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			x := Sample(d.Train)
			if err := d.Train.Read(0, x); err != nil {
				t.Fatal(err)
			}
			for k, want := range c.want {
				if x[k][0] != want || x[k][1] != want {
					t.Errorf("input %d is %v, want %v", k, x[k], want)
				}
			}
		})
	}
}

func TestDeclarationsThatAreNone(t *testing.T) {
	root := filepath.Join(folder(t, npzWith()), "d.npz")
	for want, spec := range map[string]Spec{
		`target "Kinds" is not one of`:                                      {Target: "Kinds"},
		`stored.layout "Middle" is not one of [ChannelsLast ChannelsFirst]`: {Stored: Stored{Layout: "Middle"}},
		`stored.type "Bits" is not one of Uint8`:                            {Stored: Stored{Type: "Bits"}},
		"classes is -1; it is at least 1":                                   {Classes: -1},
		"classes is 1048577; it is at least 1 and at most 1048576":          {Classes: maxClasses + 1},
		"samples names 2 inputs; without a network one is expected":         {Samples: Samples{"a": "x", "b": "y"}},
		`samples names an input "z"; the network has a [2], b [2]`: {Samples: Samples{"z": "x"}, Network: &Network{Inputs: []Input{{Names: []string{"a"}, Shape: []int{2}},
			{Names: []string{"b"}, Shape: []int{2}}}}},
	} {
		if _, err := Open(root, spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
