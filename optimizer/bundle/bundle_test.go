package bundle

import (
	"archive/zip"
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/internal/testmaterial"
	"espalier.dev/espalier/optimizer/target"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

// dense is a leaf of one fully connected layer with eight inputs and three outputs.
func dense(t *testing.T) []byte {
	t.Helper()
	quantized := func(name string, typ schema.TensorType, buffer uint32, scale float32, zero int64, shape ...int32) *schema.TensorT {
		return &schema.TensorT{Name: name, Type: typ, Buffer: buffer, Shape: shape,
			Quantization: &schema.QuantizationParametersT{Scale: []float32{scale}, ZeroPoint: []int64{zero}}}
	}
	weights := make([]int8, 24)
	for i := range weights {
		weights[i] = int8(11*i%60 - 30)
	}
	m := &tflite.Model{ModelT: &schema.ModelT{
		Version:       3,
		Buffers:       []*schema.BufferT{{}, {Data: tflite.Int8Bytes(weights)}, {Data: tflite.Int32Bytes([]int32{100, -200, 300})}},
		OperatorCodes: []*schema.OperatorCodeT{{BuiltinCode: schema.BuiltinOperatorFULLY_CONNECTED, DeprecatedBuiltinCode: int8(schema.BuiltinOperatorFULLY_CONNECTED), Version: 4}},
		Subgraphs: []*schema.SubGraphT{{
			Tensors: []*schema.TensorT{quantized("x", schema.TensorTypeINT8, 0, 0.5, 3, 1, 8), quantized("dense/kernel", schema.TensorTypeINT8, 1, 0.25, 0, 3, 8),
				quantized("dense/bias", schema.TensorTypeINT32, 2, 0.125, 0, 3), quantized("dense", schema.TensorTypeINT8, 0, 8, -1, 1, 3)},
			Operators: []*schema.OperatorT{{Inputs: []int32{0, 1, 2}, Outputs: []int32{3},
				BuiltinOptions: &schema.BuiltinOptionsT{Type: schema.BuiltinOptionsFullyConnectedOptions, Value: &schema.FullyConnectedOptionsT{}}}},
			Inputs: []int32{0}, Outputs: []int32{3},
		}},
	}}
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func made(t *testing.T, leaf []byte, o Options) *Bundle {
	t.Helper()
	if o.Target == nil {
		d, err := target.Lookup("cortex-m4")
		if err != nil {
			t.Fatal(err)
		}
		o.Target = d
	}
	o.Made = "espalier test"
	b, err := Make(leaf, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestABundleIsAsItWas(t *testing.T) {
	b := made(t, dense(t), Options{Name: "Dense 8→3", Vectors: 2, History: []string{"pqat: quantize {}"}, Results: []Result{{"Accuracy", "0.9"}}})
	folder := filepath.Join("testdata", "golden")
	if *update {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteFolder(folder); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	if err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		want[filepath.ToSlash(name)] = string(content)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range b.Files {
		got[f.Path] = string(f.Content)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-golden +made; -update writes them anew)\n%s", diff)
	}
}

func TestAnArchiveHoldsTheFolder(t *testing.T) {
	b := made(t, dense(t), Options{Name: "dense"})
	first, err := b.Zip()
	if err != nil {
		t.Fatal(err)
	}
	second, err := made(t, dense(t), Options{Name: "dense"}).Zip()
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same bundle gives other bytes (%v)", err)
	}
	r, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range b.Files {
		file, err := r.File[i].Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(file)
		if at := r.File[i].Modified; at.Unix() != 1577836800 {
			t.Errorf("%s is of %s", f.Path, at)
		}
		if err != nil || r.File[i].Name != "dense/"+f.Path || !bytes.Equal(content, f.Content) {
			t.Errorf("%s: %v", r.File[i].Name, err)
		}
	}
}

func TestAnArchiveIsOfTheTimeThatIsAsked(t *testing.T) {
	for asked, want := range map[int64]int64{1_700_000_000: 1_700_000_000, 1: 315532800} {
		content, err := made(t, dense(t), Options{Name: "dense", Dated: time.Unix(asked, 0)}).Zip()
		if err != nil {
			t.Fatal(err)
		}
		r, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil || len(r.File) == 0 {
			t.Fatal(err)
		}
		for _, f := range r.File {
			if got := f.Modified.Unix(); got != want {
				t.Errorf("%s is of %d, want %d", f.Name, got, want)
			}
		}
	}
}

func TestAFolderThatIsThereIsKept(t *testing.T) {
	b := made(t, dense(t), Options{Name: "dense"})
	folder := t.TempDir()
	if err := b.WriteFolder(folder); err == nil || !strings.Contains(err.Error(), "name another folder") {
		t.Errorf("over a folder: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(folder)); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".bundle") }) {
		t.Errorf("something is left beside it: %v %v", left, err)
	}
}

func TestWhatHasNoBundleIsRefused(t *testing.T) {
	for name, want := range map[string]string{"litert": "name one of", "ethos-u55": "name one of"} {
		d, err := target.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Make(dense(t), Options{Target: d}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryOperatorOfTheCatalogueIsRegistered(t *testing.T) {
	content, err := os.ReadFile("../target/catalogue/operators/tflm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, operators, _ := strings.Cut(string(content), "\noperators:\n")
	for _, line := range strings.Split(operators, "\n") {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "  "), ":")
		if !ok || strings.HasPrefix(name, " ") || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "#") {
			continue
		}
		if custom, is := strings.CutPrefix(name, "custom "); is {
			if customRegistrations[custom] == "" {
				t.Errorf("custom %s has no registration", custom)
			}
		} else if registrations[schema.EnumValuesBuiltinOperator[name]] == "" {
			t.Errorf("%s has no registration", name)
		}
	}
}

// compiler is a C++ compiler, or the test is skipped.
func compiler(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"g++", "clang++", "c++"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no C++ compiler is here")
	return ""
}

// built writes a bundle and compiles its test program.
func built(t *testing.T, b *Bundle, flags, libraries []string) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "bundle")
	if err := b.WriteFolder(folder); err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob(filepath.Join(folder, "src", "*.cpp"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(folder, "run")
	args := slices.Concat([]string{"-std=c++17", "-O1", "-o", program, "-I" + filepath.Join(folder, "src")}, flags, sources, []string{filepath.Join(folder, "test", "main.cpp")}, libraries)
	if out, err := exec.Command(compiler(t), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

func TestABundleCompiles(t *testing.T) {
	program := built(t, made(t, dense(t), Options{Name: "dense"}), []string{"-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Itestdata/stubs"}, nil)
	out, err := exec.Command(program).CombinedOutput() // the stub's interpreter never runs
	if err == nil || !strings.Contains(string(out), "define DENSE_ARENA_BYTES larger") {
		t.Errorf("%v: %s", err, out)
	}
}

// With TensorFlow Lite Micro's sources and library (ESPALIER_TFLM_INCLUDES, folders with colons between them, and ESPALIER_TFLM_LIBRARY) the
// test programs of bundles are run with its kernels.
func TestBundlesAnswerAsTFLM(t *testing.T) {
	includes, library := os.Getenv("ESPALIER_TFLM_INCLUDES"), os.Getenv("ESPALIER_TFLM_LIBRARY")
	if includes == "" || library == "" {
		t.Skip("ESPALIER_TFLM_INCLUDES and ESPALIER_TFLM_LIBRARY do not say where TensorFlow Lite Micro is")
	}
	flags := []string{"-DTF_LITE_STATIC_MEMORY", "-w"}
	for _, folder := range filepath.SplitList(includes) {
		flags = append(flags, "-I"+folder)
	}
	d, err := target.Lookup("tflm")
	if err != nil {
		t.Fatal(err)
	}
	leaves := map[string][]byte{"dense": dense(t)}
	for _, file := range testmaterial.Glob(t, "models/*.tflite") {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := tflite.Read(content); err == nil && computesInFloat(m) == "" {
			leaves[strings.TrimSuffix(filepath.Base(file), ".tflite")] = content
		}
	}
	for _, name := range slices.Sorted(maps.Keys(leaves)) {
		t.Run(name, func(t *testing.T) {
			b := made(t, leaves[name], Options{Name: name, Target: d})
			out, err := exec.Command(built(t, b, flags, []string{library, "-lm"})).CombinedOutput()
			t.Logf("%s, an arena of %d bytes is said", bytes.TrimSpace(out), b.Memory.Bytes)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"corners": "", "net_2": "", "classes": "", "tflite_net": "", "9!!": "such as model_9__", "9a": "such as model_9a", "Net": "such as net", "a-b": "such as a_b", "": "such as model_",
		"class": "a word of C++: want another, such as model_class", "tflite": "such as model_tflite", "std": "such as model_std", "xor": "such as model_xor",
		"main": "such as model_main", "string": "a header of C", "gamma": "a function of C", "test": "such as model_test",
	} {
		if err := CheckName(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
}

// Compilers take every name that a file's may become.
func TestNamesOfFilesCompile(t *testing.T) {
	var all strings.Builder
	all.WriteString("#include <cmath>\n#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n#include <ctime>\n")
	for _, r := range reserved {
		for _, word := range strings.Fields(r.words) {
			if CheckName(identifier(word)) != nil {
				t.Errorf("%s becomes %s", word, identifier(word))
			}
			fmt.Fprintf(&all, "namespace %s { int n; }\n", identifier(word))
		}
	}
	path := filepath.Join(t.TempDir(), "names.cpp")
	if err := os.WriteFile(path, []byte(all.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(compiler(t), "-std=gnu++17", "-fsyntax-only", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Every kind of leaf compiles, and registers the kernels of what it holds.
func TestBundlesOfEveryKindOfLeafCompile(t *testing.T) {
	const folder = "../exec/integer/testdata/"
	for file, want := range map[string]string{
		"recurrent/lstm_int8": "AddUnidirectionalSequenceLSTM", "recurrent/svdf_int8": "AddSvdf", "operators/conv_16x8": "AddConv2D", "int4/fc_one_scale_a8": "AddFullyConnected",
		"streaming/ring_int8": "AddAssignVariable AddCallOnce AddReadVariable AddVarHandle", "encoded/conv_sparse_Prune": "AddConv2D AddDecode",
	} {
		content, err := os.ReadFile(folder + file + ".tflite")
		if err != nil {
			t.Fatal(err)
		}
		b := made(t, content, Options{Name: "leaf"})
		for _, kernel := range strings.Fields(want) {
			if !slices.Contains(b.Kernels, kernel) {
				t.Errorf("%s: %q", file, b.Kernels)
			}
		}
		built(t, b, []string{"-O0", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Itestdata/stubs"}, nil)
	}
}

// Encoded weights bring their DECODE operator along, and the arena that what is decoded takes.
func TestABundleOfEncodedWeightsDecodesThem(t *testing.T) {
	content, err := os.ReadFile("../exec/integer/testdata/encoded/conv_16_codes_Huffman.tflite")
	if err != nil {
		t.Fatal(err)
	}
	b := made(t, content, Options{Name: "encoded", Vectors: 2})
	if diff := cmp.Diff([]string{"AddConv2D", "AddDecode"}, b.Kernels); diff != "" {
		t.Error(diff)
	}
	if b.Memory.Planned < 1872 || b.Vectors != 2 {
		t.Errorf("activations of %d bytes, %d vectors", b.Memory.Planned, b.Vectors)
	}
}
