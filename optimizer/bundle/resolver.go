package bundle

import (
	"fmt"
	"slices"

	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// registrations are the methods of tflite::MicroMutableOpResolver that register the kernel of an operator
// (tensorflow/lite/micro/micro_mutable_op_resolver.h at 90b983c2 of tensorflow/tflite-micro).
var registrations = map[schema.BuiltinOperator]string{
	schema.BuiltinOperatorABS:                          "AddAbs",
	schema.BuiltinOperatorADD:                          "AddAdd",
	schema.BuiltinOperatorADD_N:                        "AddAddN",
	schema.BuiltinOperatorARG_MAX:                      "AddArgMax",
	schema.BuiltinOperatorARG_MIN:                      "AddArgMin",
	schema.BuiltinOperatorASSIGN_VARIABLE:              "AddAssignVariable",
	schema.BuiltinOperatorAVERAGE_POOL_2D:              "AddAveragePool2D",
	schema.BuiltinOperatorBATCH_MATMUL:                 "AddBatchMatMul",
	schema.BuiltinOperatorBATCH_TO_SPACE_ND:            "AddBatchToSpaceNd",
	schema.BuiltinOperatorBROADCAST_ARGS:               "AddBroadcastArgs",
	schema.BuiltinOperatorBROADCAST_TO:                 "AddBroadcastTo",
	schema.BuiltinOperatorCALL_ONCE:                    "AddCallOnce",
	schema.BuiltinOperatorCAST:                         "AddCast",
	schema.BuiltinOperatorCEIL:                         "AddCeil",
	schema.BuiltinOperatorCONCATENATION:                "AddConcatenation",
	schema.BuiltinOperatorCONV_2D:                      "AddConv2D",
	schema.BuiltinOperatorCOS:                          "AddCos",
	schema.BuiltinOperatorCUMSUM:                       "AddCumSum",
	schema.BuiltinOperatorDEPTHWISE_CONV_2D:            "AddDepthwiseConv2D",
	schema.BuiltinOperatorDEPTH_TO_SPACE:               "AddDepthToSpace",
	schema.BuiltinOperatorDEQUANTIZE:                   "AddDequantize",
	schema.BuiltinOperatorDIV:                          "AddDiv",
	schema.BuiltinOperatorDYNAMIC_UPDATE_SLICE:         "AddDynamicUpdateSlice",
	schema.BuiltinOperatorELU:                          "AddElu",
	schema.BuiltinOperatorEMBEDDING_LOOKUP:             "AddEmbeddingLookup",
	schema.BuiltinOperatorEQUAL:                        "AddEqual",
	schema.BuiltinOperatorEXP:                          "AddExp",
	schema.BuiltinOperatorEXPAND_DIMS:                  "AddExpandDims",
	schema.BuiltinOperatorFILL:                         "AddFill",
	schema.BuiltinOperatorFLOOR:                        "AddFloor",
	schema.BuiltinOperatorFLOOR_DIV:                    "AddFloorDiv",
	schema.BuiltinOperatorFLOOR_MOD:                    "AddFloorMod",
	schema.BuiltinOperatorFULLY_CONNECTED:              "AddFullyConnected",
	schema.BuiltinOperatorGATHER:                       "AddGather",
	schema.BuiltinOperatorGATHER_ND:                    "AddGatherNd",
	schema.BuiltinOperatorGREATER:                      "AddGreater",
	schema.BuiltinOperatorGREATER_EQUAL:                "AddGreaterEqual",
	schema.BuiltinOperatorHARD_SWISH:                   "AddHardSwish",
	schema.BuiltinOperatorIF:                           "AddIf",
	schema.BuiltinOperatorL2_NORMALIZATION:             "AddL2Normalization",
	schema.BuiltinOperatorL2_POOL_2D:                   "AddL2Pool2D",
	schema.BuiltinOperatorLEAKY_RELU:                   "AddLeakyRelu",
	schema.BuiltinOperatorLESS:                         "AddLess",
	schema.BuiltinOperatorLESS_EQUAL:                   "AddLessEqual",
	schema.BuiltinOperatorLOG:                          "AddLog",
	schema.BuiltinOperatorLOGICAL_AND:                  "AddLogicalAnd",
	schema.BuiltinOperatorLOGICAL_NOT:                  "AddLogicalNot",
	schema.BuiltinOperatorLOGICAL_OR:                   "AddLogicalOr",
	schema.BuiltinOperatorLOGISTIC:                     "AddLogistic",
	schema.BuiltinOperatorLOG_SOFTMAX:                  "AddLogSoftmax",
	schema.BuiltinOperatorMAXIMUM:                      "AddMaximum",
	schema.BuiltinOperatorMAX_POOL_2D:                  "AddMaxPool2D",
	schema.BuiltinOperatorMEAN:                         "AddMean",
	schema.BuiltinOperatorMINIMUM:                      "AddMinimum",
	schema.BuiltinOperatorMIRROR_PAD:                   "AddMirrorPad",
	schema.BuiltinOperatorMUL:                          "AddMul",
	schema.BuiltinOperatorNEG:                          "AddNeg",
	schema.BuiltinOperatorNOT_EQUAL:                    "AddNotEqual",
	schema.BuiltinOperatorPACK:                         "AddPack",
	schema.BuiltinOperatorPAD:                          "AddPad",
	schema.BuiltinOperatorPADV2:                        "AddPadV2",
	schema.BuiltinOperatorPRELU:                        "AddPrelu",
	schema.BuiltinOperatorQUANTIZE:                     "AddQuantize",
	schema.BuiltinOperatorREAD_VARIABLE:                "AddReadVariable",
	schema.BuiltinOperatorREDUCE_ALL:                   "AddReduceAll",
	schema.BuiltinOperatorREDUCE_MAX:                   "AddReduceMax",
	schema.BuiltinOperatorREDUCE_MIN:                   "AddReduceMin",
	schema.BuiltinOperatorRELU6:                        "AddRelu6",
	schema.BuiltinOperatorRELU:                         "AddRelu",
	schema.BuiltinOperatorRESHAPE:                      "AddReshape",
	schema.BuiltinOperatorRESIZE_BILINEAR:              "AddResizeBilinear",
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR:      "AddResizeNearestNeighbor",
	schema.BuiltinOperatorREVERSE_V2:                   "AddReverseV2",
	schema.BuiltinOperatorROUND:                        "AddRound",
	schema.BuiltinOperatorRSQRT:                        "AddRsqrt",
	schema.BuiltinOperatorSELECT_V2:                    "AddSelectV2",
	schema.BuiltinOperatorSHAPE:                        "AddShape",
	schema.BuiltinOperatorSIN:                          "AddSin",
	schema.BuiltinOperatorSLICE:                        "AddSlice",
	schema.BuiltinOperatorSOFTMAX:                      "AddSoftmax",
	schema.BuiltinOperatorSPACE_TO_BATCH_ND:            "AddSpaceToBatchNd",
	schema.BuiltinOperatorSPACE_TO_DEPTH:               "AddSpaceToDepth",
	schema.BuiltinOperatorSPLIT:                        "AddSplit",
	schema.BuiltinOperatorSPLIT_V:                      "AddSplitV",
	schema.BuiltinOperatorSQRT:                         "AddSqrt",
	schema.BuiltinOperatorSQUARE:                       "AddSquare",
	schema.BuiltinOperatorSQUARED_DIFFERENCE:           "AddSquaredDifference",
	schema.BuiltinOperatorSQUEEZE:                      "AddSqueeze",
	schema.BuiltinOperatorSTRIDED_SLICE:                "AddStridedSlice",
	schema.BuiltinOperatorSUB:                          "AddSub",
	schema.BuiltinOperatorSUM:                          "AddSum",
	schema.BuiltinOperatorSVDF:                         "AddSvdf",
	schema.BuiltinOperatorTANH:                         "AddTanh",
	schema.BuiltinOperatorTRANSPOSE:                    "AddTranspose",
	schema.BuiltinOperatorTRANSPOSE_CONV:               "AddTransposeConv",
	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM: "AddUnidirectionalSequenceLSTM",
	schema.BuiltinOperatorUNPACK:                       "AddUnpack",
	schema.BuiltinOperatorVAR_HANDLE:                   "AddVarHandle",
	schema.BuiltinOperatorWHILE:                        "AddWhile",
	schema.BuiltinOperatorZEROS_LIKE:                   "AddZerosLike",
}

// customRegistrations are those of custom operators, by their codes.
var customRegistrations = map[string]string{
	"CIRCULAR_BUFFER":              "AddCircularBuffer",
	"TFLM_DECODE":                  "AddDecode",
	"TFLite_Detection_PostProcess": "AddDetectionPostprocess",
	"ethos-u":                      "AddEthosU",
}

// resolver lists the registrations that a model needs, each once, by name.
func resolver(m *tflite.Model) ([]string, error) {
	var out []string
	for _, g := range m.Subgraphs {
		for i, o := range g.Operators {
			code, custom := m.Op(o)
			name, known := registrations[code]
			if code == schema.BuiltinOperatorCUSTOM {
				name, known = customRegistrations[custom]
			}
			if !known {
				return nil, fmt.Errorf("operator %d %s: TensorFlow Lite Micro registers no kernel of it: name a target that espalier check accepts", i, code)
			}
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}
