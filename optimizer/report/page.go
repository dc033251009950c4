package report

import (
	_ "embed"
	"html/template"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"espalier.dev/espalier/optimizer/measure"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Parse(pageSource))

// Write renders report.html: one page without scripts that loads nothing.
func Write(w io.Writer, d *Data) error {
	return page.Execute(w, newView(d))
}

// view is what the template shows: everything formatted.
type view struct {
	*Data
	Style                      template.CSS
	Class, Headline, Detail    string
	Figures                    []figure
	Limits                     []limit
	WideTree, NarrowTree       template.HTML
	WideScatter, NarrowScatter template.HTML
	WideCourse, NarrowCourse   template.HTML
	Priced                     []pricedRow
	Quality                    string
	Rising                     bool // more of it is better
	ByPrice                    bool // a search tried prices of a bit
	Table                      comparison
	Densities                  []densityRow
	Omitted                    int // layers not drawn
	LayerTables                []layerTable
	StageLog                   []stageEntry
	Files                      []fileEntry
	Empty                      bool
}

// figure is a large number of the header.
type figure struct{ Value, Label, Note string }

// limit is a constraint and whether the shown leaf meets it.
type limit struct {
	Text  string
	Class string
}

func newView(d *Data) *view {
	v := &view{Data: d, Style: template.CSS(pageStyle), Quality: string(d.quality()), Rising: d.quality().Higher(), ByPrice: d.Search != nil && strings.Contains(d.Search.Tried, "price of a bit"), Empty: len(d.Stages) == 0}
	v.headline()
	v.WideTree, v.NarrowTree = d.wideTree(), d.narrowTree()
	v.WideScatter, v.NarrowScatter = d.scatter("wide", 860, 400), d.scatter("narrow", 358, 330)
	v.WideCourse, v.NarrowCourse, v.Priced = d.course("wide", 860, 300), d.course("narrow", 358, 260), d.priced()
	v.Table = d.comparison()
	v.Densities, v.Omitted = d.densities()
	v.LayerTables = d.layerTables()
	v.StageLog, v.Files = d.stageLog(), d.fileList()
	return v
}

// headline settles the verdict's words and figures.
func (v *view) headline() {
	s := v.stage(v.Verdict.Stage)
	name := v.Verdict.Stage
	switch v.Verdict.Outcome {
	case Met:
		v.Class, v.Headline = "good", name+" meets every constraint"
		if len(v.Constraints) == 0 {
			v.Headline = name + " is the last leaf"
		}
	case Missed:
		v.Class, v.Headline = "bad", "No leaf meets every constraint"
		if name != "" {
			v.Detail = "The nearest is " + name + "."
		}
	case Failed:
		v.Class, v.Headline = "bad", "The walk failed"
		if name != "" {
			v.Headline = "Stage " + name + " failed"
		}
	default:
		v.Class, v.Headline = "open", "The walk is not over"
	}
	if v.Verdict.Reason != "" {
		v.Detail = strings.TrimSpace(v.Detail + " " + v.Verdict.Reason)
	}
	var leaf *Leaf
	if s != nil {
		leaf = s.Leaf
	}
	v.Limits = limits(v.Constraints, leaf)
	if leaf != nil {
		v.Figures = v.headFigures(leaf)
	}
}

// limits lists the constraints as the leaf meets them.
func limits(constraints []Constraint, leaf *Leaf) []limit {
	var out []limit
	for _, c := range constraints {
		l := limit{Text: label(c.Metric) + " " + c.bound(), Class: "unknown"}
		if leaf != nil {
			l.Class = "holds"
			if slices.ContainsFunc(leaf.Missed, func(s Shortfall) bool { return s.Metric == c.Metric }) {
				l.Class = "fails"
			}
		}
		out = append(out, l)
	}
	return out
}

// sized are the metrics that say how large or slow a leaf is.
var sized = []measure.Name{measure.FlashBytes, measure.ArenaBytes, measure.CompressedBytes, measure.FileBytes, measure.Multiplications, measure.LatencyMicros}

