package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"

	"espalier.dev/espalier/optimizer/dataset"
	"espalier.dev/espalier/optimizer/exec/integer"
	"espalier.dev/espalier/optimizer/measure"
	"espalier.dev/espalier/optimizer/op"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

// Options say what a bundle is for and what its model card tells.
type Options struct {
	// Name is what files and the C++ namespace are called; characters that neither may have become underscores.
	Name string
	// Target is a device whose runtime is TFLM and whose memory the catalogue plans.
	Target *target.Target
	// Source gives the inputs of the test vectors; nil: seeded noise.
	Source dataset.Source
	// Vectors is the number of test vectors. Default 4.
	Vectors int
	// Made says what makes the bundle, in the model card.
	Made string
	// History is what was done to the network, a line each, in the model card.
	History []string
	// Results are figures of the leaf, in the model card.
	Results []Result
	// Dated is the time of all files of an archive. Default: the beginning of 2020, UTC. An archive tells no time before 1980.
	Dated time.Time
}

// Result is a figure of the leaf.
type Result struct{ Name, Value string }

// File is a file of a bundle, by its path with slashes.
type File struct {
	Path    string
	Content []byte
}

// Bundle is the sources of a firmware.
type Bundle struct {
	Name    string
	Files   []File // by path
	Memory  *target.Memory
	Kernels []string // the registrations of the resolver
	Vectors int
	Notes   []string // what a reader should know: where answers are not compared bit for bit, what was guessed

	dated time.Time
}

//go:embed templates
var templates embed.FS

// defaultVectors is how many test vectors a bundle has.
const defaultVectors = 4

// Make writes a leaf as a bundle.
func Make(leaf []byte, o Options) (*Bundle, error) {
	if err := Suits(o.Target); err != nil {
		return nil, err
	}
	m, err := tflite.Read(leaf)
	if err != nil {
		return nil, err
	}
	stored, err := tflite.ReadStored(leaf)
	if err != nil {
		return nil, err
	}
	if err := target.Check(stored, o.Target).Err(); err != nil {
		return nil, fmt.Errorf("the leaf %w", err)
	}
	memory, err := target.MemoryOf(stored, o.Target)
	if err != nil {
		return nil, err
	}
	kernels, err := resolver(stored)
	if err != nil {
		return nil, err
	}
	inspection, err := measure.Inspect(leaf)
	if err != nil {
		return nil, err
	}
	if o.Vectors == 0 {
		o.Vectors = defaultVectors
	}
	tests, err := vectors(m.Clone(), o.Source, o.Vectors, integer.TFLM())
	if err != nil {
		return nil, err
	}
	b := &Bundle{Name: identifier(o.Name), Memory: memory, Kernels: kernels, Vectors: len(tests), Notes: slices.Clone(memory.Notes), dated: archived(o.Dated)}
	d := &data{Options: o, Name: b.Name, Leaf: leaf, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(leaf)), Memory: memory, Kernels: kernels, Vectors: tests, Inspection: inspection,
		Inputs: ends(m, m.Subgraph().Inputs), Outputs: ends(m, m.Subgraph().Outputs),
		Stateful: memory.Resources > 0 || slices.ContainsFunc(m.Subgraph().Tensors, func(t *schema.TensorT) bool { return t.IsVariable })}
	if layer := computesInFloat(m); layer != "" {
		d.Tolerance = floatTolerance
		b.Notes = append(b.Notes, fmt.Sprintf("%s computes in float, which compilers round in their own ways: float outputs are compared within %g, not bit for bit", layer, floatTolerance))
	}
	d.Notes = b.Notes
	b.Files, err = d.render()
	return b, err
}

// floatTolerance is how far float answers of float kernels may be off, relative to values above 1.
const floatTolerance = 1e-4

// Suits is an error that names the targets that bundles are for, where t is none of them.
func Suits(t *target.Target) error {
	suits := func(t *target.Target) bool { return t.Runtime == target.TFLM && t.PlansGreedily() }
	if t != nil && suits(t) {
		return nil
	}
	var names []string
	for _, other := range target.All() {
		if suits(other) {
			names = append(names, other.Name)
		}
	}
	return errors.New("a bundle is for TensorFlow Lite Micro on a device whose memory the catalogue plans: name one of " + strings.Join(names, ", "))
}

// data is what templates are about.
type data struct {
	Options
	Name, Digest    string
	Leaf            []byte
	Memory          *target.Memory
	Kernels         []string
	Vectors         []Vector
	Inspection      *measure.Inspection
	Inputs, Outputs []End
	Stateful        bool // variables keep values from run to run
	Tolerance       float64
	Notes           []string
}

