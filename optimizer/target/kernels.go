package target

import (
	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// kernelMemory is what a kernel takes of the arena: its options and its data, allocated once, further buffers that it keeps, and
// scratch buffers while it runs.
type kernelMemory struct {
	options, optionsAlign int
	data                  int
	prepared, scratch     []int
}

// fixed are options and data by operator, in bytes where pointers have four, recorded from TFLM's reference kernels at commit
// 90b983c2 of tensorflow/tflite-micro built for 32 bits. An operator with nothing in both keeps nothing.
var fixed = map[schema.BuiltinOperator]struct{ options, data int }{
	schema.BuiltinOperatorABS:                          {0, 28},
	schema.BuiltinOperatorADD:                          {8, 60},
	schema.BuiltinOperatorADD_N:                        {0, 0},
	schema.BuiltinOperatorARG_MAX:                      {4, 0},
	schema.BuiltinOperatorARG_MIN:                      {4, 0},
	schema.BuiltinOperatorASSIGN_VARIABLE:              {0, 0},
	schema.BuiltinOperatorAVERAGE_POOL_2D:              {40, 32},
	schema.BuiltinOperatorBATCH_TO_SPACE_ND:            {0, 4},
	schema.BuiltinOperatorBROADCAST_TO:                 {0, 0},
	schema.BuiltinOperatorCALL_ONCE:                    {4, 4},
	schema.BuiltinOperatorCAST:                         {8, 0},
	schema.BuiltinOperatorCONCATENATION:                {8, 24},
	schema.BuiltinOperatorCONV_2D:                      {28, 56},
	schema.BuiltinOperatorDEPTHWISE_CONV_2D:            {28, 56},
	schema.BuiltinOperatorDEPTH_TO_SPACE:               {4, 0},
	schema.BuiltinOperatorDEQUANTIZE:                   {0, 32},
	schema.BuiltinOperatorDIV:                          {4, 28},
	schema.BuiltinOperatorELU:                          {0, 256},
	schema.BuiltinOperatorEQUAL:                        {0, 32},
	schema.BuiltinOperatorEXP:                          {0, 0},
	schema.BuiltinOperatorFLOOR_DIV:                    {0, 0},
	schema.BuiltinOperatorFULLY_CONNECTED:              {16, 48},
	schema.BuiltinOperatorGREATER:                      {0, 32},
	schema.BuiltinOperatorGREATER_EQUAL:                {0, 32},
	schema.BuiltinOperatorHARD_SWISH:                   {0, 20},
	schema.BuiltinOperatorL2_NORMALIZATION:             {4, 4},
	schema.BuiltinOperatorLEAKY_RELU:                   {4, 24},
	schema.BuiltinOperatorLESS:                         {0, 32},
	schema.BuiltinOperatorLESS_EQUAL:                   {0, 32},
	schema.BuiltinOperatorLOGICAL_AND:                  {0, 0},
	schema.BuiltinOperatorLOGISTIC:                     {0, 16},
	schema.BuiltinOperatorMAXIMUM:                      {0, 0},
	schema.BuiltinOperatorMAX_POOL_2D:                  {40, 32},
	schema.BuiltinOperatorMINIMUM:                      {0, 0},
	schema.BuiltinOperatorMUL:                          {4, 36},
	schema.BuiltinOperatorNEG:                          {0, 0},
	schema.BuiltinOperatorNOT_EQUAL:                    {0, 32},
	schema.BuiltinOperatorPACK:                         {8, 0},
	schema.BuiltinOperatorPAD:                          {0, 56},
	schema.BuiltinOperatorPADV2:                        {0, 56},
	schema.BuiltinOperatorQUANTIZE:                     {0, 32},
	schema.BuiltinOperatorREAD_VARIABLE:                {0, 0},
	schema.BuiltinOperatorRELU:                         {0, 28},
	schema.BuiltinOperatorRELU6:                        {0, 8},
	schema.BuiltinOperatorRESHAPE:                      {36, 0},
	schema.BuiltinOperatorREVERSE_V2:                   {0, 0},
	schema.BuiltinOperatorRSQRT:                        {0, 28},
	schema.BuiltinOperatorSIN:                          {0, 0},
	schema.BuiltinOperatorSLICE:                        {0, 0},
	schema.BuiltinOperatorSOFTMAX:                      {4, 56},
	schema.BuiltinOperatorSPACE_TO_BATCH_ND:            {0, 4},
	schema.BuiltinOperatorSPACE_TO_DEPTH:               {4, 0},
	schema.BuiltinOperatorSPLIT:                        {4, 0},
	schema.BuiltinOperatorSPLIT_V:                      {4, 0},
	schema.BuiltinOperatorSQUARE:                       {0, 0},
	schema.BuiltinOperatorSTRIDED_SLICE:                {24, 84},
	schema.BuiltinOperatorSUB:                          {8, 52},
	schema.BuiltinOperatorTANH:                         {0, 16},
	schema.BuiltinOperatorTRANSPOSE:                    {0, 0},
	schema.BuiltinOperatorTRANSPOSE_CONV:               {20, 72},
	schema.BuiltinOperatorVAR_HANDLE:                   {8, 8},
	schema.BuiltinOperatorMEAN:                         {1, 44},
	schema.BuiltinOperatorSUM:                          {1, 44},
	schema.BuiltinOperatorREDUCE_MAX:                   {1, 44},
	schema.BuiltinOperatorREDUCE_MIN:                   {1, 44},
	schema.BuiltinOperatorRESIZE_BILINEAR:              {2, 0},
	schema.BuiltinOperatorRESIZE_NEAREST_NEIGHBOR:      {2, 0},
	schema.BuiltinOperatorLOG_SOFTMAX:                  {0, 0},
	schema.BuiltinOperatorGATHER:                       {8, 0},
	schema.BuiltinOperatorGATHER_ND:                    {0, 0},
	schema.BuiltinOperatorUNPACK:                       {8, 0},
	schema.BuiltinOperatorSQUARED_DIFFERENCE:           {0, 112},
	schema.BuiltinOperatorCUMSUM:                       {2, 0},
	schema.BuiltinOperatorSELECT_V2:                    {0, 1},
	schema.BuiltinOperatorWHILE:                        {8, 8},
	schema.BuiltinOperatorIF:                           {8, 8},
	schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM: {16, 688},
	schema.BuiltinOperatorMIRROR_PAD:                   {4, 20},
	schema.BuiltinOperatorSVDF:                         {12, 36},
}

// guess stands for kernels that are not recorded: more than any of those that are, their tables aside.
var guess = struct{ options, data int }{48, 128}

// cellState is the input of UNIDIRECTIONAL_SEQUENCE_LSTM that holds its cells.
const cellState = 19

// memoryOf returns what an operator's kernel of a library takes: those of TFLM's reference kernels, which the other libraries' are told from.
// known is false where it is a guess.
func memoryOf(n *node, library string) (k kernelMemory, known bool) {
	if n.name() == customPrefix+encode.Operator {
		return decodeMemory(n), true
	}
	f, known := fixed[n.code]
	if !known {
		f = guess
	}
	k = kernelMemory{options: f.options, optionsAlign: 4, data: f.data}
	if k.options < 4 { // a few flags
		k.optionsAlign = 1
	}
	add := func(bytes ...int) { k.prepared = append(k.prepared, bytes...) }
	need := func(bytes ...int) { k.scratch = append(k.scratch, bytes...) }
	input := n.in(n.subject())
	isFloat := input == nil || input.Type == schema.TensorTypeFLOAT32
	w := n.weights()
	switch n.code {
	case schema.BuiltinOperatorCONV_2D, schema.BuiltinOperatorDEPTHWISE_CONV_2D, schema.BuiltinOperatorTRANSPOSE_CONV:
		channels := outputChannels(n)
		add(4*channels, 4*channels)
		if w != nil && w.Type == schema.TensorTypeINT4 {
			need(elements(w))
		}
		if n.code == schema.BuiltinOperatorTRANSPOSE_CONV && !isFloat {
			need(accumulatorBytes(input) * elements(n.out(0)))
		}
	case schema.BuiltinOperatorFULLY_CONNECTED:
		if w != nil && w.Quantization != nil && len(w.Quantization.Scale) > 1 {
			add(4*len(w.Quantization.Scale), 4*len(w.Quantization.Scale))
		}
		if w != nil && w.Type == schema.TensorTypeINT4 {
			need(elements(w))
		}
	case schema.BuiltinOperatorSOFTMAX:
		if input != nil && input.Type == schema.TensorTypeINT16 {
			add(1026, 1026)
		}
	case schema.BuiltinOperatorLOG_SOFTMAX:
		if !isFloat {
			k.data = 28
		}
	case schema.BuiltinOperatorDEPTH_TO_SPACE, schema.BuiltinOperatorSPACE_TO_DEPTH:
		add(4 + 4*rank(n.out(0))) // the output's shape, which becomes the interpreter's own
	case schema.BuiltinOperatorGATHER, schema.BuiltinOperatorGATHER_ND:
		add(4 + 4*rank(n.out(0)))
	case schema.BuiltinOperatorADD_N:
		need(4 * len(n.op.Inputs))
		if !isFloat {
			add(40)
		}
	case schema.BuiltinOperatorCUMSUM:
		if !isFloat {
			add(36)
		}
	case schema.BuiltinOperatorBATCH_MATMUL:
		add(bytesOf(n.in(0)), bytesOf(n.in(1))) // copies in another order
	case schema.BuiltinOperatorSVDF:
		need(4 * svdfFilters(n))
		if !isFloat {
			need(4 * elements(n.out(0)))
		}
	case schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM:
		if state := n.in(cellState); state != nil {
			need(bytesOf(state), bytesOf(state), bytesOf(state), bytesOf(state))
		}
	case schema.BuiltinOperatorMEAN, schema.BuiltinOperatorSUM:
		if !isFloat {
			need(4 * elements(n.out(0)))
		}
		need(4*rank(input), 4*max(1, elements(n.in(1))))
	case schema.BuiltinOperatorREDUCE_MAX, schema.BuiltinOperatorREDUCE_MIN:
		need(4*rank(input), 4*max(1, elements(n.in(1))))
	case schema.BuiltinOperatorMIRROR_PAD:
		need(4*rank(input), 4*rank(input))
	}
	switch library {
	case "cmsis-nn", "cmsis-nn-dsp", "cmsis-nn-mve":
		cmsisNN(n, library, &k)
	case "esp-nn":
		espNN(n, &k)
	}
	return k, known
}

// decodeStates are what DECODE keeps for each tensor that it decodes, by kind.
var decodeStates = map[encode.Kind]int{encode.LUT: 36, encode.Huffman: 28, encode.Prune: 40}

// decodeMemory is what DECODE keeps: a pointer for each tensor that it decodes, and the state of its kind, with zero points that are not 0.
func decodeMemory(n *node) (k kernelMemory) {
	k.prepared = append(k.prepared, 4*len(n.op.Outputs))
	for i := range n.op.Outputs {
		kind, known := encode.Prune, false
		if ancillary := n.in(2*i + 1); ancillary != nil {
			kind, known, _ = encode.KindOf(n.model.Data(ancillary))
		}
		if !known {
			kind = encode.Prune
		}
		k.prepared = append(k.prepared, decodeStates[kind])
		if l, err := tflite.LayoutOf(n.out(i)); err == nil && kind == encode.Prune && l.Channels > 1 && l.Zero != nil {
			k.prepared = append(k.prepared, l.Channels)
		}
	}
	return k
}

// svdfFilters is the number of filters of an SVDF's batch: as many as its feature weights have rows, for every sample.
func svdfFilters(n *node) int {
	features, x := n.in(1), n.in(0)
	if features == nil || x == nil || len(features.Shape) == 0 || len(x.Shape) == 0 {
		return 0
	}
	return int(features.Shape[0]) * max(int(x.Shape[0]), 1)
}

// outputChannels is the number of channels that a convolution or fully connected layer makes.
func outputChannels(n *node) int {
	w := n.weights()
	switch {
	case w == nil || len(w.Shape) == 0:
		return 0
	case n.code == schema.BuiltinOperatorDEPTHWISE_CONV_2D:
		return int(w.Shape[len(w.Shape)-1])
	default:
		return int(w.Shape[0])
	}
}

func accumulatorBytes(input *schema.TensorT) int {
	if input != nil && input.Type == schema.TensorTypeINT16 {
		return 8
	}
	return 4
}

func elements(t *schema.TensorT) int {
	if t == nil {
		return 0
	}
	n := 1
	for _, d := range t.Shape {
		n *= max(int(d), 1)
	}
	return n
}

func rank(t *schema.TensorT) int {
	if t == nil {
		return 0
	}
	return len(t.Shape)
}
