package stage

import (
	"context"
	"testing"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

// A leaf that takes its state as an input is timed again: a sample has none.
func TestLeavesWithPairsOfStateAreTimedAgain(t *testing.T) {
	b := tflitetest.New()
	x, state := b.Input("x", 1, 2), b.Input("state", 1, 2)
	b.Output(b.Add("next", x, state, tflitetest.None))
	b.Output(b.Add("answer", x, state, tflitetest.None))
	m := b.Model()
	if err := m.SetStates([]tflite.StatePair{{Input: "state", Output: "next"}}); err != nil {
		t.Fatal(err)
	}
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sample, err := blankFor(content)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := measure.TimeLatency(context.Background(), content, sample, measure.LatencyOptions{Budget: 1}); err != nil {
		t.Error(err)
	}
}
