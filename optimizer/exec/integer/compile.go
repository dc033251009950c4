package integer

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Option changes how a model is compiled.
type Option func(*compiler)

// Reference computes every operator by its plain loop, without fast paths: slower, and the same bytes.
func Reference() Option { return func(c *compiler) { c.reference = true } }

// TFLM computes as TensorFlow Lite Micro's reference kernels where they differ from LiteRT's: FULLY_CONNECTED is rescaled by a multiplier
// rounded twice, of a float32 product of scales where weights have one scale, instead of a float64 product rounded once; RELU6 clamps
// its input's codes without rescaling them, so that it is right only where input and output have one scale; the factors of MUL, of PRELU, of RELU and of an
// int16 SOFTMAX are of float64, and the tables of that SOFTMAX of float32.
func TFLM() Option { return func(c *compiler) { c.tflm = true } }

// Compile prepares a model to run on batch samples at a time; 0 means the file's own batch. The model is not changed; a file with
// uint8 activations or hybrid weights is converted as tflite.Normalise says. Errors name the operator and, where there is one, the
// tensor: an *UnsupportedError for what this package cannot run, an *ir.BatchError if the file's batch must be used.
func Compile(m *tflite.Model, batch int, options ...Option) (*Executor, error) {
	m = m.Clone()
	if _, err := tflite.Normalise(m); err != nil {
		return nil, err
	}
	g, err := ir.Parse(m, batch)
	if err != nil {
		return nil, err
	}
	p := &program{graph: g}
	if p.arena, err = arenaBytes(m, g); err != nil {
		return nil, err
	}
	if p.plan, err = planArena(g); err != nil {
		return nil, err
	}
	p.first = firstState(g)
	c := &compiler{g: g, variables: p.first}
	for _, o := range options {
		o(c)
	}
	for i := range g.Nodes {
		if g.Nodes[i].Folded {
			continue
		}
		c.n = &g.Nodes[i]
		k, err := c.compile()
		if err != nil {
			return nil, err
		}
		p.steps = append(p.steps, step{c.n, k})
	}
	if c.work.bytes() > maxArena {
		return nil, fmt.Errorf("operators want %d MiB of working memory, an executor may have %d: is the model's resolution right?", c.work.bytes()>>20, maxArena>>20)
	}
	p.plan.work, p.floats = c.work, c.floats
	return newExecutor(p), nil
}

// arenaBytes is the arena at the file's batch, whatever batch g is for.
func arenaBytes(m *tflite.Model, g *ir.Graph) (int, error) {
	if g.Batch != g.FileBatch {
		var err error
		if g, err = ir.Parse(m, 0); err != nil {
			return 0, err
		}
	}
	p, err := planArena(g)
	return p.size, err
}

// UnsupportedError is an operator, or a type of tensor, that this package cannot run.
type UnsupportedError struct {
	Index  int    // of the operator
	Op     string // `operator 3 CONV_2D`
	Reason string // what is not supported, naming the tensor, and the remedy
}

func (e *UnsupportedError) Error() string { return e.Op + ": " + e.Reason }

// compiler makes the kernels of one graph.
type compiler struct {
	g         *ir.Graph
	n         *ir.Node // being compiled
	work      work
	floats    []floatNode
	variables variables
	reference bool
	tflm      bool // option TFLM
	wide      bool // the node's activations are int16; otherwise int8
}

// builder makes the kernel of the compiler's node.
type builder = func(*compiler) (runner, error)

func (c *compiler) compile() (runner, error) {
	if known := op.Lookup(c.n.Op); c.n.Attr == nil && known != nil && known.NoForward != "" {
		return nil, c.unsupported("it cannot be executed: %s", known.NoForward)
	}
	if c.n.Attr == nil {
		return nil, c.unsupported("this operator is not supported: remove it from the model, or run it behind the optimized part")
	}
	for slot, t := range c.n.Inputs {
		if known := op.Lookup(c.n.Op); known != nil && known.Slot(slot) == op.State {
			continue
		}
		if t >= 0 && c.g.Tensors[t].Const == nil && c.g.Tensors[t].Producer < 0 && !isInput(c.g, t) {
			return nil, c.unsupported("%s has no data and nothing makes it: variables are not supported", &c.g.Tensors[t])
		}
	}
	for _, t := range c.n.Outputs {
		if t < 0 {
			return nil, c.unsupported("an output is missing")
		}
	}
	known, ok := operators[c.n.Op]
	data := c.in(c.dataInput())
	if data == nil && !known.none {
		return nil, c.unsupported("its input is missing")
	}
	c.wide = data != nil && data.Type == schema.TensorTypeINT16
	if known.any {
		return known.build(c)
	}
	switch data.Type {
	case schema.TensorTypeFLOAT32, schema.TensorTypeINT32, schema.TensorTypeINT64, schema.TensorTypeBOOL, schema.TensorTypeCOMPLEX64:
		return buildFloat(c)
	case schema.TensorTypeINT8:
		if ok {
			return known.build(c)
		}
		return nil, c.unsupported("there is no int8 form of this operator: keep it float, as converters do between DEQUANTIZE and QUANTIZE")
	case schema.TensorTypeINT16:
		if known.wide != nil {
			return known.wide(c)
		}
		return nil, c.unsupported("there is no int16 form of this operator: keep it float, as converters do between DEQUANTIZE and QUANTIZE")
	default:
		return nil, c.unsupported("%s is %s: only int8, int16 and float32 are supported; convert with activations of 8 or 16 bits", data, data.Type)
	}
}

