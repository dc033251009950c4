package float

import "math"

// NewDiagnosticExec is an Exec for training in which every value and gradient is readable after Forward and Backward, in much
// memory: to find out where numbers stopped being finite.
func (n *Network) NewDiagnosticExec() *Exec { return n.newExec(true, keep{all: true}) }

// NonFiniteOutput names the first operator, in execution order, one of whose outputs holds a NaN or an infinity; "" if there
// is none. The Exec must be a diagnostic one.
func (e *Exec) NonFiniteOutput() string {
	for _, l := range e.layers {
		if l == nil {
			continue
		}
		for _, t := range l.base().out {
			if t >= 0 && !allFinite(e.values[t]) {
				return l.base().name
			}
		}
	}
	return ""
}

// NonFiniteGradient names the first operator, in the order of Backward, the gradient of whose output holds a NaN or an
// infinity; "" if there is none.
func (e *Exec) NonFiniteGradient() string {
	for i := len(e.layers) - 1; i >= 0; i-- {
		if e.layers[i] == nil {
			continue
		}
		for _, t := range e.layers[i].base().out {
			if t >= 0 && !allFinite(e.gradients[t]) {
				return e.layers[i].base().name
			}
		}
	}
	return ""
}

func allFinite(x []float32) bool {
	for _, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return false
		}
	}
	return true
}
