#!/usr/bin/env python3
"""Writes int8 and int16 networks of one operator whose scales lie so far apart that a factor between them exceeds 2^12, 2^33 or 2^40, or is below
2^-15, and records what LiteRT's reference kernels answer.

    /tmp/litert/bin/python hack/peers/odd_scales.py optimizer/exec/integer/testdata/odd

No converter writes such files, but nothing forbids them. Each case gives NAME_POWER, a .tflite and an .npz as goldens.py's.
"""

import pathlib
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

OP, OPTIONS = schema.BuiltinOperator, schema.BuiltinOptions
INT8, INT16, INT32, INT64 = schema.TensorType.INT8, schema.TensorType.INT16, schema.TensorType.INT32, schema.TensorType.INT64
POWERS = (12, 33, 40)
WIDE = ("mul", "quantize", "relu", "leaky_relu", "abs", "mean", "batch_matmul", "conv", "depthwise", "sub", "add")  # int16 too; of others LiteRT has no such kernel, or FULLY_CONNECTED's depends on the processor
random = np.random.default_rng(3)


def scales(zero, *values):
    q = schema.QuantizationParametersT()
    q.scale, q.zeroPoint = np.array(values, np.float32), np.full(len(values), 0 if Network.kind == INT16 else zero, np.int64)
    return q


def codes(*shape):
    return random.integers(-127, 127, shape, np.int8)


class Network:
    """One operator, its inputs and constants in order, and an output."""

    kind = INT8  # of inputs and outputs

    def __init__(self, code, options=None, kind=0, version=2):
        self.model, self.graph, self.operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
        operator_code = schema.OperatorCodeT()
        operator_code.builtinCode, operator_code.deprecatedBuiltinCode, operator_code.version = code, min(code, 127), version
        self.operator.inputs, self.operator.builtinOptions, self.operator.builtinOptionsType = [], options, kind
        self.graph.tensors, self.graph.inputs, self.graph.operators = [], [], [self.operator]
        self.model.version, self.model.buffers, self.model.operatorCodes, self.model.subgraphs = 3, [schema.BufferT()], [operator_code], [self.graph]

    def tensor(self, shape, q, data=None, kind=INT8):
        t = schema.TensorT()
        t.name, t.shape, t.type, t.quantization, t.buffer = f"t{len(self.graph.tensors)}", np.array(shape, np.int32), kind, q, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            t.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def input(self, shape, q):
        t = self.tensor(shape, q, None, self.kind)
        self.graph.inputs.append(t)
        self.operator.inputs.append(t)
        return self

    def const(self, data, q, kind=INT8):
        self.operator.inputs.append(self.tensor(data.shape, q, data, kind))
        return self

    def bias(self, values, q):
        wide = self.kind == INT16
        return self.const(np.array(values, np.int64 if wide else np.int32), q, INT64 if wide else INT32)

    def output(self, shape, q):
        self.operator.outputs = self.graph.outputs = [self.tensor(shape, q, None, self.kind)]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def strided(options):
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    return options


