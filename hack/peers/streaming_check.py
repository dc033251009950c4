#!/usr/bin/env python3
"""Runs a leaf that keeps state step by step over the test sequences of a dataset, in LiteRT's reference kernels and in tflite-micro.

    /tmp/peers/bin/python hack/peers/streaming_check.py out/leaves/pcqat.tflite digits.npz [SEQUENCES]

It prints the accuracy of the last steps' answers, or of all where there is a label for each, which `espalier evaluate` gives too, and how many outputs
differ between the two.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tflite_micro.python.tflite_micro.runtime import Interpreter as Micro


def main():
    model, data = open(sys.argv[1], "rb").read(), np.load(sys.argv[2])
    n = int(sys.argv[3]) if len(sys.argv) > 3 else len(data["x_test"])

    def begin():
        """LiteRT's variables last as long as the interpreter, whatever is reset."""
        interpreter = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
        interpreter.allocate_tensors()
        return interpreter

    interpreter, micro = begin(), Micro.from_bytes(model, arena_size=1 << 20)
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = given["quantization"]
    right = {"LiteRT": 0, "TFLM": 0}
    differ = steps = asked = 0
    for x, y in zip(data["x_test"][:n], data["y_test"]):
        interpreter = begin()
        micro.reset()
        for k, frame in enumerate(np.clip(np.round(x.reshape(len(x), *given["shape"]) / scale) + zero, -128, 127).astype(np.int8)):
            interpreter.set_tensor(given["index"], frame)
            interpreter.invoke()
            micro.set_input(frame, 0)
            micro.invoke()
            answers = {"LiteRT": interpreter.get_tensor(made["index"]).copy(), "TFLM": micro.get_output(0).copy()}
            differ, steps = differ + int(not np.array_equal(*answers.values())), steps + 1
            if np.ndim(y) == 0 and k < len(x) - 1:
                continue
            asked += 1
            for runtime, answer in answers.items():
                right[runtime] += int(np.argmax(answer) == (y if np.ndim(y) == 0 else y[k]))
    print(", ".join(f"{runtime} {count / asked:.4f}" for runtime, count in right.items()), f"of {n} sequences; outputs of {differ} of {steps} steps differ")


if __name__ == "__main__":
    main()
