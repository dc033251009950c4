#!/usr/bin/env python3
"""Makes networks of one UNIDIRECTIONAL_SEQUENCE_LSTM in int8 or one SVDF, and records what LiteRT's reference kernels answer, and what TFLM
answers of LSTMs that have all gates.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install ai-edge-litert tflite-micro flatbuffers numpy
    /tmp/peers/bin/python hack/peers/recurrent.py optimizer/exec/integer/testdata/recurrent

They are put together here, since the converter makes none of them from TensorFlow 2.21. Every sample of an LSTM begins with a state of
zeros; those of SVDF are the steps of one sequence.
"""

import pathlib
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro import runtime

random = np.random.default_rng(7)


class Graph:
    """A model of one operator."""

    def __init__(self):
        self.buffers, self.tensors = [schema.BufferT()], []

    def tensor(self, name, shape, dtype, scale=None, zero=0, data=None, variable=False):
        t = schema.TensorT()
        t.name, t.shape, t.isVariable, t.buffer = name.encode(), list(shape), variable, 0
        t.type = {np.float32: 0, np.int32: 2, np.int16: 7, np.int8: 9}[dtype]
        if data is not None:
            b = schema.BufferT()
            b.data = np.frombuffer(data.astype(dtype).tobytes(), np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(b)
        if scale:
            t.quantization = schema.QuantizationParametersT()
            t.quantization.scale, t.quantization.zeroPoint = [scale], [zero]
        self.tensors.append(t)
        return len(self.tensors) - 1

    def model(self, name, version, inputs, output, options, intermediates=None):
        operator = schema.OperatorT()
        operator.inputs, operator.outputs, operator.intermediates = inputs, [output], intermediates
        operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, type(options).__name__[:-1]), options
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = version
        graph = schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, [operator], [inputs[0]], [output]
        model = schema.ModelT()
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], self.buffers
        builder = flatbuffers.Builder(1 << 14)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def lstm(cells, shape, zero, clip=0.0, time_major=False, coupled=False, power=-12, gain=1.0, grows=False):
    g = Graph()
    codes = lambda *shape: random.integers(-127, 128, shape)
    batch = shape[1] if time_major else shape[0]
    x = g.tensor("x", shape, np.int8, 0.03, -5)
    gates = range(1, 4) if coupled else range(4)
    inputs = [x] + [-1] * 23
    for i in gates:
        inputs[1 + i] = g.tensor(f"w{i}", (cells, shape[2]), np.int8, gain * (0.01 + 0.002 * i), 0, codes(cells, shape[2]))
        inputs[5 + i] = g.tensor(f"r{i}", (cells, cells), np.int8, 0.008 + 0.001 * i, 0, codes(cells, cells))
        bias = random.integers(-3000, 3000, cells)
        if grows and i < 3:  # the gates open, so that cells grow by about 1 at each step, half of them downwards
            bias += 60000 * (-1) ** (np.arange(cells) * (i == 2))
        inputs[12 + i] = g.tensor(f"b{i}", (cells,), np.int32, 0.0003, 0, bias)
    inputs[18] = g.tensor("output_state", (batch, cells), np.int8, 0.0075, zero, variable=True)
    inputs[19] = g.tensor("cell_state", (batch, cells), np.int16, 2.0**power, 0, variable=True)
    intermediates = [g.tensor(f"between{i}", (0,), np.int16, 2.0**-12, 0) for i in range(4)] + [g.tensor("hidden", (0,), np.int8, 0.0075, zero)]
    y = g.tensor("y", shape[:2] + (cells,), np.int8, 0.0075, zero)
    options = schema.UnidirectionalSequenceLSTMOptionsT()
    options.fusedActivationFunction, options.cellClip, options.timeMajor = schema.ActivationFunctionType.TANH, clip, time_major
    return g.model("UNIDIRECTIONAL_SEQUENCE_LSTM", 1, inputs, y, options, intermediates)


def svdf(whole, batch=1, inputs=6, units=5, rank=2, memory=4):
    g, filters = Graph(), units * rank
    small, middle, wide = (np.int8, np.int16, np.int32) if whole else (np.float32,) * 3
    scale = lambda s: s if whole else None
    codes = lambda shape, top: random.integers(-top, top + 1, shape) if whole else random.standard_normal(shape)
    x = g.tensor("x", (batch, inputs), small, scale(0.05), -7)
    features = g.tensor("features", (filters, inputs), small, scale(0.01), 0, codes((filters, inputs), 127))
    time = g.tensor("time", (filters, memory), middle, scale(0.0001), 0, codes((filters, memory), 9000))
    bias = g.tensor("bias", (units,), wide, scale(1e-7), 0, codes((units,), 2000000))
    state = g.tensor("state", (batch, memory * filters), middle, scale(0.001), 0, variable=True)
    y = g.tensor("y", (batch, units), small, scale(0.02), -128)
    options = schema.SVDFOptionsT()
    options.rank, options.fusedActivationFunction = rank, schema.ActivationFunctionType.RELU
    return g.model("SVDF", 3 if whole else 1, [x, features, time, bias, state], y, options)


def softmax():
    """As such networks end in: from int8 to int16."""
    g, options = Graph(), schema.SoftmaxOptionsT()
    options.beta = 1.0
    return g.model("SOFTMAX", 2, [g.tensor("x", (1, 6), np.int8, 0.07, 2)], g.tensor("y", (1, 6), np.int16, 2.0**-16, -32768), options)


def record(path, model, samples, reset, micro=False):
    if micro:
        micro = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    x, y = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    inputs, outputs, tflm = [], [], []
    for _ in range(samples):
        if reset:
            interpreter.reset_all_variables()
        v = random.integers(-128, 128, x["shape"]).astype(np.int8) if x["dtype"] == np.int8 else random.standard_normal(x["shape"]).astype(np.float32)
        interpreter.set_tensor(x["index"], v)
        interpreter.invoke()
        inputs.append(v)
        outputs.append(interpreter.get_tensor(y["index"]).copy())
        if micro:
            micro.reset()
            micro.set_input(v, 0)
            micro.invoke()
            tflm.append(micro.get_output(0).copy())
    path.with_suffix(".tflite").write_bytes(model)
    arrays = {"input_0": np.concatenate(inputs), "output_0": np.concatenate(outputs)}
    if micro:
        arrays["tflm_0"] = np.concatenate(tflm)
    np.savez_compressed(path.with_suffix(".npz"), **arrays)


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    record(folder / "lstm_int8", lstm(7, (1, 6, 4), 3), 20, True, True)
    record(folder / "lstm_time_major_int8", lstm(5, (6, 2, 3), -20, time_major=True), 20, True, True)
    record(folder / "lstm_coupled_clipped_int8", lstm(6, (2, 9, 3), 0, clip=0.7, coupled=True, power=-11), 20, True)
    record(folder / "softmax_int16", softmax(), 60, False)
    record(folder / "svdf_int8", svdf(True), 300, False)
    record(folder / "svdf_f32", svdf(False), 300, False)
    # cells of up to ±32 and ±64; of the second the factor of the outputs in 32 bits gives other codes than in 64
    record(folder / "lstm_wide_int8", lstm(9, (1, 48, 8), 0, power=-10, gain=4.0, grows=True), 40, True, True)
    record(folder / "lstm_wider_int8", lstm(9, (1, 96, 8), 0, power=-9, gain=6.0), 40, True, True)
    record(folder / "lstm_widest_int8", lstm(5, (1, 80, 4), 0, power=-9, grows=True), 10, True, True)


if __name__ == "__main__":
    main()
