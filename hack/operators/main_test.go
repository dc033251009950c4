package main

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThePageIsWhatTheTableSays(t *testing.T) {
	got, err := os.ReadFile("../../docs/operators.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page(), string(got)); diff != "" {
		t.Errorf("docs/operators.md is not what the table says (run go generate ./hack/operators):\n%s", diff)
	}
}
