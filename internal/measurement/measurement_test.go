package measurement

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
)

func two() *v1alpha1.Measurement {
	return &v1alpha1.Measurement{Name: "vela", Metrics: []v1alpha1.MeasuredMetric{{Name: "cycles"}, {Name: "bytes", Unit: "B"}}}
}

func TestParse(t *testing.T) {
	tests := map[string]struct {
		output string
		want   string // NAME=VALUE of those read
		err    string // part of the error
	}{
		"both":                      {`{"metrics": {"cycles": 123, "bytes": 4.5}}`, "cycles=123 bytes=4.5", ""},
		"in another order":          {"{\"metrics\":{\"bytes\":1e3,\"cycles\":-2}}\n", "cycles=-2 bytes=1000", ""},
		"one that the leaf has not": {`{"metrics": {"cycles": null, "bytes": 7}}`, "bytes=7", ""},
		"more places than are kept": {`{"metrics": {"cycles": 0.12345678, "bytes": 12345678901.23456789}}`, "cycles=0.123457 bytes=12345678901", ""},
		"nothing":                   {" \n", "", `it printed nothing; it is to print {"metrics": {"cycles": 123, "bytes": 123}}`},
		"no JSON":                   {"cycles: 12", "", "it is something else"},
		"NaN":                       {`{"metrics": {"cycles": NaN, "bytes": 1}}`, "", "there is no number: NaN"},
		"an infinity":               {`{"metrics": {"cycles": Infinity, "bytes": 1}}`, "", "there is no number"},
		"a number in quotes":        {`{"metrics": {"cycles": "1", "bytes": 1}}`, "", "there is no number"},
		"a list":                    {`{"metrics": {"cycles": [1], "bytes": 1}}`, "", "there is no number"},
		"beyond floating point":     {`{"metrics": {"cycles": 1e999, "bytes": 1}}`, "", "a number is too large"},
		"more than a status holds":  {`{"metrics": {"cycles": 1e15, "bytes": 1}}`, "", "cycles is 10¹⁵ or more: give it in a larger unit"},
		"less than a status holds":  {`{"metrics": {"cycles": 1e-9, "bytes": 1}}`, "", "give it in a smaller unit"},
		"one that is missing":       {`{"metrics": {"cycles": 1}}`, "", "it did not print bytes: have it print a number, or null"},
		"one that nobody asked for": {`{"metrics": {"cycles": 1, "bytes": 1, "watts": 2}}`, "", "it printed watts which it is not to give: add it to the measurement's metrics"},
		"a name that is none":       {`{"metrics": {"cycles": 1, "bytes": 1, "<b>Password</b>": 2}}`, "", "it printed a metric whose name is none"},
		"one twice":                 {`{"metrics": {"cycles": 1, "bytes": 1, "cycles": 2}}`, "", "a metric is there a second time"},
		"something beside metrics":  {`{"metrics": {"cycles": 1, "bytes": 1}, "log": "x"}`, "", "it does not end"},
		"something before":          {`{"log": "x", "metrics": {"cycles": 1, "bytes": 1}}`, "", "it is something else"},
		"something after":           {`{"metrics": {"cycles": 1, "bytes": 1}} done`, "", "more follows"},
		"half of it":                {`{"metrics": {"cycles": 1, "bytes"`, "", "at byte"},
		"a great deal":              {strings.Repeat(" ", MaxOutput) + "{}", "", "it prints more than 64 KiB on standard output"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			values, err := Parse([]byte(tt.output), two())
			var got []string
			for _, v := range values {
				got = append(got, v.Name+"="+v.Value)
			}
			if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%v, error %v, want %q", got, err, tt.err)
			}
			if err != nil && strings.Contains(err.Error(), "Password") {
				t.Errorf("the error quotes what was printed: %v", err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"metrics": {"cycles": 1, "bytes": null}}`, `{"metrics": {"cycles": NaN}}`, `{"metrics"`, `{"metrics": {"a": {}}}`, ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, output []byte) {
		values, err := Parse(output, two())
		if err != nil && len(values) > 0 || len(values) > 2 {
			t.Fatalf("%v, %v", values, err)
		}
		for _, v := range values {
			if _, err := v1alpha1.ParseDecimal(v.Value); err != nil || len(v.Value) > v1alpha1.MaxMetricValue {
				t.Fatalf("%q is no value of a status", v.Value)
			}
		}
		if err != nil && len(err.Error()) > 400 {
			t.Fatalf("an error of %d bytes", len(err.Error()))
		}
	})
}

// script writes a program that a shell runs.
func script(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestACommandIsRunAndItsFailuresAreToldWithARemedy(t *testing.T) {
	const good = `echo '{"metrics": {"n": 5}}'`
	tests := map[string]struct {
		script string
		change func(*v1alpha1.Measurement)
		want   string
		err    []string
		tries  int
	}{
		"it prints what it is to":                       {script: good, want: "5", tries: 1},
		"it is given the leaf":                          {script: `echo '{"metrics": {"n": '$(wc -c < "$1")'}}'`, want: "9", tries: 1},
		"it has a place for temporary files":            {script: `echo x > "$TMPDIR/x" && ` + good, want: "5", tries: 1},
		"it starts where the manifest lies":             {script: `test -f tool && ` + good, want: "5", tries: 1},
		"it leaves something running":                   {script: `sleep 60 & ` + good, want: "5", tries: 1},
		"it fails once":                                 {script: `test -f again && ` + good + ` && exit; touch again; exit 3`, want: "5", tries: 2},
		"it fails":                                      {script: `echo no board at /dev/ttyACM0 >&2; exit 3`, err: []string{"measurement n failed 2 times", "exit code 3", "no board at /dev/ttyACM0"}, tries: 2},
		"it fails and is not tried again":               {script: `exit 3`, change: func(m *v1alpha1.Measurement) { m.Retries = new(int32) }, err: []string{"measurement n: it ended with exit code 3"}, tries: 1},
		"it kills itself":                               {script: `kill -9 $$`, err: []string{"killed by a signal"}, tries: 2},
		"it takes too long":                             {script: `sleep 60`, change: func(m *v1alpha1.Measurement) { *m.TimeoutSeconds, m.Retries = 1, new(int32) }, err: []string{"longer than timeoutSeconds", "raise that"}, tries: 1},
		"it takes too long in a process of its own":     {script: `sleep 60 & wait`, change: func(m *v1alpha1.Measurement) { *m.TimeoutSeconds, m.Retries = 1, new(int32) }, err: []string{"longer than timeoutSeconds"}, tries: 1},
		"it prints without end":                         {script: `yes`, err: []string{"more than 64 KiB", "standard error"}, tries: 2},
		"it says without end":                           {script: `yes | head -c 1000000 >&2; ` + good, want: "5", tries: 1},
		"it prints no JSON":                             {script: `echo n=5`, err: []string{"what it printed is not what it is to print"}, tries: 2},
		"there is no such file":                         {script: good, change: func(m *v1alpha1.Measurement) { m.Command[0] = "./other" }, err: []string{"./other", "no such command"}},
		"there is no such program":                      {script: good, change: func(m *v1alpha1.Measurement) { m.Command[0] = "espalier-no-such-tool" }, err: []string{"espalier-no-such-tool", "install it"}},
		"it is a folder":                                {script: good, change: func(m *v1alpha1.Measurement) { m.Command[0] = "./" }, err: []string{"no such command"}},
		"it is there, but what it is to be read by not": {script: good, change: func(m *v1alpha1.Measurement) { m.Command = []string{"./bad"} }, err: []string{"begin with #!"}, tries: 1},
		"it may not be started":                         {script: good, change: func(m *v1alpha1.Measurement) { m.Command = []string{"./plain"} }, err: []string{"./plain", "chmod +x"}},
		"it is no program":                              {script: good, change: func(m *v1alpha1.Measurement) { m.Command = []string{"./text"} }, err: []string{"begin with #!"}},
	}
	pause = time.Millisecond
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, limit := t.TempDir(), int32(30)
			script(t, dir, "echo >> tries\n"+tt.script)
			if err := os.WriteFile(filepath.Join(dir, "bad"), []byte("#!/no/such/shell\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			for file, mode := range map[string]os.FileMode{"plain": 0o644, "text": 0o755} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte("text\n"), mode); err != nil {
					t.Fatal(err)
				}
			}
			m := &v1alpha1.Measurement{Name: "n", Command: []string{"./tool"}, TimeoutSeconds: &limit}
			if tt.change != nil {
				tt.change(m)
			}
			start := time.Now()
			values, err := Measure(t.Context(), &Local{Dir: dir}, m, []byte("some leaf"))
			if time.Since(start) > 50*time.Second {
				t.Error("what it started was waited for")
			}
			if tt.want != "" && (err != nil || len(values) != 1 || values[0].Value != tt.want) {
				t.Errorf("%v, %v, want %s", values, err, tt.want)
			}
			for _, want := range tt.err {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q in it", err, want)
				}
			}
			tries, _ := os.ReadFile(filepath.Join(dir, "tries"))
			if len(tries) != tt.tries && m.Command[0] == "./tool" {
				t.Errorf("%d tries, want %d", len(tries), tt.tries)
			}
		})
	}
}

func TestACommandBesideTheManifestOfThisFolderIsFound(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, `echo '{"metrics": {"n": 5}}'`)
	t.Chdir(dir)
	for _, folder := range []string{".", "", dir} {
		if _, err := Measure(t.Context(), &Local{Dir: folder}, &v1alpha1.Measurement{Name: "n", Command: []string{"./tool"}}, []byte("leaf")); err != nil {
			t.Errorf("%q: %v", folder, err)
		}
	}
}

func TestAProgramIsToldByTheFilesThatItsCommandNames(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "true")
	l := &Local{Dir: dir}
	program := func(words ...string) string {
		text, err := l.Program(&v1alpha1.Measurement{Name: "n", Command: words})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	before, sh := program("sh", "tool", "--fast"), program("sh", "-c", "true")
	script(t, dir, "false")
	if program("sh", "tool", "--fast") == before || program("sh", "-c", "true") != sh {
		t.Error("a script that was edited is another program, and no other is")
	}
}

func TestACommandEndsWithTheRun(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "touch started; sleep 60")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "started")); err == nil || ctx.Err() != nil {
				cancel()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	start := time.Now()
	_, err := Measure(ctx, &Local{Dir: dir}, &v1alpha1.Measurement{Name: "n", Command: []string{"./tool"}}, nil)
	if !errors.Is(err, context.Canceled) || time.Since(start) > 50*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}
