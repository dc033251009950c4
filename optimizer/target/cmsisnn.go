package target

import "espalier.dev/espalier/optimizer/tflite/schema"

// cmsisNN makes what a reference kernel takes into what the kernel takes that TFLM builds on CMSIS-NN: its own data by
// tensorflow/lite/micro/kernels/cmsis_nn at 90b983c2 of tensorflow/tflite-micro, built for speed, and its scratch buffers by
// Source/*/*_get_buffer_sizes_*.c at 4ab83cc of ARM-software/CMSIS-NN, which that commit of TFLM downloads, compiled by GCC or Clang.
// The library is that of a processor without DSP instructions (cmsis-nn), with them (cmsis-nn-dsp) or with Helium (cmsis-nn-mve).
func cmsisNN(n *node, library string, k *kernelMemory) {
	x, y, w := n.in(n.subject()), n.out(0), n.weights()
	if x == nil || y == nil {
		return
	}
	helium, dsp := library == "cmsis-nn-mve", library == "cmsis-nn-dsp"
	isInt8, isInt16 := x.Type == schema.TensorTypeINT8, x.Type == schema.TensorTypeINT16
	need := func(bytes int) {
		if bytes > 0 {
			k.scratch = append(k.scratch, bytes)
		}
	}
	switch n.code {
	case schema.BuiltinOperatorCONV_2D:
		k.data += 4
		c, ok := convolutionOf(n)
		if !ok {
			return
		}
		switch {
		case isInt16:
			k.scratch = nil
			need(c.sixteen(helium))
		case isInt8: // packed weights of 4 bits are taken as they are, with the buffer of those of 8
			k.scratch = nil
			need(c.eight(helium))
		}
	case schema.BuiltinOperatorDEPTHWISE_CONV_2D:
		k.data += 4
		if c, ok := convolutionOf(n); ok && isInt8 { // of 16 bits runs the kernel that takes none
			k.scratch = nil
			need(c.depthwise(w.Type == schema.TensorTypeINT4, helium, dsp))
		}
	case schema.BuiltinOperatorTRANSPOSE_CONV:
		k.data += 4
		if c, ok := convolutionOf(n); ok && isInt8 {
			k.scratch = c.transposed(helium)
		}
	case schema.BuiltinOperatorFULLY_CONNECTED:
		k.data += 24
		if !isInt8 || w == nil || len(w.Shape) == 0 || len(y.Shape) == 0 {
			return
		}
		k.scratch = nil
		depth, columns := int(y.Shape[len(y.Shape)-1]), int(w.Shape[len(w.Shape)-1])
		perChannel := w.Quantization != nil && len(w.Quantization.Scale) > 1
		switch {
		case w.Type == schema.TensorTypeINT4:
		case len(y.Shape) > 2 && columns%4 == 0: // as a convolution of 1×1, whose scales are one for each output
			if !perChannel {
				need(2 * 4 * depth)
			}
		case helium && n.model.IsConst(w) && (n.in(2) == nil || n.model.IsConst(n.in(2))): // sums of its weights
			k.prepared = append(k.prepared, 4*depth)
		case helium:
			need(4 * depth)
		}
	case schema.BuiltinOperatorBATCH_MATMUL:
		if helium && isInt8 && len(y.Shape) > 0 {
			need(4 * int(y.Shape[len(y.Shape)-1]))
		}
	case schema.BuiltinOperatorAVERAGE_POOL_2D:
		k.data += 4
		if dsp && (isInt8 || isInt16) && len(x.Shape) == 4 {
			need(4 * int(x.Shape[3]))
		}
	case schema.BuiltinOperatorMAX_POOL_2D:
		k.data += 4
	case schema.BuiltinOperatorSOFTMAX:
		k.data += 8
	case schema.BuiltinOperatorSVDF:
		k.data += 4
		if features := n.in(1); helium && isInt8 && features != nil && len(features.Shape) > 0 {
			k.prepared = append(k.prepared, 4*int(features.Shape[0]))
		}
	case schema.BuiltinOperatorUNIDIRECTIONAL_SEQUENCE_LSTM:
		k.data += 220
		state := n.in(cellState)
		if state == nil || !isInt8 && !isInt16 || len(state.Shape) == 0 {
			return
		}
		for range 8 { // each gate's sums of both of its weights
			k.prepared = append(k.prepared, accumulatorBytes(x)*int(state.Shape[len(state.Shape)-1]))
		}
		k.scratch = k.scratch[:min(3, len(k.scratch))]
	}
}

// convolution is what the scratch buffer of a convolution depends on. Pairs are height and width.
type convolution struct {
	window
	in, out, pad                     [2]int
	batch, inChannels, kernel3, deep int // deep: output channels
}

