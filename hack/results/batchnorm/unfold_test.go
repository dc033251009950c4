package main

import (
	"math"
	"slices"
	"testing"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

const samples = 8

// one is a batch of samples.
type one struct {
	dataset.Source
	x []float32
}

func (one) Len() int { return samples }

func (s one) Read(i int, x [][]float32) error {
	copy(x[0], s.x[i*len(x[0]):])
	return nil
}

// network has a convolution, a depthwise one, and a dense layer, which stays as it is.
func network() *tflite.Model {
	b := tflitetest.New()
	x := b.Conv("conv", b.Input("x", 1, 6, 6, 3), tflitetest.Weights(1, 5*27), tflitetest.Weights(2, 5), 5, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
	x = b.Depthwise("depthwise", x, tflitetest.Weights(3, 45), tflitetest.Weights(4, 5), 3, 3, 2, schema.PaddingSAME, tflitetest.ReLU6)
	b.Output(b.Dense("dense", b.Flatten("flat", x), tflitetest.Weights(5, 4*45), tflitetest.Weights(6, 4), 4, tflitetest.None))
	return b.Model()
}

func outputs(t *testing.T, net *float.Network, x []float32) []float32 {
	t.Helper()
	e := net.NewExec(false)
	e.SetInput(0, x)
	e.Forward()
	return slices.Clone(e.Output(0))
}

func compile(t *testing.T, m *tflite.Model) *float.Network {
	t.Helper()
	net, err := float.Compile(m, samples)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

func TestUnfoldedNetworksComputeTheSameAndFoldBack(t *testing.T) {
	m, x := network(), tflitetest.Weights(7, samples*6*6*3)
	want := outputs(t, compile(t, m), x)
	for _, arm := range []string{scaled, batch} {
		e := &experiment{model: m, arm: arm, data: &dataset.Dataset{Train: one{x: x}}}
		e.config.BatchSize = samples
		net, layers, err := e.open()
		if err != nil {
			t.Fatal(err)
		}
		if len(layers) != 2 {
			t.Fatalf("%s: %d layers have their scale apart, want 2", arm, len(layers))
		}
		if off := most(outputs(t, net, x), want); off > 1e-4 {
			t.Errorf("%s: an output is off by %v before training", arm, off)
		}
		for _, l := range layers { // as training would move them
			for c := range net.Param(l.gamma).Value {
				net.Param(l.gamma).Value[c] *= 1.5
				net.Param(l.beta).Value[c] += 0.1
			}
		}
		net.Refresh()
		moved := outputs(t, net, x)
		if most(moved, want) < 0.1 {
			t.Fatalf("%s: scale and shift move nothing", arm)
		}
		if err := estimate(net, layers, e.data.Train, 1); err != nil {
			t.Fatal(err)
		}
		if off := most(outputs(t, compile(t, fold(m, net, layers, arm == batch)), x), moved); off > 1e-4 {
			t.Errorf("%s: an output of the folded network is off by %v", arm, off)
		}
	}
}

// most is the greatest difference.
func most(a, b []float32) float64 {
	off := 0.0
	for i := range a {
		off = max(off, math.Abs(float64(a[i])-float64(b[i])))
	}
	return off
}
