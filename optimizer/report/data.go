package report

import (
	"slices"

	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/train"
)

// Data is everything a report shows. Only Pipeline and Stages are needed; what is empty is left out of the page.
type Data struct {
	Pipeline    string       `json:"pipeline"`
	Verdict     Verdict      `json:"verdict"`
	Model       Input        `json:"model"`
	Dataset     Input        `json:"dataset"`
	Constraints []Constraint `json:"constraints,omitempty"`
	// Device is what leaves are for; nil where none is named. Arena and flash are its runtime's.
	Device *Device `json:"device,omitempty"`
	// Units are those of metrics that measurements of one's own give, where they have any.
	Units map[measure.Name]string `json:"units,omitempty"`
	// Stages in the order of the walk. The first is the implicit baseline: its Metrics are the original's, its leaf is the
	// level-0 PTQ leaf.
	Stages    []Stage    `json:"stages"`
	Decisions []Decision `json:"decisions,omitempty"` // what was decided and why, in order
	Notes     []string   `json:"notes,omitempty"`     // what a reader should know: one split only, operators carried through …
	Search    *Search    `json:"search,omitempty"`    // nil: the stages were given
	Split     string     `json:"split,omitempty"`     // what metrics are of: "validation"
	Tool      string     `json:"tool,omitempty"`      // versions and kernel class, for the foot of the page
}

// Verdict is how the walk ended.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Stage   string  `json:"stage,omitempty"`  // whose leaf was selected, or came nearest
	Reason  string  `json:"reason,omitempty"` // a sentence
}

// Outcome is an end, or the lack of one.
type Outcome string

// The outcomes.
const (
	Met        Outcome = "Met"        // a leaf satisfies every constraint, or there were none
	Missed     Outcome = "Missed"     // none does
	Failed     Outcome = "Failed"     // a stage failed
	Unfinished Outcome = "Unfinished" // the walk goes on, or was interrupted
)

// Input is the model or the dataset.
type Input struct {
	URI    string   `json:"uri,omitempty"`
	Digest string   `json:"digest,omitempty"`
	Facts  []string `json:"facts,omitempty"` // such as "60,000 training samples", "5 operators"
}

// Device is a device of the catalogue: "cortex-m4", "Arm Cortex-M4 …".
type Device struct {
	Name  string `json:"name"`
	Title string `json:"title"`
}

// Constraint bounds a metric; Min and Max are decimals, one of them may be empty.
type Constraint struct {
	Metric measure.Name `json:"metric"`
	Min    string       `json:"min,omitempty"`
	Max    string       `json:"max,omitempty"`
	// Confidence has the interval meet the bounds; empty: the value.
	Confidence string `json:"confidence,omitempty"`
}

