#!/usr/bin/env python3
"""Converts networks of one operator each, float, int8 and 16x8, and records what LiteRT's reference kernels answer.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 ai-edge-litert
    /tmp/peers/bin/python hack/peers/goldens.py optimizer/exec/integer/testdata/operators [NAME ...]

Each case gives NAME_f32 and NAME_int8, or NAME_16x8, a .tflite and an .npz with arrays input_I and output_I, a row a sample. What the converter
does not quantize it leaves in float, between DEQUANTIZE and QUANTIZE.
"""

import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SAMPLES = 4
random = np.random.default_rng(11)


def const(*shape):
    return random.normal(0, 1, shape).astype(np.float32)


def ids(*values):
    return tf.constant(values, tf.int32)


def bound(function, *constants):
    """function of inputs and then constants as one of inputs."""
    return lambda *inputs: function(*inputs, *constants)


def gate(x, f, g):
    """WaveNet's gate of causal dilated convolutions: both read what one SPACE_TO_BATCH_ND makes."""
    x = tf.pad(x, [[0, 0], [6, 0], [0, 0]])
    return tf.tanh(tf.nn.convolution(x, f, dilations=3)) * tf.sigmoid(tf.nn.convolution(x, g, dilations=3))


def recurrent(x, w, r):
    """A recurrent layer that gives all its steps, as a loop over a list."""
    steps = tf.transpose(x, [1, 0, 2])

    def step(t, h, outputs):
        h = tf.tanh(steps[t] @ w + h @ r)
        return t + 1, h, outputs.write(t, h)

    outputs = tf.TensorArray(tf.float32, size=x.shape[1], element_shape=[1, r.shape[0]])
    _, _, outputs = tf.while_loop(lambda t, *_: t < x.shape[1], step, [0, tf.zeros([1, r.shape[0]]), outputs])
    return outputs.stack()


# name: (function, shapes of its inputs, how to draw them)
normal = lambda shape: random.normal(0, 1, shape).astype(np.float32)
positive = lambda shape: random.uniform(0.2, 3, shape).astype(np.float32)
unit = lambda shape: random.uniform(-1, 1, shape).astype(np.float32)

