package lineage

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/weight"
)

// ID names a tensor throughout a lineage: its index in the original's float model.
type ID int

// Network is a network at one point of its lineage. It does not change; what its methods return must not be changed either.
type Network struct {
	model  *tflite.Model
	ids    []ID                // by tensor of the model
	states map[ID]weight.State // what weights are held to
	cuts   channel.Cuts        // what is left of the original's tensors; their IDs are their places
	gone   []int               // the original's operators that are not there, in order
	from   *origin             // of the lineage
	final  *quantized          // after Quantize: how it was trained to compute
}

// origin is what is known of a lineage's first network.
type origin struct {
	given    *tflite.Model
	model    *tflite.Model
	int8     bool
	integers map[ID]quantize.Weights // of an int8 network's weights
	ranges   map[ID]quantize.Params  // of its activations
	float    map[int]bool            // its operators that compute in float
	place    map[ID]int              // where the file has its weights
	io       IO
	// activations are those of a quantized network that all are alike; "" of one of both widths
	activations Activations
	weights     Weights // those of a quantized network likewise
	notes       []string
	rewritten   bool
	stream      *streaming // of a network that keeps state; nil of others
	selected    bool       // another subgraph than the file's primary one is worked on
}

// quantized is a network trained with int8 arithmetic in the loop.
type quantized struct {
	plan    *quantize.Plan
	params  []quantize.Params
	weights map[int]quantize.Weights
}

// Read reads a network from a .tflite file's content, normalises it, checks that its weights are finite and gives every shape its
// numbers (ir.Specialize). samples are the shapes of the dataset's samples, one an input, without the batch: a network whose input size
// is open cannot be read without, which is an *ir.OpenError. An int8 network is turned into the float one that it stands for, and its
// integers are kept.
func Read(data []byte, samples ...[]int) (*Network, error) {
	return ReadSignature(data, "", samples...)
}

// ReadSignature is Read for the signature of a key where a model has several (tflite.Select).
func ReadSignature(data []byte, key string, samples ...[]int) (*Network, error) {
	given, err := tflite.Read(data)
	if err != nil {
		return nil, err
	}
	signature, selected, err := tflite.Select(given, key)
	if err != nil {
		return nil, err
	}
	normal := given.Clone()
	normal.Bare = false // between stages tensors are told by their names
	given.SetChunk(0)
	normal.DeleteMetadata(channel.MetadataName) // of another lineage
	notes, err := tflite.Normalise(normal)
	if err != nil {
		return nil, err
	}
	if err := tflite.CheckFinite(normal); err != nil {
		return nil, err
	}
	plain := !computesFloat(normal)
	recurrent, err := quantize.FloatRecurrent(normal)
	if err != nil {
		return nil, err
	}
	notes = append(notes, recurrent...)
	decided, err := ir.Specialize(normal, samples)
	if err != nil {
		return nil, err
	}
	notes = append(notes, decided...)
	streaming, unrolled, err := openStream(normal, samples)
	if err != nil {
		return nil, err
	}
	if streaming != nil {
		normal = unrolled.Model
		notes = append(notes, streaming.note(unrolled.Steps))
	}
	if at := ir.KeepsState(normal); at != "" {
		return nil, fmt.Errorf("%s keeps state that no variable and no input shows: networks with a quantized SVDF are inspected, evaluated and compared, not optimized; give the float model", at)
	}
	imitated := streaming == nil && imitatesInt8(normal)
	if imitated {
		notes = append(notes, "pairs of QUANTIZE and DEQUANTIZE only imitate int8 in a float network: it is worked on without them, and leaves compute in int8")
	}
	rewritten := selected || len(notes) > 0
	if signature != "" {
		notes = append(notes, signature)
	}
	if files := tflite.Associated(data); len(files) > 0 {
		kept := "models and leaves have them too"
		if given.Archive == nil {
			kept = "their archive is damaged, models and leaves do not have them"
		}
		notes = append(notes, fmt.Sprintf("associated files are appended to the model, %s: %s", strings.Join(files[:min(len(files), 5)], ", "), kept))
	}
	o := &origin{given: given, model: normal, io: Int8, notes: notes, rewritten: rewritten, selected: selected, stream: streaming}
	moved := identity(len(normal.Subgraph().Tensors))
	switch {
	case imitated:
		imported, err := quantize.ImportInt8(normal)
		if err != nil {
			return nil, err
		}
		o.model, moved = imported.Model, imported.Tensor
	case computesInt8(normal):
		o.int8 = true
		if ir.OpenSizes(given) {
			o.given = given.Clone()
			if _, err := ir.Specialize(o.given, samples); err != nil {
				return nil, err
			}
		}
		if moved, err = o.importInt8(normal); err != nil {
			return nil, err
		}
		if plain && len(recurrent) > 0 {
			o.float = map[int]bool{} // what is float comes of quantized layers
		}
	}
	n := &Network{model: o.model, from: o, states: map[ID]weight.State{}}
	n.ids = identityIDs(len(o.model.Subgraph().Tensors))
	return n, n.recognise(normal, moved)
}

