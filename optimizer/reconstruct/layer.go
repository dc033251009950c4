package reconstruct

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// None marks the absence of a bias.
const None = -1

const (
	// MaxTaps is how many inputs an output may have for all of them to be one part, whatever is done to its weights: their moments take 34 MB.
	MaxTaps = 2048
	// MaxShared is MaxTaps where all outputs have the same inputs, none of them masked, so that one factorization does for all: 170 MB.
	MaxShared = 4608
	// PartTaps is how many inputs a part of a layer with more has.
	PartTaps = 512
	// mostMoments bounds the numbers that a layer's moments are, 512 MB.
	mostMoments = 1 << 26
)

// Layer is weights and the operators that compute with them, usually one. Its outputs fall into groups that read the same inputs: one
// group for an ordinary convolution or dense layer, as many as input channels for a depthwise convolution.
type Layer struct {
	Name         string
	Weight, Bias int   // tensors; Bias None where there is none, or none of its own
	Nodes        []int // in order
	Groups       int
	Outputs      int // of a group
	Taps         int // weights of an output
	// Parts are what is reconstructed by itself: the groups, unless Split divided them.
	Parts     []Part
	depthwise bool
	data      int // the slot of the nodes' input
}

// Part is some inputs of a group, Taps from number From on. What they make of the group's outputs is one reconstruction; errors of one
// part are not made up for by another, but for their mean, which the bias takes.
type Part struct{ Group, From, Taps int }

// Split divides groups of more than most inputs into parts, about equal, of at most PartTaps and at most that many.
func (l *Layer) Split(most int) {
	count := 1
	if l.Taps > most {
		size := min(PartTaps, most)
		count = (l.Taps + size - 1) / size
	}
	l.Parts = make([]Part, 0, l.Groups*count)
	for g := range l.Groups {
		for i := range count {
			from := l.Taps * i / count
			l.Parts = append(l.Parts, Part{Group: g, From: from, Taps: l.Taps*(i+1)/count - from})
		}
	}
}

// moments is how many numbers the moments of all parts are.
func (l *Layer) moments() int {
	sum := 0
	for _, p := range l.Parts {
		sum += (p.Taps + 1) * (p.Taps + 1 + l.Outputs)
	}
	return sum
}

// Layers lists the layers of a graph whose weights can be reconstructed, in order of execution, and says of the others why they cannot.
func Layers(g *ir.Graph) (layers []*Layer, notes []string) {
	byWeight := map[int]*Layer{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		l := newLayer(g, n)
		if l == nil {
			continue
		}
		if first := byWeight[l.Weight]; first != nil {
			if first.Taps != l.Taps || first.Groups != l.Groups {
				continue // counted among the other operators that read the weights
			}
			first.Nodes = append(first.Nodes, i)
			if first.Bias != l.Bias {
				first.Bias = None
			}
			continue
		}
		byWeight[l.Weight] = l
		if l.Split(MaxTaps); l.Taps > MaxTaps && l.moments() > mostMoments {
			notes = append(notes, fmt.Sprintf("weights %q: %d outputs of %d inputs are more than can be reconstructed", l.Name, l.Outputs*l.Groups, l.Taps))
			continue
		}
		layers = append(layers, l)
	}
	return slices.DeleteFunc(layers, func(l *Layer) bool {
		if l.Bias != None && len(g.Tensors[l.Bias].Consumers) > len(l.Nodes) {
			l.Bias = None
		}
		if len(g.Tensors[l.Weight].Consumers) > len(l.Nodes) {
			notes = append(notes, fmt.Sprintf("weights %q are read by other operators too, and are not reconstructed", l.Name))
			return true
		}
		return false
	}), notes
}

