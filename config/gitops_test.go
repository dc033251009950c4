package config

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write argocd/testdata, health_test.yaml and argocd-cm.yaml again")

// health is what Argo CD's health script answers.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// argoHealth runs health.lua as Argo CD does: the object as the global obj, no libraries but the basic ones.
func argoHealth(t *testing.T, object map[string]any) health {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	l.SetGlobal("obj", toLua(t, l, object))
	if err := l.DoFile("argocd/health.lua"); err != nil {
		t.Fatal(err)
	}
	answer, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("health.lua answers %v", l.Get(-1))
	}
	return health{answer.RawGetString("status").String(), answer.RawGetString("message").String()}
}

func toLua(t *testing.T, l *lua.LState, value any) lua.LValue {
	t.Helper()
	switch v := value.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case string:
		return lua.LString(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		table := l.NewTable()
		for _, e := range v {
			table.Append(toLua(t, l, e))
		}
		return table
	case map[string]any:
		table := l.NewTable()
		for key, e := range v {
			table.RawSetString(key, toLua(t, l, e))
		}
		return table
	}
	t.Fatalf("%T in an object", value)
	return nil
}

func TestArgoCDSeesEveryStateAsItIs(t *testing.T) {
	for _, name := range sorted() {
		t.Run(name, func(t *testing.T) {
			got := argoHealth(t, states[name].pipeline(t).Object)
			if got.Status != states[name].argo || got.Message == "" {
				t.Errorf("health %+v, want %s with a message", got, states[name].argo)
			}
		})
	}
}

func TestArgoCDSeesAnObjectWithoutAStatus(t *testing.T) {
	for name, object := range map[string]map[string]any{
		"none at all":   {"metadata": map[string]any{"generation": int64(1)}},
		"no conditions": {"metadata": map[string]any{"generation": int64(1)}, "status": map[string]any{"observedGeneration": int64(1)}},
		"conditions of somebody else": {"metadata": map[string]any{"generation": int64(1)}, "status": map[string]any{
			"observedGeneration": int64(1), "conditions": []any{map[string]any{"type": "Other", "status": "True"}},
		}},
	} {
		if got := argoHealth(t, object); got.Status != "Progressing" || got.Message == "" {
			t.Errorf("%s: health %+v", name, got)
		}
	}
}

func TestKstatusSeesEveryStateAsItIs(t *testing.T) {
	for _, name := range sorted() {
		t.Run(name, func(t *testing.T) {
			got, err := status.Compute(states[name].pipeline(t))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status.String() != states[name].kstatus {
				t.Errorf("kstatus %s (%s), want %s", got.Status, got.Message, states[name].kstatus)
			}
		})
	}
}

// healthTest is Argo CD's own form of test: health_test.yaml beside health.lua, as its repository has it for every customization.
type healthTest struct {
	Tests []healthCase `json:"tests"`
}

type healthCase struct {
	HealthStatus health `json:"healthStatus"`
	InputPath    string `json:"inputPath"`
}

// written checks a file against what it should hold, or writes it.
func written(t *testing.T, file string, want any) {
	t.Helper()
	text, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run go test ./config -update", err)
	}
	if diff := cmp.Diff(string(text), string(got)); diff != "" {
		t.Errorf("%s is old: run go test ./config -update\n%s", file, diff)
	}
}

func TestArgoCDsOwnTestFileIsCurrent(t *testing.T) {
	var file healthTest
	for _, name := range sorted() {
		p := states[name].pipeline(t)
		written(t, example(name), p.Object)
		input, err := filepath.Rel("argocd", example(name))
		if err != nil {
			t.Fatal(err)
		}
		file.Tests = append(file.Tests, healthCase{argoHealth(t, p.Object), input})
	}
	written(t, "argocd/health_test.yaml", file)
	examples, err := filepath.Glob(example("*"))
	if err != nil || len(examples) != len(states) {
		t.Errorf("%d examples of %d states, %v", len(examples), len(states), err)
	}
}

func TestArgoCDsTestFilePassesAsArgoCDRunsIt(t *testing.T) {
	text, err := os.ReadFile("argocd/health_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file healthTest
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Tests {
		input, err := os.ReadFile(filepath.Join("argocd", c.InputPath))
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := yaml.UnmarshalStrict(input, &object); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.HealthStatus, argoHealth(t, object)); diff != "" {
			t.Errorf("%s:\n%s", c.InputPath, diff)
		}
	}
}

func TestThePatchOfArgoCDsConfigurationHoldsTheScript(t *testing.T) {
	script, err := os.ReadFile("argocd/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	written(t, "argocd/argocd-cm.yaml", map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": "argocd-cm", "namespace": "argocd"},
		"data": map[string]string{"resource.customizations.health.espalier.dev_OptimizationPipeline": string(script)},
	})
	text, err := os.ReadFile("argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
}