// importInt8 makes the float model and keeps what the int8 one was. It returns the float model's tensors by those of m.
func (o *origin) importInt8(m *tflite.Model) (moved []int, err error) {
	imported, err := quantize.ImportInt8(m)
	if err != nil {
		return nil, err
	}
	if o.stream != nil {
		if err := o.stream.imported(imported); err != nil {
			return nil, err
		}
	}
	o.model, o.float = imported.Model, imported.Float
	o.integers, o.ranges = map[ID]quantize.Weights{}, map[ID]quantize.Params{}
	for t, w := range imported.Weights {
		o.integers[ID(t)] = w
	}
	for t, p := range imported.Known {
		o.ranges[ID(t)] = p
	}
	o.activations, o.weights = activationsOf(imported.Known), weightsOf(imported.Weights)
	if g := m.Subgraph(); len(g.Inputs) > 0 && g.Tensors[g.Inputs[0]].Type == schema.TensorTypeFLOAT32 {
		o.io = Float32
	}
	return imported.Tensor, nil
}

// activationsOf is what all quantized activations are, "" if they differ.
func activationsOf(known map[int]quantize.Params) Activations {
	return alike(known, func(p quantize.Params) bool { return p.Wide }, Activations8, Activations16)
}

// weightsOf is what all quantized weights are, "" if they differ.
func weightsOf(integers map[int]quantize.Weights) Weights {
	return alike(integers, func(w quantize.Weights) bool { return w.Int4 }, Weights8, Weights4)
}

// alike is none if none of the values are so, every if all are, and "" if they differ.
func alike[V any, F ~string](values map[int]V, so func(V) bool, none, every F) F {
	count := 0
	for _, v := range values {
		if so(v) {
			count++
		}
	}
	switch count {
	case 0:
		return none
	case len(values):
		return every
	}
	return ""
}

// recognise finds what the weights of the file are held to. The integers of an int8 one tell better than its values.
func (n *Network) recognise(file *tflite.Model, moved []int) error {
	findings, err := weight.Load(file, weight.DefaultThresholds)
	if err != nil {
		return err
	}
	clustered := map[int]bool{}
	n.from.place = map[ID]int{}
	same := len(file.Subgraph().Tensors) == len(n.from.given.Subgraph().Tensors) // not where tensors were folded away
	for _, f := range findings {
		if at := moved[f.Tensor]; at != quantize.None {
			n.states[n.ids[at]] = f.State
			if same {
				n.from.place[n.ids[at]] = f.Tensor
			}
			clustered[at] = f.State.Clustered()
			if f.Binds() {
				n.from.notes = append(n.from.notes, "kept from the input: "+f.String())
			}
		}
	}
	if weight.MostlyClustered(n.Kernels(), clustered) {
		for id, s := range n.states {
			s.Found = false
			n.states[id] = s
		}
	}
	return nil
}

// computesInt8 reports whether any operator of a model gives int8, or int16.
func computesInt8(m *tflite.Model) bool {
	g := m.Subgraph()
	return slices.ContainsFunc(g.Operators, func(o *schema.OperatorT) bool {
		return slices.ContainsFunc(o.Outputs, func(t int32) bool {
			return t >= 0 && (g.Tensors[t].Type == schema.TensorTypeINT8 || g.Tensors[t].Type == schema.TensorTypeINT16)
		})
	})
}

// computesFloat reports whether any operator of a model gives floats, but for those that only convert to them.
func computesFloat(m *tflite.Model) bool {
	g := m.Subgraph()
	return slices.ContainsFunc(g.Operators, func(o *schema.OperatorT) bool {
		code, _ := m.Op(o)
		return code != schema.BuiltinOperatorDEQUANTIZE && slices.ContainsFunc(o.Outputs, func(t int32) bool { return t >= 0 && g.Tensors[t].Type == schema.TensorTypeFLOAT32 })
	})
}

