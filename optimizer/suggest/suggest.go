// Package suggest finds the names that somebody may have meant by one that is not known.
package suggest

import (
	"slices"
	"strings"
)

// Nearest returns the names within a third of the length of name in edits, those with the fewest; without any, those that begin with it. Case does not count.
func Nearest(name string, names []string) []string {
	var best []string
	name = strings.ToLower(name)
	distance := len(name) / 3
	for _, candidate := range names {
		switch d := edits(name, strings.ToLower(candidate)); {
		case d < distance:
			best, distance = []string{candidate}, d
		case d == distance:
			best = append(best, candidate)
		}
	}
	if len(best) > 0 || name == "" {
		return best
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(strings.ToLower(n), name) })
}

// Sentence asks for the nearest names: "did you mean a, b or c?". It is "" where none is near.
func Sentence(name string, names []string) string {
	near := Nearest(name, names)
	if len(near) == 0 {
		return ""
	}
	last := len(near) - 1
	text := near[last]
	if last > 0 {
		text = strings.Join(near[:last], ", ") + " or " + text
	}
	return "did you mean " + text + "?"
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
