package target

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Memory says what an interpreter of TFLM takes of its arena for a model. All sizes are in bytes.
type Memory struct {
	Target     string           `json:"target"`
	Bytes      int              `json:"arenaBytes"`       // an arena of this size, aligned to 16 bytes, suffices
	Planned    int              `json:"activationBytes"`  // activations and scratch buffers
	Structures int              `json:"structureBytes"`   // tensors, operators, the interpreter's own
	Variables  int              `json:"variableBytes"`    // state that is kept from run to run
	Preparing  int              `json:"preparationBytes"` // what planning takes in the place of activations, where it is more than they
	Margin     int              `json:"marginBytes,omitempty"`
	Resources  int              `json:"resourceVariables,omitempty"` // how many: MicroResourceVariables::Create is told
	Operators  []OperatorMemory `json:"operators"`
	Notes      []string         `json:"notes,omitempty"`
}

// OperatorMemory is the memory of one operator.
type OperatorMemory struct {
	Subgraph   int    `json:"subgraph,omitempty"`
	Operator   int    `json:"operator"`
	Name       string `json:"name"`
	Persistent int    `json:"persistentBytes"` // kept by its kernel
	Scratch    int    `json:"scratchBytes"`    // while it runs
	Alive      int    `json:"aliveBytes"`      // activations and scratch buffers that exist while it runs
}

// Sizes of TFLM's structures where pointers have four bytes and numbers of eight are aligned to eight, at commit 90b983c2 of
// tensorflow/tflite-micro.
const (
	alignment          = 16 // of what kernels keep, and of planned buffers
	interpreterSize    = 36 + 44 + 36 + 8
	subgraphSize       = 8
	evalTensorSize     = 12
	nodeSize           = 32
	tensorSize         = 40
	quantizationSize   = 12
	scratchHandleSize  = 4
	scratchRequestSize = 12
	maxScratchPerNode  = 12
	allocationInfoSize = 24
	plannerBufferSize  = 40
	variablesSize      = 12
	variableSize       = 20
)

// PlansGreedily says that the target's runtime lays out its memory as MemoryOf does.
func (t *Target) PlansGreedily() bool { return t.Memory.Plan == "greedy" }

// PlansMemoryUnseen says that only the compiler of an accelerator knows how memory is laid out.
func (t *Target) PlansMemoryUnseen() bool { return t.Memory.Plan == "unknown" }

// MemoryOf returns the memory that a model takes on a target whose runtime is TFLM.
func MemoryOf(m *tflite.Model, t *Target) (*Memory, error) {
	if !t.PlansGreedily() {
		return nil, fmt.Errorf("%s: how %s lays out its memory is not in the catalogue", t.Name, t.Runtime)
	}
	a := &allocation{model: m, target: t, memory: &Memory{Target: t.Name, Operators: []OperatorMemory{}}}
	return a.memory, a.run()
}

// allocation follows the interpreter through MicroInterpreter::AllocateTensors.
type allocation struct {
	model   *tflite.Model
	target  *Target
	memory  *Memory
	tail    int // bytes taken from the arena's end
	needed  int // arena that preparing needs
	scratch []scratch
	guessed map[string]bool // operators whose kernel is not recorded

	assigned map[string]bool // resource variables that have their memory
}

// scratch is a request of a kernel.
type scratch struct{ subgraph, node, bytes int }

func roundUp(n, to int) int { return (n + to - 1) / to * to }

// keep takes bytes from the tail.
func (a *allocation) keep(bytes, align int) { a.tail = roundUp(a.tail+bytes, align) }

// prepare notes that bytes are taken from the beginning while the tail is as it is.
func (a *allocation) prepare(bytes int) {
	a.needed = max(a.needed, roundUp(bytes, alignment)+roundUp(a.tail, alignment))
}

