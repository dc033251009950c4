package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// splitNames are the words by which arrays and files tell their split.
var splitNames = [3][]string{{"train", "training"}, {"validation", "valid", "val", "dev"}, {"test", "testing", "eval"}}

// undivided is the place of arrays of no split, after those of splitNames.
const undivided = 3

// splitSuffix is what the name of an array of a split ends in.
func splitSuffix(split int) string {
	if split == undivided {
		return ""
	}
	return "_" + splitNames[split][0]
}

// entry is an array that may be part of a dataset. It is opened only if it is.
type entry struct {
	name string // as stored, such as x_train
	file string // relative to the dataset, for the digest
	dims []int
	kind kind
	open func() (*array, error)
	// names of the classes that the numbers stand for; nil: none
	names []string
}

// stem is arrays that differ in their split only: x_train and x_test are x.
type stem struct {
	name   string
	splits [4]*entry // training, validation, test, undivided
}

// shape of one sample.
func (s *stem) shape() []int {
	e := s.first()
	if len(e.dims) == 0 {
		return nil
	}
	return e.dims[1:]
}

func (s *stem) first() *entry {
	for _, e := range s.splits {
		if e != nil {
			return e
		}
	}
	return nil
}

// String is the arrays' name and shape.
func (s *stem) String() string { return fmt.Sprintf("%s %v", s.first().name, s.first().dims) }

// catalogue is the arrays there are, by stem.
type catalogue map[string]*stem

// divide takes the split out of an array's name: x_train, train_x and x_train_audio are x, x and x_audio.
func divide(name string) (stem string, split int) {
	words := strings.Split(name, "_")
	for at, word := range words {
		for i, names := range splitNames {
			if len(words) > 1 && slices.Contains(names, strings.ToLower(word)) {
				return strings.Join(slices.Delete(words, at, at+1), "_"), i
			}
		}
	}
	return name, undivided
}

// add enters an array. Of two that are the same by name (x_val and x_valid), the first stays.
func (c catalogue) add(e *entry) {
	name, split := divide(e.name)
	s := c[name]
	if s == nil {
		s = &stem{name: name}
		c[name] = s
	}
	if s.splits[split] == nil {
		s.splits[split] = e
	}
}

// find returns the first of several stems that is there; names may say a split.
func (c catalogue) find(names ...string) *stem {
	for _, name := range names {
		if s := c[name]; s != nil {
			return s
		}
		if bare, split := divide(name); split != undivided && c[bare] != nil {
			return c[bare]
		}
	}
	return nil
}

// sorted are the stems in the order of their names.
func (c catalogue) sorted() []*stem {
	var out []*stem
	for _, name := range slices.Sorted(maps.Keys(c)) {
		out = append(out, c[name])
	}
	return out
}

// list names arrays with their shapes.
func (c catalogue) list(drop func(*stem) bool) string {
	var out []string
	for _, s := range c.sorted() {
		if drop == nil || !drop(s) {
			out = append(out, s.String())
		}
	}
	if len(out) > 20 {
		out = append(out[:20], "…")
	}
	return strings.Join(out, ", ")
}

// names are those of all arrays, sorted.
func (c catalogue) names() string {
	var out []string
	for _, s := range c {
		for _, e := range s.splits {
			if e != nil {
				out = append(out, e.name)
			}
		}
	}
	slices.Sort(out)
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out[:min(len(out), 20)], ", ")
}
