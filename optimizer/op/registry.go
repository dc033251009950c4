package op

import "espalier.dev/espalier/optimizer/tflite/schema"

// all is the table, in the order of docs/operators.md.
var all = join(
	[]*Op{conv2d, depthwiseConv2d, transposeConv, conv3d, fullyConnected, batchMatMul},
	pools, resizes, blocks,
	binaries, unaries, comparisons, logic, selections, conversions, normalisations, reductions, alongAxis, positions, spectra,
	[]*Op{zerosLike, concatenation, gather, gatherND, scatterND, segmentSum, oneHot, topK},
	pads, splits, packs, slices, reshapes, shapes, turns, repeats, unrolled, variables,
)

var byCode = index()

func join(families ...[]*Op) []*Op {
	var list []*Op
	for _, f := range families {
		list = append(list, f...)
	}
	return list
}

func index() map[schema.BuiltinOperator]*Op {
	m := make(map[schema.BuiltinOperator]*Op, len(all))
	for _, o := range all {
		m[o.Code] = o
	}
	return m
}
