package measure

// Alike is an output that answers all samples alike, as that of a network does whose units died.
type Alike struct {
	Output string
	// Otherwise is for how many samples the original answers otherwise than that.
	Otherwise int
}

// byChance is for how many samples an original may answer otherwise than a leaf that answers all alike and is none the worse for it.
const byChance = 2

// Alike finds the outputs of classes, numbers and embeddings that answer all samples alike where the original does not, which may be nil.
func (a *Answers) Alike(original *Answers) []Alike {
	if original == nil || original.samples != a.samples || len(original.columns) != len(a.columns) {
		return nil
	}
	var out []Alike
	for i, c := range a.columns {
		before := original.columns[i]
		if !c.comparable() || !before.comparable() || c.unlike(c) > 0 || before.unlike(before) == 0 {
			continue
		}
		if n := before.unlike(c); n > byChance {
			out = append(out, Alike{c.out.Name, n})
		}
	}
	return out
}

// comparable reports whether the answers of every sample were kept.
func (c *column) comparable() bool { return c.classes.len() > 0 || len(c.values) > 0 }

// unlike is for how many samples the answer is not that of the other's first sample.
func (c *column) unlike(other *column) int {
	n := 0
	for i := range c.samples {
		if !c.same(i, other) {
			n++
		}
	}
	return n
}

// same reports whether the answer of sample i is that of the other's first sample.
func (c *column) same(i int, other *column) bool {
	if n := c.classes.len() / c.samples; n > 0 {
		for k := range n {
			if c.classes.at(i*n+k) != other.classes.at(k) {
				return false
			}
		}
		return true
	}
	n := len(c.values) / c.samples
	for k, v := range c.values[i*n : (i+1)*n] {
		if v != other.values[k] {
			return false
		}
	}
	return true
}
