package main

import (
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/train"
)

// cases are the measured experiments. TFMOT's figures: means of five seeds at tuned rates (MNIST), one run (fsdd); compressed sizes of
// its leaves by this project's own function.
var cases = map[string]experiment{
	"mnist": {
		title: "MNIST CNN, batch 128, 3 + 3 + 2 epochs, 50 %, 8 codes",
		model: "models/mnist_cnn_float.tflite", data: "mnist", spec: dataset.Spec{Preprocessing: dataset.Preprocessing{Scale: "1/255"}},
		batch: 128, sparsity: 0.5, clusters: 8, entropy: 1.1, sparseEntropy: 2.7, perTensorQAT: true, ranges: train.Tracked,
		shift: 1,
		prune: phase{3, 3e-3}, group: phase{3, 2.5e-3}, q: phase{2, 1.5e-3}, control: phase{5, 2e-3},
		peers: map[string]peer{
			"PTQ": {97.95, 19008}, "control: float, as many epochs": {98.18, 77210}, "pruned → PTQ": {97.97, 14663}, "clustered → PTQ": {97.60, 7503},
			"sparse clustered → PTQ": {97.83, 7476}, "QAT": {98.05, 18154}, "PQAT": {98.05, 14265}, "CQAT": {97.98, 7495}, "PCQAT": {97.99, 7492},
		},
	},
	"fsdd": {
		title: "DS-CNN-L on two unseen speakers, batch 64, 4 + 4 + 3 epochs, 50 %, 16 codes",
		model: "models/fsdd_ds_cnn_l_float.tflite", data: "fsdd/fsdd_mfcc.npz",
		batch: 64, sparsity: 0.5, clusters: 16, entropy: 1, sparseEntropy: 1, ranges: train.Tracked,
		noise: 1, shift: 5, // four speakers are few: augmentation stands in for the batch statistics that TFMOT trains with
		prune: phase{4, 5e-4}, group: phase{4, 5e-4}, q: phase{3, 5e-4}, control: phase{7, 5e-4},
		peers: map[string]peer{
			"PTQ": {87.7, 437574}, "pruned → PTQ": {87.7, 312314}, "clustered → PTQ": {87.2, 286192}, "sparse clustered → PTQ": {84.1, 243767},
			"QAT": {89.5, 435863}, "PQAT": {86.9, 312027}, "CQAT": {89.2, 374905}, "PCQAT": {86.1, 249203},
		},
	},
}