func (a *allocation) run() error {
	a.guessed, a.assigned = map[string]bool{}, map[string]bool{}
	if n := a.variableHandles(); n > 0 {
		a.memory.Resources = n
		a.keep(variablesSize, alignment)
		a.keep(variableSize*n, alignment)
	}
	a.keep(interpreterSize, 4)
	a.keep(subgraphSize*len(a.model.Subgraphs), 4)
	for _, g := range a.model.Subgraphs {
		a.keep(evalTensorSize*len(g.Tensors), 4)
	}
	for _, g := range a.model.Subgraphs {
		a.keep(nodeSize*len(g.Operators), 4)
	}
	nodes := a.nodes()
	each := func(do func(n *node, k kernelMemory, at *OperatorMemory)) {
		i := 0
		for s, list := range nodes {
			for o, n := range list {
				if i == len(a.memory.Operators) {
					a.memory.Operators = append(a.memory.Operators, OperatorMemory{Subgraph: s, Operator: o, Name: n.name()})
				}
				at := &a.memory.Operators[i]
				before := a.tail
				do(n, a.kernel(n), at)
				at.Persistent += a.tail - before
				i++
			}
		}
	}
	each(func(_ *node, k kernelMemory, _ *OperatorMemory) {
		if k.options > 0 {
			a.keep(k.options, k.optionsAlign)
		}
	})
	each(func(_ *node, k kernelMemory, _ *OperatorMemory) {
		if k.data > 0 {
			a.keep(k.data, alignment)
		}
	})
	each(func(n *node, k kernelMemory, at *OperatorMemory) {
		for _, bytes := range k.prepared {
			a.keep(bytes, alignment)
		}
		if name, ok := variable(n); ok && n.code == schema.BuiltinOperatorASSIGN_VARIABLE && !a.assigned[name] {
			a.assigned[name] = true
			a.keep(bytesOf(n.in(1)), alignment)
		}
		for _, bytes := range k.scratch {
			a.scratch = append(a.scratch, scratch{subgraph: at.Subgraph, node: at.Operator, bytes: bytes})
			at.Scratch += bytes
		}
		a.prepare(scratchRequestSize*(len(a.scratch)+maxScratchPerNode) + temporaries(n))
	})
	if err := a.plan(); err != nil {
		return err
	}
	a.ends(a.model.Subgraph().Inputs)
	a.ends(a.model.Subgraph().Outputs)
	kept := roundUp(a.tail, alignment)
	a.memory.Margin = a.target.Memory.Margin
	a.memory.Structures = kept - a.memory.Variables
	a.memory.Preparing = max(0, a.needed-a.memory.Planned-kept)
	a.memory.Bytes = a.memory.Planned + kept + a.memory.Preparing + a.memory.Margin
	for _, name := range slices.Sorted(maps.Keys(a.guessed)) {
		a.memory.Notes = append(a.memory.Notes, fmt.Sprintf("what the kernel of %s keeps is not recorded: counted with %d bytes", name, guess.options+guess.data))
	}
	return nil
}

func (a *allocation) nodes() (out [][]*node) {
	for _, g := range a.model.Subgraphs {
		var list []*node
		for _, o := range g.Operators {
			code, custom := a.model.Op(o)
			list = append(list, &node{model: a.model, subgraph: g, op: o, code: code, custom: custom})
		}
		out = append(out, list)
	}
	return out
}

// kernel returns what the kernel of an operator takes on the target.
func (a *allocation) kernel(n *node) kernelMemory {
	k, known := memoryOf(n, a.target.Memory.Kernels)
	if !known {
		a.guessed[n.name()] = true
	}
	return k
}

// variable is the name of the resource variable that an operator's first input stands for.
func variable(n *node) (name string, ok bool) {
	if len(n.op.Inputs) < 2 || n.in(1) == nil {
		return "", false
	}
	for _, o := range n.subgraph.Operators {
		if code, _ := n.model.Op(o); code != schema.BuiltinOperatorVAR_HANDLE || len(o.Outputs) != 1 || o.Outputs[0] != n.op.Inputs[0] || o.BuiltinOptions == nil {
			continue
		}
		if v, ok := o.BuiltinOptions.Value.(*schema.VarHandleOptionsT); ok {
			return v.SharedName, true
		}
	}
	return "", false
}

