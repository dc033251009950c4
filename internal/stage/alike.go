package stage

import (
	"fmt"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// deadened says of outputs that answer all samples alike what may have killed the network, and what to try.
func (r *Runner) deadened(s settings, alike []measure.Alike, leaf []byte) ([]string, error) {
	if len(alike) == 0 {
		return nil, nil
	}
	source := r.Prepared.Deciding()
	inputs, err := inputReaches(leaf, source)
	if err != nil {
		return nil, err
	}
	remedy := s.revive()
	for _, in := range inputs {
		if in.outlying() {
			remedy = in.String()
			break
		}
	}
	var out []string
	for _, a := range alike {
		which := ""
		if len(r.Prepared.Outputs) > 1 {
			which = "output " + a.Output + " "
		}
		out = append(out, fmt.Sprintf("%sanswers all samples alike: %d of %d otherwise than the model does; %s", which, a.Otherwise, source.Len(), remedy))
	}
	return out, nil
}

// revive is what to try where the units of a stage's network died.
func (s settings) revive() string {
	if s.stage == nil {
		return "8 bits may be too few for it: try leaf: {equalize: true} or {activations: Int16}"
	}
	var less []string
	if p := s.stage.Prune; p != nil && p.Structure == v1alpha1.PruneChannels {
		if less = []string{"a smaller prune.channels"}; p.Multiplications != nil {
			less = []string{"a greater prune.multiplications"}
		}
	} else if p != nil {
		less = append(less, "less prune.sparsity")
	}
	if s.stage.Cluster != nil {
		less = append(less, "more clusters")
	}
	if s.training.Trains() {
		less = append(less, "a smaller training.learningRate")
	}
	if s.stage.Prune == nil && s.stage.Cluster == nil {
		less = append(less, "an earlier stage that takes less away")
	}
	return "try " + strings.Join(less, " or ")
}

// inputReach is how far an input of a leaf is quantized, and how far nearly all samples reach.
type inputReach struct {
	name                    string
	low, high               float64
	samplesLow, samplesHigh float64
}

// outlying reports whether the samples have less than eight of an int8 input's 255 steps.
func (i inputReach) outlying() bool { return i.high-i.low > 32*(i.samplesHigh-i.samplesLow) }

// least is the width of the range that int8 has at least for such samples: one that holds 0, and not too small.
func (i inputReach) least() float64 {
	return 255 * float64(quantize.Range{Min: float32(i.samplesLow), Max: float32(i.samplesHigh)}.Params().Scale)
}

func (i inputReach) String() string {
	if i.high-i.low < 2*i.least() {
		return fmt.Sprintf("its input %s is quantized for %.3g to %.3g, as ranges of int8 hold 0 and are no smaller than 1e-06, while nearly all samples lie within %.3g to %.3g: "+
			"have them shifted and scaled before the network (dataset.preprocessing), not in it", i.name, i.low, i.high, i.samplesLow, i.samplesHigh)
	}
	return fmt.Sprintf("its input %s is quantized for %.3g to %.3g, while nearly all samples lie within %.3g to %.3g: leave the training samples beyond that out, "+
		"or set leaf: {calibration: {method: Percentile, percentile: 99}}", i.name, i.low, i.high, i.samplesLow, i.samplesHigh)
}

// reachSamples tell how far samples reach.
const reachSamples = 512

// inputReaches looks at the int8 inputs of a leaf, those that it quantizes itself included.
func inputReaches(leaf []byte, source dataset.Source) ([]inputReach, error) {
	m, err := tflite.Read(leaf)
	if err != nil {
		return nil, err
	}
	g, err := ir.Parse(m, 0)
	if err != nil {
		return nil, err
	}
	arrays := source.Inputs()
	if len(arrays) > len(g.Inputs) {
		return nil, nil
	}
	n := min(source.Len(), reachSamples)
	least, most := make([][]float64, len(arrays)), make([][]float64, len(arrays))
	x := make([][]float32, len(arrays))
	for k := range arrays {
		x[k] = make([]float32, arrays[k].Size())
	}
	for i := range n {
		if err := source.Read(i, x); err != nil {
			return nil, err
		}
		for k, values := range x {
			if len(values) > 0 {
				least[k], most[k] = append(least[k], float64(slices.Min(values))), append(most[k], float64(slices.Max(values)))
			}
		}
	}
	var out []inputReach
	for k := range arrays {
		t := quantized(g, &g.Tensors[g.Inputs[k]])
		if t == nil || len(most[k]) == 0 {
			continue
		}
		slices.Sort(least[k])
		slices.Sort(most[k])
		scale, zero := float64(t.Quant.Scale[0]), float64(t.Quant.ZeroPoint[0])
		out = append(out, inputReach{arrays[k].Name, scale * (-128 - zero), scale * (127 - zero), least[k][n/100], most[k][n-1-n/100]})
	}
	return out, nil
}

// quantized is the int8 tensor that an input is or becomes, nil where there is none.
func quantized(g *ir.Graph, t *ir.Tensor) *ir.Tensor {
	for _, c := range t.Consumers {
		if n := &g.Nodes[c]; t.Type == schema.TensorTypeFLOAT32 && n.Op == schema.BuiltinOperatorQUANTIZE {
			t = g.Output(n, 0)
			break
		}
	}
	if t.Type != schema.TensorTypeINT8 || t.Quant == nil || len(t.Quant.Scale) != 1 || len(t.Quant.ZeroPoint) != 1 {
		return nil
	}
	return t
}
