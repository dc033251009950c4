package report

import (
	"fmt"
	"html/template"
	"strings"

	"espalier.dev/espalier/optimizer/measure"
)

// node is a card of the deployment tree: the model, a stage's float model, or a leaf.
type node struct {
	title    string
	tag      string   // technique or kind
	figures  []string // lines
	remarks  []string // what holds or fails
	status   string   // class: selected, met, missed, failed, skipped, float, leaf
	tip      string
	leaf     bool
	onPath   bool // leads to the selected leaf
	children []*node

	x, y, h float64
	depth   int
}

// tree builds the deployment tree.
func (d *Data) tree() *node {
	if len(d.Stages) == 0 {
		return nil
	}
	base := &d.Stages[0]
	root := &node{title: "model", tag: "original", status: "float", figures: wrap(d.figures(base.Metrics)), tip: d.Model.URI}
	byName := map[string]*node{}
	if base.Leaf != nil {
		root.children = append(root.children, d.leafNode(base, base.Leaf.Technique))
	}
	for i := range d.Stages[1:] {
		s := &d.Stages[i+1]
		parent := byName[s.Input]
		if s.isModel() || parent == nil {
			parent = root
		}
		n := d.stageNode(s)
		parent.children = append(parent.children, n)
		byName[s.Name] = n
	}
	root.mark()
	return root
}

// stageNode is the card of a stage: its leaf, or its float model with the leaf behind it.
func (d *Data) stageNode(s *Stage) *node {
	if s.Final || s.State != StateCompleted {
		n := d.leafNode(s, s.Name)
		n.leaf = s.Final
		return n
	}
	n := &node{title: s.Name, tag: s.Kind, status: "float", tip: s.Settings}
	n.figures = append(wrap(strings.NewReplacer(", found", " (found)", ", ", " · ").Replace(s.Settings)), wrap(d.figures(s.Metrics))...)
	if n.tag == n.title {
		n.tag = ""
	}
	if s.Leaf != nil {
		n.children = append(n.children, d.leafNode(s, s.Leaf.Technique))
	}
	return n
}

// leafNode is the card of a leaf, or of a stage that has none.
func (d *Data) leafNode(s *Stage, title string) *node {
	n := &node{title: title, leaf: true, tip: s.Message}
	switch {
	case s.State == StateSkipped:
		n.status, n.tag, n.remarks = "skipped", s.Kind, []string{"skipped"}
		return n
	case s.State == StateFailed:
		n.status, n.tag, n.remarks = "failed", "failed", []string{cut(s.Message, 40)}
		return n
	case s.Leaf == nil:
		n.status, n.tag, n.remarks = "skipped", s.Kind, []string{strings.ToLower(string(s.State))}
		return n
	}
	n.tag, n.figures = s.Leaf.Technique, wrap(d.figures(s.Leaf.Metrics))
	if title == s.Leaf.Technique {
		n.tag = ""
	}
	var tips []string
	for _, m := range s.Leaf.Missed {
		n.remarks, tips = append(n.remarks, m.brief()), append(tips, m.Text)
	}
	if n.tip = strings.Join(tips, "; "); n.tip == "" {
		n.tip = "meets every constraint"
	}
	switch {
	case s.Leaf.Selected:
		n.status = "selected"
		n.remarks = append([]string{"selected"}, n.remarks...)
	case len(s.Leaf.Missed) > 0:
		n.status = "missed"
	case len(d.Constraints) > 0:
		n.status, n.remarks = "met", []string{"meets every constraint"}
	default:
		n.status = "leaf"
	}
	if len(n.remarks) > 2 {
		n.remarks = append(n.remarks[:1], fmt.Sprintf("and %d more", len(n.remarks)-1))
	}
	return n
}

// figures are quality and size, or what a search minimizes, in a few characters.
func (d *Data) figures(values []measure.Value) string {
	size := measure.CompressedBytes
	if d.Search != nil {
		size = d.Search.Metric
	}
	var parts []string
	for _, name := range []measure.Name{d.quality(), size} {
		if v := value(values, name); v != "" {
			parts = append(parts, human(name, v))
		}
	}
	if last := len(parts) - 1; size == measure.Multiplications && value(values, size) != "" {
		parts[last] += " multiplications"
	}
	return strings.Join(parts, " · ")
}

// lineLength is the characters that fit in a card's line.
const lineLength = 33

// wrap breaks a list of parts, joined by middle dots, into at most two lines.
func wrap(text string) []string {
	var lines []string
	for _, part := range strings.Split(text, " · ") {
		part = strings.TrimSpace(part)
		switch last := len(lines) - 1; {
		case part == "":
		case last >= 0 && (len([]rune(lines[last]+part))+3 <= lineLength || last == 1):
			lines[last] += " · " + part
		default:
			lines = append(lines, part)
		}
	}
	return lines
}

// mark sets what leads to the selected leaf.
func (n *node) mark() bool {
	n.onPath = n.status == "selected"
	for _, c := range n.children {
		if c.mark() {
			n.onPath = true
		}
	}
	return n.onPath
}