func isInput(g *ir.Graph, t int) bool {
	for _, i := range g.Inputs {
		if i == t {
			return true
		}
	}
	return false
}

// dataInput is the input whose type decides which kernel runs.
func (c *compiler) dataInput() int {
	if known := op.Lookup(c.n.Op); known != nil {
		return max(known.Find(op.Data), 0)
	}
	return 0
}

func (c *compiler) unsupported(format string, args ...any) error {
	return &UnsupportedError{c.n.Index, c.n.String(), fmt.Sprintf(format, args...)}
}

func (c *compiler) in(i int) *ir.Tensor  { return c.g.Input(c.n, i) }
func (c *compiler) out(i int) *ir.Tensor { return c.g.Output(c.n, i) }

// quant is the quantization of an activation.
type quant struct {
	scale float32
	zero  int32 // 0 if wide
	wide  bool  // int16; otherwise int8
}

// quant returns the quantization of a tensor, which must have one scale and the type of the node's activations.
func (c *compiler) quant(t *ir.Tensor) (quant, error) {
	want := schema.TensorTypeINT8
	if c.wide {
		want = schema.TensorTypeINT16
	}
	if t != nil && t.Type != want {
		return quant{}, c.unsupported("%s is %s, want %s like the other tensors of the operator", t, t.Type, want)
	}
	return c.quantOf(t)
}

// quantOf returns the quantization of a tensor, which must be int8 or int16 with one scale.
func (c *compiler) quantOf(t *ir.Tensor) (quant, error) {
	if t == nil {
		return quant{}, c.unsupported("an input is missing")
	}
	q := quant{wide: t.Type == schema.TensorTypeINT16}
	if t.Type != schema.TensorTypeINT8 && !q.wide {
		return q, c.unsupported("%s is %s, want INT8 or INT16", t, t.Type)
	}
	var ok bool
	q.scale, q.zero, ok = t.PerTensor()
	switch {
	case !ok:
		return q, c.unsupported("%s is %s without a single scale: quantize activations per tensor", t, t.Type)
	case !(q.scale > 0) || math.IsInf(float64(q.scale), 0):
		return q, c.unsupported("%s has scale %v", t, q.scale)
	case q.wide && q.zero != 0:
		return q, c.unsupported("%s has zero point %d: int16 activations are symmetric", t, q.zero)
	case q.zero < -128 || q.zero > 127:
		return q, c.unsupported("%s has zero point %d, outside int8", t, q.zero)
	}
	return q, nil
}

// limits are the codes there are.
func (q quant) limits() (lo, hi int32) {
	if q.wide {
		return math.MinInt16, math.MaxInt16
	}
	return math.MinInt8, math.MaxInt8
}

// unaryQuant returns the quantization of input 0 and output 0.
func (c *compiler) unaryQuant() (in, out quant, err error) {
	if in, err = c.quant(c.in(0)); err != nil {
		return
	}
	out, err = c.quant(c.out(0))
	return
}

// binaryQuant returns the quantization of inputs 0 and 1 and output 0.
func (c *compiler) binaryQuant() (a, b, out quant, err error) {
	if a, out, err = c.unaryQuant(); err != nil {
		return
	}
	b, err = c.quant(c.in(1))
	return
}

// sameQuant demands that input and output are quantized alike, up to the rounding of scales by converters.
func (c *compiler) sameQuant(in, out quant) error {
	if math.Abs(float64(in.scale/out.scale)-1) > 1e-4 || in.zero != out.zero {
		return c.unsupported("%s and %s are quantized differently (scale %v, zero point %d; %v, %d), which the specification forbids here",
			c.in(0), c.out(0), in.scale, in.zero, out.scale, out.zero)
	}
	return nil
}

// fixedOutput demands the output quantization that the specification fixes for an operator.
func (c *compiler) fixedOutput(out quant, scale float32, zero int32) error {
	if math.Abs(float64(out.scale/scale)-1) > 1e-3 || out.zero != zero {
		return c.unsupported("%s has scale %v and zero point %d; the specification fixes %v and %d for this operator", c.out(0), out.scale, out.zero, scale, zero)
	}
	return nil
}

// code returns the code of a real value, rounded to nearest and not clamped. Division in float32, as the kernels do.
func (q quant) code(real float32) int32 {
	v := math.Round(float64(real / q.scale))
	return q.zero + int32(min(max(v, -1<<24), 1<<24))
}

// bounds returns the codes a fused activation clamps to.
func (q quant) bounds(a ir.Activation) (lo, hi int32) {
	lo, hi = q.limits()
	rLo, rHi := a.Bounds()
	if !math.IsInf(float64(rLo), 0) {
		lo = max(lo, q.code(rLo))
	}
	if !math.IsInf(float64(rHi), 0) {
		hi = min(hi, q.code(rHi))
	}
	return lo, hi
}

func clamp(x, lo, hi int32) int8 { return int8(min(max(x, lo), hi)) }

func clamp16(x, lo, hi int32) int16 { return int16(min(max(x, lo), hi)) }
