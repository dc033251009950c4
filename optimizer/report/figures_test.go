package report

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

func TestFiguresInWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{short(0), "0"}, {short(0.12345), "0.123"}, {short(-1.5), "−1.5"}, {short(99.94), "99.9"}, {short(100), "100"}, {short(100.4), "100"}, {short(999.4), "999"}, {short(1000), "1,000"},
		{short(-1234.6), "−1,235"}, {short(1e15), "1e+15"}, {short(math.Inf(1)), "+Inf"},
		{grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(123456), "123,456"}, {grouped(-1234567), "−1,234,567"},
		{percent(1, 0), "0 %"}, {percent(1, 8), "12.5 %"},
		{duration(0), ""}, {duration(-1), ""}, {duration(1), "1 s"}, {duration(99), "99 s"}, {duration(100), "1 min 40 s"}, {duration(5999), "99 min 59 s"}, {duration(6000), "1 h 40 min"}, {duration(90061), "25 h 01 min"},
		{smaller("900", "300"), "3.0× smaller than float"}, {smaller("0", "300"), ""}, {smaller("900", "0"), ""}, {smaller("", "1"), ""}, {smaller("1", ""), ""}, {smaller("0.1", "0.4"), "0.2× smaller than float"},
		{times(10), "10 ×"}, {times(0.0123), "0.012 ×"},
		{cut("abc", 3), "abc"}, {cut("abcd", 3), "ab…"}, {cut("äöü", 3), "äöü"}, {cut("abc", 0), "…"}, {cut("abc", 1), "…"},
		{cutStart("abc", 3), "abc"}, {cutStart("abcd", 3), "…cd"}, {cutStart("äöü", 2), "…ü"}, {cutStart("abc", 1), "…"}, {cutStart("abc", 0), "…"},
		{cellText(0.000512), "5e-4"}, {cellText(0.00999), "0.01"}, {cellText(0.00123), "0.0012"}, {cellText(12.3), "12"},
		{between(Interval{Metric: measure.Accuracy, Low: "0.8", High: "0.9"}), "80.00 – 90.00 %"}, {between(Interval{Metric: measure.AUC, Low: "0.8", High: "0.9"}), "0.8000 – 0.9000"},
		{Constraint{Metric: measure.Accuracy, Min: "0.8", Max: "0.9"}.bound(), "≥ 80.00 % and ≤ 90.00 %"},
		{note(Layer{Weights: 20, Zeros: 1}), "float"}, {note(Layer{Weights: 20, Zeros: 2, Codes: 16}), "10.0 % zeros, 16 codes"}, {note(Layer{Weights: 20, Codes: 1}), "1 codes"},
		{dims([]int{3, 3, 8}), "3 × 3 × 8"}, {dims(nil), ""}, {opName("TRANSPOSE_CONV"), "transpose conv"}, {opName("BATCH_MATMUL"), "batch matmul"},
		{strings.Join(telling("net/a/MatMul;b"), "."), "net.a"}, {strings.Join(telling("MatMul"), "."), "MatMul"}, {strings.Join(telling("/a/kernel/ReadVariableOp"), "."), "a"}, {strings.Join(telling("/"), "."), "unnamed"},
		{string(relative("a/b c.tflite")), "a/b%20c.tflite"}, {string(relative("")), "#"}, {string(relative("/etc/passwd")), "#"}, {string(relative("a/../b")), "#"}, {string(relative("x:y/z")), "#"}, {string(relative("a/x:y")), "a/x:y"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestShortfallsThatOnlyBytesTellApartAreInBytes(t *testing.T) {
	for _, tt := range []struct{ value, max, want string }{
		{"99999", "99998", "Compressed 99,999 > 99,998 B"}, {"100000", "9000", "Compressed 100.0 > 9.0 kB"}, {"437574", "200000", "Compressed 437.6 > 200.0 kB"}, {"200001", "200000", "Compressed 200,001 > 200,000 B"},
	} {
		if got := (Shortfall{Constraint: Constraint{Metric: measure.CompressedBytes, Max: tt.max}, Value: tt.value}).brief(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
	both := Shortfall{Constraint: Constraint{Metric: measure.Accuracy, Min: "0.5", Max: "0.75"}, Value: "0.5"}
	for value, want := range map[string]string{"0.5": "Accuracy 50.00 > 75.00 %", "0.49": "Accuracy 49.00 < 50.00 %", "0.8": "Accuracy 80.00 > 75.00 %"} {
		if both.Value = value; both.brief() != want {
			t.Errorf("%q, want %q", both.brief(), want)
		}
	}
}

func TestPathsAreAsLongAsTellsLayersApart(t *testing.T) {
	for _, tt := range []struct{ names, want []string }{
		{[]string{"a/x/conv", "b/x/conv", "c/y/conv"}, []string{"a/x/conv", "b/x/conv", "y/conv"}},
		{[]string{"n/a/x/conv", "n/b/x/conv"}, []string{"a/x/conv", "b/x/conv"}},
		{[]string{"w", "w"}, []string{"w", "w"}},
		{[]string{"a/b/w", "a/b/w", "b/w"}, []string{"a/b/w", "a/b/w", "b/w"}},
		{nil, []string{}},
	} {
		var layers []Layer
		for _, name := range tt.names {
			layers = append(layers, Layer{Name: name})
		}
		if diff := cmp.Diff(tt.want, briefNames(layers)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestTheBestOfAColumnIsMarked(t *testing.T) {
	of := func(name measure.Name, values ...string) string {
		d := &Data{Stages: []Stage{{Name: "baseline"}}}
		for _, v := range values {
			d.Stages = append(d.Stages, Stage{Leaf: &Leaf{Metrics: []measure.Value{{Name: name, Value: v}}}})
		}
		return d.best([]measure.Name{name})[name]
	}
	for _, tt := range []struct{ got, want string }{
		{of(measure.Accuracy, "0.5", "0.9", "0.7"), "0.9"}, {of(measure.Accuracy, "0.5", "0.9"), "0.9"}, {of(measure.FileBytes, "500", "90", "700"), "90"}, {of(measure.FileBytes, "90", "500", "700"), "90"}, {of(measure.FileBytes, "700", "500", "90"), "90"},
		{of(measure.Accuracy, "0.5"), ""}, {of(measure.Accuracy, "0.5", ""), ""}, {of(measure.Accuracy, "0.5", "0.5"), ""}, {of(measure.Accuracy), ""}, {of(measure.Accuracy, "0.5", "0.50", "0.6"), "0.6"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestVerdictsOfTheComparison(t *testing.T) {
	leaf := func(samples int, confidence string) *Leaf {
		l := &Leaf{Technique: "PTQ", Metrics: metrics(0.9, 10), Samples: samples}
		if confidence != "" {
			l.Intervals = []Interval{{measure.Accuracy, "0.8", "0.95", confidence}}
		}
		return l
	}
	selected, missed := leaf(400, "0.95"), leaf(300, "0.9")
	selected.Selected, selected.Missed = true, []Shortfall{{Constraint: Constraint{Metric: measure.Accuracy}}}
	missed.Missed = []Shortfall{{Constraint: Constraint{Metric: measure.CompressedBytes}, Text: "too large"}, {Constraint: Constraint{Metric: measure.AccuracyDrop}}}
	d := &Data{Constraints: []Constraint{{Metric: measure.CompressedBytes, Max: "5"}}, Device: &Device{Name: "m4"}, Stages: []Stage{{Name: "baseline", Metrics: metrics(0.9, 100), Leaf: leaf(500, "0.95")},
		{Name: "float"}, {Name: "a", Leaf: selected}, {Name: "b", Leaf: missed}, {Name: "c", Leaf: leaf(100, "")}}}
	d.Stages[2].Leaf.Runs = "2 of 3"
	table := d.comparison()
	var got []string
	for _, r := range table.Rows {
		got = append(got, fmt.Sprintf("%s: %s; %s", r.Name, r.Verdict, r.Cells[len(r.Cells)-1].Text))
	}
	if diff := cmp.Diff([]string{"original: ; –", "baseline: meets all; –", "a: selected; 2 of 3", "b: misses Compressed, Drop; –", "c: meets all; –"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if table.Samples != 300 || table.Confidence != "0.95 or 0.9" || table.Test {
		t.Errorf("%d samples, confidence %s, test figures: %v", table.Samples, table.Confidence, table.Test)
	}
	if c := table.Rows[3].Cells[1]; !c.Fails || c.Title != "too large" || table.Rows[3].Cells[0].Fails {
		t.Errorf("%+v", table.Rows[3].Cells)
	}
	d.Constraints = nil
	if table := d.comparison(); table.Rows[1].Verdict != "" {
		t.Errorf("without constraints a leaf %s", table.Rows[1].Verdict)
	}
	d.Stages[0].Metrics = nil
	if table := d.comparison(); table.Rows[0].Name != "baseline" {
		t.Errorf("without figures of the original there is a row of %s", table.Rows[0].Name)
	}
}

func TestFiguresOfTheTestSplitStandWhereTheyDiffer(t *testing.T) {
	leaf := &Leaf{Test: []measure.Value{{Name: measure.Accuracy, Value: "0.9"}, {Name: measure.AUC, Value: "0.5"}}}
	values := []measure.Value{{Name: measure.Accuracy, Value: "0.9"}, {Name: measure.AUC, Value: "0.6"}}
	want := []cell{{Text: "90.00 %"}, {Text: "0.6000", Test: "test 0.5000"}, {Text: "–"}}
	if diff := cmp.Diff(want, cells([]measure.Name{measure.Accuracy, measure.AUC, measure.F1}, values, leaf, nil), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheLargestLayersAreDrawn(t *testing.T) {
	var layers []Layer
	for i := range maxDrawn {
		layers = append(layers, Layer{Name: fmt.Sprint("l", i), Weights: 100 - i, Density: CodeDensity([]int64{1}, codeSpan)})
	}
	d := &Data{Stages: []Stage{{Name: "baseline", Layers: layers}, {Name: "prune", Kind: "prune", Layers: layers[:1]}, {Name: "p2", Kind: "prune"},
		{Name: "qat", Kind: "quantize", Final: true, Leaf: &Leaf{Technique: "QAT", Selected: true, Layers: layers[:2]}}}}
	rows, omitted := d.densities()
	if len(rows) != maxDrawn || omitted != 0 {
		t.Fatalf("%d rows, %d omitted", len(rows), omitted)
	}
	var got []panel
	for _, r := range rows[:3] {
		for _, p := range r.Panels {
			p.Chart, p.Note = "", ""
			got = append(got, p)
		}
	}
	qat := panel{Stage: "qat", Technique: "QAT", Class: "selected"}
	if diff := cmp.Diff([]panel{{Stage: "model"}, {Stage: "prune"}, qat, {Stage: "model"}, qat, {Stage: "model"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	d.Stages[0].Layers = append([]Layer{{Name: "small", Weights: 1}, {Name: "large", Weights: 1000}}, layers...)
	rows, omitted = d.densities()
	if len(rows) != maxDrawn || omitted != 2 || rows[0].Name != "large" || rows[1].Name != "l0" || rows[maxDrawn-1].Name != "l22" {
		t.Errorf("%d rows from %s to %s, %d omitted", len(rows), rows[0].Name, rows[len(rows)-1].Name, omitted)
	}
	if rows, _ := (&Data{Stages: []Stage{{}}}).densities(); rows != nil {
		t.Error("no layers have densities")
	}
}

func TestTheHeaderHasFiveFiguresAndTwoMoreOfADevice(t *testing.T) {
	var values []measure.Value
	for i, name := range []measure.Name{measure.Accuracy, measure.FlashBytes, measure.ArenaBytes, measure.CompressedBytes, measure.FileBytes, measure.Sparsity, measure.Clusters, measure.LatencyMicros, "energy"} {
		values = append(values, measure.Value{Name: name, Value: fmt.Sprint(i + 1)})
	}
	names := func(d *Data, values []measure.Value) (out []string) {
		for _, f := range d.headFigures(&Leaf{Metrics: values}) {
			out = append(out, strings.TrimSuffix(f.Label+": "+f.Note, ": "))
		}
		return out
	}
	d := &Data{Stages: []Stage{{Metrics: []measure.Value{{Name: measure.Accuracy, Value: "0.95"}, {Name: measure.CompressedBytes, Value: "8"}}}}}
	size, quality := "Compressed: 2.0× smaller than float", "Accuracy: original 95.00 %"
	if diff := cmp.Diff([]string{quality, size, "File", "Sparsity: of prunable weights are zero", "Codes: distinct weights a layer at most"}, names(d, values)); diff != "" {
		t.Errorf("without a device (-want +got):\n%s", diff)
	}
	d.Device, d.Units = &Device{Name: "m4"}, map[measure.Name]string{"energy": "µJ"}
	if diff := cmp.Diff([]string{quality, "Flash: as it lies in flash", "Arena: as m4 takes it", "energy: µJ", size, "File", "Sparsity: of prunable weights are zero"}, names(d, values)); diff != "" {
		t.Errorf("of a device (-want +got):\n%s", diff)
	}
	d.Device = nil
	d.Stages[0] = Stage{Leaf: &Leaf{Metrics: values}}
	values[6].Value = fmt.Sprint(measure.NoClusters)
	if diff := cmp.Diff([]string{"Accuracy", "energy: µJ", "Compressed", "File", "Sparsity: of prunable weights are zero", "Latency: median, one thread"}, names(d, values)); diff != "" {
		t.Errorf("of a measurement, without the original's figures and clusters (-want +got):\n%s", diff)
	}
}

func TestConstraintsOfTheHeaderHoldOrFail(t *testing.T) {
	constraints := []Constraint{{Metric: measure.Accuracy, Min: "0.9"}, {Metric: measure.FileBytes, Max: "10"}}
	want := []limit{{"Accuracy ≥ 90.00 %", "holds"}, {"File ≤ 10 B", "fails"}}
	if diff := cmp.Diff(want, limits(constraints, &Leaf{Missed: []Shortfall{{Constraint: constraints[1]}}})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want[0].Class, want[1].Class = "unknown", "unknown"
	if diff := cmp.Diff(want, limits(constraints, nil)); diff != "" {
		t.Errorf("without a leaf (-want +got):\n%s", diff)
	}
}

func TestMetricsOfAllLeavesAreListed(t *testing.T) {
	d := &Data{Stages: []Stage{{Metrics: []measure.Value{{Name: "extra", Value: "1"}, {Name: measure.FileBytes, Value: "3"}}}, {},
		{Leaf: &Leaf{Metrics: []measure.Value{{Name: measure.MeanSquaredError, Value: "1"}, {Name: "more", Value: "1"}, {Name: "extra", Value: "1"}}}}}}
	if diff := cmp.Diff([]measure.Name{measure.MeanSquaredError, measure.FileBytes, "extra", "more"}, d.metrics()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := d.quality(); got != measure.MeanSquaredError {
		t.Errorf("quality is %s", got)
	}
	if got := (&Data{}).quality(); got != "" {
		t.Errorf("of nothing quality is %s", got)
	}
}

func TestRemarksOnLeaves(t *testing.T) {
	miss := func(n int) (out []Shortfall) {
		for range n {
			out = append(out, Shortfall{Constraint: Constraint{Metric: measure.AUC}, Text: "low"})
		}
		return out
	}
	d := &Data{}
	for i, tt := range []struct {
		stage       Stage
		constraints int
		status, tip string
		tag         string
		remarks     []string
	}{
		{Stage{Kind: "prune", State: StateSkipped, Message: "m"}, 0, "skipped", "m", "prune", []string{"skipped"}},
		{Stage{State: StateFailed, Message: "loss"}, 0, "failed", "loss", "failed", []string{"loss"}},
		{Stage{Kind: "prune", State: "Running"}, 0, "skipped", "", "prune", []string{"running"}},
		{Stage{Leaf: &Leaf{Technique: "QAT"}}, 0, "leaf", "meets every constraint", "QAT", nil},
		{Stage{Leaf: &Leaf{Technique: "title"}}, 1, "met", "meets every constraint", "", []string{"meets every constraint"}},
		{Stage{Leaf: &Leaf{Missed: miss(1)}}, 1, "missed", "low", "", []string{"AUC not measured"}},
		{Stage{Leaf: &Leaf{Missed: miss(2)}}, 1, "missed", "low; low", "", []string{"AUC not measured", "AUC not measured"}},
		{Stage{Leaf: &Leaf{Missed: miss(3)}}, 1, "missed", "low; low; low", "", []string{"AUC not measured", "and 2 more"}},
		{Stage{Leaf: &Leaf{Selected: true, Missed: miss(1)}}, 1, "selected", "low", "", []string{"selected", "AUC not measured"}},
	} {
		d.Constraints = make([]Constraint, tt.constraints)
		n := d.leafNode(&tt.stage, "title")
		if n.status != tt.status || n.tip != tt.tip || n.tag != tt.tag || !cmp.Equal(n.remarks, tt.remarks, cmpopts.EquateEmpty()) {
			t.Errorf("%d: %s, %q, %q, %q", i, n.status, n.tip, n.tag, n.remarks)
		}
	}
}

func TestFilesAreListedLeavesFirst(t *testing.T) {
	d := &Data{Stages: []Stage{{Name: "baseline", Leaf: &Leaf{Technique: "PTQ", File: &File{Path: "a.tflite", Digest: "sha256:0123456789abcdef"}}},
		{Name: "prune", Model: &File{Path: "m.tflite", Bytes: 1}, Leaf: &Leaf{Technique: "PTQ", Selected: true, File: &File{Path: "b.tflite", Bytes: 1234}}}, {Name: "none", Leaf: &Leaf{}}}}
	want := []fileEntry{{"baseline", "PTQ leaf", "", "0123456789ab…", "a.tflite", false}, {"prune", "PTQ leaf", "1,234 B", "", "b.tflite", true}, {"prune", "float model", "1 B", "", "m.tflite", false}}
	if diff := cmp.Diff(want, d.fileList()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStagesThatNameNoInputWorkOnTheModel(t *testing.T) {
	var got []string
	for _, e := range (&Data{Stages: []Stage{{Name: "baseline"}, {Name: "a", Epochs: []Epoch{{Loss: 3}, {Loss: 0.25}}}, {Name: "b", Input: "a"}}}).stageLog() {
		got = append(got, e.Input+":"+e.Last)
	}
	if diff := cmp.Diff([]string{":", "model:loss 0.25", "a:"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// network is a dense layer with a kernel [2, 4] that has a value of a type for each of its weights.
func network(typ schema.TensorType, data []byte, scale ...float32) *tflite.Model {
	kernel := &schema.TensorT{Name: "dense/kernel", Type: typ, Buffer: 1, Shape: []int32{2, 4}}
	float := schema.TensorTypeFLOAT32
	if scale != nil {
		kernel.Quantization = &schema.QuantizationParametersT{Scale: scale, ZeroPoint: make([]int64, len(scale))}
	}
	return &tflite.Model{ModelT: &schema.ModelT{
		Version: 3, Buffers: []*schema.BufferT{{}, {Data: data}},
		OperatorCodes: []*schema.OperatorCodeT{
			{BuiltinCode: schema.BuiltinOperatorRELU, DeprecatedBuiltinCode: int8(schema.BuiltinOperatorRELU), Version: 1},
			{BuiltinCode: schema.BuiltinOperatorFULLY_CONNECTED, DeprecatedBuiltinCode: int8(schema.BuiltinOperatorFULLY_CONNECTED), Version: 1},
		},
		Subgraphs: []*schema.SubGraphT{{
			Tensors: []*schema.TensorT{{Name: "x", Type: float, Shape: []int32{1, 4}}, kernel, {Name: "y", Type: float, Shape: []int32{1, 2}}, {Name: "r", Type: float, Shape: []int32{1, 4}}},
			Operators: []*schema.OperatorT{{Inputs: []int32{0}, Outputs: []int32{3}}, {OpcodeIndex: 1, Inputs: []int32{3, 1, -1}, Outputs: []int32{2},
				BuiltinOptions: &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsFullyConnectedOptions, Value: &schema.FullyConnectedOptionsT{}}}},
			Inputs: []int32{0}, Outputs: []int32{2},
		}},
	}}
}

func TestLayersAreDescribedAgainstTheOriginal(t *testing.T) {
	weights := []float32{0.5, -0.25, 0, 1.27, 0.11, 0.013, -1.27, 0.77}
	original := network(schema.TensorTypeFLOAT32, tflite.Float32Bytes(weights))
	layers, err := Layers(original, nil)
	if err != nil || len(layers) != 1 {
		t.Fatalf("%+v, %v", layers, err)
	}
	want := Layer{Name: "dense/kernel", Op: "FULLY_CONNECTED", Output: 2, Shape: []int{2, 4}, Type: "FLOAT32", Weights: 8, Zeros: 1, Bytes: 32,
		Compressed: measure.CompressedSize(tflite.Float32Bytes(weights)), Density: LayerDensity(weights, []int{2, 4}, 0)}
	if diff := cmp.Diff(want, layers[0]); diff != "" {
		t.Errorf("float (-want +got):\n%s", diff)
	}
	if layers, err = Layers(original, original); err != nil || layers[0].SNR != nil {
		t.Errorf("a model differs from itself: %+v, %v", layers, err)
	}

	codes, stored := make([]int8, len(weights)), make([]int64, len(weights))
	signal, noise := 0.0, 0.0
	for i, w := range weights {
		codes[i] = int8(math.Round(float64(w) * 100))
		stored[i] = int64(codes[i])
		signal, noise = signal+float64(w)*float64(w), noise+math.Pow(float64(w)-float64(float32(codes[i])*0.01), 2)
	}
	layers, err = Layers(network(schema.TensorTypeINT8, tflite.Int8Bytes(codes), 0.01), original)
	if err != nil {
		t.Fatal(err)
	}
	ratio := 10 * math.Log10(signal/noise)
	want = Layer{Name: "dense/kernel", Op: "FULLY_CONNECTED", Output: 2, Shape: []int{2, 4}, Type: "INT8", Weights: 8, Zeros: 1, Codes: 8, Bytes: 8,
		Compressed: measure.CompressedSize(tflite.Int8Bytes(codes)), SNR: &ratio, Density: CodeDensity(stored, codeSpan)}
	if diff := cmp.Diff(want, layers[0], cmpopts.EquateApprox(0.001, 0)); diff != "" {
		t.Errorf("int8 (-want +got):\n%s", diff)
	}
	if got := outputOf(original, 0); got != -1 {
		t.Errorf("what is no operator's weights has the output %d", got)
	}
}

func TestClusteredFloatWeightsAreCodes(t *testing.T) {
	values := make([]float32, 8)
	for i := range values {
		values[i] = []float32{0.5, -0.25}[i%2]
	}
	layers, err := Layers(network(schema.TensorTypeFLOAT32, tflite.Float32Bytes(values)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if l := layers[0]; l.Codes != 2 && l.Codes != 0 || l.Density.Discrete != (l.Codes > 0) || l.Density.total() != 8 {
		t.Errorf("%+v", l)
	}
}

func TestRatiosOfSignalToNoise(t *testing.T) {
	if snr([]float64{1}, []float64{1, 2}) != nil || snr(nil, nil) != nil || snr([]float64{1, 2}, []float64{1, 2}) != nil {
		t.Error("there is a ratio of what cannot be compared, or is equal")
	}
	if got := snr([]float64{3, 1}, []float64{3, 0}); got == nil || math.Abs(*got-10) > 1e-9 {
		t.Errorf("a signal of 10 and noise of 1 are %v dB", got)
	}
	if got := snr([]float64{0, 0}, []float64{0, 1}); got == nil || *got != -999 {
		t.Errorf("noise alone is %v dB", got)
	}
}
