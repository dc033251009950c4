package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is wrong decides the exit code (docs/cli.md), whichever command meets it.
func TestWhatIsWrongDecidesTheExitCode(t *testing.T) {
	folder := filepath.Dir(project(t))
	in := func(name string) string { return filepath.Join(folder, name) }
	model, data, file := in("model.tflite"), in("data.npz"), in("file")
	write(t, file, []byte("neither a model nor a folder"))
	samples, labels := corners(40, 1)
	narrow := make([][5]float32, len(samples))
	writeNPZ(t, in("misfit.npz"), map[string]any{"x_train": narrow, "y_train": labels, "x_test": narrow, "y_test": labels})
	leaf := filepath.Join(t.TempDir(), "out", "leaves", "baseline.tflite")
	if _, stderr, code := espalier(context.Background(), "search", model, "--dataset", data, "--trials", "1", "--epochs", "0", "--minimize", "none", "-o", filepath.Dir(filepath.Dir(leaf))); code != 0 {
		t.Fatal(stderr)
	}
	// Commands that read a model, and of these those that read a dataset.
	models := [][]string{{"inspect", "MODEL"}, {"benchmark", "MODEL"}, {"check", "MODEL", "--target", "TARGET"}, {"compare", model, "MODEL"}, {"compare", "MODEL", model}}
	datasets := [][]string{
		{"evaluate", "MODEL", "--dataset", "DATA"}, {"evaluate", model, "--original", "MODEL", "--dataset", "DATA"}, {"compare", model, "MODEL", "--dataset", "DATA"},
		{"sensitivity", "MODEL", "--dataset", "DATA"}, {"search", "MODEL", "--dataset", "DATA", "--trials", "1", "-o", in("out")}, {"bundle", "MODEL", "--dataset", "DATA", "--target", "TARGET", "-o", in("firmware")},
	}
	spec := func(text string) []string { return []string{"--dataset-spec", text} }
	for name, c := range map[string]struct {
		code        int
		of          [][]string
		model, data string
		more        []string
		skip        []string // commands that do not take it
	}{
		"no such model":                 {3, slices.Concat(models, datasets), in("none"), data, nil, nil},
		"no model":                      {3, slices.Concat(models, datasets), file, data, nil, nil},
		"no such dataset":               {4, datasets, "", in("none"), nil, nil},
		"no dataset":                    {4, datasets, "", file, nil, nil},
		"samples that do not fit":       {4, datasets, "", in("misfit.npz"), nil, nil},
		"infinite by preprocessing":     {4, datasets, "", data, spec(`{preprocessing: {scale: "1e40"}}`), nil},
		"beyond what can be computed":   {3, datasets, "", data, spec(`{preprocessing: {scale: "1e38"}}`), []string{"bundle", "search"}},
		"a preparation that is none":    {2, datasets, "", data, spec("{preprocessing: {std: 0}}"), nil},
		"a flag that is none":           {2, slices.Concat(models, datasets), "", data, []string{"--nonsense"}, nil},
		"a target that is none":         {2, slices.Concat(models, datasets), "", data, []string{"--target", "nonsense"}, []string{"benchmark", "sensitivity"}},
		"a signature that is none":      {2, slices.Concat(models, datasets), "", data, []string{"--signature", "nonsense"}, []string{"benchmark", "search", "bundle"}},
		"a split that is none":          {2, datasets, "", data, []string{"--split", "nonsense"}, []string{"search", "sensitivity", "bundle"}},
		"an argument too many":          {2, slices.Concat(models, datasets), "", data, []string{"another"}, nil},
		"a pair of states that is none": {2, slices.Concat(models, datasets), "", data, []string{"--state", "nonsense"}, []string{"inspect", "check", "bundle"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range c.of {
				if slices.Contains(c.skip, command[0]) {
					continue
				}
				read := c.model
				if read == "" {
					if read = model; command[0] == "bundle" {
						read = leaf
					}
				}
				args := append(strings.Split(strings.NewReplacer("MODEL", read, "DATA", c.data, "TARGET", "cortex-m4").Replace(strings.Join(command, "\n")), "\n"), c.more...)
				stdout, stderr, code := espalier(context.Background(), args...)
				if code != c.code || strings.Count(stderr, "espalier: ") != 1 {
					t.Errorf("%s: exit code %d, want %d with one line of why:\n%s%s", strings.Join(args, " "), code, c.code, stdout, stderr)
				}
			}
		})
	}
	for name, c := range map[string]struct {
		code int
		args []string
	}{
		"no manifest":                {2, []string{"run", in("none")}},
		"a manifest that is none":    {2, []string{"run", model}},
		"a level that is none":       {2, []string{"sensitivity", model, "--dataset", data, "--sparsity", "0.55"}},
		"a technique that is none":   {2, []string{"benchmark", model, "--technique", "nonsense"}},
		"no folder of a run":         {2, []string{"report", in("none")}},
		"no order":                   {2, []string{"stage"}},
		"a leaf no device plans for": {2, []string{"bundle", leaf, "--target", "cortex-a", "-o", in("firmware")}},
		"no leaf meets it":           {5, []string{"search", model, "--dataset", data, "--trials", "1", "--epochs", "0", "--constraint", "{metric: FileBytes, max: 10}", "-o", in("out")}},
		"no folder to search into":   {6, []string{"search", model, "--dataset", data, "-o", filepath.Join(file, "out")}},
		"no folder to bundle into":   {6, []string{"bundle", leaf, "--target", "cortex-m4", "-o", filepath.Join(file, "out")}},
		"no page to write":           {6, []string{"sensitivity", model, "--dataset", data, "--html", filepath.Join(file, "out")}},
		"no overlays to write":       {6, []string{"compare", model, leaf, "--model-explorer", filepath.Join(file, "out")}},
	} {
		if stdout, stderr, code := espalier(context.Background(), c.args...); code != c.code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", name, code, c.code, stdout, stderr)
		}
	}
	if _, err := os.Stat(in("firmware")); err == nil {
		t.Error("a bundle was written")
	}
}
