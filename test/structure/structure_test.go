package structure

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/train"
)

var (
	graphs = flag.Int("graphs", 100, "random networks to build")
	from   = flag.Int("from", 0, "the first one's seed")
)

// refusals are the errors that a random network may end in, each with its reason.
var refusals = []struct{ pattern, reason string }{
	{"nothing to (prune|cluster); the model has weights", "depthwise kernels alone are pruned and clustered only where a rule names them"},
	{"nothing to quantize: operator .* stays float", "no operator has an int8 form: each is named with why"},
	{"codes from the simulation's on average, at most", "the network amplifies the roundings of codes: its leaf is honestly refused"},
	{"training diverged: the output of operator [0-9]+ (LOG|RSQRT|DIV|POW)", "int8 rounds what it reads to where it has no value"},
	{"training: no output is trained", "all outputs are truths or places: there is nothing to be near to"},
	{"nothing to train: no weight has a differentiable path to the loss", "constants other than weights and biases stay as they are: checked by trains"},
}

func refused(err error) bool {
	for _, r := range refusals {
		if regexp.MustCompile(r.pattern).MatchString(err.Error()) {
			return true
		}
	}
	return false
}

func TestRandomNetworks(t *testing.T) {
	n := *graphs
	if testing.Short() {
		n = min(n, 20)
	}
	used, refusals, cut := map[schema.BuiltinOperator]int{}, 0, 0
	for seed := *from; seed < *from+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c := &check{T: t, seed: seed, made: generate(uint64(seed))}
			for _, code := range c.made.used {
				used[code]++
			}
			defer func() {
				if value := recover(); value != nil {
					t.Log(describe(c.made.model))
					panic(value)
				}
				if t.Failed() {
					t.Log(describe(c.made.model))
				}
			}()
			if err := c.read(c.run); err != nil {
				if !refused(err) {
					t.Error(err)
				}
				refusals++
			}
			cut += int(truth(c.cut))
		})
	}
	t.Logf("%d networks, %d refused with a known reason, %d operators, channels taken out of %d", n, refusals, len(used), cut)
}

// Every operator that runs with floats is among those that networks are built of, and has a definition.
func TestEveryOperatorIsDrawn(t *testing.T) {
	for _, o := range op.All() {
		if o.NoForward == "" && makers[o.Code] == nil {
			t.Errorf("%s is in no random network", o.Code)
		}
	}
	for code := range makers {
		if definitions[code] == nil {
			t.Errorf("%s has no definition", code)
		}
	}
}

func describe(m *tflite.Model) string {
	var text strings.Builder
	g := m.Subgraph()
	name := func(t int32) string {
		if t < 0 {
			return "none"
		}
		s := g.Tensors[t]
		constant := ""
		if len(m.Data(s)) > 0 {
			constant = "const"
			if s.Type == schema.TensorTypeINT32 && len(m.Data(s)) < 64 {
				a, _ := constantOf(m, t)
				constant = fmt.Sprint(a.v)
			}
		}
		return fmt.Sprintf("%d%s%v%s", t, constant, s.Shape, strings.TrimPrefix(s.Type.String(), "FLOAT32"))
	}
	fmt.Fprintf(&text, "inputs %v, outputs %v\n", g.Inputs, g.Outputs)
	for i, o := range g.Operators {
		code, _ := m.Op(o)
		fmt.Fprintf(&text, "%d %s(", i, code)
		for _, t := range o.Inputs {
			text.WriteString(name(t) + " ")
		}
		text.WriteString(") →")
		for _, t := range o.Outputs {
			text.WriteString(" " + name(t))
		}
		if o.BuiltinOptions != nil {
			fmt.Fprintf(&text, " %+v", o.BuiltinOptions.Value)
		}
		text.WriteString("\n")
	}
	return text.String()
}

func constantOf(m *tflite.Model, t int32) (array, error) {
	tensor := m.Subgraph().Tensors[t]
	return constant(tensor, m.Data(tensor))
}

// check is one random network's.
type check struct {
	*testing.T
	seed int
	made *made
	cut  bool // channels were taken out
}

// read reads the network as a file and goes on with it.
func (c *check) read(next func(*lineage.Network) error) error {
	data, err := c.made.model.Marshal()
	if err != nil {
		return err
	}
	c.keep("float", data)
	var shapes [][]int
	for _, x := range c.made.samples[0] {
		shapes = append(shapes, x.shape[1:])
	}
	n, err := lineage.Read(data, shapes...)
	if err != nil {
		return err
	}
	return next(n)
}

