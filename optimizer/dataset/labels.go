package dataset

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// tell decides what the labels of all splits are and gives every part its targets.
func (p *parts) tell(stems []*stem, spec *Spec) error {
	for k, s := range stems {
		var arrays []*array
		var of []*part
		for _, part := range p.each() {
			if part != nil && part.raw[k] != nil {
				arrays, of = append(arrays, part.raw[k]), append(of, part)
			}
		}
		if len(arrays) == 0 {
			return fmt.Errorf("%s has labels, but no samples belong to it: name it as the samples are, such as %s", s.first().name, p.labelsLike(s))
		}
		names, err := encodeText(arrays)
		if err != nil {
			return err
		}
		if width := numel(arrays[0].shape()); names != nil && width != 1 {
			return fmt.Errorf("%s holds %d texts a sample; labels are one name a sample, or numbers", arrays[0].title, width)
		}
		if names == nil {
			names = s.first().names
		}
		if p.names == nil {
			p.names = names
		}
		l := labelling{arrays: arrays, names: names, spec: spec, output: spec.outputOf(s, arrays[0])}
		told, err := l.targets(s.name)
		if err != nil {
			return err
		}
		for i, t := range told {
			of[i].targets = append(of[i].targets, t)
		}
	}
	return p.even(stems)
}

// labelsLike is what labels would be called beside the samples there are.
func (p *parts) labelsLike(s *stem) string {
	for i, part := range p.each() {
		if part != nil && !p.single {
			return s.name + "_" + splitNames[i][0]
		}
	}
	return s.name
}

// even refuses a split that has some of the targets that others have.
func (p *parts) even(stems []*stem) error {
	for _, part := range p.each() {
		if part == nil || len(part.targets) == 0 || len(part.targets) == len(stems) {
			continue
		}
		for k, a := range part.raw {
			if a == nil {
				return fmt.Errorf("%s has no counterpart for %s", strings.TrimSuffix(part.name(0), ": sample 0"), stems[k].first().name)
			}
		}
	}
	return nil
}

// outputOf finds the output that an array of labels is for, nil where that is not known.
func (s *Spec) outputOf(labels *stem, a *array) *Output {
	if s.Network == nil {
		return nil
	}
	outputs := s.Network.Outputs
	bare := labels.name
	if len(bare) > 2 && strings.EqualFold(bare[:2], "y_") {
		bare = bare[2:]
	}
	for i := range outputs {
		if o := &outputs[i]; o.Target != "" && (o.Target == labels.name || o.Target == bare || labels.has(o.Target)) {
			return o
		}
	}
	for i := range outputs {
		if o := &outputs[i]; o.Target == "" && (called(o.Names, labels.name) || called(o.Names, bare)) {
			return o
		}
	}
	if len(outputs) == 1 {
		return &outputs[0]
	}
	var found *Output
	for i := range outputs { // by size
		o := &outputs[i]
		width := numel(a.shape())
		if o.size() == 0 || o.width() == 0 || width != o.size() && (width != o.size()/o.width() || !a.kind.integer) {
			continue
		}
		if found != nil {
			return nil
		}
		found = o
	}
	return found
}

// has reports whether an array of the stem has a name.
func (s *stem) has(name string) bool {
	return slices.ContainsFunc(s.splits[:], func(e *entry) bool { return e != nil && e.name == name })
}

// labelling is the labels of all splits, on the way to targets.
type labelling struct {
	arrays []*array
	names  []string // of the classes; nil: they are numbers
	spec   *Spec
	output *Output // that they are for; nil: not known
}