CASES = {
    "batch_matmul": (lambda x, y: tf.raw_ops.BatchMatMulV2(x=x, y=y), [(1, 2, 3, 5), (1, 2, 5, 4)], normal),
    "batch_matmul_adj": (lambda x, y: tf.raw_ops.BatchMatMulV2(x=x, y=y, adj_y=True), [(1, 3, 5), (1, 4, 5)], normal),
    "batch_matmul_const": (bound(lambda x, c: tf.raw_ops.BatchMatMulV2(x=x, y=c), const(2, 5, 4)), [(1, 2, 3, 5)], normal),
    "arg_max": (lambda x: tf.argmax(x * 2.0, -1, output_type=tf.int32), [(1, 3, 7)], normal),
    "arg_min": (lambda x: tf.argmin(x * 2.0, 1, output_type=tf.int64), [(1, 5, 3)], normal),
    "gather": (lambda x: tf.gather(x * 1.5, ids(2, 0, 2), axis=1), [(1, 4, 3)], normal),
    "select_v2": (lambda x, y: tf.where(x > 0.25, x, 0.1 * y), [(1, 3, 4), (1, 3, 4)], normal),
    "less": (lambda x, y: tf.where(x < y, x, y * 0.5), [(1, 3, 4), (1, 1, 4)], normal),
    "logical": (lambda x, y: tf.where(tf.logical_or(tf.logical_and(x >= y, x <= 1.0), tf.logical_not(y > 0.0)), x, y), [(1, 3, 4), (1, 3, 4)], normal),
    "equal": (lambda x: tf.where(tf.equal(tf.nn.relu(x), 0.0), x, x * 2.0), [(1, 3, 4)], normal),
    "not_equal": (lambda x: tf.where(tf.not_equal(tf.nn.relu(x), 0.0), x, x * 2.0), [(1, 3, 4)], normal),
    "cumsum": (lambda x: tf.cumsum(x, 1), [(1, 5, 3)], normal),
    "cumsum_reverse": (lambda x: tf.cumsum(x, 2, exclusive=True, reverse=True), [(1, 5, 3)], normal),
    "reduce_prod": (lambda x: tf.reduce_prod(x, [1]), [(1, 3, 4)], positive),
    "sign": (lambda x: tf.sign(x) * 0.5, [(1, 3, 4)], normal),
    "floor": (lambda x: tf.floor(x * 3.0), [(1, 3, 4)], normal),
    "ceil": (lambda x: tf.math.ceil(x * 3.0), [(1, 3, 4)], normal),
    "round": (lambda x: tf.round(x * 3.0), [(1, 3, 4)], normal),
    "squared_difference": (lambda x, y: tf.math.squared_difference(x, y), [(1, 3, 4), (1, 1, 4)], normal),
    "sqrt": (lambda x: tf.sqrt(x), [(1, 3, 4)], positive),
    "rsqrt": (lambda x: tf.math.rsqrt(x), [(1, 3, 4)], positive),
    "exp": (lambda x: tf.exp(x), [(1, 3, 4)], unit),
    "log": (lambda x: tf.math.log(x), [(1, 3, 4)], positive),
    "div": (lambda x, y: x / y, [(1, 3, 4), (1, 1, 4)], positive),
    "pow": (lambda x, y: tf.pow(x, y), [(1, 3, 4), (1, 3, 4)], positive),
    "floor_div": (lambda x, y: tf.math.floordiv(x, y), [(1, 3, 4), (1, 3, 4)], positive),
    "floor_mod": (lambda x, y: tf.math.floormod(x, y), [(1, 3, 4), (1, 3, 4)], positive),
    "broadcast_to": (lambda x: tf.raw_ops.BroadcastTo(input=x, shape=ids(1, 5, 3)), [(1, 1, 3)], normal),
    "tile": (lambda x: tf.tile(x, [1, 2, 3]), [(1, 2, 3)], normal),
    "one_hot": (lambda x: tf.one_hot(tf.cast(x, tf.int32), 5) * 2.0, [(1, 6)], lambda s: random.integers(0, 5, s).astype(np.float32)),
    "elu": (lambda x: tf.nn.elu(x), [(1, 3, 4)], normal),
    "gelu": (lambda x: tf.nn.gelu(x), [(1, 3, 4)], normal),
    "gelu_tanh": (lambda x: tf.nn.gelu(x, approximate=True), [(1, 3, 4)], normal),
    "hard_swish": (lambda x: x * tf.nn.relu6(x + 3.0) * (1.0 / 6.0), [(1, 3, 4)], lambda s: 3 * normal(s)),
    "transpose_conv_bias": (
        bound(lambda x, w, b: tf.nn.bias_add(tf.nn.conv2d_transpose(x, w, [1, 6, 8, 4], 2), b), const(3, 3, 4, 2), const(4)),
        [(1, 3, 4, 2)], normal),
    "conv_3d": (
        bound(lambda x, w, b: tf.nn.bias_add(tf.nn.conv3d(x, w, [1, 1, 2, 1, 1], "SAME"), b), const(2, 3, 3, 2, 4), const(4)),
        [(1, 3, 5, 4, 2)], normal),
    "dilated_gate": (bound(gate, const(3, 2, 4), const(3, 2, 4)), [(1, 17, 2)], normal),
    "reduce_any": (lambda x: tf.cast(tf.reduce_any(x > 1.0, 1), tf.float32), [(1, 3, 4)], normal),
    "reduce_all": (lambda x: tf.cast(tf.reduce_all(x > -1.0, 1), tf.float32), [(1, 3, 4)], normal),
    "gather_nd": (lambda x: tf.gather_nd(x * 1.5, tf.constant([[0, 2], [0, 0]])), [(1, 4, 3)], normal),
    "top_k": (lambda x: tf.math.top_k(x * 1.5, 3).values, [(1, 6)], normal),
    "zeros_like": (lambda x: tf.raw_ops.ZerosLike(x=x) + 0.5 * x, [(1, 3)], normal),
    "fill": (lambda x: x + tf.fill([1, 3], 0.5), [(1, 3)], normal),
    "neg": (lambda x: -x, [(1, 3, 4)], normal),
    "square": (lambda x: tf.square(x), [(1, 3, 4)], normal),
    "sin": (lambda x: tf.sin(x), [(1, 3, 4)], normal),
    "cos": (lambda x: tf.cos(x), [(1, 3, 4)], normal),
    "add_n": (lambda x, y, z: tf.add_n([x, y, z]), [(1, 3, 4)] * 3, normal),
    "rfft": (lambda x: tf.abs(tf.signal.rfft(x)), [(1, 3, 16)], normal),
    "rfft_parts": (lambda x: tf.math.real(tf.signal.rfft(x, [32])) + tf.math.imag(tf.signal.rfft(x, [32])), [(1, 3, 20)], normal),
    "rfft_2d": (lambda x: tf.abs(tf.signal.rfft2d(x, [4, 8])), [(1, 2, 5, 8)], normal),
    "scatter_nd": (lambda x: tf.scatter_nd(tf.constant([[[2], [0], [2]]]), x * 1.5, [4, 5]), [(1, 3, 5)], normal),
    "scatter_nd_places": (lambda x, i: tf.scatter_nd(tf.cast(i, tf.int32), x * 1.5, [1, 6]), [(1, 4), (1, 4, 2)], lambda s: normal(s) if len(s) == 2 else random.integers(0, [1, 6], s).astype(np.float32)),
    "segment_sum": (lambda x: tf.math.segment_sum(tf.reshape(x * 1.5, [4, 5]), ids(0, 0, 1, 2)), [(1, 20)], normal),
    "while": (lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, 0.5 * y + x * tf.cast(i, tf.float32)), [0, x])[1], [(1, 3)], normal),
    "while_list": (bound(recurrent, const(3, 4), const(4, 4)), [(1, 5, 3)], normal),
    "if": (lambda x, y: tf.cond(tf.reduce_sum(x) > 0.0, lambda: x * 2.0 + y, lambda: tf.nn.relu(y) - x), [(1, 3), (1, 3)], normal),
    "embedding": (bound(lambda i, table: tf.gather(table, i) * 1.5, const(7, 5)), [(1, 4)], lambda s: random.integers(0, 7, s).astype(np.int32)),
}