// variableHandles counts the resource variables of a model.
func (a *allocation) variableHandles() int {
	names := map[string]bool{}
	for _, g := range a.model.Subgraphs {
		for _, o := range g.Operators {
			if code, _ := a.model.Op(o); code != schema.BuiltinOperatorVAR_HANDLE || o.BuiltinOptions == nil {
				continue
			}
			if v, ok := o.BuiltinOptions.Value.(*schema.VarHandleOptionsT); ok {
				names[v.SharedName] = true
			}
		}
	}
	return len(names)
}

// temporaries is what the descriptions of an operator's tensors take while it is prepared: convolutions hold them twice.
func temporaries(n *node) int {
	bytes := 0
	for _, list := range [][]int32{n.op.Inputs, n.op.Outputs} {
		for _, i := range list {
			if i < 0 {
				continue
			}
			bytes += tensorSize + quantizationOf(n.subgraph.Tensors[i])
		}
	}
	if _, ok := n.window(); ok {
		bytes *= 2
	}
	return bytes
}

// quantizationOf is what the description of a tensor's quantization takes.
func quantizationOf(t *schema.TensorT) int {
	if q := t.Quantization; q != nil && len(q.Scale) > 0 && len(q.ZeroPoint) > 0 {
		return quantizationSize + 4 + 4*len(q.Scale)
	}
	return 0
}

// ends keeps the descriptions of inputs or outputs.
func (a *allocation) ends(tensors []int32) {
	a.keep(4*len(tensors), alignment)
	for _, i := range tensors {
		a.keep(tensorSize, 4)
		if n := quantizationOf(a.model.Subgraph().Tensors[i]); n > 0 {
			a.keep(n, 4)
		}
	}
}

// bytesOf is the size of a tensor, that of one sample where a dimension is open.
func bytesOf(t *schema.TensorT) int {
	if t == nil {
		return 0
	}
	bits, _ := tflite.TypeSize(t.Type)
	elements := 1
	for _, d := range t.Shape {
		elements *= max(int(d), 1)
	}
	for _, d := range t.Shape {
		if d == 0 {
			elements = 0
		}
	}
	return (elements*bits + 7) / 8
}

// lifetime of a tensor or scratch buffer while the plan is made; first is −1 until it is created.
type lifetime struct {
	buffer
	needed bool
}

// plan lays out activations and scratch buffers.
func (a *allocation) plan() error {
	if len(a.scratch) > 0 {
		a.keep(scratchHandleSize*len(a.scratch), 4)
	}
	offline, err := a.offline()
	if err != nil {
		return err
	}
	var all []*lifetime
	tensors := make([][]*lifetime, len(a.model.Subgraphs))
	for s, g := range a.model.Subgraphs {
		for _, t := range g.Tensors {
			l := &lifetime{buffer: buffer{size: roundUp(bytesOf(t), alignment), first: -1, last: -1, offline: -1}}
			if offline != nil {
				l.offline = offline[len(all)]
			}
			l.needed = !a.model.IsConst(t) && bytesOf(t) > 0 && (!t.IsVariable || l.offline >= 0)
			if t.IsVariable && l.offline < 0 {
				before := a.tail
				a.keep(bytesOf(t), alignment)
				a.memory.Variables += a.tail - before
			}
			tensors[s] = append(tensors[s], l)
			all = append(all, l)
		}
	}
	requests := make([]*lifetime, len(a.scratch))
	for i, r := range a.scratch {
		requests[i] = &lifetime{buffer: buffer{size: roundUp(r.bytes, alignment), first: -1, last: -1, offline: -1}, needed: true}
	}
	all = append(all, requests...)
	w := &lifetimes{allocation: a, tensors: tensors, requests: requests, at: map[[2]int]int{}}
	w.subgraph(0, 0)

	var buffers []*buffer
	for _, l := range all {
		if l.needed { // a tensor of a subgraph that never runs keeps step −1, and a place
			buffers = append(buffers, &l.buffer)
		}
	}
	a.memory.Planned = greedy(buffers)
	a.prepare(scratchRequestSize*(len(a.scratch)+maxScratchPerNode) + 4*len(a.model.Subgraphs) + allocationInfoSize*len(all) +
		alignment + plannerBufferSize*len(buffers))
	for i := range a.memory.Operators {
		o := &a.memory.Operators[i]
		step, ok := w.at[[2]int{o.Subgraph, o.Operator}]
		for _, b := range buffers {
			if ok && b.first <= step && step <= b.last {
				o.Alive += b.size
			}
		}
	}
	return nil
}

