package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
)

// TestVelaMeasuresLeavesInPods has Vela itself, in an image of its own, measure the ten leaves of config/samples/measurements/vela.yaml, one of which its
// figures select. The vela in PATH says the same of them to espalier run. It needs what hack/cluster/vela.sh needs.
func TestVelaMeasuresLeavesInPods(t *testing.T) {
	if _, err := exec.LookPath("vela"); err != nil {
		t.Skip("needs Vela in PATH (docs/measurements.md)")
	}
	host, _, _ := strings.Cut(mended(t, "vela"), "/")
	build := exec.CommandContext(t.Context(), "hack/cluster/vela.sh", host+"/vela:1")
	build.Dir, build.Stderr = root, os.Stderr
	image, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	there := t.TempDir() // as in the repository after make demo
	sample, demo := filepath.Join(there, "config/samples/measurements"), filepath.Join(there, "out/demo")
	if err := os.CopyFS(sample, os.DirFS(filepath.Join(root, "config/samples/measurements"))); err != nil {
		t.Fatal(err)
	}
	data := exec.CommandContext(t.Context(), "go", "run", "./hack/demo", "data", "-o", demo)
	data.Dir = root
	if out, err := data.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for to, content := range map[string][]byte{
		filepath.Join(demo, "glyphs.tflite"):   read(t, filepath.Join(root, "hack/demo/glyphs.tflite")),
		stored("s3://datasets/glyphs-600.npz"): read(t, filepath.Join(demo, "glyphs.npz")),
	} {
		if err := os.WriteFile(to, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	espalier(t, "run", filepath.Join(sample, "vela.yaml"), "-o", filepath.Join(there, "out/vela"), "--allow-commands")
	want, err := v1alpha1.Decode(read(t, filepath.Join(there, "out/vela/result.json")))
	if err != nil {
		t.Fatal(err)
	}

	p := plain(t, "vela", func(s *v1alpha1.OptimizationPipelineSpec) {
		s.Dataset.URI = "s3://datasets/glyphs-600.npz"
		s.Training, s.Stages, s.Constraints, s.Selection = want.Spec.Training, want.Spec.Stages, want.Spec.Constraints, want.Spec.Selection
		s.Measurements = want.Spec.Measurements
		s.Measurements[0].Image, s.Measurements[0].Command[0] = strings.TrimSpace(string(image)), "/vela.sh"
	})
	ready(t, p)
	if p.Status.Selected.Stage != want.Status.Selected.Stage || p.Status.Selected.Digest != want.Status.Selected.Digest {
		t.Errorf("selected %s, espalier run takes %s", p.Status.Selected.Stage, want.Status.Selected.Stage)
	}
	said := func(p *v1alpha1.OptimizationPipeline) map[string][3]string {
		figures := map[string][3]string{}
		for _, s := range p.Status.Stages {
			if s.Leaf != nil {
				figures[s.Name] = [3]string{s.Leaf.Digest, metric(s.Leaf.Metrics, "npu_cycles"), metric(s.Leaf.Metrics, "npu_weight_bytes")}
			}
		}
		return figures
	}
	got := said(p)
	if diff := cmp.Diff(said(want), got); diff != "" || len(got) != 10 {
		t.Errorf("of %d leaves Vela says in pods otherwise than here:\n%s", len(got), diff)
	}
	for name, f := range got {
		t.Logf("%s: %s cycles, %s bytes of weights", name, f[1], f[2])
	}
	t.Logf("selected: %s", p.Status.Selected.Stage)
}
