package float

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// quantizeAll attaches fake quantization to every activation, with ranges observed on random inputs: tensors that only move
// values share their input's.
func quantizeAll(t testing.TB, n *Network, learn bool) {
	t.Helper()
	e := n.NewExec(false)
	for i := range n.Graph.Inputs {
		e.SetInput(i, normal(len(e.Input(i))))
	}
	e.Forward()
	for i := range n.Graph.Tensors {
		tensor := &n.Graph.Tensors[i]
		if n.constants[i] != nil || tensor.Type != schema.TensorTypeFLOAT32 || tensor.Const != nil {
			continue
		}
		if tensor.Producer >= 0 {
			if b := n.full.layers[tensor.Producer].base(); b.role != computes {
				n.Act[i] = n.Act[b.in[0]]
				continue
			}
		}
		lo, hi := float32(0), float32(1e-3)
		for _, v := range e.Tensor(i) {
			lo, hi = min(lo, v), max(hi, v)
		}
		scale := (hi - lo) / 255
		n.Act[i] = &ActQuant{Scale: scale, ZeroPoint: int32(math.Round(float64(-128 - lo/scale))), Learn: learn}
	}
}

func TestStepsAllocateNothing(t *testing.T) {
	for _, name := range []string{"mnist_cnn_float", "kws_ref_float", "pretrainedResnet", "ad01_fp32", "ops/se_block_f32", "ops/inverted_f32", "ops/transpose_conv_f32", "ops/resize_bilinear_f32"} {
		m := readModel(t, testmaterial.Path(t, "models/"+name+".tflite"))
		for _, mode := range []string{"float", "quantized", "learned ranges"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				n, err := Compile(m, 4)
				if err != nil {
					t.Fatal(err)
				}
				n.inputGradients = !trainable(n)
				if mode != "float" {
					quantizeAll(t, n, mode == "learned ranges")
				}
				e, g, x := n.NewExec(true), n.NewGrads(), normal(n.Graph.Numel(n.Graph.Inputs[0]))
				step := func() {
					n.Refresh()
					for _, k := range []int{4, 3} {
						if err := e.SetBatch(k); err != nil {
							t.Fatal(err)
						}
						e.SetInput(0, x)
						e.Forward()
						copy(e.LossGrad(e.net.LossTensor(0)), x)
						e.Backward(g)
					}
				}
				step()
				if allocs := testing.AllocsPerRun(3, step); allocs > 0 {
					t.Errorf("a step allocates %v times", allocs)
				}
			})
		}
	}
}

