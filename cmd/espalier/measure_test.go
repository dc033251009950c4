package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// measuredProject is a project whose leaves a script measures: how many bytes gzip makes of them, which it writes down in calls too.
func measuredProject(t *testing.T, constraint string) string {
	t.Helper()
	path := project(t)
	write(t, path, []byte(manifest+`
  measurements:
  - name: packer
    command: [sh, tool.sh]
    metrics: [{name: packed, unit: bytes}, {name: watts}]
  constraints:
  - `+constraint+"\n"))
	write(t, filepath.Join(filepath.Dir(path), "tool.sh"), []byte(`
echo "$1" >> calls
echo '{"metrics": {"packed": '$(gzip -9 < "$1" | wc -c)', "watts": null}}'
`))
	return path
}

func calls(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(path), "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

func TestMeasurementsOfOnesOwnDecide(t *testing.T) {
	path := measuredProject(t, "{metric: packed, max: 1200}")
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out)
	if code != 2 || !strings.Contains(stderr, `runs commands on this machine: "sh tool.sh"; read what they do, and add --allow-commands`) || calls(t, path) != 0 {
		t.Fatalf("nobody allowed it: exit code %d\n%s%s", code, stdout, stderr)
	}
	stdout, stderr, code = espalier(context.Background(), "run", path, "-o", out, "--allow-commands")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{"PACKED", "packed is ", "above max 1200", "meets all constraints"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the table does not say %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "WATTS") {
		t.Errorf("a column of what no leaf has:\n%s", stdout)
	}
	if !strings.Contains(stderr, "measure  packed in bytes, watts: sh tool.sh") {
		t.Errorf("it does not say what is measured by what:\n%s", stderr)
	}
	p, _, err := stage.ReadResult(read(t, filepath.Join(out, "result.json")))
	if err != nil {
		t.Fatal(err)
	}
	selected := p.Status.Selected
	if selected == nil || selected.Stage == walk.Baseline || walk.Value(selected.Metrics, "packed") == "" || walk.Value(selected.Metrics, "CompressedBytes") == "" {
		t.Errorf("selected: %+v", selected)
	}
	if page := string(read(t, filepath.Join(out, "report.html"))); !strings.Contains(page, "packed ≤ 1,200") || !strings.Contains(page, "packed in bytes, watts: measured by sh tool.sh") {
		t.Error("the report does not show it")
	}

	leaf := filepath.Join(out, "leaves", selected.Stage+".tflite")
	stdout, _, code = espalier(context.Background(), "compare", leaf, filepath.Join(out, "leaves", "baseline.tflite"), "--pipeline", filepath.Join(out, "result.json"))
	row := func(name string) (cells []string) {
		for line := range strings.Lines(stdout) {
			if cells := strings.Fields(line); len(cells) > 0 && cells[0] == name {
				return cells
			}
		}
		return nil
	}
	if packed := row("packed"); code != 0 || len(packed) != 3 || packed[1] != walk.Value(selected.Metrics, "packed") || !slices.Equal(row("watts"), []string{"watts", "null", "null"}) {
		t.Errorf("compare does not show what was measured: exit code %d\n%s", code, stdout)
	}

	before := calls(t, path)
	stdout, _, code = espalier(context.Background(), "run", path, "-o", out, "--allow-commands")
	if code != 0 || calls(t, path) != before || strings.Count(stdout, "(reused)") != before {
		t.Errorf("a second run: exit code %d, %d calls, then %d\n%s", code, before, calls(t, path), stdout)
	}
	edited := strings.Replace(string(read(t, filepath.Join(filepath.Dir(path), "tool.sh"))), "gzip -9", "gzip -8", 1)
	write(t, filepath.Join(filepath.Dir(path), "tool.sh"), []byte(edited))
	_, stderr, code = espalier(context.Background(), "run", path, "-o", out, "--allow-commands")
	if code != 0 || calls(t, path) != 2*before || strings.Contains(stderr, "epoch") {
		t.Errorf("another tool measures what was trained before: exit code %d, %d calls\n%s", code, calls(t, path), stderr)
	}
}

