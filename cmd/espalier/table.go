package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// gap is the space between the columns of a table.
const gap = 2

// leastName is the least width that the first column, which names a row, is cut to.
const leastName = 20

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

// laid are rows in columns, at most width wide; 0: as wide as they are. Where that is not enough the first column is cut, and of the columns that
// then have no room the cells stand below their row, each after its title.
func laid(titles []string, rows [][]string, width int) string {
	widths := widthsOf(titles, rows)
	if len(widths) == 0 {
		return ""
	}
	others := 0
	for _, w := range widths[1:] {
		others += gap + w
	}
	if width > 0 {
		widths[0] = min(widths[0], max(leastName, width-others))
	}
	spaced := make([]int, len(widths)-1)
	for i, w := range widths[1:] {
		spaced[i] = gap + w
	}
	fit := fits(widths[0], spaced, width)
	var out strings.Builder
	line := func(cells []string) (below []string) {
		text := fmt.Sprintf("%-*s", widths[0], shorten(cells[0], widths[0]))
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

// terminalWidth are the columns of a terminal: what COLUMNS says, else what it is asked for; 0 where neither knows.
func terminalWidth(set string, ask func() (int, error)) int {
	if width, err := strconv.Atoi(set); err == nil && width > 0 {
		return width
	}
	if width, err := ask(); err == nil {
		return width
	}
	return 0
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

// wrapped are lines of at most width columns, indented by two; 0: one line. A word that is longer is cut.
func wrapped(text string, width int) string { return filled(text, "  ", width) }

// filled are lines of at most width columns, each behind an indent; 0: one line. A word that is longer is cut.
func filled(text, indent string, width int) string {
	var out strings.Builder
	length := 0
	for _, word := range strings.Fields(text) {
		if width > len(indent)+2 {
			word = shorten(word, width-len(indent))
		}
		n := utf8.RuneCountInString(word)
		switch {
		case length == 0:
			out.WriteString(indent)
			length = len(indent)
		case width > 0 && length+1+n > width:
			out.WriteString("\n" + indent)
			length = len(indent)
		default:
			out.WriteString(" ")
			length++
		}
		out.WriteString(word)
		length += n
	}
	return out.String() + "\n"
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
