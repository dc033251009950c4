package structure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

const (
	probes  = 3    // samples that a network is built with: no value of theirs may come near a jump or leave the usual range
	largest = 600  // elements of a tensor
	reach   = 60.0 // of an activation
	margin  = 2e-3 // from where an answer jumps
)

// made is a random network and samples for it.
type made struct {
	model   *tflite.Model
	samples [][]array // by sample, by input
	rows    []int     // by input: the size of the table its ids point into, 0 for floats
	open    bool      // the batch is open, and no operator mixes samples
	used    []schema.BuiltinOperator
}

// generator builds a network operator by operator.
type generator struct {
	*rand.Rand
	b      *tflitetest.Builder
	open   bool
	values map[int32][]array // of activations, by sample
	order  []int32           // activations as they were made
	read   map[int32]bool
	consts map[string]int32   // by value: those that are shared
	shared map[string]operand // weights, by shape
	weight map[*float64]int32 // those that are written
	made   *made
}

// operand is an activation or a constant that is written only if the operator comes about.
type operand struct {
	tensor int32
	value  *array
	typ    schema.TensorType
}

func (g *generator) const32(a array) operand { return operand{-1, &a, schema.TensorTypeFLOAT32} }

func ints(values ...int) operand {
	a := newArray(len(values))
	for i, v := range values {
		a.v[i] = float64(v)
	}
	return operand{-1, &a, schema.TensorTypeINT32}
}

func scalar(value float64, typ schema.TensorType) operand {
	return operand{-1, &array{shape: []int{}, v: []float64{value}}, typ}
}

var absent = operand{tensor: -1}

func (g *generator) normal(spread float64, shape ...int) array {
	return newArray(shape...).each(func(float64) float64 { return float64(float32(spread * g.NormFloat64())) })
}

func (g *generator) typ(t int32) schema.TensorType { return g.b.Tensor(t).Type }
func (g *generator) shape(t int32) []int           { return g.values[t][0].shape }

// first is the first axis that an operator may work along.
func (g *generator) first() int { return int(truth(g.open)) }

// chance is true with probability p.
func (g *generator) chance(p float64) bool { return g.Float64() < p }