func (c *check) run(n *lineage.Network) error {
	if err := c.forward(n.Model()); err != nil {
		return err
	}
	if err := c.gradient(n.Model()); err != nil {
		return err
	}
	run := c.lineage()
	out, err := run.Baseline(context.Background(), n)
	if err != nil {
		return fmt.Errorf("PTQ: %w", err)
	}
	if err := c.leaf("ptq", out.Leaf); err != nil {
		return err
	}
	if err := c.sixteen(n); err != nil {
		return err
	}
	if err := c.four(n); err != nil {
		return err
	}
	if err := c.channels(n); err != nil {
		return err
	}
	techniques := []lineage.Technique{
		lineage.Prune{Options: prune.Options{Sparsity: 0.5, Schedule: prune.Schedule{Kind: prune.Constant}}},
		lineage.Cluster{Options: cluster.Options{Clusters: 8, Entropy: 1}}, lineage.Quantize{},
	}
	technique := techniques[c.seed%3]
	if len(n.Kernels()) == 0 && !technique.Kind().Final {
		return nil
	}
	out, err = run.Apply(context.Background(), n, technique)
	if errors.Is(err, float.ErrNothingToTrain) && c.trains(n.Model()) {
		c.Errorf("nothing is trained, but gradients reach weights")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", technique.Kind().Name, err)
	}
	return c.leaf(technique.Kind().Name, out.Leaf)
}

// sixteen makes leaves of int16 activations, or of both widths: after training, of every third network also in it.
func (c *check) sixteen(n *lineage.Network) error {
	run := c.lineage()
	run.Leaf.Activations = lineage.Activations16
	if c.seed%4 > 1 { // every other layer, or all but those
		run.Leaf.Rules = []lineage.LeafRule{{Layers: "*[13579]", Activations: lineage.Activations8}, {Layers: "*1*", Activations: lineage.Activations8}}[c.seed%2:][:1]
		if run.Leaf.Check(n) != nil { // there is no such layer
			run.Leaf.Rules = nil
		}
	}
	out, err := run.Baseline(context.Background(), n)
	if err == nil {
		err = c.leaf("ptq16", out.Leaf)
	}
	if err == nil && c.seed%3 == 1 {
		if out, err = run.Apply(context.Background(), n, lineage.Quantize{}); err == nil {
			err = c.leaf("qat16", out.Leaf)
		}
	}
	if err != nil && !strings.HasPrefix(err.Error(), "nothing to quantize") {
		return fmt.Errorf("int16: %w", err)
	}
	return nil
}

// four makes leaves with weights of 4 bits: of every other network after training, of every third of those also in it.
func (c *check) four(n *lineage.Network) error {
	if c.seed%2 == 1 || len(n.Kernels()) == 0 {
		return nil
	}
	run := c.lineage()
	run.Leaf.Weights = lineage.Weights4
	out, err := run.Baseline(context.Background(), n)
	if err == nil {
		err = c.leaf("ptq4", out.Leaf)
	}
	if err == nil && c.seed%3 == 1 {
		if out, err = run.Apply(context.Background(), n, lineage.Quantize{}); err == nil {
			err = c.leaf("qat4", out.Leaf)
		}
	}
	if err != nil {
		return fmt.Errorf("int4: %w", err)
	}
	return nil
}

// trains reports whether a gradient reaches weights or biases.
func (c *check) trains(m *tflite.Model) bool {
	net, err := float.Compile(m, 1)
	return err == nil && slices.ContainsFunc(net.Params, func(p *float.Param) bool { return p.Trainable && p.Kind != float.Constant })
}

// keep writes a model and its samples to the folder that ESPALIER_KEEP_LEAVES names.
func (c *check) keep(kind string, data []byte) {
	if folder := os.Getenv("ESPALIER_KEEP_LEAVES"); folder != "" {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%04d_%s.tflite", c.seed, kind)), data, 0o644); err != nil {
			c.Fatal(err)
		}
	}
}

// together joins the samples' values of an input.
func (c *check) together(input int) []float32 {
	var x []float32
	for _, s := range c.made.samples {
		for _, v := range s[input].v {
			x = append(x, float32(v))
		}
	}
	return x
}