// targets returns the target of every split: classes or numbers, as the Spec says or, where it does not, as they look beside the
// output.
func (l *labelling) targets(name string) ([]*target, error) {
	first := l.arrays[0]
	for _, a := range l.arrays {
		if !slices.Equal(withoutOnes(a.shape()), withoutOnes(first.shape())) {
			return nil, fmt.Errorf("%s has shape %v a sample, %s has %v", a.title, a.shape(), first.title, first.shape())
		}
	}
	width := numel(first.shape())
	if width == 0 {
		return nil, fmt.Errorf("%s has shape %v: no value a sample", first.title, first.dims)
	}
	made := make([]*target, len(l.arrays))
	if l.spec.Target != Values {
		class, positions, err := l.classes(width)
		switch {
		case err != nil:
			return nil, err
		case positions:
			return made, l.positions(name, made)
		case class:
			for i, a := range l.arrays {
				read, err := l.onePerSample(a, width)
				if err != nil {
					return nil, err
				}
				made[i] = &target{Target: Target{Name: name, Kind: Class}, classes: read}
			}
			return made, l.count(made)
		}
	}
	for i, a := range l.arrays {
		made[i] = &target{Target: Target{Name: name, Shape: slices.Clone(a.shape()), Kind: Value, Numbers: l.spec.Target == Values}, values: a}
	}
	return made, nil
}

// classes decides whether the labels are classes, one a sample or one at each of several positions.
func (l *labelling) classes(width int) (class, positions bool, err error) {
	integer := true
	for _, a := range l.arrays {
		integer = integer && a.kind.integer
	}
	o := l.output
	if width == 1 {
		if integer || l.spec.Target == Classes {
			return true, false, nil
		}
		if o == nil || o.size() == 1 || o.width() < 2 || o.size() != o.width() {
			return false, false, nil
		}
		whole, err := l.whole(o.width())
		return whole, false, err
	}
	if o != nil && o.width() > 1 && o.size() > 0 && width == o.size()/o.width() && len(o.Shape) > 1 {
		if integer || l.spec.Target == Classes {
			return false, true, nil
		}
		whole, err := l.whole(o.width())
		return false, whole, err
	}
	if o != nil && o.size() > 0 && o.size() != o.width() { // a row for every position: the output's own values
		return false, false, nil
	}
	if o != nil && o.Steps && width != o.size() { // a label a step: what they are is told beside the whole sequence
		return false, false, nil
	}
	for _, a := range l.arrays {
		_, bad, err := oneHot(a)
		if err != nil {
			return false, false, err
		}
		if bad >= 0 && l.spec.Target == Classes {
			return false, false, fmt.Errorf("%s: row %d is not one-hot (a single 1, else 0); classes are one integer a sample or one-hot rows", a.title, bad)
		}
		if bad >= 0 {
			return false, false, nil
		}
	}
	return true, false, nil
}

