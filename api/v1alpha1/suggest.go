package v1alpha1

import (
	"strings"

	"espalier.dev/espalier/optimizer/suggest"
)

// suggestion ends a sentence about a name that is not known: with the nearest names that are, or with all of them.
func suggestion(name string, names []string) string {
	if near := suggest.Sentence(name, names); near != "" {
		return "; " + near
	}
	return "; known are " + strings.Join(names, ", ")
}
