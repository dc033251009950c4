package dataset

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// unequal says which row of a table has another number of columns than its first; another error stays.
func unequal(err error, row []string, columns int) error {
	var at *csv.ParseError
	if !errors.Is(err, csv.ErrFieldCount) || !errors.As(err, &at) {
		return err
	}
	if columns == 1 {
		return fmt.Errorf("line %d has %d columns, the first row 1: take a title or comment above the headings out, put quotes around texts with a comma", at.Line, len(row))
	}
	return fmt.Errorf("line %d has %d columns, the first row %d: every row has the same; a comma in a text wants quotes around it", at.Line, len(row), columns)
}

// sameButCase lists names that differ by case alone, such as "Cat and cat"; "" if none do.
func sameButCase(names []string) string {
	of := map[string][]string{}
	for _, name := range names {
		key := strings.ToLower(name)
		of[key] = append(of[key], name)
	}
	var groups []string
	for _, name := range names {
		if same := of[strings.ToLower(name)]; len(same) > 1 && same[0] == name {
			groups = append(groups, strings.Join(same, " and "))
		}
	}
	return short(groups)
}

// tooManyNames says that an output has fewer classes than there are names.
func tooManyNames(names []string, o *Output) error {
	remedy := "is it the right dataset?"
	if same := sameButCase(names); same != "" {
		remedy = same + " differ only by case: write them the same"
	}
	return fmt.Errorf("has %d classes (%s); output %s has the %s; %s", len(names), short(names), o.Names[0], classesOf(o.width()), remedy)
}

// nearSplit is the split that a word misspells by one letter more, less or other, or by two in the other's place; "" if none.
func nearSplit(word string) string {
	if splitCalled(word) != undivided {
		return ""
	}
	for _, names := range splitNames {
		for _, name := range names {
			if len(name) > 3 && misspells(strings.ToLower(word), name) {
				return name
			}
		}
	}
	return ""
}

// misspells reports whether a word becomes another by one change of a letter or of two neighbours.
func misspells(word, meant string) bool {
	for len(word) > 0 && len(meant) > 0 && word[0] == meant[0] {
		word, meant = word[1:], meant[1:]
	}
	for len(word) > 0 && len(meant) > 0 && word[len(word)-1] == meant[len(meant)-1] {
		word, meant = word[:len(word)-1], meant[:len(meant)-1]
	}
	swapped := len(word) == 2 && len(meant) == 2 && word[0] == meant[1] && word[1] == meant[0]
	return swapped || max(len(word), len(meant)) == 1
}

// splitsForClasses refuses folders of classes that are splits whose names are misspelt: all of them are called so, or one that is has
// its files in folders of its own, which are the classes then.
func (m *media) splitsForClasses(root string, tree *mediaTree) error {
	near := slices.DeleteFunc(slices.Clone(tree.classes), func(class string) bool { return nearSplit(class) == "" })
	if len(near) == 0 {
		return nil
	}
	nested := slices.ContainsFunc(tree.paths, func(path string) bool {
		parts := strings.Split(path, "/")
		return len(parts) > 2 && slices.Contains(near, parts[0])
	})
	if !nested && len(near) < len(tree.classes) {
		return nil
	}
	return fmt.Errorf("%s is no split: is %s meant? Rename it, or list all %s in a labels.csv of filename and label if it is a class",
		filepath.Join(root, near[0]), nearSplit(near[0]), m.what)
}

// splitsUnheaded refuses a list with a column that holds nothing but names of splits under another heading. only says so by column.
func (c *listColumns) splitsUnheaded(only []bool) error {
	for k, is := range only {
		if is && c.split < 0 && k < len(c.headings) && c.headings[k] != "" && !(k == c.label && c.named) {
			return fmt.Errorf("column %s holds the names of splits: head it split, or name the label's column in dataset.labels if it is that", c.headings[k])
		}
	}
	return nil
}
