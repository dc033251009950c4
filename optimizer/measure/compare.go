package measure

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/interval"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/stream"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Comparison is how far model B is from model A.
type Comparison struct {
	Samples int     `json:"samples"`
	Metrics Metrics `json:"metrics"` // of B, with Agreement and AccuracyDrop against A
	Other   Metrics `json:"other"`   // of A
	// Intervals are those of Metrics that have one, with 95 % confidence; OtherIntervals are A's.
	Intervals      map[Name]interval.Interval `json:"intervals,omitempty"`
	OtherIntervals map[Name]interval.Interval `json:"otherIntervals,omitempty"`
	// LayerSamples are the first of the Samples that Output and Layers are of.
	LayerSamples int `json:"layerSamples"`
	// Output is the difference between the models' outputs, value by value.
	Output Difference `json:"output"`
	// Layers are the activations that both models have under the same name, in A's order. Tensors of a model without names have those of the
	// other's, by its operators.
	Layers []LayerDifference `json:"layers"`
	// Constants are the constants that both have under the same name.
	Constants []ConstantDifference `json:"constants"`
	// OnlyA and OnlyB are names of constants and activations that the other model lacks, or has in another size.
	OnlyA []string `json:"onlyA,omitempty"`
	OnlyB []string `json:"onlyB,omitempty"`
}

// Difference sums up how far values of B are from A's.
type Difference struct {
	MeanSquaredError float64  `json:"meanSquaredError"`
	Largest          float64  `json:"largest"` // absolute difference
	Decibel          *float64 `json:"snr"`     // signal-to-noise ratio, 10·log₁₀(Σa² / Σ(a−b)²); nil where the values are equal
}

// LayerDifference is the difference of one activation over the samples.
type LayerDifference struct {
	Name string `json:"name"`
	A, B int    // tensor indices
	Difference
}

// ConstantDifference is the difference of one constant.
type ConstantDifference struct {
	Name     string `json:"name"`
	A, B     int    // tensor indices
	Elements int    `json:"elements"`
	Changed  int    `json:"changed"` // real values that differ
	ZerosA   int    `json:"zerosA"`
	ZerosB   int    `json:"zerosB"`
	CodesA   int    `json:"codesA"` // distinct stored values
	CodesB   int    `json:"codesB"`
	Difference
}

// sums gathers a Difference.
type sums struct{ signal, noise, largest, n float64 }

func (s *sums) add(a, b float64) {
	d := a - b
	s.signal, s.noise, s.n = s.signal+float64(a*a), s.noise+float64(d*d), s.n+1
	s.largest = max(s.largest, math.Abs(d))
}

func (s *sums) difference() Difference {
	d := Difference{Largest: s.largest}
	if s.n > 0 {
		d.MeanSquaredError = s.noise / s.n
	}
	if s.noise > 0 {
		snr := math.Inf(-1)
		if s.signal > 0 {
			snr = 10 * math.Log10(s.signal/s.noise)
		}
		snr = max(snr, -999) // JSON has no infinity
		d.Decibel = &snr
	}
	return d
}

// Compare compares two models of the same task: their metrics on all samples of a source, outputs and activations value by value on
// the first layerSamples of them (default 64), and their constants; of sequences that are too long to be unrolled, on their first steps. source may be
// nil: constants only.
func Compare(ctx context.Context, a, b []byte, source dataset.Source, layerSamples int, o Options) (*Comparison, error) {
	beginnings, err := beginningsOf(source, a, b)
	if err != nil {
		return nil, err
	}
	left, err := load("first", a, beginnings)
	if err != nil {
		return nil, err
	}
	right, err := load("second", b, beginnings)
	if err != nil {
		return nil, err
	}
	switch {
	case right.model.Bare:
		left.lend(right)
	case left.model.Bare:
		right.lend(left)
	}
	c := &Comparison{Metrics: Metrics{}, Other: Metrics{}}
	pairs := c.pair(left, right)
	if err := c.constants(left.model, right.model, pairs); err != nil {
		return nil, err
	}
	if err := c.gates(left, right); err != nil {
		return nil, err
	}
	if source == nil {
		return c, nil
	}
	if layerSamples <= 0 {
		layerSamples = 64
	}
	c.LayerSamples = min(layerSamples, source.Len())
	if err := c.layers(ctx, left, right, pairs, beginnings, c.LayerSamples); err != nil {
		return nil, err
	}
	answersA, err := Run(ctx, a, source, o)
	if err != nil {
		return nil, fmt.Errorf("first model: %w", err)
	}
	answersB, err := Run(ctx, b, source, o)
	if err != nil {
		return nil, fmt.Errorf("second model: %w", err)
	}
	c.Samples = source.Len()
	c.Other, c.Metrics = answersA.Metrics(nil), answersB.Metrics(answersA)
	c.OtherIntervals, c.Intervals = c.Other.Intervals(answersA.Evidence(nil)), c.Metrics.Intervals(answersB.Evidence(answersA))
	return c, nil
}