// newLayer describes the weights of a node; nil if it has none of the kinds known here.
func newLayer(g *ir.Graph, n *ir.Node) *Layer {
	if n.Folded || len(n.Inputs) < 2 || n.Inputs[1] < 0 {
		return nil
	}
	w := &g.Tensors[n.Inputs[1]]
	l := &Layer{Name: w.Name, Weight: w.Index, Bias: None, Nodes: []int{n.Index}}
	bias := 2
	switch attr := n.Attr.(type) {
	case ir.Conv:
		if attr.Depthwise {
			l.depthwise, l.Outputs, l.Groups, l.Taps = true, attr.DepthMultiplier, w.Shape[3]/attr.DepthMultiplier, attr.KH*attr.KW
		} else {
			l.Groups, l.Outputs, l.Taps = attr.Groups, w.Shape[0]/attr.Groups, attr.KH*attr.KW*w.Shape[3]
		}
	case ir.FullyConnected:
		l.Groups, l.Outputs, l.Taps = 1, attr.Out, attr.In
	case ir.TransposeConv:
		l.Groups, l.Outputs, l.Taps, l.data, bias = 1, w.Shape[0], w.Shape[1]*w.Shape[2]*w.Shape[3], 2, 3
	default:
		return nil
	}
	if w.Const == nil || w.Type != schema.TensorTypeFLOAT32 || !g.Tensors[n.Inputs[l.data]].Batched {
		return nil
	}
	if bias := g.Input(n, bias); bias != nil && bias.Const != nil {
		l.Bias = bias.Index
	}
	return l
}

// Channel is the output channel of output o of a part.
func (l *Layer) Channel(part, o int) int { return l.Parts[part].Group*l.Outputs + o }

// At is where a weight of a part lies in its tensor.
func (l *Layer) At(part, o, tap int) int {
	tap += l.Parts[part].From
	if l.depthwise {
		return tap*l.Groups*l.Outputs + l.Channel(part, o)
	}
	return l.Channel(part, o)*l.Taps + tap
}

// patches gives the inputs of output pixels of a node.
type patches struct {
	window   *kernel.Window // nil: rows lie in the input as they are
	spread   *ir.Window     // of a transposed convolution
	channels int
	rows     int // of one image, or of one sample of a dense layer
	size     int // of one image in the input
	width    int // of a row: the inputs of all groups
	groups   int
	each     int // inputs of a group at one position of the kernel
}

func newPatches(g *ir.Graph, l *Layer, node int) patches {
	n := &g.Nodes[node]
	p := patches{groups: l.Groups, width: l.Taps * l.Groups}
	x := g.Tensors[n.Inputs[l.data]].Shape
	if attr, ok := n.Attr.(ir.TransposeConv); ok {
		p.spread, p.channels, p.rows, p.size, p.each = &attr.Window, x[3], attr.OutH*attr.OutW, x[1]*x[2]*x[3], l.Taps
		return p
	}
	if attr, ok := n.Attr.(ir.Conv); ok {
		w := kernel.Window(attr.Window)
		p.window, p.channels, p.rows, p.size = &w, x[3], attr.OutH*attr.OutW, x[1]*x[2]*x[3]
		p.each = x[3] / l.Groups
		return p
	}
	p.rows = max(n.Attr.(ir.FullyConnected).Rows/max(g.Batch, 1), 1)
	p.size, p.each = p.rows*l.Taps, l.Taps
	return p
}

// row writes the inputs of row r of an image, all groups', to dst.
func (p *patches) row(dst, image []float32, r int) {
	if p.spread != nil {
		p.spreadRow(dst, image, r)
		return
	}
	if p.window == nil {
		copy(dst, image[r*p.width:(r+1)*p.width])
		return
	}
	kernel.Im2col(dst, image, *p.window, p.channels, r, 1)
}

// spreadRow writes what output pixel r of a transposed convolution is summed up from: at every position of the kernel the input pixel that
// reaches it, nothing where there is none.
func (p *patches) spreadRow(dst, image []float32, r int) {
	w := p.spread
	clear(dst[:p.width])
	for i := range w.KH {
		y := r/w.OutW + w.PadTop - i
		if y < 0 || y%w.StrideH != 0 || y/w.StrideH >= w.InH {
			continue
		}
		for j := range w.KW {
			x := r%w.OutW + w.PadLeft - j
			if x < 0 || x%w.StrideW != 0 || x/w.StrideW >= w.InW {
				continue
			}
			copy(dst[(i*w.KW+j)*p.channels:], image[(y/w.StrideH*w.InW+x/w.StrideW)*p.channels:][:p.channels])
		}
	}
}

// part copies what a part reads of a row to dst, in the order of its weights.
func (p *patches) part(dst, row []float32, part Part) {
	if p.groups == 1 {
		copy(dst, row[part.From:part.From+part.Taps])
		return
	}
	for tap := 0; tap < part.Taps; {
		position, channel := (part.From+tap)/p.each, (part.From+tap)%p.each
		count := min(p.each-channel, part.Taps-tap)
		copy(dst[tap:tap+count], row[(position*p.groups+part.Group)*p.each+channel:])
		tap += count
	}
}