// imitatesInt8 reports whether a model is a float one in which fake quantization, as quantization-aware training has it, became QUANTIZE
// operators, each read by DEQUANTIZE operators alone.
func imitatesInt8(m *tflite.Model) bool {
	g := m.Subgraph()
	quantized := func(t int32) bool {
		return t >= 0 && (g.Tensors[t].Type == schema.TensorTypeINT8 || g.Tensors[t].Type == schema.TensorTypeINT16)
	}
	if slices.ContainsFunc(g.Inputs, quantized) || slices.ContainsFunc(g.Outputs, quantized) {
		return false
	}
	pairs := false
	for _, o := range g.Operators {
		code, _ := m.Op(o)
		gives := slices.ContainsFunc(o.Outputs, quantized)
		if gives && (code != schema.BuiltinOperatorQUANTIZE || quantized(o.Inputs[0])) || slices.ContainsFunc(o.Inputs, quantized) && code != schema.BuiltinOperatorDEQUANTIZE {
			return false
		}
		pairs = pairs || gives
	}
	return pairs
}

func identity(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func identityIDs(n int) []ID {
	list := make([]ID, n)
	for i := range list {
		list[i] = ID(i)
	}
	return list
}

// Next returns the network of the same lineage whose float model was stored after a technique made it. It is an error if the model is
// of another lineage.
func (n *Network) Next(m *tflite.Model) (*Network, error) {
	cuts, gone, err := channel.Read(m)
	if err != nil {
		return nil, err
	}
	ids, err := readIDs(m, n.from.model, cuts)
	if err != nil {
		return nil, err
	}
	if left, first := len(m.Subgraph().Operators), len(n.from.model.Subgraph().Operators); len(gone) > 0 && (gone[len(gone)-1] >= first || left+len(gone) != first) {
		return nil, fmt.Errorf("the model has %d operators and lost %d, the network it should be made from has %d", left, len(gone), first)
	}
	states, err := weight.ReadState(m)
	if err != nil {
		return nil, err
	}
	child := n.next(m, ids, states)
	child.cuts, child.gone = cuts, gone
	return child, nil
}

// next is Next for a model just made, of the same channels and operators.
func (n *Network) next(m *tflite.Model, ids []ID, states map[int]weight.State) *Network {
	child := &Network{model: m, ids: ids, cuts: n.cuts, gone: n.gone, from: n.from, states: map[ID]weight.State{}}
	for t, s := range states {
		child.states[ids[t]] = s
	}
	return child
}

// readIDs finds the IDs of a model's tensors: they are the original's tensors, in order, of which channels may be cut. Parameters that cutting
// wrote anew follow.
func readIDs(m, original *tflite.Model, cuts channel.Cuts) ([]ID, error) {
	tensors, first := m.Subgraph().Tensors, original.Subgraph().Tensors
	if len(tensors) < len(first) || len(tensors) > len(first) && len(cuts) == 0 {
		return nil, fmt.Errorf("the model has %d tensors, the network it should be made from %d", len(tensors), len(first))
	}
	for i, t := range first {
		want := make([]int, len(t.Shape))
		for d, n := range t.Shape {
			want[d] = int(n)
		}
		for _, c := range cuts[i] {
			if c.Axis >= len(want) || want[c.Axis] != c.Of {
				return nil, fmt.Errorf("tensor %d %q has no axis %d of %d channels in the network it should be made from", i, t.Name, c.Axis, c.Of)
			}
		}
		want = channel.Shape(want, cuts[i])
		if tensors[i].Name != t.Name || !slices.EqualFunc(tensors[i].Shape, want, func(a int32, b int) bool { return int(a) == b }) {
			return nil, fmt.Errorf("tensor %d is %q %v, in the network it should be made from %q %v", i, tensors[i].Name, tensors[i].Shape, t.Name, want)
		}
	}
	return identityIDs(len(tensors)), nil
}

// Model is the float model.
func (n *Network) Model() *tflite.Model { return n.model }

// Given is the lineage's first network as its file was.
func (n *Network) Given() *tflite.Model { return n.from.given }

// WithMetadata is the first network of a lineage with a metadata entry, which all that is made of it has too; without it where data is empty.
func (n *Network) WithMetadata(name string, data []byte) *Network {
	out, from := *n, *n.from
	from.given, from.model = from.given.Clone(), n.model.Clone()
	for _, m := range []*tflite.Model{from.given, from.model} {
		m.DeleteMetadata(name)
		if len(data) > 0 {
			m.SetMetadata(name, data)
		}
	}
	out.from, out.model = &from, from.model
	return &out
}

// Int8 says that the lineage's first network was given quantized.
func (n *Network) Int8() bool { return n.from.int8 }

// Final says that the network was trained to be quantized: it is there for its leaf, and no technique works on it.
func (n *Network) Final() bool { return n.final != nil }

// Rewritten says that the file had to be normalised.
func (n *Network) Rewritten() bool { return n.from.rewritten }

// Selected reports whether another subgraph than the file's primary one is worked on: Given has it first.
func (n *Network) Selected() bool { return n.from.selected }

// Notes say what was rewritten and found when the lineage's first network was read.
func (n *Network) Notes() []string { return slices.Clone(n.from.notes) }

// States are what weights are held to, by tensor of the model.
func (n *Network) States() map[int]weight.State {
	states := map[int]weight.State{}
	for t, id := range n.ids {
		if s, ok := n.states[id]; ok {
			states[t] = s
		}
	}
	return states
}

// Kernels are the network's weights.
func (n *Network) Kernels() []weight.Kernel { return weight.Kernels(n.model) }

// integers are those that the original was given with, by tensor of the model, of the channels that are left.
func (n *Network) integers() map[int]quantize.Weights {
	integers := byTensor(n.ids, n.from.integers)
	maps.DeleteFunc(integers, func(t int, _ quantize.Weights) bool { return !n.model.IsConst(n.model.Subgraph().Tensors[t]) }) // gone with a branch
	for t, w := range integers {
		cuts := n.cuts[t]
		if len(cuts) == 0 {
			continue
		}
		w.Codes = channel.Values(w.Codes, n.original(t), cuts)
		if axis := axisOf(n, t); len(w.Scale) > 1 {
			w.Scale = scales(w.Scale, axis, cuts)
		}
		integers[t] = w
	}
	return integers
}

// original is the shape that a tensor has in the lineage's first network.
func (n *Network) original(t int) []int {
	var shape []int
	for _, d := range n.from.model.Subgraph().Tensors[t].Shape {
		shape = append(shape, int(d))
	}
	return shape
}

// scales are those of the output channels that are left.
func scales[T any](of []T, axis int, cuts []channel.Cut) []T {
	for _, c := range cuts {
		if c.Axis == axis {
			left := make([]T, len(c.Kept))
			same := len(c.Kept)%len(of) == 0
			for i, k := range c.Kept {
				at := weight.ScaleIndex(k, len(of), c.Of)
				left[i] = of[at]
				same = same && at == weight.ScaleIndex(i, len(of), len(c.Kept))
			}
			if same {
				return of
			}
			return left
		}
	}
	return of
}

// packed are the weights that the original was given as int4, by tensor of the model.
func (n *Network) packed() map[int]bool {
	packed := map[int]bool{}
	for t, w := range n.integers() {
		if w.Int4 {
			packed[t] = true
		}
	}
	return packed
}

// ranges are the activations' quantizations that the original was given with, by tensor of the model. Activations that lost channels have
// none: it was of all. Nor have those that operators which are gone took part in.
func (n *Network) ranges() map[int]quantize.Params {
	ranges := byTensor(n.ids, n.from.ranges)
	for t := range n.cuts {
		delete(ranges, t)
	}
	if len(n.gone) == 0 || len(ranges) == 0 {
		return ranges
	}
	other := map[int32]bool{}
	for i, o := range n.from.model.Subgraph().Operators {
		_, gone := slices.BinarySearch(n.gone, i)
		if gone || slices.ContainsFunc(o.Inputs, func(t int32) bool { return other[t] }) {
			for _, t := range o.Outputs {
				other[t] = true
				delete(ranges, int(t))
			}
		}
	}
	return ranges
}

func byTensor[T any](ids []ID, of map[ID]T) map[int]T {
	out := map[int]T{}
	for t, id := range ids {
		if v, ok := of[id]; ok {
			out[t] = v
		}
	}
	return out
}

// floatOperators are the operators that stay float because the original's were.
func (n *Network) floatOperators() map[int]bool {
	if n.from.float == nil || len(n.gone) == 0 {
		return maps.Clone(n.from.float)
	}
	float := map[int]bool{}
	for o, is := range n.from.float {
		if before, gone := slices.BinarySearch(n.gone, o); !gone {
			float[o-before] = is
		}
	}
	return float
}
