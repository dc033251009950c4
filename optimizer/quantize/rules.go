package quantize

import (
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// kind says how the specification constrains the tensors of an int8 operator.
type kind uint8

const (
	unsupported kind = iota // no int8 kernel here: the operator stays float
	free                    // inputs and outputs have quantizations of their own
	same                    // every float input and output shares one
	fixed                   // the output's is prescribed, the input's is free
	weighted                // input and output free; int8 weights and an int32 bias
	opaque                  // reads a shape, not values: takes whatever type its input has
)

// rule is what the specification says of one operator.
type rule struct {
	kind   kind
	output Params // fixed: the prescribed output quantization

	input, weight, bias int // weighted: input slots
	axis                int // weighted: the axis of the weight tensor that output channels lie on
}

// The prescribed outputs. (1/256, −128) holds [0, 1), (1/128, 0) holds [−1, 1), (16/256, 127) holds [−15.9, 0].
var (
	probability    = Params{Scale: 1.0 / 256, ZeroPoint: -128}
	unitInterval   = Params{Scale: 1.0 / 128, ZeroPoint: 0}
	logProbability = Params{Scale: 16.0 / 256, ZeroPoint: 127}
)

// rules is the specification's operator table, restricted to the operators optimizer/integer runs and LiteRT's reference and
// optimized kernels both take. SUM is left out: the reference kernel of LiteRT 2.3 answers every int8 SUM with the same code.
// RSQRT, EXP, LOG, ELU and DIV are left out: they stop at inputs that rounding to a code can produce, or exist as int8 in some
// resolvers only.
var rules = map[schema.BuiltinOperator]rule{
	schema.BuiltinOperatorCONV_2D:           {kind: weighted, input: 0, weight: 1, bias: 2, axis: 0},
	schema.BuiltinOperatorDEPTHWISE_CONV_2D: {kind: weighted, input: 0, weight: 1, bias: 2, axis: 3},
	schema.BuiltinOperatorFULLY_CONNECTED:   {kind: weighted, input: 0, weight: 1, bias: 2, axis: 0},
	schema.BuiltinOperatorTRANSPOSE_CONV:    {kind: weighted, input: 2, weight: 1, bias: 3, axis: 0},

	schema.BuiltinOperatorADD:          {kind: free},
	schema.BuiltinOperatorSUB:          {kind: free},
	schema.BuiltinOperatorMUL:          {kind: free},
	schema.BuiltinOperatorMEAN:         {kind: free},
	schema.BuiltinOperatorRELU:         {kind: free},
	schema.BuiltinOperatorRELU6:        {kind: free},
	schema.BuiltinOperatorRELU_N1_TO_1: {kind: free},
	schema.BuiltinOperatorLEAKY_RELU:   {kind: free},
	schema.BuiltinOperatorPRELU:        {kind: free},
	schema.BuiltinOperatorHARD_SWISH:   {kind: free},
	schema.BuiltinOperatorGELU:         {kind: free},
	schema.BuiltinOperatorABS:          {kind: free},

	schema.BuiltinOperatorAVERAGE_POOL_2D: {kind: same},
	schema.BuiltinOperatorRESIZE_BILINEAR: {kind: same},

	schema.BuiltinOperatorMAX_POOL_2D:             {kind: same},
	schema.BuiltinOperatorRESHAPE:                 {kind: same},
	schema.BuiltinOperatorSQUEEZE:                 {kind: same},
	schema.BuiltinOperatorEXPAND_DIMS:             {kind: same},
	schema.BuiltinOperatorTRANSPOSE:               {kind: same},
	schema.BuiltinOperatorSTRIDED_SLICE:           {kind: same},
	schema.BuiltinOperatorSPLIT:                   {kind: same},
	schema.BuiltinOperatorPAD:                     {kind: same},
	schema.BuiltinOperatorPADV2:                   {kind: same},
	schema.BuiltinOperatorCONCATENATION:           {kind: same},
	schema.BuiltinOperatorMINIMUM:                 {kind: same},
	schema.BuiltinOperatorMAXIMUM:                 {kind: same},
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR: {kind: same},
	schema.BuiltinOperatorDEPTH_TO_SPACE:          {kind: same},
	schema.BuiltinOperatorSPACE_TO_DEPTH:          {kind: same},
	schema.BuiltinOperatorREVERSE_V2:              {kind: same},
	schema.BuiltinOperatorSLICE:                   {kind: same},
	schema.BuiltinOperatorSPLIT_V:                 {kind: same},
	schema.BuiltinOperatorPACK:                    {kind: same},
	schema.BuiltinOperatorUNPACK:                  {kind: same},
	schema.BuiltinOperatorMIRROR_PAD:              {kind: same},
	schema.BuiltinOperatorGATHER:                  {kind: same},
	schema.BuiltinOperatorREDUCE_MAX:              {kind: same},
	schema.BuiltinOperatorREDUCE_MIN:              {kind: same},

	schema.BuiltinOperatorSOFTMAX:          {kind: fixed, output: probability},
	schema.BuiltinOperatorLOGISTIC:         {kind: fixed, output: probability},
	schema.BuiltinOperatorTANH:             {kind: fixed, output: unitInterval},
	schema.BuiltinOperatorL2_NORMALIZATION: {kind: fixed, output: unitInterval},
	schema.BuiltinOperatorLOG_SOFTMAX:      {kind: fixed, output: logProbability},

	schema.BuiltinOperatorSHAPE: {kind: opaque},
}

// ruleOf returns the rule of a node. A custom operator has none.
func ruleOf(n *ir.Node) rule {
	if n.Custom != "" {
		return rule{}
	}
	return rules[n.Op]
}
