#!/usr/bin/env python3
"""Records what LiteRT's reference kernels, and where it takes them TensorFlow Lite Micro's, answer on layers with int4 weights.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install tensorflow==2.21.0 ai-edge-litert ai-edge-quantizer tflite-micro
    /tmp/peers/bin/python hack/peers/fourbit.py optimizer/exec/integer/testdata/int4

Each case gives a .tflite and an .npz with arrays input_0, output_0 of LiteRT and, of those that it takes, tflm_0 of TensorFlow Lite Micro, a row
a sample. The networks of CASES are converted to int8, and their weights given random codes from all of int4; a8 and a16 are the widths of activations. Those named
aeq_ are what ai-edge-quantizer makes of the float networks.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from goldens import IMAGE, bound, const, image_conv, image_depthwise, normal
from litert_check import plain

SAMPLES = 4
random = np.random.default_rng(4)

dense = lambda act=lambda x: x: lambda x, w, b: act(tf.nn.bias_add(x @ w, b))

# name: (function, shape of its input); odd numbers of weights leave half a byte.
CASES = {
    "conv": (bound(image_conv(), const(3, 3, 3, 5), const(5)), IMAGE),
    "conv_relu6_s2": (bound(image_conv(2, "VALID", act=tf.nn.relu6), const(3, 3, 3, 4), const(4)), IMAGE),
    "conv_dilated": (bound(image_conv(dilations=2), const(3, 3, 3, 4), const(4)), (1, 9, 8, 3)),
    "conv_grouped": (bound(lambda x, w, b: tf.nn.bias_add(tf.nn.conv2d(x, w, 1, "SAME"), b), const(3, 3, 2, 6), const(6)), (1, 5, 6, 4)),
    "depthwise": (bound(image_depthwise(act=tf.nn.relu), const(3, 3, 3, 1), const(3)), IMAGE),
    "depthwise_mult": (bound(image_depthwise(2), const(3, 3, 3, 2), const(6)), IMAGE),
    "fc": (bound(dense(), const(7, 5), const(5)), (1, 7)),
    "fc_relu": (bound(dense(tf.nn.relu), const(32, 9), const(9)), (1, 32)),
    "fc_one_scale": (bound(dense(), const(7, 5), const(5)), (1, 7)),
    "fc_nobias": (bound(lambda x, w: x @ w, const(7, 5)), (1, 7)),
}

AEQ = {"aeq_conv_a8": "conv", "aeq_conv_a16": "conv", "aeq_fc_a8": "fc_relu", "aeq_fc_a16": "fc_relu"}


def converter(function, shape):
    traced = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)])
    return tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()])


def converted(name, kind, function, shape):
    c = converter(function, shape)
    c.optimizations = [tf.lite.Optimize.DEFAULT]
    c.representative_dataset = lambda: ([normal(shape)] for _ in range(50))
    wide = kind == "a16"
    c.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8 if wide else tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    c.inference_input_type = c.inference_output_type = tf.int16 if wide else tf.int8
    c._experimental_disable_per_channel_quantization_for_dense_layers = "one_scale" in name
    return c.convert()


# Version with int4 weights (op_version.cc).
VERSIONS = {schema.BuiltinOperator.CONV_2D: 7, schema.BuiltinOperator.DEPTHWISE_CONV_2D: 7, schema.BuiltinOperator.FULLY_CONNECTED: 10}


def packed(content):
    """The model with random int4 codes in the place of its int8 weights, scales as much larger as codes are smaller."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    for o in graph.operators:
        code = model.operatorCodes[o.opcodeIndex]
        if code.builtinCode not in VERSIONS:
            continue
        code.version = VERSIONS[code.builtinCode]
        weights = graph.tensors[o.inputs[1]]
        q = random.integers(-8, 8, int(np.prod(weights.shape))).astype(np.uint8) & 15
        q = np.append(q, np.zeros(len(q) % 2, np.uint8))
        model.buffers[weights.buffer].data = (q[0::2] | q[1::2] << 4).astype(np.uint8)
        weights.type = schema.TensorType.INT4
        weights.quantization.scale = [16 * s for s in weights.quantization.scale]
        if len(o.inputs) > 2 and o.inputs[2] >= 0:
            bias = graph.tensors[o.inputs[2]].quantization
            bias.scale = [16 * s for s in bias.scale]
    return written(model)


