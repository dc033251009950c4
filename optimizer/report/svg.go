package report

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
)

// drawing is an SVG being written. Colours and fonts are classes of the page's style sheet, so that a drawing follows light and
// dark; text is escaped.
type drawing struct {
	strings.Builder
}

// svg begins a drawing of a size in pixels. fluid drawings shrink and grow with their place. title is read aloud.
func svg(class, title string, width, height float64, fluid bool) *drawing {
	d := &drawing{}
	size := fmt.Sprintf(` width="%s" height="%s"`, num(width), num(height))
	if fluid {
		size = ""
	}
	fmt.Fprintf(d, `<svg class="%s"%s viewBox="0 0 %s %s" role="img" aria-label="%s">`, class, size, num(width), num(height), escape(title))
	return d
}

func (d *drawing) done() template.HTML {
	d.WriteString("</svg>")
	return template.HTML(d.String())
}

// num writes a coordinate in at most two places.
func num(v float64) string {
	text := strconv.FormatFloat(v, 'f', 2, 64)
	text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	if text == "-0" {
		return "0"
	}
	return text
}

func escape(text string) string { return template.HTMLEscapeString(text) }

func (d *drawing) rect(class string, x, y, w, h, r float64) {
	fmt.Fprintf(d, `<rect class="%s" x="%s" y="%s" width="%s" height="%s" rx="%s"/>`, class, num(x), num(y), num(max(0, w)), num(max(0, h)), num(r))
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(d, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, num(x1), num(y1), num(x2), num(y2))
}

func (d *drawing) circle(class string, x, y, r float64) {
	fmt.Fprintf(d, `<circle class="%s" cx="%s" cy="%s" r="%s"/>`, class, num(x), num(y), num(r))
}

func (d *drawing) path(class, data string) {
	fmt.Fprintf(d, `<path class="%s" d="%s"/>`, class, data)
}

// text writes a line whose baseline is at y. Class names say anchor and size.
func (d *drawing) text(class string, x, y float64, text string) {
	fmt.Fprintf(d, `<text class="%s" x="%s" y="%s">%s</text>`, class, num(x), num(y), escape(text))
}

// open and close group elements; a group with a title shows it under the pointer.
func (d *drawing) open(class, title string) {
	fmt.Fprintf(d, `<g class="%s">`, class)
	if title != "" {
		fmt.Fprintf(d, `<title>%s</title>`, escape(title))
	}
}

func (d *drawing) close() { d.WriteString("</g>") }

// cut shortens text to n characters.
func cut(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return string(runes[:max(0, n-1)]) + "…"
}

// cutStart shortens a text to n characters that end it: of layers' names the end is what tells them apart.
func cutStart(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return "…" + string(runes[len(runes)-max(0, n-1):])
}