ROWS, IMAGE = (1, 3, 4), (1, 5, 6, 3)


def image_conv(stride=1, padding="SAME", dilations=1, act=lambda x: x):
    return lambda x, w, b: act(tf.nn.bias_add(tf.nn.conv2d(x, w, stride, padding, dilations=dilations), b))


def image_depthwise(stride=1, act=lambda x: x):
    return lambda x, w, b: act(tf.nn.bias_add(tf.nn.depthwise_conv2d(x, w, [1, stride, stride, 1], "SAME"), b))


# What is recorded with int16 activations and int8 weights: every operator of which LiteRT has such a kernel that answers. SUM has
# one that does not.
SIXTEEN = {
    "conv": (bound(image_conv(act=tf.nn.relu), const(3, 3, 3, 4), const(4)), [IMAGE], normal),
    "conv_relu6_s2": (bound(image_conv(2, "VALID", act=tf.nn.relu6), const(3, 3, 3, 4), const(4)), [IMAGE], normal),
    "conv_dilated": (bound(image_conv(dilations=2), const(3, 3, 3, 4), const(4)), [(1, 9, 8, 3)], normal),
    "conv_nobias": (bound(lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), const(3, 3, 3, 4)), [IMAGE], normal),
    "conv1d": (bound(lambda x, w, b: tf.nn.bias_add(tf.nn.conv1d(x, w, 1, "VALID"), b), const(3, 3, 4), const(4)), [(1, 9, 3)], normal),
    "depthwise": (bound(image_depthwise(act=tf.nn.relu), const(3, 3, 3, 1), const(3)), [IMAGE], normal),
    "depthwise_mult": (bound(image_depthwise(2), const(3, 3, 3, 2), const(6)), [IMAGE], normal),
    "depthwise_nobias": (bound(lambda x, w: tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME"), const(3, 3, 3, 1)), [IMAGE], normal),
    "fc": (bound(lambda x, w, b: tf.nn.bias_add(x@w, b), const(7, 5), const(5)), [(1, 7)], normal),
    "fc_relu": (bound(lambda x, w, b: tf.nn.relu(tf.nn.bias_add(x@w, b)), const(7, 5), const(5)), [(1, 7)], normal),
    "fc_nobias": (bound(lambda x, w: x@w, const(7, 5)), [(1, 7)], normal),
    "transpose_conv": (bound(lambda x, w, b: tf.nn.bias_add(tf.nn.conv2d_transpose(x, w, [1, 6, 8, 4], 2), b), const(3, 3, 4, 2), const(4)), [(1, 3, 4, 2)], normal),
    "transpose_conv_nobias": (bound(lambda x, w: tf.nn.conv2d_transpose(x, w, [1, 6, 8, 4], 2), const(3, 3, 4, 2)), [(1, 3, 4, 2)], normal),
    "add": (lambda x, y: x+y, [ROWS, (1, 1, 4)], normal),
    "add_relu": (lambda x: tf.nn.relu(x+x*0.3), [ROWS], normal),
    "add_const": (bound(lambda x, c: x+c, const(4)), [ROWS], normal),
    "sub": (lambda x, y: x-y, [ROWS, ROWS], normal),
    "mul": (lambda x, y: x*y, [ROWS, (1, 1, 4)], normal),
    "mul_const": (bound(lambda x, c: x*c, const(4)), [ROWS], normal),
    "mul_relu6": (lambda x, y: tf.nn.relu6(x*y*3.0), [ROWS, ROWS], normal),
    "minimum": (lambda x, y: tf.minimum(x, y), [ROWS, ROWS], normal),
    "maximum": (lambda x, y: tf.maximum(x, y), [ROWS, (1, 1, 4)], normal),
    "avg_pool": (lambda x: tf.nn.avg_pool2d(x, 2, 2, "SAME"), [IMAGE], normal),
    "max_pool": (lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), [IMAGE], normal),
    "mean": (lambda x: tf.reduce_mean(x, [1, 2]), [IMAGE], normal),
    "mean_keep": (lambda x: tf.reduce_mean(x, [3], keepdims=True), [IMAGE], normal),
    "reduce_max": (lambda x: tf.reduce_max(x, [1]), [ROWS], normal),
    "reduce_min": (lambda x: tf.reduce_min(x, [1]), [ROWS], normal),
    "softmax": (lambda x: tf.nn.softmax(x), [(1, 3, 10)], lambda s: 3*normal(s)),
    "logistic": (lambda x: tf.sigmoid(x), [(1, 3, 40)], lambda s: 3*normal(s)),
    "logistic_wide": (lambda x: tf.sigmoid(x), [(1, 3, 40)], lambda s: 10*normal(s)),
    "tanh": (lambda x: tf.tanh(x), [(1, 3, 40)], lambda s: 2*normal(s)),
    "tanh_small": (lambda x: tf.tanh(x), [(1, 3, 40)], lambda s: 0.3*unit(s)),
    "relu": (lambda x: tf.nn.relu(x), [ROWS], normal),
    "relu6": (lambda x: tf.nn.relu6(x), [ROWS], lambda s: 5*normal(s)),
    "leaky_relu": (lambda x: tf.nn.leaky_relu(x, 0.3), [ROWS], normal),
    "prelu": (bound(lambda x, a: tf.maximum(x, 0.)+a*tf.minimum(x, 0.), np.abs(const(4))), [ROWS], normal),
    "gelu": (lambda x: tf.nn.gelu(x), [(1, 3, 40)], normal),
    "abs": (lambda x: tf.abs(x), [ROWS], normal),
    "rsqrt": (lambda x: tf.math.rsqrt(x), [(1, 3, 40)], positive),
    "exp": (lambda x: tf.exp(x), [(1, 3, 40)], unit),
    "log": (lambda x: tf.math.log(x), [(1, 3, 40)], positive),
    "batch_matmul": (lambda x, y: tf.raw_ops.BatchMatMulV2(x=x, y=y), [(1, 2, 3, 5), (1, 2, 5, 4)], normal),
    "batch_matmul_adj": (lambda x, y: tf.raw_ops.BatchMatMulV2(x=x, y=y, adj_y=True), [(1, 3, 5), (1, 4, 5)], normal),
    "batch_matmul_const": (bound(lambda x, c: tf.raw_ops.BatchMatMulV2(x=x, y=c), const(2, 5, 4)), [(1, 2, 3, 5)], normal),
    "concat": (lambda x, y: tf.concat([x, y], 1), [ROWS, ROWS], normal),
    "pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]]), [ROWS], normal),
    "mirror_pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1]], "REFLECT"), [ROWS], normal),
    "reshape": (lambda x: tf.reshape(x*1.5, [1, 12]), [ROWS], normal),
    "transpose": (lambda x: tf.transpose(x, [0, 2, 1]), [ROWS], normal),
    "slice": (lambda x: tf.slice(x, [0, 1, 1], [1, 2, 2]), [ROWS], normal),
    "strided_slice": (lambda x: x[:, ::2, 1:3], [ROWS], normal),
    "split": (lambda x: tf.split(x, 2, 2)[1]*1.5, [ROWS], normal),
    "unpack": (lambda x: tf.unstack(x, axis=1)[1]*1.5, [ROWS], normal),
    "pack": (lambda x, y: tf.stack([x, y], 1), [ROWS, ROWS], normal),
    "gather": (lambda x: tf.gather(x*1.5, tf.constant([2, 0, 2]), axis=1), [(1, 4, 3)], normal),
    "gather_nd": (lambda x: tf.gather_nd(x*1.5, tf.constant([[0, 2], [0, 0]])), [(1, 4, 3)], normal),
    "resize_bilinear": (lambda x: tf.image.resize(x, [7, 9]), [IMAGE], normal),
    "resize_nearest": (lambda x: tf.image.resize(x, [7, 9], method="nearest"), [IMAGE], normal),
    "tile": (lambda x: tf.tile(x, [1, 2, 3]), [(1, 2, 3)], normal),
    "broadcast_to": (lambda x: tf.raw_ops.BroadcastTo(input=x, shape=[1, 5, 3]), [(1, 1, 3)], normal),
    "reverse": (lambda x: tf.reverse(x, [1]), [ROWS], normal),
    "less": (lambda x, y: tf.where(x<y, x, y*0.5), [ROWS, ROWS], normal),
    "equal": (lambda x: tf.where(tf.equal(tf.nn.relu(x), 0.), x, x*2.), [ROWS], normal),
    "arg_max": (lambda x: tf.argmax(x*2., -1, output_type=tf.int32), [(1, 3, 7)], normal),
    "top_k": (lambda x: tf.math.top_k(x*1.5, 3).values, [(1, 6)], normal),
    "dilated_gate": (bound(gate, const(3, 2, 4), const(3, 2, 4)), [(1, 17, 2)], normal),
    "expand_dims": (lambda x: tf.expand_dims(x*1.5, 1), [ROWS], normal),
    "one_hot": (lambda x: tf.one_hot(tf.cast(x, tf.int32), 5)*2.0, [(1, 6)], lambda s: random.integers(0, 5, s).astype(np.float32)),
}