// pick returns an activation of a type that fits, of late ones rather than of early ones.
func (g *generator) pick(typ schema.TensorType, fits func(shape []int) bool) (int32, bool) {
	var list []int32
	for _, t := range g.order {
		if g.typ(t) == typ && (fits == nil || fits(g.shape(t))) {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return 0, false
	}
	back := min(g.IntN(len(list)), g.IntN(len(list)))
	return list[len(list)-1-back], true
}

func (g *generator) float(fits func(shape []int) bool) (int32, bool) {
	return g.pick(schema.TensorTypeFLOAT32, fits)
}

func atLeast(rank int) func([]int) bool { return func(s []int) bool { return len(s) >= rank } }
func exactly(rank int) func([]int) bool { return func(s []int) bool { return len(s) == rank } }

// emit adds an operator if its values stay within what can be compared; outputs are of the given types, float if none is given.
func (g *generator) emit(code schema.BuiltinOperator, kind schema.BuiltinOptions, options any, in []operand, types ...schema.TensorType) ([]int32, bool) {
	var results [][]array // by output, by sample
	for s := range probes {
		e := &evaluation{nearest: math.Inf(1)}
		c := &call{e: e, code: code, options: options, typ: schema.TensorTypeFLOAT32, to: schema.TensorTypeFLOAT32}
		for i, o := range in {
			switch {
			case o.value != nil:
				c.in = append(c.in, *o.value)
			case o.tensor >= 0:
				c.in = append(c.in, g.values[o.tensor][s])
				if i == 0 {
					c.typ = g.typ(o.tensor)
				}
			default:
				c.in = append(c.in, array{})
			}
		}
		if len(types) > 0 {
			c.to = types[0]
		}
		out := definitions[code](c)
		if e.nearest < margin {
			return nil, false
		}
		if results == nil {
			results = make([][]array, len(out))
		}
		for i, a := range out {
			far := func(v float64) bool { return !(math.Abs(v) <= reach) }
			if i < len(types) && types[i] != schema.TensorTypeFLOAT32 {
				far = math.IsNaN
			}
			if len(a.v) == 0 || len(a.v) > largest || len(a.shape) > 5 || slices.ContainsFunc(a.v, far) {
				return nil, false
			}
			results[i] = append(results[i], a)
		}
	}
	var inputs []int32
	for i, o := range in {
		t := o.tensor
		if o.value != nil {
			t = g.write(fmt.Sprintf("%s/operand%d", g.name(code), i), *o.value, o.typ)
		} else if t >= 0 {
			g.read[t] = true
		}
		inputs = append(inputs, t)
	}
	var shapes [][]int32
	for _, r := range results {
		shapes = append(shapes, int32s(r[0].shape))
	}
	name := g.name(code)
	outs := g.b.Ops(name, code, kind, options, shapes, inputs...)
	for i, t := range outs {
		if i > 0 {
			g.b.Tensor(t).Name = fmt.Sprintf("%s:%d", name, i)
		}
		if i < len(types) {
			g.b.SetType(t, types[i])
		}
		g.values[t] = results[i]
		g.order = append(g.order, t)
	}
	g.made.used = append(g.made.used, code)
	return outs, true
}

func (g *generator) name(code schema.BuiltinOperator) string {
	return fmt.Sprintf("%d/%s", len(g.made.used), code)
}

func int32s(shape []int) []int32 {
	out := make([]int32, len(shape))
	for i, d := range shape {
		out[i] = int32(d)
	}
	return out
}

// write adds a constant; integers are shared by operators as converters share them, weights where the generator says so.
func (g *generator) write(name string, a array, typ schema.TensorType) int32 {
	key := fmt.Sprint(a, typ)
	if t, ok := g.consts[key]; ok && typ != schema.TensorTypeFLOAT32 {
		return t
	}
	if t, ok := g.weight[&a.v[0]]; ok {
		return t
	}
	var t int32
	switch typ {
	case schema.TensorTypeFLOAT32:
		values := make([]float32, len(a.v))
		for i, v := range a.v {
			values[i] = float32(v)
		}
		t = g.b.Const(name, values, int32s(a.shape)...)
	case schema.TensorTypeBOOL:
		data := make([]byte, len(a.v))
		for i, v := range a.v {
			data[i] = byte(v)
		}
		t = g.b.Raw(name, typ, data, int32s(a.shape)...)
	default:
		values := make([]int32, len(a.v))
		for i, v := range a.v {
			values[i] = int32(v)
		}
		t = g.b.Raw(name, typ, tflite.Int32Bytes(values), int32s(a.shape)...)
	}
	g.consts[key], g.weight[&a.v[0]] = t, t
	return t
}

func of(tensors ...int32) []operand {
	var list []operand
	for _, t := range tensors {
		list = append(list, operand{tensor: t})
	}
	return list
}

// input adds an input and draws its samples.
func (g *generator) input(i int) {
	rank, shape := 2+g.IntN(4), []int{1}
	if g.chance(0.5) {
		rank = 4
	}
	for len(shape) < rank {
		shape = append(shape, 1+g.IntN(8-max(rank, 2)))
	}
	rows := 0
	t := g.b.Input(fmt.Sprintf("input%d", i), int32s(shape)...)
	if i > 0 && g.chance(0.3) {
		rows = 2 + g.IntN(6)
		g.b.SetType(t, schema.TensorTypeINT32)
	}
	for s := range probes {
		a := g.normal(1, shape...)
		if rows > 0 {
			a = a.each(func(float64) float64 { return float64(g.IntN(rows)) })
		}
		g.made.samples[s] = append(g.made.samples[s], a)
		g.values[t] = append(g.values[t], a)
	}
	g.made.rows = append(g.made.rows, rows)
	g.order = append(g.order, t)
	switch {
	case rows > 0:
		g.emit(schema.BuiltinOperatorGATHER, schema.BuiltinOptionsGatherOptions, &schema.GatherOptionsT{}, append([]operand{g.const32(g.normal(1, rows, 1+g.IntN(4)))}, of(t)...))
	case g.chance(0.8): // a constant that trains: by its gradient that of the input is checked
		g.emit(schema.BuiltinOperatorADD, schema.BuiltinOptionsAddOptions, &schema.AddOptionsT{}, append(of(t), g.const32(g.normal(0.5, shape[1:]...))))
	}
}

// generate makes the network of a seed.
func generate(seed uint64) *made { return generateOf(seed, drawn(), 2, 9) }

// generateOf makes the network of a seed, of an operator of the list often where it is there often.
func generateOf(seed uint64, codes []schema.BuiltinOperator, least, more int) *made {
	g := &generator{
		Rand: rand.New(rand.NewPCG(seed, 77)), b: tflitetest.New(), values: map[int32][]array{}, read: map[int32]bool{}, consts: map[string]int32{}, shared: map[string]operand{}, weight: map[*float64]int32{},
		made: &made{samples: make([][]array, probes)},
	}
	g.open = g.chance(0.75)
	g.made.open = g.open
	for i := range 1 + g.IntN(3)*g.IntN(2) {
		g.input(i)
	}
	for steps, tries := least+g.IntN(more), 0; steps > 0 && tries < 200; tries++ {
		if makers[codes[g.IntN(len(codes))]](g) {
			steps--
		}
	}
	g.finish()
	if g.open {
		for _, t := range g.order {
			g.b.Tensor(t).ShapeSignature = append([]int32{-1}, g.b.Shape(t)[1:]...)
		}
	}
	g.made.model = g.b.Model()
	return g.made
}

// finish makes outputs of what nothing reads, after a layer with weights where there is none yet.
func (g *generator) finish() {
	if g.chance(0.8) {
		makers[schema.BuiltinOperatorFULLY_CONNECTED](g)
		if g.chance(0.5) {
			makers[schema.BuiltinOperatorSOFTMAX](g)
		}
	}
	outputs := 0
	for i := len(g.order) - 1; i >= 0 && outputs < 4; i-- {
		if t := g.order[i]; !g.read[t] && g.typ(t) != schema.TensorTypeBOOL && i >= len(g.made.rows) {
			g.b.Output(t)
			outputs++
		}
	}
	if outputs == 0 { // only truths are left, or inputs
		t, _ := g.float(nil)
		out, _ := g.emit(schema.BuiltinOperatorTANH, schema.BuiltinOptionsNONE, nil, of(t))
		g.b.Output(out[0])
	}
}

// maker adds an operator with random attributes and operands. It returns false if the network has nothing for it.
type maker func(g *generator) bool

// drawn are the operators that can be drawn, in the order of the table.
func drawn() (list []schema.BuiltinOperator) {
	for _, o := range op.All() {
		if makers[o.Code] != nil {
			list = append(list, o.Code)
		}
	}
	return append(list, schema.BuiltinOperatorSPACE_TO_BATCH_ND)
}
