package integer

import "espalier.dev/espalier/optimizer/tflite/schema"

// operator is how an operator is compiled.
type operator struct {
	build builder
	wide  builder // for int16 activations, nil: there is no such form
	any   bool    // build looks at the types itself; otherwise it is for int8 activations, and float operators are package float's
	bytes bool    // of such an operator: it is not for int16
	none  bool    // it has no inputs
}

// operators are those that run here, other than with floats alone.
var operators = map[schema.BuiltinOperator]operator{
	schema.BuiltinOperatorCONV_2D:                      {build: buildConv, wide: buildConv16},
	schema.BuiltinOperatorDEPTHWISE_CONV_2D:            {build: buildDepthwise, wide: buildDepthwise16},
	schema.BuiltinOperatorFULLY_CONNECTED:              {build: buildFullyConnected, wide: buildFullyConnected16},
	schema.BuiltinOperatorTRANSPOSE_CONV:               {build: buildTransposeConv, wide: buildTransposeConv16},
	schema.BuiltinOperatorBATCH_MATMUL:                 {build: buildBatchMatMul, wide: buildBatchMatMul16},
	schema.BuiltinOperatorAVERAGE_POOL_2D:              {build: buildPool(true), wide: buildPool16(true)},
	schema.BuiltinOperatorMAX_POOL_2D:                  {build: buildPool(false), wide: buildPool16(false)},
	schema.BuiltinOperatorRESIZE_BILINEAR:              {build: buildResizeBilinear, wide: buildResizeBilinear},
	schema.BuiltinOperatorADD:                          {build: buildAdd, wide: buildAdd16},
	schema.BuiltinOperatorSUB:                          {build: buildAdd, wide: buildAdd16},
	schema.BuiltinOperatorMUL:                          {build: buildMul, wide: buildMul16},
	schema.BuiltinOperatorDIV:                          {build: buildDiv},
	schema.BuiltinOperatorMINIMUM:                      {build: buildMinMax, wide: buildMinMax},
	schema.BuiltinOperatorMAXIMUM:                      {build: buildMinMax, wide: buildMinMax},
	schema.BuiltinOperatorSQUARED_DIFFERENCE:           {build: buildSquaredDifference},
	schema.BuiltinOperatorPRELU:                        {build: buildPrelu},
	schema.BuiltinOperatorMEAN:                         {build: buildReduce, wide: buildReduce16},
	schema.BuiltinOperatorSUM:                          {build: buildReduce, wide: buildReduce16},
	schema.BuiltinOperatorREDUCE_MAX:                   {build: buildReduce, wide: buildReduce16},
	schema.BuiltinOperatorREDUCE_MIN:                   {build: buildReduce, wide: buildReduce16},
	schema.BuiltinOperatorSOFTMAX:                      {build: buildSoftmax, wide: buildSoftmax16},
	schema.BuiltinOperatorLOG_SOFTMAX:                  {build: buildLogSoftmax},
	schema.BuiltinOperatorL2_NORMALIZATION:             {build: buildL2Norm},
	schema.BuiltinOperatorRELU:                         {build: buildRelu, wide: buildRelu},
	schema.BuiltinOperatorRELU6:                        {build: buildRelu, wide: buildRelu},
	schema.BuiltinOperatorRELU_N1_TO_1:                 {build: buildRelu},
	schema.BuiltinOperatorRELU_0_TO_1:                  {build: buildRelu},
	schema.BuiltinOperatorLEAKY_RELU:                   {build: buildLeakyRelu, wide: buildLeakyRelu},
	schema.BuiltinOperatorHARD_SWISH:                   {build: buildHardSwish},
	schema.BuiltinOperatorABS:                          {build: buildAbs, wide: buildAbs},
	schema.BuiltinOperatorRSQRT:                        {build: buildRsqrt, wide: buildFunction16},
	schema.BuiltinOperatorLOGISTIC:                     {build: buildFunction, wide: buildSigmoid16},
	schema.BuiltinOperatorTANH:                         {build: buildFunction, wide: buildSigmoid16},
	schema.BuiltinOperatorELU:                          {build: buildFunction},
	schema.BuiltinOperatorGELU:                         {build: buildFunction, wide: buildFunction16},
	schema.BuiltinOperatorEXP:                          {build: buildFunction, wide: buildFunction16},
	schema.BuiltinOperatorLOG:                          {build: buildFunction, wide: buildFunction16},
	schema.BuiltinOperatorEQUAL:                        {build: buildCompare, wide: buildCompare16},
	schema.BuiltinOperatorNOT_EQUAL:                    {build: buildCompare, wide: buildCompare16},
	schema.BuiltinOperatorLESS:                         {build: buildCompare, wide: buildCompare16},
	schema.BuiltinOperatorLESS_EQUAL:                   {build: buildCompare, wide: buildCompare16},
	schema.BuiltinOperatorGREATER:                      {build: buildCompare, wide: buildCompare16},
	schema.BuiltinOperatorGREATER_EQUAL:                {build: buildCompare, wide: buildCompare16},
	schema.BuiltinOperatorSCATTER_ND:                   {build: buildScatterND},
	schema.BuiltinOperatorTOPK_V2:                      {build: buildTopK},
	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM: {build: buildLSTM},
	schema.BuiltinOperatorSVDF:                         {build: buildSVDF, any: true, bytes: true},
	schema.BuiltinOperatorDEQUANTIZE:                   {build: buildDequantize, wide: buildDequantize},

	// Of several types.
	schema.BuiltinOperatorQUANTIZE:                {build: buildQuantize, any: true},
	schema.BuiltinOperatorCAST:                    {build: buildCast, any: true},
	schema.BuiltinOperatorPAD:                     {build: buildPad, any: true},
	schema.BuiltinOperatorPADV2:                   {build: buildPad, any: true},
	schema.BuiltinOperatorMIRROR_PAD:              {build: buildMirrorPad, any: true},
	schema.BuiltinOperatorGATHER:                  {build: buildGather, any: true},
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: {build: buildResizeNearest, any: true},
	schema.BuiltinOperatorARG_MAX:                 {build: buildArg, any: true, bytes: true},
	schema.BuiltinOperatorARG_MIN:                 {build: buildArg, any: true, bytes: true},

	schema.BuiltinOperatorGATHER_ND: {build: buildGatherND, any: true},
	schema.BuiltinOperatorONE_HOT:   {build: buildOneHot, any: true},
	schema.BuiltinOperatorSELECT:    {build: buildSelect, any: true},
	schema.BuiltinOperatorSELECT_V2: {build: buildSelect, any: true},

	schema.BuiltinOperatorCALL_ONCE:       {build: buildCallOnce, any: true, none: true},
	schema.BuiltinOperatorVAR_HANDLE:      {build: buildVarHandle, any: true, none: true},
	schema.BuiltinOperatorREAD_VARIABLE:   {build: buildReadVariable, any: true},
	schema.BuiltinOperatorASSIGN_VARIABLE: {build: buildAssignVariable, any: true},

	// Of any type: they only move data.
	schema.BuiltinOperatorRESHAPE:        {build: buildReshape, any: true},
	schema.BuiltinOperatorSQUEEZE:        {build: buildReshape, any: true},
	schema.BuiltinOperatorEXPAND_DIMS:    {build: buildReshape, any: true},
	schema.BuiltinOperatorTRANSPOSE:      {build: buildTranspose, any: true},
	schema.BuiltinOperatorREVERSE_V2:     {build: buildReverse, any: true},
	schema.BuiltinOperatorSLICE:          {build: buildSlice, any: true},
	schema.BuiltinOperatorSTRIDED_SLICE:  {build: buildSlice, any: true},
	schema.BuiltinOperatorSPLIT:          {build: buildSplit, any: true},
	schema.BuiltinOperatorSPLIT_V:        {build: buildSplit, any: true},
	schema.BuiltinOperatorCONCATENATION:  {build: buildConcat, any: true},
	schema.BuiltinOperatorTILE:           {build: buildRepeat, any: true},
	schema.BuiltinOperatorBROADCAST_TO:   {build: buildRepeat, any: true},
	schema.BuiltinOperatorPACK:           {build: buildPack, any: true},
	schema.BuiltinOperatorUNPACK:         {build: buildUnpack, any: true},
	schema.BuiltinOperatorDEPTH_TO_SPACE: {build: buildDepthToSpace, any: true},
	schema.BuiltinOperatorSPACE_TO_DEPTH: {build: buildSpaceToDepth, any: true},
}

// RunsInt8 reports whether an operator runs on int8 values here.
func RunsInt8(code schema.BuiltinOperator) bool { return operators[code].build != nil }

// RunsInt16 reports whether an operator runs on int16 activations here.
func RunsInt16(code schema.BuiltinOperator) bool {
	known := operators[code]
	return known.wide != nil || known.any && !known.bytes
}