// loaded is a model ready to be run sample by sample.
type loaded struct {
	model *tflite.Model
	exec  *integer.Executor
	graph *ir.Graph
}

// load reads a model; the samples of a source, if there is one, tell its open sizes.
func load(which string, data []byte, source dataset.Source) (*loaded, error) {
	m, err := tflite.Read(data)
	if err == nil && source != nil {
		_, err = ir.Specialize(m, dataset.Shapes(source))
	}
	if err == nil && source != nil {
		err = unrolled(m, dataset.Shapes(source))
	}
	if err != nil {
		return nil, fmt.Errorf("%s model: %w", which, err)
	}
	exec, err := integer.Compile(m, 0)
	if err != nil {
		return nil, fmt.Errorf("%s model: %w", which, err)
	}
	return &loaded{model: m, exec: exec, graph: exec.Graph()}, nil
}

// unrolled makes a network that keeps state one of whole sequences, in which only the last step's tensors have names: those are compared.
func unrolled(m *tflite.Model, samples [][]int) error {
	_, u, err := stream.Sequence(m, samples)
	if err != nil || u == nil {
		return err
	}
	named := map[int]bool{}
	for t, of := range u.Tensor {
		if of == stream.None || named[of] {
			u.Model.Subgraph().Tensors[t].Name = ""
		}
		named[of] = true
	}
	m.ModelT = u.Model.ModelT
	return nil
}

// lend gives the tensors of a model without names those of this one: the operators of a kind are the same, in order, where both have as many.
func (l *loaded) lend(to *loaded) {
	kind := func(n *ir.Node) string { return fmt.Sprint(n.Op, n.Custom) }
	theirs, count := map[string][]*ir.Node{}, map[string]int{}
	for i := range to.graph.Nodes {
		n := &to.graph.Nodes[i]
		theirs[kind(n)] = append(theirs[kind(n)], n)
	}
	for i := range l.graph.Nodes {
		count[kind(&l.graph.Nodes[i])]++
	}
	named := map[int]bool{}
	for _, borders := range [2][]int{to.graph.Inputs, to.graph.Outputs} {
		for _, t := range borders {
			named[t] = true
		}
	}
	rename := func(t int, name string) {
		to.graph.Tensors[t].Name = name
		if t < len(to.model.Subgraph().Tensors) {
			to.model.Subgraph().Tensors[t].Name = name
		}
	}
	if l.model.Bare { // two operators of the same place need not be the same
		for t := range to.graph.Tensors {
			if !named[t] {
				rename(t, "")
			}
		}
	}
	give := func(from, tensors []int, constants bool) {
		for k := range min(len(from), len(tensors)) {
			if a, b := from[k], tensors[k]; a >= 0 && b >= 0 && !named[b] && (!constants || to.graph.Tensors[b].Const != nil) {
				rename(b, l.graph.Tensors[a].Name)
				named[b] = true
			}
		}
	}
	at := map[string]int{}
	for i := range l.graph.Nodes {
		n := &l.graph.Nodes[i]
		if of := theirs[kind(n)]; len(of) == count[kind(n)] {
			give(n.Outputs, of[at[kind(n)]].Outputs, false)
			give(n.Inputs, of[at[kind(n)]].Inputs, true)
			at[kind(n)]++
		}
	}
}

