package target

import "espalier.dev/espalier/optimizer/tflite/schema"

// espNN makes what a reference kernel takes into what the kernel takes that Espressif builds on ESP-NN for the ESP32-S3:
// tensorflow/lite/micro/kernels/esp_nn at 99f49e1 of espressif/esp-tflite-micro, and the functions esp_nn_get_*_scratch_size_esp32s3 at
// d45b843 (1.2.3) of espressif/esp-nn.
func espNN(n *node, k *kernelMemory) {
	x, y := n.in(n.subject()), n.out(0)
	if x == nil || y == nil {
		return
	}
	isInt8 := x.Type == schema.TensorTypeINT8
	c, isConvolution := convolutionOf(n)
	switch n.code {
	case schema.BuiltinOperatorCONV_2D:
		k.data += 4
		if isConvolution && isInt8 {
			k.scratch = append(k.scratch, c.espNN())
		}
	case schema.BuiltinOperatorDEPTHWISE_CONV_2D:
		k.data += 4
		if isConvolution && isInt8 {
			k.scratch = append(k.scratch, c.espNNDepthwise(c.deep/max(c.inChannels, 1)))
		}
	case schema.BuiltinOperatorSOFTMAX:
		k.data += 4
		if isInt8 && len(x.Shape) > 1 {
			k.scratch = append(k.scratch, 4*int(x.Shape[1]))
		}
	}
}

func (c convolution) pixels() int { return c.in[0] * c.in[1] }

// beyond is by how much windows, in whole strides, reach out of the image below and at its right.
func (c convolution) beyond() (out [2]int) {
	for i := range out {
		out[i] = c.out[i]*c.stride[i] + c.kernel[i] - 1 - c.in[i]
	}
	return out
}

// espNN is esp_nn_get_conv_scratch_size_esp32s3.
func (c convolution) espNN() int {
	const aligned = 64
	if c.kernel == [2]int{1, 1} && c.pad == [2]int{} && c.stride == [2]int{1, 1} {
		channels := roundUp(c.inChannels, 8)
		bytes := channels*c.deep + aligned
		if c.inChannels%8 != 0 {
			bytes += c.pixels() * channels
		}
		if c.pixels() >= 8 {
			bytes += 2 * 8 * channels
		}
		return bytes
	}
	row, window := c.kernel[1]*c.inChannels, c.taps()*c.inChannels
	if row < 16 && window >= 16 {
		return 4*c.deep + 16 + (c.deep+1)*roundUp(window, 16) + 16 + aligned
	}
	bytes := c.taps()*roundUp(c.inChannels, 16)*c.deep + roundUp(row, 16)*c.kernel[0]*c.deep + 4*c.deep + aligned
	if c.pad != [2]int{} {
		bytes += (c.in[0] + 2*c.pad[0]) * (c.in[1] + 2*c.pad[1]) * c.inChannels
	}
	if beyond := c.beyond(); max(beyond[0], beyond[1]) > 0 {
		bytes += (c.in[0] + max(0, beyond[0])) * (c.in[1] + max(0, beyond[1])) * c.inChannels
	}
	return bytes
}

// espNNDepthwise is esp_nn_get_depthwise_conv_scratch_size_esp32s3.
func (c convolution) espNNDepthwise(multiplier int) int {
	weights, input := c.taps()*c.deep, c.pixels()*c.inChannels
	switch {
	case multiplier == 1 && c.inChannels%8 == 0 && c.kernel == [2]int{3, 3}:
		return c.espNNThreeByThree(weights, input)
	case multiplier == 1 && c.inChannels%8 == 0:
		if all := 2 * (weights + input); all <= 48<<10 {
			return all + 32
		}
		return 2*weights + 2*c.in[1]*c.kernel[0]*c.inChannels + 32 // in strips
	case multiplier == 1 && c.inChannels > 3:
		channels := roundUp(c.inChannels, 8)
		end := roundUp(2*c.taps()*channels, 16)
		end = roundUp(end+2*c.pixels()*channels, 16)
		end = roundUp(end+c.out[0]*c.out[1]*channels, 16)
		return end + 3*4*channels + 16
	case multiplier%4 == 0:
		return 2*(weights+input) + 32
	default:
		return 32
	}
}

// espNNThreeByThree is its part for kernels of 3×3 over a multiple of eight channels.
func (c convolution) espNNThreeByThree(weights, input int) int {
	beyond := c.beyond()
	switch {
	case c.inChannels%16 == 0:
		pad := [2]int{2 * c.pad[0], 2 * c.pad[1]}
		if pad == [2]int{} {
			pad = beyond
		}
		if pad == [2]int{} {
			return weights + 16
		}
		width := c.in[1] + pad[1]
		if all := (c.in[0] + pad[0]) * width * c.inChannels; all <= 40<<10 {
			return weights + all + 16
		}
		return weights + width*c.kernel[0]*c.inChannels + 16 // in strips
	case c.inChannels >= 12:
		channels := roundUp(c.inChannels, 16)
		padded := (c.in[0] + 2*c.pad[0] + max(0, beyond[0])) * (c.in[1] + 2*c.pad[1] + max(0, beyond[1]))
		return 9*channels + padded*channels + c.out[0]*c.out[1]*channels + 64
	default:
		return 2*(weights+input) + 32
	}
}