// batch is how many samples run at once.
func (c *check) batch(m *tflite.Model) (int, error) {
	_, err := ir.Parse(m, probes)
	var batch *ir.BatchError
	switch {
	case err == nil:
		return probes, nil
	case !errors.As(err, &batch):
		return 0, err
	case c.made.open:
		c.Errorf("the network does not run in batches: %v", err)
	}
	return 1, nil
}

// forward compares the outputs of the file and of what it was specialized to with the evaluator's.
func (c *check) forward(m *tflite.Model) error {
	batch, err := c.batch(m)
	if err != nil {
		return err
	}
	net, err := float.Compile(m, batch)
	if err != nil {
		return err
	}
	e := net.NewExec(false)
	for first := 0; first < probes; first += batch {
		for i := range net.Graph.Inputs {
			x := c.together(i)
			size := len(x) / probes
			e.SetInput(i, x[first*size:(first+batch)*size])
		}
		e.Forward()
		for s := range batch {
			want, err := evaluate(c.made.model, c.made.samples[first+s], nil)
			if err != nil {
				c.Fatal(err)
			}
			specialized, err := evaluate(m, c.made.samples[first+s], nil)
			if err != nil {
				return fmt.Errorf("the specialized network: %w", err)
			}
			for k, t := range c.made.model.Subgraph().Outputs {
				wanted := want.values[t]
				got := e.Output(k)
				size := len(got) / batch
				c.equal(fmt.Sprintf("output %d of sample %d, specialized", k, first+s), specialized.values[m.Subgraph().Outputs[k]].v, wanted.v, 1e-9)
				c.equal(fmt.Sprintf("output %d of sample %d", k, first+s), widened(got[s*size:(s+1)*size]), wanted.v, 2e-5)
			}
		}
	}
	return nil
}

