package lineage

import (
	"context"
	"testing"
)

// Where a code of the scores is many units of e^x a tie moves a softmax over all of its range: the scores are what is compared.
func TestLeavesOfSteepScoresAgree(t *testing.T) {
	given := quantized8(t, read(t, networks()["channels of very different size"]), true)
	run := untrained(given)
	run.Leaf.Reconstruct = true
	if _, err := run.Apply(context.Background(), given, half); err != nil {
		t.Error(err)
	}
}
