package float

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// builders are the float operators.
var builders = map[schema.BuiltinOperator]build{
	schema.BuiltinOperatorCONV_2D:           buildConv,
	schema.BuiltinOperatorDEPTHWISE_CONV_2D: of(newDepthwise),
	schema.BuiltinOperatorTRANSPOSE_CONV:    buildTransposeConv,
	schema.BuiltinOperatorFULLY_CONNECTED:   buildFullyConnected,

	schema.BuiltinOperatorADD:                buildBinary,
	schema.BuiltinOperatorSUB:                buildBinary,
	schema.BuiltinOperatorMUL:                buildBinary,
	schema.BuiltinOperatorDIV:                buildBinary,
	schema.BuiltinOperatorMINIMUM:            buildBinary,
	schema.BuiltinOperatorMAXIMUM:            buildBinary,
	schema.BuiltinOperatorSQUARED_DIFFERENCE: buildBinary,
	schema.BuiltinOperatorPRELU:              buildBinary,

	schema.BuiltinOperatorMAX_POOL_2D:             of(newMaxPool),
	schema.BuiltinOperatorAVERAGE_POOL_2D:         of(newAveragePool),
	schema.BuiltinOperatorRESIZE_BILINEAR:         buildResize,
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: buildResize,

	schema.BuiltinOperatorMEAN:             buildSum,
	schema.BuiltinOperatorSUM:              buildSum,
	schema.BuiltinOperatorREDUCE_MAX:       buildExtreme,
	schema.BuiltinOperatorREDUCE_MIN:       buildExtreme,
	schema.BuiltinOperatorSOFTMAX:          buildSoftmax,
	schema.BuiltinOperatorLOG_SOFTMAX:      buildSoftmax,
	schema.BuiltinOperatorL2_NORMALIZATION: buildNormalize,

	schema.BuiltinOperatorRELU:         clampTo(boundsOf(ir.Relu)),
	schema.BuiltinOperatorRELU6:        clampTo(boundsOf(ir.Relu6)),
	schema.BuiltinOperatorRELU_N1_TO_1: clampTo(boundsOf(ir.ReluN1To1)),
	schema.BuiltinOperatorRELU_0_TO_1:  clampTo(bounds{0, 1}),
	schema.BuiltinOperatorLEAKY_RELU:   buildLeakyRelu,
	schema.BuiltinOperatorGELU:         buildGelu,
	schema.BuiltinOperatorHARD_SWISH:   buildHardSwish,
	schema.BuiltinOperatorLOGISTIC:     buildUnary,
	schema.BuiltinOperatorTANH:         buildUnary,
	schema.BuiltinOperatorELU:          buildUnary,
	schema.BuiltinOperatorABS:          buildUnary,
	schema.BuiltinOperatorNEG:          buildUnary,
	schema.BuiltinOperatorEXP:          buildUnary,
	schema.BuiltinOperatorLOG:          buildUnary,
	schema.BuiltinOperatorSQRT:         buildUnary,
	schema.BuiltinOperatorRSQRT:        buildUnary,
	schema.BuiltinOperatorSQUARE:       buildUnary,
	schema.BuiltinOperatorSIN:          buildUnary,
	schema.BuiltinOperatorCOS:          buildUnary,
	schema.BuiltinOperatorFLOOR:        buildUnary,
	schema.BuiltinOperatorCEIL:         buildUnary,
	schema.BuiltinOperatorROUND:        buildUnary,
	schema.BuiltinOperatorCAST:         buildCast,

	schema.BuiltinOperatorRESHAPE:        buildAlias,
	schema.BuiltinOperatorSQUEEZE:        buildAlias,
	schema.BuiltinOperatorEXPAND_DIMS:    buildAlias,
	schema.BuiltinOperatorTRANSPOSE:      of(newTranspose),
	schema.BuiltinOperatorREVERSE_V2:     of(newReverse),
	schema.BuiltinOperatorSTRIDED_SLICE:  of(newStridedSlice),
	schema.BuiltinOperatorSLICE:          of(newStridedSlice),
	schema.BuiltinOperatorSPLIT:          of(newSplit),
	schema.BuiltinOperatorSPLIT_V:        of(newSplit),
	schema.BuiltinOperatorCONCATENATION:  of(newConcat),
	schema.BuiltinOperatorPACK:           of(newPack),
	schema.BuiltinOperatorUNPACK:         of(newUnpack),
	schema.BuiltinOperatorPAD:            of(newPad),
	schema.BuiltinOperatorPADV2:          of(newPad),
	schema.BuiltinOperatorMIRROR_PAD:     of(newMirrorPad),
	schema.BuiltinOperatorDEPTH_TO_SPACE: buildBlocks,
	schema.BuiltinOperatorSPACE_TO_DEPTH: buildBlocks,
	schema.BuiltinOperatorGATHER:         buildGather,
}

// Runs reports whether an operator can be run here.
func Runs(code schema.BuiltinOperator) bool { return builders[code] != nil }