func widened(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// equal compares values relative to the largest.
func (c *check) equal(what string, got, want []float64, tolerance float64) {
	c.Helper()
	if len(got) != len(want) {
		c.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	top := 1.0
	for _, v := range want {
		top = max(top, math.Abs(v))
	}
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= tolerance*top) {
			c.Errorf("%s: value %d is %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

// gradient compares the gradient of every constant that trains with differences of the evaluator, along a random direction.
func (c *check) gradient(m *tflite.Model) error {
	batch, err := c.batch(m)
	if err != nil {
		return err
	}
	net, err := float.Compile(m, batch)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(net.Params, func(p *float.Param) bool { return p.Trainable }) {
		return nil
	}
	e := net.NewExec(true)
	random := rand.New(rand.NewPCG(uint64(c.seed), 5))
	g := net.NewGrads()
	for i := range net.Graph.Inputs {
		e.SetInput(i, c.together(i))
	}
	e.Forward()
	e.ClearLossGrads()
	slopes := map[int][]float32{} // of the loss, by loss tensor
	for i := range net.Graph.Outputs {
		t := net.LossTensor(i)
		into := e.LossGrad(t)
		if slopes[t] != nil || into == nil {
			continue
		}
		for range into {
			slopes[t] = append(slopes[t], float32(random.NormFloat64()))
		}
		for k, v := range slopes[t] {
			into[k] += v
		}
	}
	e.Backward(g)
	loss := func(set map[int32]array) float64 {
		sum := 0.0
		for s := range batch {
			done, err := evaluate(m, c.made.samples[s], set)
			if err != nil {
				c.Fatal(err)
			}
			for _, t := range slices.Sorted(mapsKeys(slopes)) {
				v := done.values[int32(t)].v
				for k := range v {
					sum += v[k] * float64(slopes[t][s*len(v)+k])
				}
			}
		}
		return sum
	}
	for i, p := range net.Params {
		if !p.Trainable {
			continue
		}
		base, err := constantOf(m, int32(p.Tensor))
		if err != nil {
			c.Fatal(err)
		}
		direction := make([]float64, len(base.v))
		analytic, size := 0.0, 0.0
		for k := range direction {
			direction[k] = random.NormFloat64()
			analytic += direction[k] * float64(g.Param[i][k])
			size += math.Abs(direction[k] * float64(g.Param[i][k]))
		}
		at := func(h float64) float64 {
			moved := newArray(base.shape...)
			for k := range moved.v {
				moved.v[k] = base.v[k] + h*direction[k]
			}
			return loss(map[int32]array{int32(p.Tensor): moved})
		}
		const h = 1e-6
		left, right := (at(0)-at(-h))/h, (at(h)-at(0))/h
		slope := (left + right) / 2
		if tolerance := 1e-3 * (size + math.Abs(slope) + 1); math.Abs(left-right) < tolerance && math.Abs(slope-analytic) > tolerance {
			c.Errorf("gradient of %q: %v along a direction, differences give %v", p.Name, analytic, slope)
		}
	}
	return nil
}

func mapsKeys[V any](m map[int]V) func(func(int) bool) {
	return func(yield func(int) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// lineage is how leaves are made: one step of training, toward the original's answers.
func (c *check) lineage() *lineage.Run {
	config := train.DefaultConfig()
	config.Epochs, config.BatchSize, config.LearningRate, config.Distillation.Weight = 1, 16, 1e-3, 1
	s := &source{made: c.made, seed: uint64(c.seed)}
	run := &lineage.Run{Data: &dataset.Dataset{Train: s, Test: s}, Training: config, Workers: 1}
	if c.seed%2 == 1 {
		run.Leaf.IO = lineage.Float32
	}
	return run
}

// source draws samples as the network's probes were drawn.
type source struct {
	made *made
	seed uint64
}

func (s *source) Len() int { return 16 }

func (s *source) Inputs() []dataset.Array {
	var list []dataset.Array
	for i, x := range s.made.samples[0] {
		list = append(list, dataset.Array{Name: fmt.Sprintf("input%d", i), Shape: x.shape[1:]})
	}
	return list
}

func (s *source) Targets() []dataset.Target { return nil }

func (s *source) Read(i int, x [][]float32) error {
	random := rand.New(rand.NewPCG(s.seed, uint64(i)))
	for k := range x {
		for j := range x[k] {
			x[k][j] = float32(random.NormFloat64())
			if rows := s.made.rows[k]; rows > 0 {
				x[k][j] = float32(random.IntN(rows))
			}
		}
	}
	return nil
}

func (s *source) Truth(int, [][]float32) error { return nil }

// leaf reads a leaf again and compares the fast paths with the plain loops, byte for byte.
func (c *check) leaf(kind string, leaf *tflite.Model) error {
	data, err := leaf.Marshal()
	if err != nil {
		return err
	}
	c.keep(kind, data)
	again, err := tflite.Read(data)
	if err != nil {
		return fmt.Errorf("the leaf read again: %w", err)
	}
	fast, err := integer.Compile(again, 1)
	if err != nil {
		return fmt.Errorf("the leaf: %w", err)
	}
	plain, err := integer.Compile(again, 1, integer.Reference())
	if err != nil {
		return fmt.Errorf("the leaf, plain: %w", err)
	}
	random := rand.New(rand.NewPCG(uint64(c.seed), 6))
	for range 4 {
		for i, input := range fast.Graph().Inputs {
			x := make([]byte, len(fast.Tensor(input)))
			c.codes(random, i, fast.Graph().Tensors[input].Type, x)
			if err := fast.SetInputBytes(i, x); err != nil {
				return err
			}
			if err := plain.SetInputBytes(i, x); err != nil {
				return err
			}
		}
		if errFast, errPlain := fast.Run(), plain.Run(); errFast != nil || errPlain != nil {
			return fmt.Errorf("%s: running the leaf: %w", kind, errors.Join(errFast, errPlain))
		}
		for i := range fast.Graph().Outputs {
			if !bytes.Equal(fast.OutputBytes(i), plain.OutputBytes(i)) {
				c.Errorf("%s: output %d: fast paths give %v, plain loops %v", kind, i, fast.Output(i), plain.Output(i))
			}
		}
	}
	return nil
}

// codes fills an input with values of its type: all codes of int8 and int16, normal floats, ids.
func (c *check) codes(random *rand.Rand, i int, typ schema.TensorType, x []byte) {
	switch typ {
	case schema.TensorTypeINT8, schema.TensorTypeINT16:
		for k := range x {
			x[k] = byte(random.IntN(256))
		}
	case schema.TensorTypeINT32:
		for k := 0; k < len(x); k += 4 {
			binary.LittleEndian.PutUint32(x[k:], uint32(random.IntN(c.made.rows[i])))
		}
	default:
		for k := 0; k < len(x); k += 4 {
			binary.LittleEndian.PutUint32(x[k:], math.Float32bits(float32(random.NormFloat64())))
		}
	}
}
