package float

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

const lstmSteps, lstmIn, lstmCells, lstmOut = 4, 3, 5, 2

// lstmCase is a UNIDIRECTIONAL_SEQUENCE_LSTM.
type lstmCase struct {
	coupled, peepholes, projects, timeMajor bool
	clip                                    float32
	act                                     schema.ActivationFunctionType
}

func (c *lstmCase) outputs() int {
	if c.projects {
		return lstmOut
	}
	return lstmCells
}

// constants are the layer's inputs from slot 1 to 17, nil where absent; first is that of the first gate.
func (c *lstmCase) constants() (list [18][]float32) {
	first := 0
	if c.coupled {
		first = 1
	}
	for gate := first; gate < 4; gate++ {
		list[1+gate] = spread(lstmCells*lstmIn, gate)
		list[5+gate] = spread(lstmCells*c.outputs(), gate+4)
		list[12+gate] = spread(lstmCells, gate+8)
	}
	for k, gate := range []int{0, 1, 3} {
		if c.peepholes && gate >= first {
			list[9+k] = spread(lstmCells, gate+12)
		}
	}
	if c.projects {
		list[16], list[17] = spread(lstmOut*lstmCells, 20), spread(lstmOut, 21)
	}
	return list
}

func spread(n, seed int) []float32 {
	v := normal(n + seed)[seed:]
	for i := range v {
		v[i] *= 0.7
	}
	return v
}

func (c *lstmCase) model() *tflite.Model {
	b := tflitetest.New()
	shape, out := []int32{1, lstmSteps, lstmIn}, []int32{1, lstmSteps, int32(c.outputs())}
	if c.timeMajor {
		shape[0], shape[1], out[0], out[1] = shape[1], shape[0], out[1], out[0]
	}
	inputs := slices.Repeat([]int32{-1}, 24)
	inputs[0] = b.Input("x", shape...)
	for slot, values := range c.constants() {
		if values == nil {
			continue
		}
		shape := []int32{lstmCells}
		switch {
		case slot < 5:
			shape = append(shape, lstmIn)
		case slot < 9:
			shape = append(shape, int32(c.outputs()))
		case slot == 16:
			shape = []int32{lstmOut, lstmCells}
		case slot == 17:
			shape = []int32{lstmOut}
		}
		inputs[slot] = b.Const(fmt.Sprintf("c%d", slot), values, shape...)
	}
	for slot, n := range map[int]int32{18: int32(c.outputs()), 19: lstmCells} {
		inputs[slot] = b.Const(fmt.Sprintf("state%d", slot), nil, 1, n)
		t := b.Tensor(inputs[slot])
		t.IsVariable, t.Buffer = true, 0
	}
	o := &schema.UnidirectionalSequenceLSTMOptionsT{FusedActivationFunction: c.act, TimeMajor: c.timeMajor, CellClip: c.clip, ProjClip: c.clip}
	b.Output(b.Op("y", schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM, schema.BuiltinOptionsUnidirectionalSequenceLSTMOptions, o, out, inputs...))
	return b.Model()
}

// answer computes the layer step by step, from its equations.
func (c *lstmCase) answer(x []float32) (y []float32) {
	w := c.constants()
	h, cell := make([]float64, c.outputs()), make([]float64, lstmCells)
	act := math.Tanh
	if c.act == schema.ActivationFunctionTypeRELU {
		act = func(v float64) float64 { return max(v, 0) }
	}
	sigma := func(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
	clip := func(v float64) float64 {
		if c.clip == 0 {
			return v
		}
		return min(max(v, -float64(c.clip)), float64(c.clip))
	}
	for t := range lstmSteps {
		sum := func(gate, k, peephole int) float64 {
			v := float64(w[12+gate][k])
			for i := range lstmIn {
				v += float64(w[1+gate][k*lstmIn+i]) * float64(x[t*lstmIn+i])
			}
			for i := range h {
				v += float64(w[5+gate][k*len(h)+i]) * h[i]
			}
			if peephole >= 0 && w[peephole] != nil {
				v += float64(w[peephole][k]) * cell[k]
			}
			return v
		}
		raw := make([]float64, lstmCells)
		for k := range lstmCells {
			forget, candidate := sigma(sum(1, k, 10)), act(sum(2, k, -1))
			enters := 1 - forget
			if !c.coupled {
				enters = sigma(sum(0, k, 9))
			}
			cell[k] = clip(forget*cell[k] + enters*candidate)
			raw[k] = sigma(sum(3, k, 11)) * act(cell[k])
		}
		if copy(h, raw); c.projects {
			for o := range h {
				h[o] = float64(w[17][o])
				for k, v := range raw {
					h[o] += float64(w[16][o*lstmCells+k]) * v
				}
				h[o] = clip(h[o])
			}
		}
		for _, v := range h {
			y = append(y, float32(v))
		}
	}
	return y
}

func TestAFusedLSTMIsItsSteps(t *testing.T) {
	tanh := schema.ActivationFunctionTypeTANH
	for name, c := range map[string]lstmCase{
		"plain":              {act: tanh},
		"coupled gates":      {act: tanh, coupled: true},
		"peepholes":          {act: tanh, peepholes: true},
		"coupled peepholes":  {act: tanh, peepholes: true, coupled: true},
		"projection":         {act: tanh, projects: true},
		"clipped projection": {act: tanh, projects: true, clip: 0.3},
		"time first":         {act: tanh, timeMajor: true},
		"rectified":          {act: schema.ActivationFunctionTypeRELU},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.model()
			notes, err := ir.Specialize(m, nil)
			if err != nil || len(notes) == 0 {
				t.Fatal(notes, err)
			}
			if c.act == tanh && !c.timeMajor && c.clip == 0 {
				check(t, m, 3, false)
			}
			batch := 1
			if c.timeMajor { // the file's batch is its first dimension
				batch = lstmSteps
			}
			n, err := Compile(m, batch)
			if err != nil {
				t.Fatal(err)
			}
			e, x := n.NewExec(false), normal(lstmSteps*lstmIn)
			e.SetInput(0, x)
			e.Forward()
			for i, want := range c.answer(x) {
				if got := e.Output(0)[i]; math.Abs(float64(got-want)) > 1e-6 {
					t.Fatalf("value %d is %v, want %v", i, got, want)
				}
			}
		})
	}
}