// lifetimes walks the subgraphs as they run: every operator is a step, and so is every subgraph that one calls.
type lifetimes struct {
	*allocation
	tensors  [][]*lifetime
	requests []*lifetime
	step     int
	at       map[[2]int]int // the step of an operator
}

func (l *lifetime) create(step int) {
	if l.first < 0 {
		l.first = step
	}
}

// maxNesting bounds subgraphs that call each other.
const maxNesting = 16

func (w *lifetimes) subgraph(s, depth int) {
	if s < 0 || s >= len(w.model.Subgraphs) || depth > maxNesting {
		return
	}
	g, tensors := w.model.Subgraphs[s], w.tensors[s]
	for _, i := range g.Inputs {
		tensors[i].create(w.step)
		tensors[i].last = w.step
	}
	for o, op := range g.Operators {
		w.step++
		w.at[[2]int{s, o}] = w.step
		start := w.step
		for _, i := range op.Outputs {
			if i >= 0 {
				tensors[i].create(w.step)
			}
		}
		for _, called := range calls(op) {
			w.step++
			w.subgraph(called, depth+1)
		}
		for _, list := range [][]int32{op.Inputs, op.Outputs} {
			for _, i := range list {
				if i >= 0 {
					tensors[i].last = w.step
				}
			}
		}
		for i, r := range w.scratch {
			if r.subgraph == s && r.node == o {
				w.requests[i].create(start)
				w.requests[i].last = w.step
			}
		}
	}
	for _, i := range g.Outputs {
		tensors[i].create(w.step)
		tensors[i].last = w.step
	}
}

// calls lists the subgraphs that an operator runs.
func calls(op *schema.OperatorT) []int {
	if op.BuiltinOptions == nil {
		return nil
	}
	switch o := op.BuiltinOptions.Value.(type) {
	case *schema.IfOptionsT:
		return []int{int(o.ThenSubgraphIndex), int(o.ElseSubgraphIndex)}
	case *schema.WhileOptionsT:
		return []int{int(o.CondSubgraphIndex), int(o.BodySubgraphIndex)}
	case *schema.CallOnceOptionsT:
		return []int{int(o.InitSubgraphIndex)}
	}
	return nil
}

// offlinePlan is the metadata entry with offsets that a tool has fixed: version, subgraph, number of tensors, an offset each.
const offlinePlan = "OfflineMemoryAllocation"

// offline returns the offsets that the file fixes, −1 for tensors it leaves to the planner; nil where it fixes none.
func (a *allocation) offline() ([]int, error) {
	data, ok := a.model.Metadata(offlinePlan)
	if !ok {
		return nil, nil
	}
	tensors := 0
	for _, g := range a.model.Subgraphs {
		tensors += len(g.Tensors)
	}
	if len(data) < 12 || len(data) < 12+4*tensors || int64(binary.LittleEndian.Uint32(data[8:])) != int64(tensors) {
		return nil, fmt.Errorf("metadata %s does not hold an offset for each of %d tensors: remove it, so that memory is planned anew", offlinePlan, tensors)
	}
	out := make([]int, tensors)
	for i := range out {
		out[i] = int(int32(binary.LittleEndian.Uint32(data[12+4*i:])))
		if out[i] < -1 || out[i] > math.MaxInt32/2 {
			return nil, fmt.Errorf("metadata %s places tensor %d at %d", offlinePlan, i, out[i])
		}
	}
	return out, nil
}
