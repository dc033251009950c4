package optimizer_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"espalier.dev/espalier/optimizer/cluster"
	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/lineage"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/prune"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/train"
)

// A network is pruned, clustered and trained for int8; its leaf holds the zeros and the clusters.
func Example() {
	ctx := context.Background()
	content, folder := network(), samples()
	defer os.RemoveAll(folder)

	original, err := lineage.Read(content)
	check(err)
	data, err := dataset.Open(folder, dataset.Spec{})
	check(err)
	defer data.Close()

	run := &lineage.Run{Data: data, Training: train.DefaultConfig()}
	run.Training.Epochs, run.Training.BatchSize = 1, 32
	techniques := []lineage.Technique{
		lineage.Prune{Options: prune.Options{Sparsity: 0.5}},
		lineage.Cluster{Options: cluster.Options{Clusters: 8, Entropy: cluster.DefaultEntropy}},
		lineage.Quantize{},
	}
	n := original
	for _, technique := range techniques {
		check(technique.Check(n))
		made, err := run.Apply(ctx, n, technique)
		check(err)
		n = made.Network
		if !n.Final() {
			fmt.Println(technique)
			continue
		}
		leaf, err := made.Leaf.Marshal()
		check(err)
		var clustered []measure.Clustered
		for tensor, state := range made.Promises {
			if state.Clustered() {
				clustered = append(clustered, measure.Clustered{Tensor: tensor})
			}
		}
		metrics, err := measure.File(leaf, clustered)
		check(err)
		fmt.Printf("leaf: half of the weights zero: %v, at most 8 codes: %v\n", metrics[measure.Sparsity] >= 0.5, metrics[measure.Clusters] <= 8)
	}
	// Output:
	// sparsity 0.5
	// 8 clusters
	// leaf: half of the weights zero: true, at most 8 codes: true
}

// network is a small classifier, as it would be read from a file.
func network() []byte {
	random := rand.New(rand.NewPCG(1, 1))
	weights := func(n int) []float32 {
		w := make([]float32, n)
		for i := range w {
			w[i] = float32(random.NormFloat64() * 0.3)
		}
		return w
	}
	b := tflitetest.New()
	y := b.Conv("conv", b.Input("x", 1, 6, 6, 1), weights(8*9), make([]float32, 8), 8, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	y = b.Dense("dense", b.Flatten("flat", y), weights(2*288), make([]float32, 2), 2, tflitetest.None)
	b.Output(b.Softmax("softmax", y))
	content, err := b.Model().Marshal()
	check(err)
	return content
}

// samples writes a dataset of arrays: bright images and dark ones.
func samples() (folder string) {
	folder, err := os.MkdirTemp("", "example")
	check(err)
	const n = 64
	header := func(kind, shape string) string {
		text := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': %s, }", kind, shape)
		for (10+len(text)+1)%64 != 0 {
			text += " "
		}
		return fmt.Sprintf("\x93NUMPY\x01\x00%c%c%s\n", len(text)+1, 0, text)
	}
	for _, split := range []string{"train", "test"} {
		x, y := []byte(header("|u1", fmt.Sprintf("(%d, 6, 6, 1)", n))), []byte(header("|u1", fmt.Sprintf("(%d,)", n)))
		for i := range n {
			for k := range 36 {
				x = append(x, byte(k%2+i%2*3))
			}
			y = append(y, byte(i%2))
		}
		check(os.WriteFile(filepath.Join(folder, "x_"+split+".npy"), x, 0o600))
		check(os.WriteFile(filepath.Join(folder, "y_"+split+".npy"), y, 0o600))
	}
	return folder
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
