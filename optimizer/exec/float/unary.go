package float

import (
	"math"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// unary is an operator of one value: y = f(x), dy/dx = slope(x, y).
type unary struct {
	node
	f     func(x float32) float32
	slope func(x, y float32) float32
}

func (l *unary) forward(e *Exec) {
	y, f := e.result(&l.node, 0), l.f
	for i, x := range e.value(l.in[0]) {
		y[i] = f(x)
	}
}

func (l *unary) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	x, y, dy, slope := e.value(l.in[0]), e.result(&l.node, 0), e.gradient(l.out[0]), l.slope
	if add {
		for i, d := range dy {
			dx[i] += d * slope(x[i], y[i])
		}
		return
	}
	for i, d := range dy {
		dx[i] = d * slope(x[i], y[i])
	}
}

// function is what is known of an operator of one value.
type function struct {
	f               func(x float32) float32
	slope           func(x, y float32) float32 // nil: not differentiable, or of no use
	usesIn, usesOut bool                       // slope reads x, y
	poles           bool                       // f is infinite or not defined for some x
}

// functions are the operators of one value without attributes.
var functions = map[schema.BuiltinOperator]function{
	schema.BuiltinOperatorLOGISTIC:    {f: logistic, slope: func(_, y float32) float32 { return y * (1 - y) }, usesOut: true},
	schema.BuiltinOperatorTANH:        {f: wide(math.Tanh), slope: func(_, y float32) float32 { return 1 - y*y }, usesOut: true},
	schema.BuiltinOperatorHARD_SWISH:  {f: hardSwish, slope: hardSwishSlope, usesIn: true},
	schema.BuiltinOperatorELU:         {f: elu, slope: eluSlope, usesOut: true},
	schema.BuiltinOperatorABS:         {f: wide(math.Abs), slope: signOf, usesIn: true},
	schema.BuiltinOperatorNEG:         {f: func(x float32) float32 { return -x }, slope: func(_, _ float32) float32 { return -1 }},
	schema.BuiltinOperatorEXP:         {f: wide(math.Exp), slope: func(_, y float32) float32 { return y }, usesOut: true},
	schema.BuiltinOperatorLOG:         {f: wide(math.Log), slope: func(x, _ float32) float32 { return steep(1 / x) }, usesIn: true, poles: true},
	schema.BuiltinOperatorSQRT:        {f: wide(math.Sqrt), slope: func(_, y float32) float32 { return steep(0.5 / y) }, usesOut: true, poles: true},
	schema.BuiltinOperatorRSQRT:       {f: rsqrt, slope: func(x, y float32) float32 { return steep(-0.5 * y / x) }, usesIn: true, usesOut: true, poles: true},
	schema.BuiltinOperatorSQUARE:      {f: func(x float32) float32 { return x * x }, slope: func(x, _ float32) float32 { return 2 * x }, usesIn: true},
	schema.BuiltinOperatorSIN:         {f: wide(math.Sin), slope: func(x, _ float32) float32 { return float32(math.Cos(float64(x))) }, usesIn: true},
	schema.BuiltinOperatorCOS:         {f: wide(math.Cos), slope: func(x, _ float32) float32 { return -float32(math.Sin(float64(x))) }, usesIn: true},
	schema.BuiltinOperatorFLOOR:       {f: wide(math.Floor)},
	schema.BuiltinOperatorCEIL:        {f: wide(math.Ceil)},
	schema.BuiltinOperatorROUND:       {f: wide(math.RoundToEven)},
	schema.BuiltinOperatorZEROS_LIKE:  {f: func(float32) float32 { return 0 }},
	schema.BuiltinOperatorSIGN:        {f: func(x float32) float32 { return signOf(x, 0) }},
	schema.BuiltinOperatorLOGICAL_NOT: {f: func(x float32) float32 { return 1 - x }},
}

// steep is a slope, or 0 where there is none: of a logarithm, root or quotient at 0, which int8 values round to.
func steep(slope float32) float32 {
	if slope-slope != 0 {
		return 0
	}
	return slope
}

func buildUnary(s *site) (layer, error) { return newUnary(s), nil }

// newUnary compiles an operator of the table of functions.
func newUnary(s *site) *unary {
	f := functions[s.o.Op]
	s.usesIn, s.usesOut, s.opaque, s.poles = f.usesIn, f.usesOut, f.slope == nil, f.poles
	return &unary{node: s.node, f: f.f, slope: f.slope}
}

