"""Makes cmd/espalier/testdata/keywords.tflite: a float network of 49 x 10 MFCC that tells three made-up words apart, trained on sounds as the test
of the sample makes them: a low tone, a high tone and a sweep, with noise.

    python hack/peers/keywords.py cmd/espalier/testdata/keywords.tflite
"""

import sys

import numpy as np
import tensorflow as tf

RATE = 16000


def word(rng, which):
    """One second of sound: 0 a low tone, 1 a high one, 2 a sweep."""
    t = np.arange(RATE) / RATE
    pitch = 1 + 0.1 * rng.standard_normal()
    phase = {0: 300 * t, 1: 1500 * t, 2: (300 + 900 * t) * t}[which] * pitch
    x = 0.3 * np.sin(2 * np.pi * phase) + 0.05 * rng.standard_normal(RATE)
    return np.round(x * 32767).clip(-32768, 32767) / 32768


def mfcc(x):
    bins = tf.abs(tf.signal.stft(x, 480, 320, 512))
    mel = tf.signal.linear_to_mel_weight_matrix(40, 257, RATE, 20.0, 4000.0)
    return tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(bins @ mel + 1e-6))[..., :10]


rng = np.random.default_rng(1)
tf.keras.utils.set_random_seed(1)
y = np.arange(300) % 3
x = mfcc(tf.constant(np.stack([word(rng, k) for k in y]), tf.float32)).numpy()[..., None]
model = tf.keras.Sequential([
    tf.keras.Input((49, 10, 1)),
    tf.keras.layers.Conv2D(16, (8, 4), strides=2, padding="same", activation="relu"),
    tf.keras.layers.DepthwiseConv2D(3, padding="same", activation="relu"),
    tf.keras.layers.Conv2D(16, 1, activation="relu"),
    tf.keras.layers.GlobalAveragePooling2D(),
    tf.keras.layers.Dense(3, activation="softmax"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=15, batch_size=32, verbose=0)
print(model.evaluate(x, y, verbose=0))
open(sys.argv[1], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