// small is a network with a convolution, pooling and a dense layer in front of a softmax.
func small() *tflite.Model {
	b := tflitetest.New()
	x := b.Input("x", 1, 8, 8, 2)
	y := b.Conv("conv", x, normal(4*9*2), normal(4), 4, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = b.Pool("pool", schema.BuiltinOperatorMAX_POOL_2D, y, 2, 2, schema.PaddingVALID)
	y = b.Dense("dense", b.Flatten("flat", y), normal(5*64), normal(5), 5, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	return b.Model()
}

func TestParamsDescribeTheModel(t *testing.T) {
	n, err := Compile(small(), 2)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name      string
		Kind      string
		Axis, N   int
		Trainable bool
	}
	var got []row
	for _, p := range n.Params {
		got = append(got, row{p.Name, p.Kind.String(), p.Axis, len(p.Value), p.Trainable})
	}
	want := []row{
		{"conv/kernel", "kernel", 0, 72, true}, {"conv/bias", "bias", 0, 4, true},
		{"dense/kernel", "dense weights", 0, 320, true}, {"dense/bias", "bias", 0, 5, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if name := n.Graph.Tensors[n.LossTensor(0)].Name; name != "dense" || n.ends[0].Last != ir.SoftmaxEnd {
		t.Errorf("the loss attaches at %q with ending %v, want the logits", name, n.ends[0].Last)
	}
}

func TestMicroBatchesAddUpToTheWholeBatch(t *testing.T) {
	m := small()
	const samples = 7
	x := normal(samples * 8 * 8 * 2)
	d := normal(samples * 5)
	gradients := func(microBatch int) *Grads {
		n, err := Compile(m, microBatch)
		if err != nil {
			t.Fatal(err)
		}
		e, g := n.NewExec(true), n.NewGrads()
		for first := 0; first < samples; first += microBatch {
			k := min(microBatch, samples-first)
			if err := e.SetBatch(k); err != nil {
				t.Fatal(err)
			}
			e.SetInput(0, x[first*128:(first+k)*128])
			e.Forward()
			copy(e.LossGrad(e.net.LossTensor(0)), d[first*5:(first+k)*5])
			e.Backward(g)
		}
		return g
	}
	want := gradients(samples)
	for _, microBatch := range []int{1, 2, 4} {
		got := gradients(microBatch)
		for i := range want.Param {
			if err, at := worst(got.Param[i], want.Param[i]); err > 1e-5 {
				t.Errorf("micro-batches of %d: gradient of parameter %d differs by %.2g at %d", microBatch, i, err, at)
			}
		}
	}
}

func TestRefreshMakesNewValuesCount(t *testing.T) {
	n, err := Compile(small(), 1)
	if err != nil {
		t.Fatal(err)
	}
	e := n.NewExec(false)
	e.SetInput(0, normal(128))
	e.Forward()
	before := append([]float32(nil), e.Tensor(n.LossTensor(0))...)
	for _, p := range n.Params {
		for i := range p.Value {
			p.Value[i] *= 2
		}
	}
	n.Refresh()
	e.Forward()
	if cmp.Equal(before, e.Tensor(n.LossTensor(0))) {
		t.Error("the outputs did not change with the parameters")
	}
}

func TestWhatCannotBeDifferentiatedFreezesWhatLiesBeforeIt(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 6)
	y := b.Dense("before", x, normal(30), normal(5), 5, tflitetest.ReLU)
	y = b.Unary("round", schema.BuiltinOperatorROUND, y)
	b.Output(b.Dense("after", y, normal(20), normal(4), 4, tflitetest.None))
	n, err := Compile(b.Model(), 2)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, p := range n.Params {
		got[p.Name] = p.Trainable
	}
	want := map[string]bool{"before/kernel": false, "before/bias": false, "after/kernel": true, "after/bias": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func trainable(n *Network) bool {
	return slices.ContainsFunc(n.Params, func(p *Param) bool { return p.Trainable })
}

func TestTheLossAttachesAtTheLastDifferentiableTensor(t *testing.T) {
	logits := func(b *builder) int32 {
		return b.Dense("logits", b.Input("x", 1, 6), normal(24), normal(4), 4, tflitetest.None)
	}
	for _, c := range []struct {
		name  string
		build func(b *builder) int32
		want  ir.Last
		beta  float32
	}{
		{"plain output", logits, ir.PlainEnd, 1},
		{"softmax", func(b *builder) int32 { return b.Softmax("p", logits(b)) }, ir.SoftmaxEnd, 1},
		{"softmax with a factor", func(b *builder) int32 {
			x := logits(b)
			return b.Op("p", schema.BuiltinOperatorSOFTMAX, schema.BuiltinOptionsSoftmaxOptions, &schema.SoftmaxOptionsT{Beta: 2}, b.Shape(x), x)
		}, ir.SoftmaxEnd, 2},
		{"reshaped softmax", func(b *builder) int32 { return b.Flatten("f", b.Softmax("p", logits(b))) }, ir.SoftmaxEnd, 1},
		{"logistic", func(b *builder) int32 { return b.Unary("p", schema.BuiltinOperatorLOGISTIC, logits(b)) }, ir.LogisticEnd, 1},
		{"an operator without gradient", func(b *builder) int32 { return b.Unary("f", schema.BuiltinOperatorFLOOR, logits(b)) }, ir.PlainEnd, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tflitetest.New()
			b.Output(c.build(b))
			n, err := Compile(b.Model(), 2)
			if err != nil {
				t.Fatal(err)
			}
			loss := n.ends[0]
			if name := n.Graph.Tensors[loss.Tensor].Name; name != "logits" || loss.Last != c.want || loss.Beta != c.beta {
				t.Errorf("got %q %+v, want the logits, ending %v, factor %v", name, loss, c.want, c.beta)
			}
		})
	}
}

func TestModelsThatCannotRunAreRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name, want string
		build      func(b *builder) int32
	}{
		{"an operator that is not supported", "operator 0 LSTM", func(b *builder) int32 {
			return b.Unary("y", schema.BuiltinOperatorLSTM, b.Input("x", 1, 4))
		}},
		{"convolution weights that are computed", "its weights", func(b *builder) int32 {
			w := b.Unary("w", schema.BuiltinOperatorTANH, b.Const("c", normal(8), 2, 1, 1, 4))
			o := &schema.Conv2DOptionsT{StrideH: 1, StrideW: 1, DilationHFactor: 1, DilationWFactor: 1}
			return b.Op("y", schema.BuiltinOperatorCONV_2D, schema.BuiltinOptionsConv2DOptions, o, []int32{1, 3, 3, 2}, b.Input("x", 1, 3, 3, 4), w)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := tflitetest.New()
			b.Output(c.build(b))
			_, err := Compile(b.Model(), 1)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestQuantizedInt8ModelsAreRefused(t *testing.T) {
	_, err := Compile(readModel(t, testmaterial.Path(t, "models/kws_ref_model.tflite")), 1)
	if err == nil || !strings.Contains(err.Error(), "import") {
		t.Errorf("got %v, want advice to import the model", err)
	}
}

func TestASmallerExecGivesTheSameOutputs(t *testing.T) {
	m := readModel(t, testmaterial.Path(t, "models/pretrainedResnet.tflite"))
	n, err := Compile(m, 4)
	if err != nil {
		t.Fatal(err)
	}
	keeping, reusing, x := n.NewExec(false), n.NewForwardExec(), normal(n.Graph.Numel(n.Graph.Inputs[0]))
	for _, e := range []*Exec{keeping, reusing} {
		e.SetInput(0, x)
		e.Forward()
	}
	if diff := cmp.Diff(keeping.Output(0), reusing.Output(0)); diff != "" {
		t.Error(diff)
	}
	if len(reusing.arena) > len(keeping.arena)/2 {
		t.Errorf("%d floats instead of %d: buffers are not reused", len(reusing.arena), len(keeping.arena))
	}
}

func TestDenseWeightsThatAreNoFloatsAreRefused(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4)
	y := b.Dense("dense", x, make([]float32, 8), nil, 2, tflitetest.None)
	b.Output(y)
	m := b.Model()
	m.Subgraph().Tensors[1].Type = schema.TensorTypeINT32
	if _, err := Compile(m, 1); err == nil || !strings.Contains(err.Error(), "only float32 is supported") {
		t.Errorf("got %v, want an error naming the weights", err)
	}
}

// At a corner the weights of row and column can come to (1 − 1/6)·(1 + 1/5) = 1, with other pixels still to be mixed in.
func TestResizingMixesWhereTheFirstWeightIsOne(t *testing.T) {
	b := tflitetest.New()
	x := b.Input("x", 1, 4, 3, 1)
	o := &schema.ResizeBilinearOptionsT{HalfPixelCenters: true}
	b.Output(b.Op("y", schema.BuiltinOperatorRESIZE_BILINEAR, schema.BuiltinOptionsResizeBilinearOptions, o, []int32{1, 3, 5, 1}, x, b.Ints("size", 3, 5)))
	n, err := Compile(b.Model(), 1)
	if err != nil {
		t.Fatal(err)
	}
	e := n.NewExec(false)
	e.SetInput(0, []float32{0, 0, 0, 6, 6, 6, 0, 0, 0, 0, 0, 0})
	e.Forward()
	if got := e.Output(0)[0]; math.Abs(float64(got)-1) > 1e-6 {
		t.Errorf("the corner is %v, want a sixth of the second row's 6", got)
	}
}
