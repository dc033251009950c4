package integer

import (
	"espalier.dev/espalier/optimizer/ir"
)

// CALL_ONCE, VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE: the state of a streaming network, which an executor keeps from run to
// run. Values move byte for byte, whatever their type.

// variables are what the variables of a graph hold at first, by name, and how many bytes each has.
type variables map[string][]byte

// variable makes sure that there is memory for a variable.
func (c *compiler) variable(name string, t *ir.Tensor) error {
	size := t.Numel() * elementSize(t.Type)
	if !movable(t.Type) {
		return c.unsupported("%s is %s: variables of this type are not supported", t, t.Type)
	}
	first, set := c.variables[name]
	if !set {
		return c.unsupported("variable %q is never set by a CALL_ONCE: export the model with a first state", name)
	}
	if len(first) != size {
		return c.unsupported("%s takes %d bytes, variable %q has %d", t, size, name, len(first))
	}
	return nil
}

// buildCallOnce has nothing to run: an executor begins with the values that it sets.
func buildCallOnce(c *compiler) (runner, error) { return idle{}, nil }

func buildVarHandle(c *compiler) (runner, error) { return idle{}, nil }

// idle does nothing.
type idle struct{}

func (idle) run(*memory) error { return nil }

func buildReadVariable(c *compiler) (runner, error) {
	name := c.n.Attr.(ir.Variable).Name
	return &readKernel{name, c.out(0).Index}, c.variable(name, c.out(0))
}

type readKernel struct {
	name string
	out  int
}

func (k *readKernel) run(m *memory) error {
	copy(m.bytes[k.out], m.variables[k.name])
	return nil
}

func buildAssignVariable(c *compiler) (runner, error) {
	name := c.n.Attr.(ir.Variable).Name
	return &assignKernel{name, c.in(1).Index}, c.variable(name, c.in(1))
}

type assignKernel struct {
	name string
	in   int
}

func (k *assignKernel) run(m *memory) error {
	copy(m.variables[k.name], m.bytes[k.in])
	return nil
}

// firstState collects what CALL_ONCE sets.
func firstState(g *ir.Graph) variables {
	v := variables{}
	for i := range g.Nodes {
		if once, ok := g.Nodes[i].Attr.(ir.CallOnce); ok {
			for name, value := range once.Values {
				v[name] = value
			}
		}
	}
	return v
}

// Stateful reports whether what a run gives depends on the runs before it.
func (e *Executor) Stateful() bool { return len(e.first) > 0 }

// Reset sets the variables to what they hold before the first run.
func (e *Executor) Reset() {
	for name, value := range e.first {
		copy(e.memory.variables[name], value)
	}
}