def networks(power):
    """Yields name and file of networks the factor of which is about 1.3 · 2^power."""
    factor = 1.3 * 2.0**power
    x, row = scales(3, 0.05), (1, 16)
    out = lambda inner: scales(-7, inner / factor)
    yield "mul", Network(OP.MUL, schema.MulOptionsT(), OPTIONS.MulOptions).input(row, x).input(row, scales(-4, 0.02)).output(row, out(0.001))
    yield "quantize", Network(OP.QUANTIZE).input(row, x).output(row, out(0.05))
    yield "relu", Network(OP.RELU).input(row, x).output(row, out(0.05))
    yield "leaky_relu", Network(OP.LEAKY_RELU, schema.LeakyReluOptionsT(), OPTIONS.LeakyReluOptions).input(row, x).output(row, out(0.05))
    yield "abs", Network(OP.ABS).input(row, x).output(row, out(0.05))
    yield "prelu", Network(OP.PRELU, version=1).input((1, 2, 2, 4), x).const(codes(1, 1, 4), scales(2, 0.01)).output((1, 2, 2, 4), out(0.05))
    yield "div", Network(OP.DIV, schema.DivOptionsT(), OPTIONS.DivOptions).input(row, x).const(codes(16) | 1, scales(0, 0.02)).output(row, out(0.05 / 0.02))
    mean = schema.ReducerOptionsT()
    mean.keepDims = True
    yield "mean", Network(OP.MEAN, mean, OPTIONS.ReducerOptions).input((1, 3, 3, 4), x).const(np.array([1, 2], np.int32), None, INT32).output((1, 1, 1, 4), out(0.05))
    yield "batch_matmul", Network(OP.BATCH_MATMUL, schema.BatchMatMulOptionsT(), OPTIONS.BatchMatMulOptions).input((1, 3, 4), x).input((1, 4, 2), scales(1, 0.02)).output((1, 3, 2), out(0.001))
    weights = scales(0, 0.01, 0.02)
    biases = scales(0, 0.0005, 0.001)
    yield "conv", (Network(OP.CONV_2D, strided(schema.Conv2DOptionsT()), OPTIONS.Conv2DOptions, 3).input((1, 4, 4, 3), x)
                   .const(codes(2, 2, 2, 3), weights).bias([70, -900], biases).output((1, 4, 4, 2), out(0.0005)))
    depthwise = strided(schema.DepthwiseConv2DOptionsT())
    depthwise.depthMultiplier = 1
    depthwise_weights = scales(0, 0.01, 0.02)
    depthwise_weights.quantizedDimension = 3
    yield "depthwise", (Network(OP.DEPTHWISE_CONV_2D, depthwise, OPTIONS.DepthwiseConv2DOptions, 3).input((1, 4, 4, 2), x)
                        .const(codes(1, 2, 2, 2), depthwise_weights).bias([70, -900], biases).output((1, 4, 4, 2), out(0.0005)))
    if power < 20:  # beyond, LiteRT aborts or gives what depends on the processor
        yield "fully_connected", (Network(OP.FULLY_CONNECTED, schema.FullyConnectedOptionsT(), OPTIONS.FullyConnectedOptions, 4).input(row, x)
                                  .const(codes(3, 16), scales(0, 0.01)).bias([70, -900, 3], scales(0, 0.0005)).output((1, 3), out(0.0005)))
        yield "sub", Network(OP.SUB, schema.SubOptionsT(), OPTIONS.SubOptions).input(row, x).input(row, scales(-4, 0.02)).output(row, out(0.05))
        yield "add", Network(OP.ADD, schema.AddOptionsT(), OPTIONS.AddOptions).input(row, x).input(row, scales(-4, 0.02)).output(row, out(0.05))
        yield "squared_difference", Network(OP.SQUARED_DIFFERENCE).input(row, x).input(row, scales(-4, 0.02)).output(row, out(0.05))
    if power < 33:
        for shrink in (15, 20, 29):
            yield f"hard_swish_{shrink}", Network(OP.HARD_SWISH, version=1).input(row, x).output(row, scales(-7, 0.05 / 128 * 2.0**shrink * 0.8))


def record(content):
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    interpreter.allocate_tensors()
    arrays = {}
    for _ in range(4):
        for i, d in enumerate(interpreter.get_input_details()):
            x = random.integers(np.iinfo(d["dtype"]).min, np.iinfo(d["dtype"]).max + 1, d["shape"], d["dtype"])
            interpreter.set_tensor(d["index"], x)
            arrays.setdefault(f"input_{i}", []).append(x[0])
        interpreter.invoke()
        for i, d in enumerate(interpreter.get_output_details()):
            arrays.setdefault(f"output_{i}", []).append(interpreter.get_tensor(d["index"])[0].copy())
    return {name: np.stack(rows) for name, rows in arrays.items()}


def main():
    folder = pathlib.Path(sys.argv[1])
    for power in POWERS:
        for name, content in networks(power):
            name = name if name[-1].isdigit() else f"{name}_{power}"
            (folder / f"{name}.tflite").write_bytes(content)
            np.savez_compressed(folder / f"{name}.npz", **record(content))
    Network.kind = INT16
    for power in (-12, *POWERS):
        for name, content in networks(power):
            if name in WIDE:
                name = f"{name}_16x8_{power}"
                (folder / f"{name}.tflite").write_bytes(content)
                np.savez_compressed(folder / f"{name}.npz", **record(content))


if __name__ == "__main__":
    main()