// Stage is one stage and what it made.
type Stage struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`            // its technique
	Final    bool   `json:"final,omitempty"` // it yields a leaf only
	Input    string `json:"input,omitempty"` // name of the stage it works on; "model" or empty: the model
	State    State  `json:"state"`
	Settings string `json:"settings,omitempty"` // in words: "sparsity 0.5, 3 epochs"
	Message  string `json:"message,omitempty"`  // why it stands where it does
	Reused   bool   `json:"reused,omitempty"`
	Seconds  int    `json:"seconds,omitempty"`

	Metrics []measure.Value `json:"metrics,omitempty"` // of the float model it yields
	Model   *File           `json:"model,omitempty"`   // that model
	Layers  []Layer         `json:"layers,omitempty"`  // its weights
	Epochs  []Epoch         `json:"epochs,omitempty"`
	// Rates are the trials that found the learning rate; nil: it was given.
	Rates *train.RangeTest `json:"rangeTest,omitempty"`
	Leaf  *Leaf            `json:"leaf,omitempty"`
}

// Baseline is the technique of the first stage, which only measures and quantizes.
const Baseline = "baseline"

// State is where a stage stands.
type State string

// The states that a report tells apart; any other is shown as it is.
const (
	StateCompleted State = "Completed"
	StateSkipped   State = "Skipped"
	StateFailed    State = "Failed"
)

// Epoch is one epoch of training. Accuracy is negative where it was not measured.
type Epoch struct {
	Loss     float64 `json:"loss"`
	Accuracy float64 `json:"accuracy"`
}

// Leaf is a deployable file.
type Leaf struct {
	Technique string          `json:"technique"` // PTQ, QAT, PQAT, CQAT, PCQAT
	File      *File           `json:"file,omitempty"`
	Metrics   []measure.Value `json:"metrics"`
	Test      []measure.Value `json:"test,omitempty"` // the same of the test split, where it is another
	// Intervals are those of Metrics that have one, TestIntervals those of Test; Samples is what they follow from.
	Intervals     []Interval  `json:"intervals,omitempty"`
	TestIntervals []Interval  `json:"testIntervals,omitempty"`
	Samples       int         `json:"samples,omitempty"`
	Missed        []Shortfall `json:"missed,omitempty"`
	Selected      bool        `json:"selected,omitempty"`
	Runs          string      `json:"runs,omitempty"` // how much of it runs on the device: "14 of 14", "12 of 14 on Ethos-U55"
	Layers        []Layer     `json:"layers,omitempty"`
}

// Interval is where a metric of all samples of the kind lies; its ends are decimals.
type Interval struct {
	Metric     measure.Name `json:"metric"`
	Low        string       `json:"low"`
	High       string       `json:"high"`
	Confidence string       `json:"confidence"`
}

// Shortfall is a constraint a leaf does not meet.
type Shortfall struct {
	Constraint
	Value string `json:"value,omitempty"` // empty: not measured
	End   string `json:"end,omitempty"`   // of the value's interval, which misses; empty: the value does
	Text  string `json:"text"`            // a sentence
}

// File is a file beside the page. Path is relative to it, slash-separated.
type File struct {
	Path   string `json:"path"`
	Digest string `json:"digest,omitempty"`
	Bytes  int    `json:"bytes,omitempty"`
}

// Decision is one entry of the log of decisions.
type Decision struct {
	Stage  string `json:"stage,omitempty"`
	Action string `json:"action"` // such as "started", "leaf rejected", "selected", "skipped"
	Reason string `json:"reason,omitempty"`
}

// value returns a metric as it was written, "" if it is not there.
func value(values []measure.Value, name measure.Name) string {
	for _, v := range values {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

// isModel reports whether a stage works on the model itself.
func (s *Stage) isModel() bool { return s.Input == "" || s.Input == "model" || s.Input == "baseline" }

// stage finds a stage by name.
func (d *Data) stage(name string) *Stage {
	for i := range d.Stages {
		if d.Stages[i].Name == name {
			return &d.Stages[i]
		}
	}
	return nil
}

// metrics lists the metrics that any leaf or the original has, in the order they are shown.
func (d *Data) metrics() []measure.Name {
	var out []measure.Name
	for _, name := range measure.Names {
		if slices.ContainsFunc(d.Stages, func(s Stage) bool {
			return value(s.Metrics, name) != "" || s.Leaf != nil && value(s.Leaf.Metrics, name) != ""
		}) {
			out = append(out, name)
		}
	}
	for _, s := range d.Stages { // of outputs that are not the main one, and what measurements gave
		values := s.Metrics
		if s.Leaf != nil {
			values = append(slices.Clone(values), s.Leaf.Metrics...)
		}
		for _, v := range values {
			if !slices.Contains(out, v.Name) {
				out = append(out, v.Name)
			}
		}
	}
	return out
}

// quality is the metric that says how good a model is: the first of Accuracy, AUC, Agreement, MeanSquaredError, RelativeError there is.
func (d *Data) quality() measure.Name {
	have := d.metrics()
	for _, name := range []measure.Name{measure.Accuracy, measure.AUC, measure.Agreement, measure.MeanSquaredError, measure.RelativeError} {
		if slices.Contains(have, name) {
			return name
		}
	}
	return ""
}
