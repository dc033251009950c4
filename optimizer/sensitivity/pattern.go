package sensitivity

import (
	"strings"

	"espalier.dev/espalier/optimizer/weight"
)

// LongestPattern is how long the pattern of a rule may be.
const LongestPattern = 256

// Pattern is what a rule names a layer by: its name, or the end of it where that is too long, as those of fused operators are; "" where other
// layers would go by that too.
func Pattern(name string, names []string) string {
	pattern := name
	if len(name) > LongestPattern {
		pattern = "*" + strings.ToValidUTF8(name[len(name)-LongestPattern+1:], "?")
	}
	for _, other := range names {
		if other != name && weight.MatchName(pattern, other) {
			return ""
		}
	}
	return pattern
}
