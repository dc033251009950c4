package lineage

import (
	"fmt"
	"math"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/quantize"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// fewCodes is how many codes of int8 a number of an input has to span to be told apart.
const fewCodes = 4

// crowded says of an input that is a list of numbers how many of them span so little beside the others that int8, which has one scale for
// all, hardly sees them: features of different size that the network itself makes comparable. "" where there is no such input.
func (r *Run) crowded(n *Network) (string, error) {
	g := n.model.Subgraph()
	inputs := r.Data.Train.Inputs()
	if r.Leaf.Activations == Activations16 || len(g.Inputs) != len(inputs) {
		return "", nil
	}
	x := dataset.Sample(r.Data.Train)
	least, most := make([][]float32, len(inputs)), make([][]float32, len(inputs))
	for i, sample := range r.draw(DefaultSamples) {
		if err := r.Data.Train.Read(sample, x); err != nil {
			return "", err
		}
		for k := range x {
			if i == 0 {
				least[k], most[k] = append(least[k], x[k]...), append(most[k], x[k]...)
			}
			for c, v := range x[k] {
				least[k][c], most[k][c] = min(least[k][c], v), max(most[k][c], v)
			}
		}
	}
	for k, in := range inputs {
		if len(in.Shape) != 1 || g.Tensors[g.Inputs[k]].Type != schema.TensorTypeFLOAT32 {
			continue
		}
		lo, hi, lost := 0.0, 0.0, 0
		for c := range least[k] {
			lo, hi = math.Min(lo, float64(least[k][c])), math.Max(hi, float64(most[k][c]))
		}
		step := float64(quantize.Range{Min: float32(lo), Max: float32(hi)}.Params().Scale) // of no range that is too small for int8
		for c := range least[k] {
			if span := float64(most[k][c]) - float64(least[k][c]); span > 0 && span < fewCodes*step {
				lost++
			}
		}
		if lost > 0 {
			return fmt.Sprintf("input %q goes from %.4g to %.4g, and %d of its %d numbers span less than %d of the 256 codes that int8 has for that, %.2g each: leaves hardly see them. leaf.activations Int16 has 256 times as many; or have the samples shifted and scaled before the network (dataset.preprocessing), not in it",
				in.Name, lo, hi, lost, in.Size(), fewCodes, step), nil
		}
	}
	return "", nil
}
