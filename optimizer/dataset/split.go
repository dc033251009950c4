package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// parts are what a format finds. A dataset that is not divided is all train.
type parts struct {
	train, validation, test *part
	single                  bool     // train is all there is, under no split's name
	names                   []string // of the classes, where the format has any
	files                   []string // what the digest covers, in order
	notes                   []string // what a user should know of the files
}

func (p *parts) each() []*part { return []*part{p.train, p.validation, p.test} }

// carve returns which samples of the train part go to which split.
func carve(p *part, testShare, validationShare float64, seed int64) (train, validation, test []int32, err error) {
	n := p.len()
	groups := byClass(p, n)
	wantTest, wantValidation := share(testShare, n), share(validationShare, n)
	if testShare > 0 && wantTest == 0 || validationShare > 0 && wantValidation == 0 || wantTest+wantValidation >= n {
		return nil, nil, nil, fmt.Errorf("%d samples cannot be split into %.3g validation, %.3g test and the rest", n, validationShare, testShare)
	}
	seen := 0
	for class, group := range groups {
		r := rand.New(rand.NewPCG(mix(uint64(seed)), mix(uint64(class))))
		r.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		seen += len(group)
		// what is due after this class, less what is taken: rounding evens out over the classes
		toTest := min(len(group), due(wantTest, seen, n)-len(test))
		toValidation := min(len(group)-toTest, due(wantValidation, seen, n)-len(validation))
		test = append(test, group[:toTest]...)
		validation = append(validation, group[toTest:toTest+toValidation]...)
		train = append(train, group[toTest+toValidation:]...)
	}
	for _, index := range [][]int32{train, validation, test} {
		slices.Sort(index)
	}
	return train, validation, test, nil
}

// byClass groups the samples by label, in the order of labels; without labels they are one group.
func byClass(p *part, n int) [][]int32 {
	groups := make([][]int32, 1)
	labels := p.single()
	for i := range n {
		class := 0
		if labels != nil {
			class = int(labels.classes[i])
		}
		for class >= len(groups) {
			groups = append(groups, nil)
		}
		groups[class] = append(groups[class], int32(i))
	}
	return groups
}

func share(fraction float64, n int) int { return int(math.Round(fraction * float64(n))) }

// due is how many of want belong to the first seen of n.
func due(want, seen, n int) int { return int((int64(want)*int64(seen) + int64(n)/2) / int64(n)) }

// fraction reads a share of a split.
func fraction(what string, n Number) (float64, error) {
	v, err := n.Float(0)
	if err != nil {
		return 0, fmt.Errorf("split.%s: %w", what, err)
	}
	if v < 0 || v >= 1 {
		return 0, fmt.Errorf("split.%s is %s; a fraction is at least 0 and less than 1", what, n)
	}
	return v, nil
}

// divide makes the splits out of what was found, and notes what was missing.
func (d *Dataset) divide(found *parts, spec *Spec, views func(p *part, index []int32) *view) error {
	testShare, err := fraction("test", spec.Split.Test)
	if err != nil {
		return err
	}
	validationShare, err := fraction("validation", spec.Split.Validation)
	if err != nil {
		return err
	}
	switch {
	case testShare+validationShare >= 1:
		return fmt.Errorf("split leaves no training samples: validation %s and test %s", spec.Split.Validation, spec.Split.Test)
	case testShare > 0 && found.test != nil:
		return fmt.Errorf("split.test is %s, but the dataset has its own test samples; leave it out", spec.Split.Test)
	case validationShare > 0 && found.validation != nil:
		return fmt.Errorf("split.validation is %s, but the dataset has its own validation samples; leave it out", spec.Split.Validation)
	case testShare+validationShare > 0 && found.train == nil:
		return fmt.Errorf("split divides the training samples, but there are only test samples")
	}
	if testShare+validationShare > 0 {
		train, validation, test, err := carve(found.train, testShare, validationShare, spec.Split.Seed)
		if err != nil {
			return err
		}
		d.set(&d.Train, views(found.train, train))
		if len(validation) > 0 {
			d.set(&d.Validation, views(found.train, validation))
			d.note("validation: %d samples drawn from the training samples", len(validation))
		}
		if len(test) > 0 {
			d.set(&d.Test, views(found.train, test))
			d.note("test: %d samples drawn from the training samples", len(test))
		}
	} else if found.train != nil {
		d.set(&d.Train, views(found.train, nil))
	}
	if found.validation != nil {
		d.set(&d.Validation, views(found.validation, nil))
	}
	if found.test != nil {
		d.set(&d.Test, views(found.test, nil))
	}
	d.noteClasses(spec.onlyOutput())
	d.substitute(found.single)
	return nil
}

func (d *Dataset) set(to *Source, v *view) { *to = v }

// substitute lets a split that is missing be another one, and says so.
func (d *Dataset) substitute(single bool) {
	switch {
	case d.Validation == nil && d.Test == nil:
		d.Validation, d.Test = d.Train, d.Train
		if single {
			d.note("one split: training, validation and test are the same samples; split.test and split.validation divide them")
		} else {
			d.note("only training samples: validation and test are the same ones; split.test and split.validation divide them")
		}
	case d.Validation == nil:
		d.Validation = d.Test
		d.note("no validation samples: the test samples stand in for them, also in what a run decides; split.validation takes some of the training samples")
	case d.Test == nil:
		d.Test = d.Validation
		d.note("no test samples: figures are of the validation samples; split.test takes some of the training samples")
	}
	if d.Train == nil {
		d.note("no training samples: the dataset can only be measured on")
	}
}

func (d *Dataset) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}
