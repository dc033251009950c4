package target

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"espalier.dev/espalier/optimizer/encode"
	"espalier.dev/espalier/optimizer/suggest"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

//go:embed catalogue
var files embed.FS

// Runtime is what runs a leaf on the device.
type Runtime string

// The runtimes.
const (
	LiteRT Runtime = "LiteRT"
	TFLM   Runtime = "TFLM" // TensorFlow Lite for Microcontrollers
)

// Target is a device with the runtime on it.
type Target struct {
	Name        string       `json:"name"`
	Title       string       `json:"title"`
	Runtime     Runtime      `json:"runtime"`
	Kernels     string       `json:"kernels"`               // the library that computes the operators
	Accelerator *Accelerator `json:"accelerator,omitempty"` // computes what it can, the processor the rest
	Weights     []string     `json:"weights"`               // granularity of quantized weights: per-channel, per-tensor
	Dense       []string     `json:"dense,omitempty"`       // that of fully connected layers, where it is another
	Rounding    string       `json:"rounding"`              // how the runtime's reference kernels rescale
	Encodings   []string     `json:"encodings,omitempty"`   // of weights in flash, which the runtime decodes
	Memory      MemoryPlan   `json:"memory"`
	Operators   string       `json:"operators"` // name of the operator table of the processor
	// Cycles for one multiplication of int8 by kind of operator, over the shapes that were measured; empty where nothing was published.
	Cycles  map[string]Span `json:"cyclesPerMultiplication,omitempty"`
	Notes   []string        `json:"notes,omitempty"`
	Sources []string        `json:"sources"`
}

// ReadsFromFlash reports whether the runtime reads the file where it lies in flash; a compiler writes another.
func (t *Target) ReadsFromFlash() bool { return t.Runtime == TFLM && t.Accelerator == nil }

// PerTensor reports whether weights may have one scale only.
func (t *Target) PerTensor() bool { return onlyPerTensor(t.Weights) }

// PerTensorDense reports whether fully connected weights may have one scale only.
func (t *Target) PerTensorDense() bool { return t.PerTensor() || onlyPerTensor(t.Dense) }

func onlyPerTensor(granularity []string) bool {
	return len(granularity) == 1 && granularity[0] == "per-tensor"
}

// Decodes reports whether the runtime decodes weights of a kind.
func (t *Target) Decodes(k encode.Kind) bool {
	return slices.ContainsFunc(t.Encodings, func(e string) bool { return strings.EqualFold(e, k.String()) })
}

// Accelerator is the part of a device that computes some operators only.
type Accelerator struct {
	Title     string `json:"title"`
	Compiler  string `json:"compiler"`  // the tool that places operators on it
	Operators string `json:"operators"` // name of its operator table
	// Once says that whatever stands behind the first operator that is not placed is not placed either.
	Once bool `json:"once,omitempty"`
}

// MemoryPlan says how the runtime lays out its memory.
type MemoryPlan struct {
	Plan    string `json:"plan"`             // greedy: TFLM's planner; arena: LiteRT's; unknown: only the device's own tools know
	Pointer int    `json:"pointer"`          // bytes
	Kernels string `json:"kernels"`          // whose scratch buffers: reference, cmsis-nn-dsp, cmsis-nn-mve, cmsis-nn
	Margin  int    `json:"margin,omitempty"` // bytes that devices were seen to take beyond what the sources give
}

// Table lists the operators that a runtime or an accelerator computes.
type Table struct {
	Name string `json:"name"`
	// AllOthers says that operators that are neither listed nor absent run on any type.
	AllOthers bool                `json:"allOthers,omitempty"`
	Common    []Limit             `json:"common,omitempty"` // limits of every operator
	Operators map[string]*Support `json:"operators"`
	Absent    map[string]string   `json:"absent,omitempty"` // operators that are not there, and what to do instead
	Sources   []string            `json:"sources"`
}

// Support says on what an operator runs.
type Support struct {
	// Types lists accepted types.
	Types []TypePattern `json:"types"`
	// Input is the input whose type is meant, where it is not the first that holds data.
	Input  *int    `json:"input,omitempty"`
	Limits []Limit `json:"limits,omitempty"`
}

// Limit bounds a quantity of an operator (quantities.go). An operator that does not have the quantity is within it.
type Limit struct {
	Of     string        `json:"of"`
	Min    *float64      `json:"min,omitempty"`
	Max    *float64      `json:"max,omitempty"`
	OneOf  []float64     `json:"oneOf,omitempty"`
	Types  []TypePattern `json:"types,omitempty"` // for which the limit holds; empty: all
	Remedy string        `json:"remedy,omitempty"`
}

// TypePattern is a combination of types, written INPUT, INPUT/WEIGHTS, INPUT>OUTPUT or INPUT/WEIGHTS>OUTPUT; * is any.
type TypePattern struct{ text, input, weights, output string }

