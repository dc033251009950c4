package dataset

import (
	"fmt"
	"strconv"
)

// noteClasses names the classes that a split has no samples of, and those of the network's output o that none has.
func (d *Dataset) noteClasses(o *Output) {
	sources := []Source{d.Train, d.Validation, d.Test}
	counts := make([][]int, len(sources)) // of samples by class, of each split
	var all []int
	for i, s := range sources {
		if s == nil {
			continue
		}
		for _, class := range Labels(s) {
			for class >= len(all) {
				all = append(all, 0)
			}
			for class >= len(counts[i]) {
				counts[i] = append(counts[i], 0)
			}
			counts[i][class]++
			all[class]++
		}
	}
	has := func(counts []int, class int) bool { return class < len(counts) && counts[class] > 0 }
	for i, of := range counts {
		if of == nil {
			continue
		}
		if absent := d.which(len(all), func(class int) bool { return has(all, class) && !has(of, class) }); absent != "" {
			d.note("%s has no samples of %s", splitNames[i][0], absent)
		}
	}
	if all == nil || d.ClassNames != nil || o == nil || o.size() != o.width() || o.width() < 2 { // of names it is said with them
		return
	}
	if absent := d.which(max(len(all), o.width()), func(class int) bool { return !has(all, class) }); absent != "" {
		d.note("there are no samples of %s, of the %d that the network tells apart", absent, o.width())
	}
}

// which lists the classes, of so many, that are something; "" if none is.
func (d *Dataset) which(total int, is func(class int) bool) string {
	var names []string
	for class := range total {
		switch {
		case !is(class):
		case class < len(d.ClassNames):
			names = append(names, d.ClassNames[class])
		default:
			names = append(names, strconv.Itoa(class))
		}
	}
	switch len(names) {
	case 0:
		return ""
	case 1:
		return "class " + names[0]
	default:
		return fmt.Sprintf("%d classes: %s", len(names), short(names))
	}
}
