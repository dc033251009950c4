package sensitivity

import (
	"strings"
	"testing"

	"espalier.dev/espalier/optimizer/weight"
)

func TestPatternNamesOneLayer(t *testing.T) {
	long := strings.Repeat("net/batch_normalization/FusedBatchNormV3;", 10)
	tests := map[string]struct {
		name string
		all  []string
		want string
	}{
		"a name":                       {"a/Conv2D", []string{"a/Conv2D", "b/Conv2D"}, "a/Conv2D"},
		"a name that fits another":     {"a?", []string{"a?", "ab"}, ""},
		"a name just long enough":      {strings.Repeat("y", LongestPattern), []string{strings.Repeat("y", LongestPattern)}, strings.Repeat("y", LongestPattern)},
		"a name too long":              {long + "a/depthwise", []string{long + "a/depthwise", long + "b/depthwise"}, "*" + (long + "a/depthwise")[len(long+"a/depthwise")-255:]},
		"a name too long with no twin": {strings.Repeat("x", 300), []string{strings.Repeat("x", 300), strings.Repeat("x", 301)}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Pattern(tt.name, tt.all)
			if got != tt.want {
				t.Fatalf("%q, want %q", got, tt.want)
			}
			if got == "" {
				return
			}
			for _, other := range tt.all {
				if weight.MatchName(got, other) != (other == tt.name) || len(got) > LongestPattern {
					t.Errorf("%q and %q", got, other)
				}
			}
		})
	}
}