func buildHardSwish(s *site) (layer, error) { return newHardSwish(newUnary(s)), nil }

func buildLeakyRelu(s *site) (layer, error) {
	a := s.o.Attr.(ir.LeakyRelu).Alpha
	s.usesIn = true
	return &unary{node: s.node, f: func(x float32) float32 {
		if x < 0 {
			return a * x
		}
		return x
	}, slope: func(x, _ float32) float32 {
		if x < 0 {
			return a
		}
		return 1
	}}, nil
}

func buildGelu(s *site) (layer, error) {
	s.usesIn = true
	if s.o.Attr.(ir.Gelu).Approximate {
		return &unary{node: s.node, f: geluTanh, slope: geluTanhSlope}, nil
	}
	return &unary{node: s.node, f: gelu, slope: geluSlope}, nil
}

func wide(f func(float64) float64) func(float32) float32 {
	return func(x float32) float32 { return float32(f(float64(x))) }
}

func logistic(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

func rsqrt(x float32) float32 { return float32(1 / math.Sqrt(float64(x))) }

func signOf(x, _ float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

func elu(x float32) float32 {
	if x < 0 {
		return float32(math.Expm1(float64(x)))
	}
	return x
}

func eluSlope(_, y float32) float32 {
	if y < 0 {
		return y + 1
	}
	return 1
}

// hardSwish is x·relu6(x+3)/6 (Howard et al., arXiv 1905.02244).
func hardSwish(x float32) float32 { return x * min(max(x+3, 0), 6) / 6 }

func hardSwishSlope(x, _ float32) float32 {
	switch {
	case x <= -3:
		return 0
	case x >= 3:
		return 1
	}
	return (2*x + 3) / 6
}

// gelu is x·Φ(x), Φ the normal distribution (Hendrycks and Gimpel, arXiv 1606.08415).
func gelu(x float32) float32 {
	v := float64(x)
	return float32(0.5 * v * (1 + math.Erf(v/math.Sqrt2)))
}

func geluSlope(x, _ float32) float32 {
	v := float64(x)
	return float32(0.5*(1+math.Erf(v/math.Sqrt2)) + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
}

// geluTanh is the approximation 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))) of the same paper.
func geluTanh(x float32) float32 {
	v := float64(x)
	return float32(0.5 * v * (1 + math.Tanh(geluInner(v))))
}

func geluTanhSlope(x, _ float32) float32 {
	v := float64(x)
	t := math.Tanh(geluInner(v))
	return float32(0.5*(1+t) + 0.5*v*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*v*v))
}

func geluInner(v float64) float64 { return math.Sqrt(2/math.Pi) * (v + 0.044715*v*v*v) }

// clampLayer is RELU and its relatives.
type clampLayer struct {
	node
	bounds
}

// clampTo is the build of a clamp.
func clampTo(b bounds) build {
	return func(s *site) (layer, error) {
		s.usesOut = true
		return &clampLayer{node: s.node, bounds: b}, nil
	}
}

func (l *clampLayer) forward(e *Exec) {
	kernel.Clamp(e.result(&l.node, 0), e.value(l.in[0]), l.lo, l.hi)
}

func (l *clampLayer) backward(e *Exec, g *Grads) {
	dx, add := e.gradientOf(g, &l.node, 0)
	if dx == nil {
		return
	}
	dy := e.gradient(l.out[0])
	kernel.ClampBackward(dy, e.result(&l.node, 0), l.lo, l.hi)
	assign(dx, dy, add)
}

// cast is CAST between number types; all are held as float32, so only the conversion to another integer type changes anything.
type cast struct {
	node
	ir.Cast
}

func buildCast(s *site) (layer, error) {
	l := &cast{s.node, s.o.Attr.(ir.Cast)}
	switch l.To {
	case schema.TensorTypeFLOAT32, schema.TensorTypeFLOAT16, schema.TensorTypeFLOAT64:
	default:
		s.opaque = true
	}
	return l, nil
}

func (l *cast) forward(e *Exec) {
	x, y := e.value(l.in[0]), e.result(&l.node, 0)
	for i, v := range x {
		y[i] = float32(l.Of(float64(v)))
	}
}

func (l *cast) backward(e *Exec, g *Grads) {
	if dx, add := e.gradientOf(g, &l.node, 0); dx != nil {
		assign(dx, e.gradient(l.out[0]), add)
	}
}