// headFigures are the leaf's large numbers, with what they are compared with: first what is minimized or bounded.
func (d *Data) headFigures(leaf *Leaf) []figure {
	var out []figure
	var shown []measure.Name
	most := 5
	if d.Device != nil || len(d.Units) > 0 {
		most = 7
	}
	add := func(name measure.Name) {
		if text := value(leaf.Metrics, name); text != "" && len(out) < most && !slices.Contains(shown, name) {
			shown = append(shown, name)
			out = append(out, figure{Value: human(name, text), Label: heading(name), Note: d.headNote(name, text)})
		}
	}
	add(d.quality())
	if d.Search != nil {
		add(d.Search.Metric)
	}
	for _, c := range d.Constraints {
		if slices.Contains(sized, c.Metric) {
			add(c.Metric)
		}
	}
	if d.Device != nil {
		add(measure.FlashBytes)
		add(measure.ArenaBytes)
	}
	for _, m := range leaf.Metrics {
		if _, measured := d.Units[m.Name]; measured {
			add(m.Name)
		}
	}
	add(measure.CompressedBytes)
	add(measure.FileBytes)
	add(measure.Sparsity)
	if n := value(leaf.Metrics, measure.Clusters); n != "" && n != strconv.Itoa(measure.NoClusters) {
		add(measure.Clusters)
	}
	add(measure.LatencyMicros)
	return out
}

// headNote says what a large number is, or what it is compared with.
func (d *Data) headNote(name measure.Name, text string) string {
	original := value(d.Stages[0].Metrics, name)
	switch unit, measured := d.Units[name]; {
	case measured:
		return unit
	case name == d.quality() && original != "":
		return "original " + human(name, original)
	}
	switch name {
	case measure.CompressedBytes, measure.FileBytes:
		return smaller(original, text)
	case measure.FlashBytes:
		return "as it lies in flash"
	case measure.ArenaBytes:
		if d.Device != nil {
			return "as " + d.Device.Name + " takes it"
		}
	case measure.Multiplications:
		if leaf := d.Stages[0].Leaf; leaf != nil && value(leaf.Metrics, name) != "" {
			return "a sample; baseline " + human(name, value(leaf.Metrics, name))
		}
		return "a sample"
	case measure.Sparsity:
		return "of prunable weights are zero"
	case measure.Clusters:
		return "distinct weights a layer at most"
	case measure.LatencyMicros:
		return "median, one thread"
	}
	return ""
}

func heading(name measure.Name) string {
	switch name {
	case measure.CompressedBytes:
		return "Compressed"
	case measure.FileBytes:
		return "File"
	case measure.Clusters:
		return "Codes"
	default:
		return label(name)
	}
}

// smaller says how many times less one size is than another.
func smaller(from, to string) string {
	a, errA := strconv.ParseFloat(from, 64)
	b, errB := strconv.ParseFloat(to, 64)
	if errA != nil || errB != nil || b <= 0 || a <= 0 {
		return ""
	}
	return strconv.FormatFloat(a/b, 'f', 1, 64) + "× smaller than float"
}

// stageEntry is a stage of the log.
type stageEntry struct {
	*Stage
	Class, Time string
	Loss, Tried template.HTML
	Last, Found string
}

func (d *Data) stageLog() []stageEntry {
	var out []stageEntry
	for i := range d.Stages {
		s := &d.Stages[i]
		e := stageEntry{Stage: s, Class: strings.ToLower(string(s.State)), Time: duration(s.Seconds), Loss: spark(s.Epochs)}
		if n := len(s.Epochs); n > 0 {
			e.Last = "loss " + short(s.Epochs[n-1].Loss)
		}
		if s.Rates != nil {
			e.Tried, e.Found = trials(s.Rates), "rate "+short(s.Rates.Rate)+" found"
		}
		if e.Input == "" && i > 0 {
			e.Input = "model"
		}
		out = append(out, e)
	}
	return out
}

// fileEntry is a download.
type fileEntry struct {
	Name, What, Size, Digest string
	Link                     template.URL
	Selected                 bool
}

func (d *Data) fileList() []fileEntry {
	var out []fileEntry
	add := func(s *Stage, f *File, what string, selected bool) {
		if f == nil {
			return
		}
		e := fileEntry{Name: s.Name, What: what, Link: relative(f.Path), Digest: cut(strings.TrimPrefix(f.Digest, "sha256:"), 13), Selected: selected}
		if f.Bytes > 0 {
			e.Size = grouped(f.Bytes) + " B"
		}
		out = append(out, e)
	}
	for i := range d.Stages {
		if s := &d.Stages[i]; s.Leaf != nil {
			add(s, s.Leaf.File, s.Leaf.Technique+" leaf", s.Leaf.Selected)
		}
	}
	for i := range d.Stages {
		s := &d.Stages[i]
		add(s, s.Model, "float model", false)
	}
	return out
}

// relative makes a path beside the page a link; anything that is not such a path becomes none.
func relative(path string) template.URL {
	u := &url.URL{Path: path}
	text := u.EscapedPath()
	if path == "" || strings.HasPrefix(path, "/") || strings.Contains(path, "..") || strings.Contains(strings.SplitN(path, "/", 2)[0], ":") {
		return "#"
	}
	return template.URL(text)
}