type catalogue struct {
	targets []*Target // by name
	tables  map[string]*Table
}

var load = sync.OnceValues(func() (*catalogue, error) {
	c := &catalogue{tables: map[string]*Table{}}
	err := each("operators", func(name string, content []byte) error {
		table := &Table{}
		if err := yaml.UnmarshalStrict(content, table); err != nil {
			return err
		}
		c.tables[name] = table
		return table.check()
	})
	if err != nil {
		return nil, err
	}
	err = each("devices", func(_ string, content []byte) error {
		t := &Target{}
		if err := yaml.UnmarshalStrict(content, t); err != nil {
			return err
		}
		c.targets = append(c.targets, t)
		return nil
	})
	slices.SortFunc(c.targets, func(a, b *Target) int { return strings.Compare(a.Name, b.Name) })
	return c, err
})

// each reads the files of a folder of the catalogue.
func each(folder string, read func(name string, content []byte) error) error {
	folder = path.Join("catalogue", folder)
	entries, err := files.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		content, err := files.ReadFile(path.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		if err := read(strings.TrimSuffix(e.Name(), ".yaml"), content); err != nil {
			return fmt.Errorf("%s: %w", path.Join(folder, e.Name()), err)
		}
	}
	return nil
}

// mustLoad returns the catalogue. It is part of the program, and tests read all of it.
func mustLoad() *catalogue {
	c, err := load()
	if err != nil {
		panic(err)
	}
	return c
}

// All lists the targets by name. They must not be changed.
func All() []*Target { return mustLoad().targets }

// Names lists the names of the targets.
func Names() []string {
	var out []string
	for _, t := range All() {
		out = append(out, t.Name)
	}
	return out
}

// Lookup finds a target by its name, whatever the case of its letters.
func Lookup(name string) (*Target, error) {
	for _, t := range All() {
		if strings.EqualFold(t.Name, name) {
			return t, nil
		}
	}
	near := suggest.Sentence(name, Names())
	if near == "" {
		near = "use one of " + strings.Join(Names(), ", ")
	}
	return nil, fmt.Errorf("no target is named %q: %s", name, near)
}

// Find returns the device of a name with the given runtime: LiteRT if it is "", and any device if that is "".
func Find(runtime Runtime, device string) (*Target, error) {
	if runtime == "" {
		runtime = LiteRT
	}
	if device == "" {
		device = strings.ToLower(string(runtime))
	}
	t, err := Lookup(device)
	if err != nil {
		return nil, err
	}
	if t.Runtime != runtime {
		return nil, fmt.Errorf("%s runs %s in the catalogue, not %s: name that runtime, or another device", t.Name, t.Runtime, runtime)
	}
	return t, nil
}

func (t *Target) table() *Table { return mustLoad().tables[t.Operators] }

func (a *Accelerator) table() *Table { return mustLoad().tables[a.Operators] }

// parse reads the type patterns of a table and checks its names.
func (t *Table) check() error {
	for name, s := range t.Operators {
		if _, ok := schema.EnumValuesBuiltinOperator[name]; !ok && !strings.HasPrefix(name, customPrefix) {
			return fmt.Errorf("%s is no operator", name)
		}
		if len(s.Types) == 0 {
			return fmt.Errorf("%s has no types", name)
		}
		for _, l := range s.Limits {
			if quantities[l.Of] == nil {
				return fmt.Errorf("%s: %q is no quantity", name, l.Of)
			}
		}
	}
	for _, l := range t.Common {
		if quantities[l.Of] == nil {
			return fmt.Errorf("%q is no quantity", l.Of)
		}
	}
	for name := range t.Absent {
		if _, ok := schema.EnumValuesBuiltinOperator[name]; !ok {
			return fmt.Errorf("%s is no operator", name)
		}
	}
	return nil
}

// customPrefix begins the names of custom operators in tables.
const customPrefix = "custom "

// UnmarshalText reads a pattern.
func (p *TypePattern) UnmarshalText(text []byte) error {
	*p = TypePattern{text: string(text), weights: "*", output: "*"}
	left, output, hasOutput := strings.Cut(p.text, ">")
	input, weights, hasWeights := strings.Cut(left, "/")
	p.input = input
	if hasOutput {
		p.output = output
	}
	if hasWeights {
		p.weights = weights
	}
	for _, name := range []string{p.input, p.weights, p.output} {
		if _, ok := schema.EnumValuesTensorType[name]; !ok && name != "*" {
			return fmt.Errorf("%q: %s is no type", text, name)
		}
	}
	return nil
}

// matches reports whether types fit; that of an absent tensor fits any.
func (p TypePattern) matches(input, weights, output string) bool {
	fits := func(pattern, name string) bool { return pattern == "*" || name == "" || pattern == name }
	return fits(p.input, input) && fits(p.weights, weights) && fits(p.output, output)
}