// names finds tensors by name; those that share a name with another are left out. Tensors that neither hold a constant nor are
// computed are left out too.
func (l *loaded) names() map[string]int {
	out, twice := map[string]int{}, map[string]bool{}
	for i, t := range l.graph.Tensors {
		if _, ok := out[t.Name]; ok || t.Name == "" {
			twice[t.Name] = true
		}
		if t.Producer >= 0 || t.Const != nil {
			out[t.Name] = i
		}
	}
	for name := range twice {
		delete(out, name)
	}
	return out
}

// pair matches tensors by name, in A's order.
func (c *Comparison) pair(left, right *loaded) [][2]int {
	var pairs [][2]int
	inA, inB := left.names(), right.names()
	for i, t := range left.graph.Tensors {
		if k, ok := inA[t.Name]; !ok || k != i {
			continue
		}
		j, ok := inB[t.Name]
		if ok && right.graph.Tensors[j].Numel() == t.Numel() && (t.Const == nil) == (right.graph.Tensors[j].Const == nil) {
			pairs = append(pairs, [2]int{i, j})
			delete(inB, t.Name)
			continue
		}
		c.OnlyA = append(c.OnlyA, t.Name)
	}
	for j, t := range right.graph.Tensors {
		if k, ok := inB[t.Name]; ok && k == j {
			c.OnlyB = append(c.OnlyB, t.Name)
		}
	}
	return pairs
}

// constants compares the constants of each pair.
func (c *Comparison) constants(a, b *tflite.Model, pairs [][2]int) error {
	for _, p := range pairs {
		if p[0] >= len(a.Subgraph().Tensors) || p[1] >= len(b.Subgraph().Tensors) {
			continue
		}
		x, storedX, err := Constant(a, p[0])
		if err != nil {
			return err
		}
		y, storedY, err := Constant(b, p[1])
		if err != nil {
			return err
		}
		if x == nil || len(x) != len(y) {
			continue
		}
		d := ConstantDifference{Name: a.Subgraph().Tensors[p[0]].Name, A: p[0], B: p[1], CodesA: distinct(storedX), CodesB: distinct(storedY)}
		d.compare(x, y)
		c.Constants = append(c.Constants, d)
	}
	return nil
}

// compare fills in how far the values y are from as many x.
func (d *ConstantDifference) compare(x, y []float64) {
	var s sums
	for i, v := range x {
		s.add(v, y[i])
		d.ZerosA, d.ZerosB, d.Changed = d.ZerosA+count(v == 0), d.ZerosB+count(y[i] == 0), d.Changed+count(v != y[i])
	}
	d.Elements, d.Difference = len(x), s.difference()
}

// gates compares the weights that A has of all gates of an LSTM with those that B has of each.
func (c *Comparison) gates(a, b *loaded) error {
	inA, inB := a.names(), b.names()
	for _, name := range slices.Clone(c.OnlyA) {
		whole, err := constantOf(a, inA, name)
		if err != nil {
			return err
		}
		var parts constant
		var names []string
		for _, gate := range ir.LSTMGates {
			part, err := constantOf(b, inB, name+"_"+gate)
			if err != nil {
				return err
			}
			names = append(names, name+"_"+gate)
			parts.values, parts.stored = append(parts.values, part.values...), append(parts.stored, part.stored...)
		}
		if len(whole.values) == 0 || len(parts.values) != len(whole.values) {
			continue
		}
		d := ConstantDifference{Name: name, A: inA[name], B: inB[names[0]], CodesA: distinct(whole.stored), CodesB: distinct(parts.stored)}
		d.compare(whole.values, parts.values)
		c.Constants = append(c.Constants, d)
		c.OnlyA = slices.DeleteFunc(c.OnlyA, func(only string) bool { return only == name })
		c.OnlyB = slices.DeleteFunc(c.OnlyB, func(only string) bool { return slices.Contains(names, only) })
	}
	return nil
}

// constant is what a constant stands for, and as what it is stored.
type constant struct {
	values []float64
	stored []int64
}

