package float

import (
	"math"
	"slices"
)

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

// NonFiniteOrigin names the operator where what is not finite in a tensor began: going back from the tensor, the first that makes it of finite
// values. Others may give infinities that end before the tensor, or beside it. "" where the tensor is finite, or no operator makes it. The Exec must
// be a diagnostic one.
func (e *Exec) NonFiniteOrigin(tensor int) string {
	makers := map[int]*node{}
	for _, l := range e.layers {
		if l == nil {
			continue
		}
		for _, t := range l.base().out {
			makers[t] = l.base()
		}
	}
	origin := ""
	for n := makers[tensor]; n != nil && !allFinite(e.values[tensor]); n = makers[tensor] {
		origin, tensor = n.name, -1
		for _, t := range n.in { // a NaN is rather what is passed on than an infinity
			if t >= 0 && makers[t] != nil && !allFinite(e.values[t]) && (tensor < 0 || slices.ContainsFunc(e.values[t], isNaN)) {
				tensor = t
			}
		}
		if tensor < 0 {
			break
		}
	}
	return origin
}

func isNaN(v float32) bool { return v != v }

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
