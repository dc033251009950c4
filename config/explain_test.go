package config

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"espalier.dev/espalier/test/controlplane"
)

// explainer asks a real API server with kubectl, as people do.
type explainer struct {
	t                   *testing.T
	kubectl, kubeconfig string
}

func newExplainer(t *testing.T) *explainer {
	t.Helper()
	plane := controlplane.Start(t, controlplane.Options{})
	bin, err := controlplane.Bin()
	if err != nil {
		t.Fatal(err)
	}
	e := &explainer{t, filepath.Join(bin, "kubectl"), plane.Kubeconfig}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) { // the server publishes a definition a little later
		if _, err := e.try("optpipe"); err == nil {
			return e
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (e *explainer) try(args ...string) (string, error) {
	text, err := exec.CommandContext(e.t.Context(), e.kubectl, append([]string{"--kubeconfig=" + e.kubeconfig, "explain"}, args...)...).CombinedOutput()
	return string(text), err
}

func (e *explainer) explain(args ...string) string {
	e.t.Helper()
	text, err := e.try(args...)
	if err != nil {
		e.t.Fatalf("kubectl explain %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return text
}

// explained is a field as kubectl shows it.
type explained struct{ name, kind, text string }

var fieldLine = regexp.MustCompile(`^  (\w+)\t<([^>]+)>( -required-)?$`)

// fields are those below a path, in order, with what is said of each.
func (e *explainer) fields(path string) []explained {
	e.t.Helper()
	_, text, _ := strings.Cut(e.explain(path), "\nFIELDS:\n") // none below a number
	var out []explained
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := fieldLine.FindStringSubmatch(line); m != nil {
			out = append(out, explained{name: m[1], kind: m[2]})
		} else if words := strings.TrimSpace(line); words != "" && len(out) > 0 && !strings.HasPrefix(words, "enum:") {
			out[len(out)-1].text = strings.TrimSpace(out[len(out)-1].text + " " + words)
		}
	}
	return out
}

func TestKubectlExplainsEveryField(t *testing.T) {
	e := newExplainer(t)
	if text := e.explain("optimizationpipeline"); !strings.Contains(text, "KIND:       OptimizationPipeline") || strings.Contains(text, "<empty>") {
		t.Errorf("the kind is not explained:\n%s", text)
	}
	fields := 0
	var walk func(path string)
	walk = func(path string) {
		for _, f := range e.fields(path) {
			at := path + "." + f.name
			switch {
			case f.text == "" || strings.Contains(f.text, "<no description>"):
				t.Errorf("%s is not explained", at)
			case !strings.HasSuffix(f.text, "."):
				t.Errorf("%s: %q is no sentence", at, f.text)
			case strings.Contains(f.text, "kubebuilder") || strings.Contains(f.text, "+optional"):
				t.Errorf("%s shows how it is made: %q", at, f.text)
			}
			fields++
			kubernetes := []string{"affinity", "tolerations", "resources", "conditions"} // explained by Kubernetes, and at length
			if strings.Contains(f.kind, "Object") && !slices.Contains(kubernetes, f.name) {
				walk(at)
			}
		}
	}
	walk("optpipe.spec")
	walk("optpipe.status")
	if fields < 150 {
		t.Errorf("only %d fields", fields)
	}
	if all := e.explain("optimizationpipeline.spec", "--recursive"); !strings.Contains(all, "\n      sparsity\t<") {
		t.Errorf("the whole spec:\n%s", all)
	}
}