// Sizes of cards, in pixels.
const (
	cardWidth, columnGap, rowGap = 236.0, 42.0, 14.0
	titleLine, lineStep          = 24.0, 18.0
)

func (n *node) height() float64 {
	return titleLine + lineStep*float64(len(n.remarks)+len(n.figures)) + 10
}

// arrange lays a tidy tree out from left to right below y and returns where the next may begin.
func (n *node) arrange(depth int, y float64) float64 {
	n.depth, n.h = depth, n.height()
	n.x = float64(depth) * (cardWidth + columnGap)
	if len(n.children) == 0 {
		n.y = y
		return y + n.h + rowGap
	}
	next := y
	for _, c := range n.children {
		next = c.arrange(depth+1, next)
	}
	first, last := n.children[0], n.children[len(n.children)-1]
	n.y = (first.y+first.h/2+last.y+last.h/2)/2 - n.h/2
	if n.y < y { // a card taller than its children
		shift := y - n.y
		n.y = y
		for _, c := range n.children {
			c.move(shift)
		}
		next = max(next+shift, n.y+n.h+rowGap)
	}
	return next
}

func (n *node) move(by float64) {
	n.y += by
	for _, c := range n.children {
		c.move(by)
	}
}

// walk calls f for every node, parents first.
func (n *node) walk(f func(*node)) {
	f(n)
	for _, c := range n.children {
		c.walk(f)
	}
}

// wideTree draws the tree from left to right.
func (d *Data) wideTree() template.HTML {
	root := d.tree()
	if root == nil {
		return ""
	}
	height := root.arrange(0, 1) - rowGap + 1
	depth := 0
	root.walk(func(n *node) { depth = max(depth, n.depth) })
	s := svg("tree wide", "deployment tree", float64(depth+1)*(cardWidth+columnGap)-columnGap+2, height, false)
	for _, onPath := range []bool{false, true} { // the selected way on top
		root.walk(func(n *node) {
			for _, c := range n.children {
				if c.onPath == onPath {
					s.branch(n, c)
				}
			}
		})
	}
	root.walk(func(n *node) { s.card(n, n.x+1, n.y, cardWidth) })
	return s.done()
}

// branch joins a card to one behind it.
func (d *drawing) branch(from, to *node) {
	x1, y1 := from.x+1+cardWidth, from.y+from.h/2
	x2, y2 := to.x+1, to.y+to.h/2
	half := (x2 - x1) / 2
	d.path(branchClass(to), fmt.Sprintf("M%s %sC%s %s %s %s %s %s", num(x1), num(y1), num(x1+half), num(y1), num(x2-half), num(y2), num(x2), num(y2)))
}

func branchClass(to *node) string {
	switch {
	case to.onPath:
		return "branch path"
	case to.status == "skipped":
		return "branch dashed"
	default:
		return "branch"
	}
}

// card draws a node.
func (d *drawing) card(n *node, x, y, width float64) {
	d.open("card "+n.status, n.tip)
	d.rect("box", x, y, width, n.h, 8)
	if n.status != "float" {
		d.path("edge", fmt.Sprintf("M%s %sv%s", num(x+6), num(y+11), num(n.h-22)))
	}
	left := x + 16
	room := int((width - 26) / 6.7) // characters of a line
	d.text("title", left, y+titleLine-2, cut(n.title, int((width-44-8.2*float64(len([]rune(n.tag))))/8.3)))
	if n.tag != "" {
		d.text("tag end", x+width-12, y+titleLine-3, n.tag)
	}
	line := y + titleLine + lineStep - 3
	for _, f := range n.figures {
		d.text("figures", left, line, cut(f, room))
		line += lineStep
	}
	for _, r := range n.remarks {
		d.text("remark", left, line, cut(mark(n.status)+r, room))
		line += lineStep
	}
	d.close()
}

// mark precedes what is remarked on.
func mark(status string) string {
	switch status {
	case "selected", "met":
		return "✓ "
	case "missed", "failed":
		return "✗ "
	default:
		return ""
	}
}

// narrowTree draws the tree from top to bottom, for a phone.
func (d *Data) narrowTree() template.HTML {
	root := d.tree()
	if root == nil {
		return ""
	}
	const width, indent = 358.0, 17.0
	y := 1.0
	var place func(n *node, depth int)
	place = func(n *node, depth int) {
		n.h = n.height()
		n.depth, n.x, n.y = depth, 1+float64(min(depth, 6))*indent, y
		y += n.h + 10
		for _, c := range n.children {
			place(c, depth+1)
		}
	}
	place(root, 0)
	s := svg("tree narrow", "deployment tree", width, y-9, true)
	for _, onPath := range []bool{false, true} {
		root.walk(func(n *node) {
			for _, c := range n.children {
				if c.onPath == onPath {
					s.path(branchClass(c), fmt.Sprintf("M%s %sV%sQ%s %s %s %sH%s", num(n.x+8), num(n.y+n.h), num(c.y+c.h/2-6),
						num(n.x+8), num(c.y+c.h/2), num(n.x+14), num(c.y+c.h/2), num(c.x)))
				}
			}
		})
	}
	root.walk(func(n *node) { s.card(n, n.x, n.y, width-1-n.x) })
	return s.done()
}
