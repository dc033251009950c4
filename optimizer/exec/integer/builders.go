package integer

import "espalier.dev/espalier/optimizer/tflite/schema"

// builders are the int8 operators.
var builders = map[schema.BuiltinOperator]builder{
	schema.BuiltinOperatorCONV_2D:            buildConv,
	schema.BuiltinOperatorDEPTHWISE_CONV_2D:  buildDepthwise,
	schema.BuiltinOperatorFULLY_CONNECTED:    buildFullyConnected,
	schema.BuiltinOperatorTRANSPOSE_CONV:     buildTransposeConv,
	schema.BuiltinOperatorBATCH_MATMUL:       buildBatchMatMul,
	schema.BuiltinOperatorAVERAGE_POOL_2D:    buildPool(true),
	schema.BuiltinOperatorMAX_POOL_2D:        buildPool(false),
	schema.BuiltinOperatorRESIZE_BILINEAR:    buildResizeBilinear,
	schema.BuiltinOperatorADD:                buildAdd,
	schema.BuiltinOperatorSUB:                buildAdd,
	schema.BuiltinOperatorMUL:                buildMul,
	schema.BuiltinOperatorDIV:                buildDiv,
	schema.BuiltinOperatorMINIMUM:            buildMinMax,
	schema.BuiltinOperatorMAXIMUM:            buildMinMax,
	schema.BuiltinOperatorSQUARED_DIFFERENCE: buildSquaredDifference,
	schema.BuiltinOperatorPRELU:              buildPrelu,
	schema.BuiltinOperatorMEAN:               buildReduce,
	schema.BuiltinOperatorSUM:                buildReduce,
	schema.BuiltinOperatorREDUCE_MAX:         buildReduce,
	schema.BuiltinOperatorREDUCE_MIN:         buildReduce,
	schema.BuiltinOperatorSOFTMAX:            buildSoftmax,
	schema.BuiltinOperatorLOG_SOFTMAX:        buildLogSoftmax,
	schema.BuiltinOperatorL2_NORMALIZATION:   buildL2Norm,
	schema.BuiltinOperatorRELU:               buildRelu,
	schema.BuiltinOperatorRELU6:              buildRelu,
	schema.BuiltinOperatorRELU_N1_TO_1:       buildRelu,
	schema.BuiltinOperatorRELU_0_TO_1:        buildRelu,
	schema.BuiltinOperatorLEAKY_RELU:         buildLeakyRelu,
	schema.BuiltinOperatorHARD_SWISH:         buildHardSwish,
	schema.BuiltinOperatorABS:                buildAbs,
	schema.BuiltinOperatorRSQRT:              buildRsqrt,
	schema.BuiltinOperatorLOGISTIC:           buildFunction,
	schema.BuiltinOperatorTANH:               buildFunction,
	schema.BuiltinOperatorELU:                buildFunction,
	schema.BuiltinOperatorGELU:               buildFunction,
	schema.BuiltinOperatorEXP:                buildFunction,
	schema.BuiltinOperatorLOG:                buildFunction,
	schema.BuiltinOperatorDEQUANTIZE:         buildDequantize,
}

// anyType are operators whose builder looks at the types itself.
var anyType = map[schema.BuiltinOperator]builder{
	schema.BuiltinOperatorQUANTIZE:                buildQuantize,
	schema.BuiltinOperatorCAST:                    buildCast,
	schema.BuiltinOperatorPAD:                     buildPad,
	schema.BuiltinOperatorPADV2:                   buildPad,
	schema.BuiltinOperatorMIRROR_PAD:              buildMirrorPad,
	schema.BuiltinOperatorGATHER:                  buildGather,
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: buildResizeNearest,
	schema.BuiltinOperatorARG_MAX:                 buildArg,
	schema.BuiltinOperatorARG_MIN:                 buildArg,
}

// movers only move data, of any type.
var movers = map[schema.BuiltinOperator]builder{
	schema.BuiltinOperatorRESHAPE:        buildReshape,
	schema.BuiltinOperatorSQUEEZE:        buildReshape,
	schema.BuiltinOperatorEXPAND_DIMS:    buildReshape,
	schema.BuiltinOperatorTRANSPOSE:      buildTranspose,
	schema.BuiltinOperatorREVERSE_V2:     buildReverse,
	schema.BuiltinOperatorSLICE:          buildSlice,
	schema.BuiltinOperatorSTRIDED_SLICE:  buildSlice,
	schema.BuiltinOperatorSPLIT:          buildSplit,
	schema.BuiltinOperatorSPLIT_V:        buildSplit,
	schema.BuiltinOperatorCONCATENATION:  buildConcat,
	schema.BuiltinOperatorPACK:           buildPack,
	schema.BuiltinOperatorUNPACK:         buildUnpack,
	schema.BuiltinOperatorDEPTH_TO_SPACE: buildDepthToSpace,
	schema.BuiltinOperatorSPACE_TO_DEPTH: buildSpaceToDepth,
}