# What optimizer/exec/integer does not run in int8, and what the converter fails to quantize.
FLOAT_ONLY = {"sqrt", "reduce_prod", "while", "while_list", "if"}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (function, shapes, draw) in CASES.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        for kind in ("f32",) if name in FLOAT_ONLY else ("f32", "int8"):
            try:
                record(folder / f"{name}_{kind}", function, shapes, draw, kind)
            except Exception as e:
                print(f"{name}_{kind}: {str(e).strip().splitlines()[0]}")
    for name, (function, shapes, draw) in SIXTEEN.items():
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        try:
            record(folder / f"{name}_16x8", function, shapes, draw, "16x8")
        except Exception as e:
            print(f"{name}_16x8: {str(e).strip().splitlines()[0]}")


def record(path, function, shapes, draw, kind):
    types = [tf.as_dtype(draw(s).dtype) for s in shapes]
    traced = tf.function(function, input_signature=[tf.TensorSpec(s, t) for s, t in zip(shapes, types)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()])
    if kind == "16x8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([draw(s) for s in shapes] for _ in range(50))
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.inference_input_type = converter.inference_output_type = tf.int16
        try:
            model = converter.convert()
        except ValueError:  # ends that are no quantized numbers
            converter.inference_input_type = converter.inference_output_type = tf.float32
            model = converter.convert()
    elif kind == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([draw(s) for s in shapes] for _ in range(50))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        if tf.float32 in types:
            converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
        try:
            model = converter.convert()
        except ValueError:  # an output that is no quantized number
            converter.inference_output_type = tf.float32
            model = converter.convert()
    else:
        model = converter.convert()
    interpreter = load(model)
    arrays = {}
    for _ in range(SAMPLES):
        for i, d in enumerate(interpreter.get_input_details()):
            x = draw(tuple(d["shape"]))
            if d["dtype"] in (np.int8, np.int16):
                scale, zero = d["quantization"]
                codes = np.iinfo(d["dtype"])
                x = np.clip(np.round(x / scale) + zero, codes.min, codes.max).astype(d["dtype"])
            interpreter.set_tensor(d["index"], x)
            arrays.setdefault(f"input_{i}", []).append(x)
        interpreter.invoke()
        for i, d in enumerate(interpreter.get_output_details()):
            arrays.setdefault(f"output_{i}", []).append(interpreter.get_tensor(d["index"]).copy())
    path.with_suffix(".tflite").write_bytes(model)
    np.savez_compressed(path.with_suffix(".npz"), **{k: np.stack(v) for k, v in arrays.items()})


def load(model):
    """The reference kernels; where LiteRT's table of them lacks an operator, the plain ones."""
    for resolver in OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES:
        try:
            interpreter = Interpreter(model_content=model, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
            return interpreter
        except ValueError as e:
            error = e
    raise error


if __name__ == "__main__":
    main()
