package integer

import "espalier.dev/espalier/optimizer/tflite/schema"

// operator is how an operator is compiled.
type operator struct {
	build builder
	any   bool // build looks at the types itself; otherwise it is for int8, and float operators are package float's
	none  bool // it has no inputs
}

// operators are those that run here, other than with floats alone.
var operators = map[schema.BuiltinOperator]operator{
	schema.BuiltinOperatorCONV_2D:            {build: buildConv},
	schema.BuiltinOperatorDEPTHWISE_CONV_2D:  {build: buildDepthwise},
	schema.BuiltinOperatorFULLY_CONNECTED:    {build: buildFullyConnected},
	schema.BuiltinOperatorTRANSPOSE_CONV:     {build: buildTransposeConv},
	schema.BuiltinOperatorBATCH_MATMUL:       {build: buildBatchMatMul},
	schema.BuiltinOperatorAVERAGE_POOL_2D:    {build: buildPool(true)},
	schema.BuiltinOperatorMAX_POOL_2D:        {build: buildPool(false)},
	schema.BuiltinOperatorRESIZE_BILINEAR:    {build: buildResizeBilinear},
	schema.BuiltinOperatorADD:                {build: buildAdd},
	schema.BuiltinOperatorSUB:                {build: buildAdd},
	schema.BuiltinOperatorMUL:                {build: buildMul},
	schema.BuiltinOperatorDIV:                {build: buildDiv},
	schema.BuiltinOperatorMINIMUM:            {build: buildMinMax},
	schema.BuiltinOperatorMAXIMUM:            {build: buildMinMax},
	schema.BuiltinOperatorSQUARED_DIFFERENCE: {build: buildSquaredDifference},
	schema.BuiltinOperatorPRELU:              {build: buildPrelu},
	schema.BuiltinOperatorMEAN:               {build: buildReduce},
	schema.BuiltinOperatorSUM:                {build: buildReduce},
	schema.BuiltinOperatorREDUCE_MAX:         {build: buildReduce},
	schema.BuiltinOperatorREDUCE_MIN:         {build: buildReduce},
	schema.BuiltinOperatorSOFTMAX:            {build: buildSoftmax},
	schema.BuiltinOperatorLOG_SOFTMAX:        {build: buildLogSoftmax},
	schema.BuiltinOperatorL2_NORMALIZATION:   {build: buildL2Norm},
	schema.BuiltinOperatorRELU:               {build: buildRelu},
	schema.BuiltinOperatorRELU6:              {build: buildRelu},
	schema.BuiltinOperatorRELU_N1_TO_1:       {build: buildRelu},
	schema.BuiltinOperatorRELU_0_TO_1:        {build: buildRelu},
	schema.BuiltinOperatorLEAKY_RELU:         {build: buildLeakyRelu},
	schema.BuiltinOperatorHARD_SWISH:         {build: buildHardSwish},
	schema.BuiltinOperatorABS:                {build: buildAbs},
	schema.BuiltinOperatorRSQRT:              {build: buildRsqrt},
	schema.BuiltinOperatorLOGISTIC:           {build: buildFunction},
	schema.BuiltinOperatorTANH:               {build: buildFunction},
	schema.BuiltinOperatorELU:                {build: buildFunction},
	schema.BuiltinOperatorGELU:               {build: buildFunction},
	schema.BuiltinOperatorEXP:                {build: buildFunction},
	schema.BuiltinOperatorLOG:                {build: buildFunction},
	schema.BuiltinOperatorEQUAL:              {build: buildCompare},
	schema.BuiltinOperatorNOT_EQUAL:          {build: buildCompare},
	schema.BuiltinOperatorLESS:               {build: buildCompare},
	schema.BuiltinOperatorLESS_EQUAL:         {build: buildCompare},
	schema.BuiltinOperatorGREATER:            {build: buildCompare},
	schema.BuiltinOperatorGREATER_EQUAL:      {build: buildCompare},
	schema.BuiltinOperatorSCATTER_ND:         {build: buildScatterND},
	schema.BuiltinOperatorTOPK_V2:            {build: buildTopK},
	schema.BuiltinOperatorDEQUANTIZE:         {build: buildDequantize},

	// Of several types.
	schema.BuiltinOperatorQUANTIZE:                {build: buildQuantize, any: true},
	schema.BuiltinOperatorCAST:                    {build: buildCast, any: true},
	schema.BuiltinOperatorPAD:                     {build: buildPad, any: true},
	schema.BuiltinOperatorPADV2:                   {build: buildPad, any: true},
	schema.BuiltinOperatorMIRROR_PAD:              {build: buildMirrorPad, any: true},
	schema.BuiltinOperatorGATHER:                  {build: buildGather, any: true},
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: {build: buildResizeNearest, any: true},
	schema.BuiltinOperatorARG_MAX:                 {build: buildArg, any: true},
	schema.BuiltinOperatorARG_MIN:                 {build: buildArg, any: true},

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
