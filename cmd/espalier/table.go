package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// gap is the space between the columns of a table.
const gap = 2

// leastName and mostName are the widths that names of rows are cut to at least, and at most where their column's title begins with naming; else it is
// the first column that gives way in a terminal.
const (
	leastName, mostName = 20, 48
	naming              = "~"
)

// table writes rows in columns below a header; "" is none. Lines are of cells that tabs separate.
func table(streams *ioStreams, header string, rows func(w io.Writer)) error {
	var text bytes.Buffer
	rows(&text)
	var titles []string
	if header != "" {
		titles = strings.Split(header, "\t")
	}
	_, err := io.WriteString(streams.Out, laid(titles, cellsOf(text.String()), streams.width))
	return err
}

// cellsOf are the cells of lines that tabs separate.
func cellsOf(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return rows
}

// laid are rows in columns, at most width wide; 0: as wide as they are. Where that is not enough the column that names rows is cut, and of those that
// then have no room the cells stand below their row, each after its title.
func laid(titles []string, rows [][]string, width int) string {
	name := slices.IndexFunc(titles, func(t string) bool { return strings.HasPrefix(t, naming) })
	if name >= 0 {
		titles, rows = slices.Clone(titles), cutColumn(rows, name, mostName)
		titles[name] = strings.TrimPrefix(titles[name], naming)
	}
	name = max(0, name)
	widths := widthsOf(titles, rows)
	if len(widths) == 0 {
		return ""
	}
	others := -gap
	for i, w := range widths {
		if others += gap; i != name {
			others += w
		}
	}
	if width > 0 && others+widths[name] > width {
		widths[name] = min(widths[name], max(leastName, width-others))
		rows = cutColumn(rows, name, widths[name])
	}
	spaced := make([]int, len(widths)-1)
	for i, w := range widths[1:] {
		spaced[i] = gap + w
	}
	fit := fits(widths[0], spaced, width)
	var out strings.Builder
	line := func(cells []string) (below []string) {
		text := fmt.Sprintf("%-*s", widths[0], cells[0])
		for i, cell := range cells[1:] {
			switch {
			case fit[i]:
				text += fmt.Sprintf("%*s%-*s", gap, "", widths[i+1], cell)
			case cell == "" || cell == "-":
			case titles == nil:
				below = append(below, cell)
			default:
				below = append(below, titles[i+1]+" "+cell)
			}
		}
		out.WriteString(strings.TrimRight(text, " ") + "\n")
		return below
	}
	if titles != nil {
		line(titles)
	}
	for _, cells := range rows {
		if below := line(cells); below != nil {
			out.WriteString(wrapped(strings.Join(below, "; "), width))
		}
	}
	return out.String()
}

// cutColumn are rows whose names, in one column, are cut to a width.
func cutColumn(rows [][]string, column, width int) [][]string {
	names := make([]string, 0, len(rows))
	for _, cells := range rows {
		if column < len(cells) {
			names = append(names, cells[column])
		}
	}
	short := shortened(names, width)
	out := make([][]string, len(rows))
	for i, cells := range rows {
		if out[i] = slices.Clone(cells); column < len(cells) {
			out[i][column], short = short[0], short[1:]
		}
	}
	return out
}

// widthsOf are the widths of columns that no cell is cut in.
func widthsOf(titles []string, rows [][]string) (widths []int) {
	for _, cells := range append([][]string{titles}, rows...) {
		for i, cell := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// fits says which columns have room in a terminal, from the left, after a first one; widths are with the space before each. 0 columns of a terminal: all.
func fits(first int, widths []int, terminal int) []bool {
	fit := slices.Repeat([]bool{true}, len(widths))
	used := first
	for i, w := range widths {
		if terminal > 0 && used+w > terminal {
			fit[i] = false
			continue
		}
		used += w
	}
	return fit
}

// widest is the length of the longest line.
func widest(text string) (n int) {
	for line := range strings.Lines(text) {
		n = max(n, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")))
	}
	return n
}

// shortened are names cut to a limit such that those that differ still do, as far as the limit lets them: in the middle or, where two came to the same
// so, up to shortly before where they begin to differ.
func shortened(names []string, limit int) []string {
	short := map[string]string{}
	for _, name := range names {
		short[name] = shorten(name, limit)
	}
	tellApart(slices.Sorted(maps.Keys(short)), short, limit, 0)
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = short[name]
	}
	return out
}

// tellApart cuts those of some names anew whose short forms are the same, sorted names that begin with so many runes alike.
func tellApart(names []string, short map[string]string, limit, alike int) {
	same := map[string][]string{}
	for _, name := range names {
		same[short[name]] = append(same[short[name]], name)
	}
	for _, group := range same {
		if len(group) == 1 {
			continue
		}
		first, last := []rune(group[0]), []rune(group[len(group)-1]) // of sorted names these have the least in common
		differ := 0
		for differ < min(len(first), len(last)) && first[differ] == last[differ] {
			differ++
		}
		if differ <= alike {
			continue // the limit is too small
		}
		for _, name := range group {
			rest := []rune(name)[max(0, differ-limit/4):]
			if short[name] = "…" + string(rest); len(rest) >= limit {
				short[name] = "…" + string(rest[:max(0, limit-2)]) + "…"
			}
		}
		tellApart(group, short, limit, differ)
	}
}

// shorten cuts a long text in the middle.
func shorten(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	half := (limit - 1) / 2
	return string(runes[:half]) + "…" + string(runes[len(runes)-half:])
}