// End is an input or output of the leaf.
type End struct {
	Name, Type string
	Shape      []int32
	Scale      float32 // 0: not quantized
	Zero       int64
}

func ends(m *tflite.Model, tensors []int32) (out []End) {
	for _, i := range tensors {
		t := m.Subgraph().Tensors[i]
		e := End{Name: t.Name, Type: t.Type.String(), Shape: t.Shape}
		if q := t.Quantization; q != nil && len(q.Scale) == 1 {
			e.Scale = q.Scale[0]
			if len(q.ZeroPoint) == 1 {
				e.Zero = q.ZeroPoint[0]
			}
		}
		out = append(out, e)
	}
	return out
}

// computesInFloat names the first operator that computes float values from float values; "" if there is none. What moves values is none.
func computesInFloat(m *tflite.Model) string {
	for i, o := range m.Subgraph().Operators {
		code, _ := m.Op(o)
		known := op.Lookup(code)
		if known != nil && (known.Int8.Rule == op.Same || known.Int8.Rule == op.Opaque) || len(o.Inputs) == 0 || len(o.Outputs) == 0 || o.Inputs[0] < 0 {
			continue
		}
		in, out := m.Subgraph().Tensors[o.Inputs[0]], m.Subgraph().Tensors[o.Outputs[0]]
		if in.Type == schema.TensorTypeFLOAT32 && out.Type == schema.TensorTypeFLOAT32 {
			return fmt.Sprintf("operator %d %s (%s)", i, code, out.Name)
		}
	}
	return ""
}

// render fills the templates; NAME in their paths is the bundle's name.
func (d *data) render() ([]File, error) {
	functions := template.FuncMap{"array": array, "upper": strings.ToUpper, "count": count, "cell": cell, "percent": percent}
	set, err := template.New("").Funcs(functions).ParseFS(templates, "templates/*.tmpl")
	if err != nil {
		return nil, err
	}
	var out []File
	for name, file := range map[string]string{
		"model.h.tmpl": "src/NAME.h", "model.cpp.tmpl": "src/NAME.cpp", "data.h.tmpl": "src/NAME_data.h", "data.cpp.tmpl": "src/NAME_data.cpp",
		"test.h.tmpl": "src/NAME_test.h", "test.cpp.tmpl": "src/NAME_test.cpp", "main.cpp.tmpl": "test/main.cpp", "sketch.ino.tmpl": "examples/NAME_test/NAME_test.ino",
		"cmake.tmpl": "CMakeLists.txt", "component.tmpl": "idf_component.yml", "library.tmpl": "library.properties", "card.tmpl": "MODEL_CARD.md",
	} {
		var text bytes.Buffer
		if err := set.ExecuteTemplate(&text, name, d); err != nil {
			return nil, err
		}
		out = append(out, File{Path: strings.ReplaceAll(file, "NAME", d.Name), Content: text.Bytes()})
	}
	out = append(out, File{Path: d.Name + ".tflite", Content: d.Leaf})
	slices.SortFunc(out, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// array writes bytes as the inside of a C++ initializer.
func array(content []byte) string {
	var out strings.Builder
	for i, b := range content {
		switch {
		case i%16 == 0 && i > 0:
			out.WriteString(",\n    ")
		case i > 0:
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "0x%02x", b)
	}
	return out.String()
}

// count is "1 thing" or "n things".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// cell is text that a cell of a Markdown table can hold.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

func percent(part, of int) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(of, 1)))
}

// WriteFolder writes the bundle as a folder that must not be there yet. It appears whole or not at all.
func (b *Bundle) WriteFolder(folder string) (err error) {
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = fmt.Errorf("%s is there already: remove it, or name another folder", folder)
		}
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(filepath.Clean(folder)), ".bundle-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(temporary)
		}
	}()
	for _, f := range b.Files {
		file := filepath.Join(temporary, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, f.Content, 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	return os.Rename(temporary, folder)
}

// archived is the time of every file of an archive, so that its bytes are always the same: of a zero time unpackers make one that build tools do not take.
func archived(asked time.Time) time.Time {
	first := time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC) // that an archive can tell
	switch {
	case asked.IsZero():
		return time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	case asked.Before(first):
		return first
	}
	return asked.UTC()
}

// Zip is the bundle as an archive with one folder, its name. All its files have one time, whenever it is made.
func (b *Bundle) Zip() ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range b.Files {
		file, err := w.CreateHeader(&zip.FileHeader{Name: path.Join(b.Name, f.Path), Method: zip.Deflate, Modified: b.dated})
		if err == nil {
			_, err = file.Write(f.Content)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