// constantOf is the constant of a name, none if the model's file has no such.
func constantOf(l *loaded, names map[string]int, name string) (c constant, err error) {
	t, ok := names[name]
	if !ok || t >= len(l.model.Subgraph().Tensors) || l.graph.Tensors[t].Const == nil {
		return c, nil
	}
	c.values, c.stored, err = Constant(l.model, t)
	return c, err
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

// layers compares activations and outputs on the first n samples.
func (c *Comparison) layers(ctx context.Context, left, right *loaded, pairs [][2]int, source dataset.Source, n int) error {
	if a, b := len(left.graph.Inputs), len(right.graph.Inputs); a != b {
		return fmt.Errorf("the models have %d and %d inputs, and the same samples fit one of them only: compare them without a dataset, or, if some are state, name those (--state)", a, b)
	}
	inputs, outputs, err := sampleSizes(left.graph, source)
	if err != nil {
		return fmt.Errorf("first model: %w", err)
	}
	if _, other, err := sampleSizes(right.graph, source); err != nil {
		return fmt.Errorf("second model: %w", err)
	} else if other != outputs {
		return fmt.Errorf("the models have %d and %d outputs: they do not do the same", outputs, other)
	}
	recordA, recordB := newRecorder(left, pairs, 0), newRecorder(right, pairs, 1)
	layers, output := make([]sums, len(pairs)), sums{}
	x := room(inputs, 1)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := source.Read(i, x); err != nil {
			return err
		}
		if err := recordA.run(x); err != nil {
			return fmt.Errorf("first model: %w", err)
		}
		if err := recordB.run(x); err != nil {
			return fmt.Errorf("second model: %w", err)
		}
		for k := range pairs {
			if len(recordA.values[k]) != len(recordB.values[k]) {
				continue // one of them has values that are no numbers of a scale
			}
			for j, v := range recordA.values[k] {
				layers[k].add(v, recordB.values[k][j])
			}
		}
		b := right.exec.Output(0)
		for j, v := range left.exec.Output(0)[:outputs] {
			output.add(float64(v), float64(b[j]))
		}
	}
	c.Output = output.difference()
	for k, p := range pairs {
		if left.graph.Tensors[p[0]].Producer >= 0 && layers[k].n > 0 {
			c.Layers = append(c.Layers, LayerDifference{Name: left.graph.Tensors[p[0]].Name, A: p[0], B: p[1], Difference: layers[k].difference()})
		}
	}
	return nil
}

// recorder keeps the activations of one model.
type recorder struct {
	*loaded
	slot   map[int]int // tensor to pair
	values [][]float64 // by pair
}

func newRecorder(l *loaded, pairs [][2]int, side int) *recorder {
	r := &recorder{loaded: l, slot: map[int]int{}, values: make([][]float64, len(pairs))}
	for k, p := range pairs {
		if t := l.graph.Tensors[p[side]]; t.Producer >= 0 && t.Const == nil {
			r.slot[p[side]] = k
		}
	}
	return r
}

func (r *recorder) run(x [][]float32) error {
	r.exec.Reset()
	for i, values := range x {
		if err := r.exec.SetInput(i, values); err != nil {
			return err
		}
	}
	return r.exec.RunEach(func(n *ir.Node) error {
		for _, t := range n.Outputs {
			if k, ok := r.slot[t]; ok {
				r.values[k] = activation(r.values[k][:0], &r.graph.Tensors[t], r.exec.Tensor(t))
			}
		}
		return nil
	})
}

// activation appends the real values of a float tensor or of one with a scale; none of other types.
func activation(out []float64, t *ir.Tensor, raw []byte) []float64 {
	switch t.Type {
	case schema.TensorTypeFLOAT32:
		for ; len(raw) >= 4; raw = raw[4:] {
			out = append(out, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		}
	case schema.TensorTypeINT8, schema.TensorTypeUINT8, schema.TensorTypeINT16:
		scale, zero, ok := t.PerTensor()
		if !ok {
			return out
		}
		for ; len(raw) > 0; raw = raw[width(t.Type):] {
			out = append(out, float64(code(t.Type, raw)-zero)*float64(scale))
		}
	}
	return out
}

// width returns the bytes of a code.
func width(t schema.TensorType) int {
	if t == schema.TensorTypeINT16 {
		return 2
	}
	return 1
}

// code reads the first code of raw.
func code(t schema.TensorType, raw []byte) int32 {
	switch t {
	case schema.TensorTypeINT16:
		return int32(int16(binary.LittleEndian.Uint16(raw)))
	case schema.TensorTypeUINT8:
		return int32(raw[0])
	default:
		return int32(int8(raw[0]))
	}
}