// whole reports whether all numbers are classes of so many.
func (l *labelling) whole(classes int) (bool, error) {
	whole := true
	for _, a := range l.arrays {
		row := make([]float32, numel(a.shape()))
		err := a.rows(func(_ int, raw []byte, size int) error {
			for i := 0; whole && i < len(raw); i += size {
				a.kind.decode(row, raw[i:i+size])
				for _, v := range row {
					whole = whole && v >= 0 && float64(v) == math.Trunc(float64(v)) && v <= float32(classes)
				}
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return whole, nil
}

// onePerSample reads one class a sample, of single numbers or one-hot rows.
func (l *labelling) onePerSample(a *array, width int) ([]int32, error) {
	if width > 1 {
		read, _, err := oneHot(a)
		return read, err
	}
	read := make([]int32, 0, a.len())
	err := eachClass(a, func(_ int, v int32) error {
		read = append(read, v)
		return nil
	})
	return read, err
}

// positions makes targets of a class at every position; they stay where they are.
func (l *labelling) positions(name string, made []*target) error {
	tops := make([]int32, len(made))
	for i, a := range l.arrays {
		made[i] = &target{Target: Target{Name: name, Shape: slices.Clone(a.shape()), Kind: Class}, values: a}
		if err := eachClass(a, func(_ int, v int32) error {
			tops[i] = max(tops[i], v)
			return nil
		}); err != nil {
			return err
		}
	}
	top := slices.Max(tops)
	if o := l.output; int(top) >= o.width() {
		i := slices.Index(tops, top)
		return l.beyond(l.arrays[i], top)
	}
	for _, t := range made {
		t.Classes = max(int(top)+1, l.spec.Classes)
	}
	return nil
}

// count settles the number of classes of targets of one class a sample, and refuses labels that do not fit a declared number.
func (l *labelling) count(made []*target) error {
	top := int32(-1)
	for i, t := range made {
		for j, c := range t.classes {
			if l.spec.Classes > 0 && int(c) >= l.spec.Classes {
				return fmt.Errorf("%s: label %d is outside 0 … %d (classes: %d)", l.arrays[i].name(j), c, l.spec.Classes-1, l.spec.Classes)
			}
			if o := l.output; o != nil && o.width() > 1 && o.size() == o.width() && int(c) >= o.width() {
				return l.beyond(l.arrays[i], slices.Max(t.classes))
			}
			top = max(top, c)
		}
	}
	for _, t := range made {
		t.Classes = max(int(top)+1, l.spec.Classes)
	}
	return nil
}

// beyond says which labels an output does not have, and what to do about it.
func (l *labelling) beyond(a *array, top int32) error {
	o := l.output
	if l.names != nil {
		return tooManyNames(l.names, o)
	}
	low, second, at := top, int32(-1), -1
	if err := eachClass(a, func(sample int, v int32) error {
		low = min(low, v)
		if v == top && at < 0 {
			at = sample
		}
		if v < top {
			second = max(second, v)
		}
		return nil
	}); err != nil && numel(a.shape()) == 1 {
		return err
	}
	where, remedy := a.title, "is it the right dataset?"
	if at >= 0 {
		where = a.name(at)
	}
	switch k := int32(o.width()); {
	case low > 0 && top-low < k:
		remedy = fmt.Sprintf("they begin with %d, classes with 0: subtract %d from %s", low, low, a.title)
	case second >= 0 && second < k && top == 255:
		remedy = fmt.Sprintf("if %d marks what is to be ignored, give it the class that is behind it, or leave those samples out: nothing is ignored", top)
	}
	return fmt.Errorf("has labels up to %d (%s); output %s has the %s; %s", top, where, o.Names[0], classesOf(o.width()), remedy)
}

// classesOf lists the numbers of so many classes.
func classesOf(n int) string {
	if n == 1 {
		return "one class 0"
	}
	return fmt.Sprintf("%d classes 0 … %d", n, n-1)
}

// eachClass calls f for each class, with the index of its sample.
func eachClass(a *array, f func(sample int, class int32) error) error {
	one := make([]float32, 1)
	return a.rows(func(first int, raw []byte, size int) error {
		for i := 0; i < len(raw); i += a.kind.size {
			sample := first + i/size
			var v int64
			if a.kind.class != nil {
				v = a.kind.class(raw[i:])
			} else {
				a.kind.decode(one, raw[i:i+a.kind.size])
				if v = int64(one[0]); float32(v) != one[0] {
					return fmt.Errorf("%s: label %v is no class; target Values is regression", a.name(sample), one[0])
				}
			}
			if v < 0 || v >= maxClasses {
				return fmt.Errorf("%s: label %d is outside 0 … %d: take the sample out, or give it a class; target Values is regression", a.name(sample), v, maxClasses-1)
			}
			if err := f(sample, int32(v)); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxClasses bounds the number of classes: a larger label is an error in the data.
const maxClasses = 1 << 20

// oneHot reads the class of each row; bad is the first row that is not one-hot, else -1.
func oneHot(a *array) (labels []int32, bad int, err error) {
	labels, bad = make([]int32, 0, a.len()), -1
	row := make([]float32, numel(a.shape()))
	err = a.rows(func(first int, raw []byte, size int) error {
		for i := 0; i < len(raw) && bad < 0; i += size {
			a.kind.decode(row, raw[i:i+size])
			class := hot(row)
			if class < 0 {
				bad = first + i/size
			}
			labels = append(labels, int32(class))
		}
		return nil
	})
	return labels, bad, err
}

// hot returns the index of the only 1 among zeros, else -1.
func hot(row []float32) int {
	class := -1
	for i, v := range row {
		switch {
		case v == 0:
		case v == 1 && class < 0:
			class = i
		default:
			return -1
		}
	}
	return class
}