// convolutionOf reads a convolution, as TFLM's Prepare does; ok is false where sizes are missing.
func convolutionOf(n *node) (c convolution, ok bool) {
	x, y, w := n.in(n.subject()), n.out(0), n.weights()
	c.window, ok = n.window()
	if !ok || x == nil || y == nil || w == nil || len(x.Shape) != 4 || len(y.Shape) != 4 || len(w.Shape) != 4 {
		return c, false
	}
	c.batch, c.inChannels, c.kernel3, c.deep = int(x.Shape[0]), int(x.Shape[3]), int(w.Shape[3]), int(y.Shape[3])
	for i := range 2 {
		c.in[i], c.out[i] = int(x.Shape[1+i]), int(y.Shape[1+i])
		reach := (c.kernel[i]-1)*c.dilation[i] + 1
		c.pad[i] = max(0, (c.out[i]-1)*c.stride[i]+reach-c.in[i]) / 2
	}
	return c, true
}

func (c convolution) taps() int { return c.kernel[0] * c.kernel[1] }

// columns of 8 bits, those of several outputs at a time.
func (c convolution) columns(helium bool) int {
	if helium {
		return 4 * roundUp(c.taps()*c.inChannels, 16)
	}
	return 2 * 2 * roundUp(c.taps()*c.inChannels, 4)
}

// eight is arm_convolve_wrapper_s8_get_buffer_size.
func (c convolution) eight(helium bool) int {
	switch {
	case c.pad == [2]int{} && c.kernel == [2]int{1, 1} && c.dilation == [2]int{1, 1} && c.inChannels == c.kernel3:
		return 0
	case helium && c.in[0] == 1 && c.kernel[0] == 1 && c.dilation[1] == 1 && c.stride[1]*c.inChannels%4 == 0 && c.inChannels == c.kernel3:
		return c.row()
	default:
		return c.columns(helium)
	}
}

// row is arm_convolve_1_x_n_s8_get_buffer_size_mve: of an image of one row.
func (c convolution) row() int {
	pad, stride, kernel := c.pad[1], c.stride[1], c.kernel[1]
	odd := ((c.out[1]-1)*stride + kernel - c.in[1]) % 2
	beside := func(by int) int {
		if by == 0 {
			return 0
		}
		return max(1, (by+stride-1)/stride)
	}
	left, right := beside(pad), beside(pad+odd)
	if left+right+max(0, c.out[1]-left-right) != c.out[1] {
		return c.columns(true)
	}
	after := pad
	if odd != 0 {
		after = right
	}
	return c.inChannels * max(kernel+pad, kernel-1+after)
}

// sixteen is arm_convolve_wrapper_s16_get_buffer_size.
func (c convolution) sixteen(helium bool) int {
	if helium {
		return 4 * 2 * roundUp(c.taps()*c.inChannels, 8)
	}
	return 2 * 2 * c.taps() * c.inChannels
}

// heliumChannels are the channels that a depthwise convolution with Helium takes at a time: CH_IN_BLOCK_MVE.
const heliumChannels = 124

// depthwise is arm_depthwise_conv_wrapper_s8_get_buffer_size, or that of _s4 for weights of 4 bits. With DSP instructions kernels of 3×3
// are counted as any other, though they need none since 2023 (5935b2f of ARM-software/CMSIS-NN): a board took it (KWS on an nRF52840).
func (c convolution) depthwise(four, helium, dsp bool) int {
	if helium && !four && c.inChannels == 1 && c.deep > 1 { // as a convolution, with its weights in another order
		if c.pad == [2]int{} && c.kernel == [2]int{1, 1} && c.dilation == [2]int{1, 1} {
			return c.deep
		}
		return c.columns(true) + c.taps()*c.deep // of one row TFLM asks with a stride that it has not set: at most this
	}
	switch {
	case c.inChannels != c.deep || c.batch != 1 || c.dilation != [2]int{1, 1}:
		return 0
	case helium:
		return 4 * heliumChannels * c.taps()
	case !four && !dsp:
		return 0
	default:
		return 2 * c.taps() * c.inChannels
	}
}

// reversedFrom is the number of input channels above which a transposed convolution runs as one with its weights reversed:
// REVERSE_TCOL_EFFICIENT_THRESHOLD.
const reversedFrom = 16

// transposed is arm_transpose_conv_s8_get_buffer_size and arm_transpose_conv_s8_get_reverse_conv_buffer_size, whose buffer TFLM asks for
// even where it is empty.
func (c convolution) transposed(helium bool) []int {
	if c.stride[0] <= 2 && c.stride[1] <= 2 && c.inChannels > reversedFrom {
		return []int{c.columns(helium), c.inChannels * c.taps() * c.deep}
	}
	width := ((c.in[1]-1)*c.stride[1] + max(c.kernel[1], c.stride[0])) * c.deep
	return []int{4 * width * max(c.kernel[0], c.stride[0]), 0}
}
