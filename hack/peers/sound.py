#!/usr/bin/env python3
"""Records the features that others compute of sound made here, for the tests of optimizer/audio.

    python3 -m venv /tmp/sound && /tmp/sound/bin/pip install tensorflow==2.21.0 pymicro-features==2.0.2
    /tmp/sound/bin/python hack/peers/sound.py ./microfrontend optimizer/audio/testdata

microfrontend.json holds the integers of TensorFlow Lite Micro's front end: of pymicro-features, which has one setting, and of its sources built
by the first lines of microfrontend.cc, which take all. (TensorFlow's operator AudioMicrofrontend makes its tables from functions of 64 bits and
differs now and then.) tfsignal.json holds what tf.signal answers. The sounds are made of sines and of a generator that the
tests have too; a checksum says whether they are the same samples.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import zlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from pymicro_features import MicroFrontend


def noise(n):
    """n numbers from -0.5 to 0.5."""
    out, seed = [], 1
    for _ in range(n):
        seed = (seed * 1664525 + 1013904223) % 2**32
        out.append(seed / 2**32 - 0.5)
    return out


def sound(name, rate, n):
    """n samples of 16 bits."""
    hiss = noise(n)
    out = []
    for i in range(n):
        t = i / rate
        if name == "sweep":
            v = 0.8 * math.sin(2 * math.pi * (50 * t + 0.5 * rate * t * t))
        elif name == "noise":
            v = hiss[i]
        elif name == "quiet":
            v = hiss[i] / 4096
        elif name == "clipping":
            v = 3 * math.sin(2 * math.pi * 700 * t) + hiss[i]
        elif name == "speech":  # harmonics of a voice, louder around two formants, in syllables
            v = 0.002 * hiss[i]
            for k in range(1, 25):
                f = 120 * k
                loud = math.exp(-(((f - 700) / 300) ** 2)) + 0.5 * math.exp(-(((f - 1800) / 400) ** 2))
                v += 0.15 * loud * max(0.0, math.sin(2 * math.pi * 4 * t)) * math.sin(2 * math.pi * f * t + k * k)
        else:  # silence, but for two ticks
            v = 0.5 if i in (n // 2, n // 2 + 300) else 0.0
        out.append(max(-32768, min(32767, math.floor(v * 32768 + 0.5))))
    return np.array(out, np.int16)


def by_pymicro(samples):
    frontend, rows, at = MicroFrontend(), [], 0
    data = samples.tobytes()
    while at + 320 <= len(data):
        got = frontend.process_samples(data[at:])
        at += 2 * got.samples_read
        if got.features:
            rows.append([round(v * 25.6) for v in got.features])
    return rows


def by_sources(samples, *settings):
    out = subprocess.run([sys.argv[1], *(str(int(s) if isinstance(s, bool) else s) for s in settings)], input=samples.tobytes(), capture_output=True, check=True)
    return [[int(v) for v in line.split()] for line in out.stdout.splitlines()]


def micro():
    cases = []

    def add(by, name, rate, ms, length, step, bands, lower, upper, gain, every):
        samples = sound(name, rate, rate * ms // 1000)
        rows = by_pymicro(samples) if by == "pymicro-features" else by_sources(samples, rate, length, step, bands, lower, upper, gain)
        cases.append(dict(by=by, sound=name, rate=rate, samples=len(samples), crc=zlib.crc32(samples.tobytes()), frameLength=length * rate // 1000,
                          frameStep=step * rate // 1000, melBands=bands, lower=lower, upper=upper, gain=gain, frames=len(rows), every=every, rows=rows[::every]))

    for name in ("sweep", "noise", "quiet", "clipping", "silence", "speech"):
        add("pymicro-features", name, 16000, 1000, 30, 10, 40, 125.0, 7500.0, True, 1 if name == "speech" else 4)
    for name in ("noise", "speech", "clipping"):
        add("tflite-micro", name, 16000, 500, 30, 20, 40, 125.0, 7500.0, False, 4)
        add("tflite-micro", name, 8000, 500, 25, 10, 32, 60.0, 3800.0, True, 8)
        add("tflite-micro", name, 44100, 300, 40, 15, 64, 20.0, 20000.0, True, 8)
        add("tflite-micro", name, 4000, 500, 8, 4, 12, 0.0, 1900.0, False, 30)
    return cases


def signal():
    """The sound of TestFeaturesAreTensorFlows."""
    out = []
    for i, h in enumerate(noise(1600)):
        t = i / 8000
        v = 0.4 * math.sin(2 * math.pi * 440 * t) + 0.2 * math.sin(2 * math.pi * 1300 * t + 1) * i / 1599 + 0.05 * math.cos(2 * math.pi * 3100 * t)
        v = float(np.float32(v)) + 0.1 * h
        out.append(np.float32(round(float(np.float32(v)) * 32768) / 32768))
    return np.array(out, np.float32)


def tf_signal():
    cases, x = [], signal()
    for length, step, fft, bands, lower, upper, power, count in ((320, 160, 512, 40, 20.0, 4000.0, 1, 10), (255, 128, 256, 20, 80.0, 3800.0, 2, 13)):
        spectrum = tf.abs(tf.signal.stft(x, length, step, fft)) ** power
        weights = tf.signal.linear_to_mel_weight_matrix(bands, fft // 2 + 1, 8000, lower, upper)
        mel = tf.math.log(tf.matmul(spectrum, weights) + 1e-6)
        mfcc = tf.signal.mfccs_from_log_mel_spectrograms(mel)[:, :count]
        cases.append(dict(frameLength=length, frameStep=step, fftLength=fft, melBands=bands, lower=lower, upper=upper, power=power, coefficients=count,
                          logMel=np.round(mel.numpy().astype(float), 5).tolist(), mfcc=np.round(mfcc.numpy().astype(float), 5).tolist()))
    return cases


def main():
    out = pathlib.Path(sys.argv[2])
    for name, comment, cases in (("microfrontend.json", "pymicro-features 2.0.2 and TensorFlow " + tf.__version__, micro()),
                                 ("tfsignal.json", f"tf.signal of TensorFlow {tf.__version__}", tf_signal())):
        text = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
        (out / name).write_text('{"comment":' + json.dumps(comment) + ',"cases":[\n' + text + "\n]}\n")


if __name__ == "__main__":
    main()