def by_quantizer(name, content, shape):
    from ai_edge_quantizer import qtyping, quantizer

    wide = name.endswith("a16")
    tool = quantizer.Quantizer(bytearray(content))
    tool.update_quantization_recipe(
        regex=".*", operation_name=qtyping.TFLOperationName.ALL_SUPPORTED, algorithm_key="min_max_uniform_quantize",
        op_config=qtyping.OpQuantizationConfig(
            activation_tensor_config=qtyping.TensorQuantizationConfig(num_bits=16 if wide else 8, symmetric=wide),
            weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=4, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE),
            compute_precision=qtyping.ComputePrecision.INTEGER))
    samples = {"serving_default": [{"x": normal(shape)} for _ in range(20)]}
    return bytes(tool.quantize(tool.calibrate(samples)).quantized_model)


def signed(content):
    """The model with a signature, which ai-edge-quantizer calibrates by."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph, signature = model.subgraphs[0], schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    ends = {"inputs": ("x", graph.inputs[0]), "outputs": ("y", graph.outputs[0])}
    for side, (name, index) in ends.items():
        end = schema.TensorMapT()
        end.name, end.tensorIndex = name, index
        setattr(signature, side, [end])
    model.signatureDefs = [signature]
    return written(model)


def written(model):
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


TFLM = """
import sys
import numpy as np
from tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1], arena_size=1 << 22)
x = np.load(sys.argv[2])
out = []
for row in x:
    interpreter.set_input(row, 0)
    interpreter.invoke()
    out.append(np.array(interpreter.get_output(0)))
np.save(sys.argv[3], np.stack(out))
"""


def micro(path, x):
    """What TensorFlow Lite Micro answers; None if it refuses the model."""
    with tempfile.TemporaryDirectory() as tmp:
        np.save(f"{tmp}/x.npy", x)
        done = subprocess.run([sys.executable, "-c", TFLM, path, f"{tmp}/x.npy", f"{tmp}/y.npy"], capture_output=True, text=True)
        if done.returncode:
            print(f"{path.name}: TFLM refuses it: {(done.stdout + done.stderr).strip().splitlines()[0][:120]}")
            return None
        return np.load(f"{tmp}/y.npy")


def draw(detail):
    shape, dtype = tuple(detail["shape"]), detail["dtype"]
    if dtype == np.float32:
        return normal(shape)
    codes = np.iinfo(dtype)
    return random.integers(codes.min, codes.max, shape, dtype, endpoint=True)


def record(path, content):
    path.write_bytes(content)
    interpreter, _ = plain(path)
    detail, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    arrays = {"input_0": np.stack([draw(detail) for _ in range(SAMPLES)]), "output_0": []}
    for x in arrays["input_0"]:
        interpreter.set_tensor(detail["index"], x)
        interpreter.invoke()
        arrays["output_0"].append(interpreter.get_tensor(out["index"]).copy())
    answers = micro(path, arrays["input_0"])
    if answers is not None:
        arrays["tflm_0"] = answers
    np.savez_compressed(path.with_suffix(".npz"), **{k: np.stack(v) for k, v in arrays.items()})


def attempt(path, make):
    """Records what make gives, or says why LiteRT refuses it."""
    try:
        record(path, make())
    except (RuntimeError, ValueError) as e:
        path.unlink(missing_ok=True)
        print(f"{path.name}: LiteRT refuses it: {str(e).strip().splitlines()[0]}")


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (function, shape) in CASES.items():
        for kind in ("a8",) if name.startswith("depthwise") else ("a8", "a16"): # LiteRT's depthwise kernel of int16 answers 0 on int4
            attempt(folder / f"{name}_{kind}.tflite", lambda: packed(converted(name, kind, function, shape)))
    for name, of in AEQ.items():
        function, shape = CASES[of]
        attempt(folder / f"{name}.tflite", lambda: by_quantizer(name, signed(converter(function, shape).convert()), shape))


if __name__ == "__main__":
    main()