func TestAMeasurementThatFailsSaysWhatToDo(t *testing.T) {
	tests := map[string]struct {
		constraint, script string // the script "" is none at all
		command            string
		code               int
		want               []string
	}{
		"no such command": {"{metric: packed, max: 1e9}", "", "[espalier-no-such-tool]", 2, []string{"spec.measurements[0] packer: espalier-no-such-tool: there is no such command"}},
		"an exit code":    {"{metric: packed, max: 1e9}", "echo the board is away >&2; exit 7", "[sh, tool.sh]", 8, []string{"measurement packer failed 2 times", "exit code 7", "the board is away"}},
		"no JSON":         {"{metric: packed, max: 1e9}", "echo 12", "[sh, tool.sh]", 8, []string{`it is to print, {"metrics": {"packed": 123, "watts": 123}} alone`}},
		"none of what is wanted": {"{metric: watts, max: 1}", `echo '{"metrics": {"packed": 1, "watts": null}}'`, "[sh, tool.sh]", 5,
			[]string{"watts is not known: its measurement found none of this leaf", "printed null"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := measuredProject(t, tt.constraint)
			write(t, path, []byte(strings.Replace(string(read(t, path)), "[sh, tool.sh]", tt.command, 1)))
			write(t, filepath.Join(filepath.Dir(path), "tool.sh"), []byte(tt.script))
			out := t.TempDir()
			stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out, "--allow-commands")
			for _, want := range tt.want {
				if !strings.Contains(stdout+stderr, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if code != tt.code || t.Failed() {
				t.Errorf("exit code %d, want %d\n%s%s", code, tt.code, stdout, stderr)
			}
		})
	}
}

func TestASearchMindsWhatIsMeasured(t *testing.T) {
	path := measuredProject(t, "{metric: packed, max: 1200}")
	text := string(read(t, path))
	stages, rest, _ := strings.Cut(text, "  stages:")
	_, rest, _ = strings.Cut(rest, "\n  measurements:")
	write(t, path, []byte(stages+"  search: {maxTrials: 4}\n  measurements:"+strings.ReplaceAll(rest, "tool.sh", "./tool.sh")))
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out, "--allow-commands")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	found := decode(t, filepath.Join(out, stage.FoundFile))
	if tool := found.Spec.Measurements[0].Command[1]; string(read(t, filepath.Join(out, tool))) == "" {
		t.Errorf("%s names no tool", stage.FoundFile)
	}
	again := filepath.Join(t.TempDir(), "again")
	if stdout, stderr, code = espalier(context.Background(), "run", filepath.Join(out, stage.FoundFile), "-o", again, "--allow-commands"); code != 0 {
		t.Errorf("what was found: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestAnObjectiveMayBeMeasured(t *testing.T) {
	path := measuredProject(t, "{metric: packed, max: 100000}")
	write(t, path, append(read(t, path), "  selection: {strategy: Best, objective: packed}\n"...))
	out := t.TempDir()
	stdout, stderr, code := espalier(context.Background(), "run", path, "-o", out, "--allow-commands")
	if code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	var p v1alpha1.OptimizationPipeline
	if err := json.Unmarshal(read(t, filepath.Join(out, "result.json")), &p); err != nil {
		t.Fatal(err)
	}
	least := ""
	for _, s := range p.Status.Stages {
		if v := walk.Value(s.Leaf.Metrics, "packed"); least == "" || len(v) < len(least) || len(v) == len(least) && v < least {
			least = v
		}
	}
	if got := walk.Value(p.Status.Selected.Metrics, "packed"); got != least {
		t.Errorf("%s is taken, with %s; the least is %s", p.Status.Selected.Stage, got, least)
	}
}
