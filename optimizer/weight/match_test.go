package weight

import (
	"strings"
	"testing"
)

func TestGlobsMatchNames(t *testing.T) {
	for _, test := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"?", "", false},
		{"*dense*", "model/dense_1/MatMul", true}, {"model/*", "model/a/b", true}, {"model/?/b", "model/a/b", true},
		{"*conv", "conv2d", false}, {"conv", "conv2d", false}, {"c*v*d", "conv2d", true}, {"*é", "café", true}, {"caf?", "café", true},
		{"*", "a/b;c", true}, {"a/*", "a/b/c", true}, {"?onv", "conv", true}, {"a*b*c", "a1b2b3c", true}, {"a*b", "ac", false},
		{"a*b*c", "abcbc", true}, {"a*b*c", "abcb", false}, {"[a]", "a", false},
		{strings.Repeat("*a", 50), strings.Repeat("a", 2000) + "b", false}, // not exponential
	} {
		if got := MatchName(test.glob, test.name); got != test.want {
			t.Errorf("%q matches %q: %v", test.glob, test.name, got)
		}
	}
}
