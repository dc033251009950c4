package controllers

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

var velaImage = "registry.example/vela@sha256:" + strings.Repeat("0", 64)

// measured has a compiler measure leaves.
func measured(p *v1alpha1.OptimizationPipeline) {
	p.Spec.Measurements = []v1alpha1.Measurement{{
		Name: "npu_vela", Image: velaImage, Command: []string{"vela-json", "$(HOME)"}, Metrics: []v1alpha1.MeasuredMetric{{Name: "npu_cycles"}, {Name: "npu_bytes"}},
	}}
}

func TestAMeasurementRunsBesideTheStageWithNothingOfItsOwn(t *testing.T) {
	secrets := func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Artifacts.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "payroll"}
		p.Spec.Model.URI = "pvc://models/m.tflite"
	}
	pod := built(t, "prune", measured, secrets).Spec.Template.Spec
	if len(pod.InitContainers) != 2 || len(pod.Containers) != 1 {
		t.Fatalf("%d and %d containers", len(pod.InitContainers), len(pod.Containers))
	}
	lend, beside := pod.InitContainers[0], pod.InitContainers[1]
	if lend.Image != pod.Containers[0].Image || lend.RestartPolicy != nil || !slices.Equal(lend.Args, []string{"stage", "lend", "/measure/bin"}) {
		t.Errorf("what lends the program: %+v", lend)
	}
	if beside.Name != "measure-npu-vela" || beside.Image != velaImage || beside.RestartPolicy == nil || *beside.RestartPolicy != corev1.ContainerRestartPolicyAlways ||
		!slices.Equal(beside.Command, []string{"/measure/bin/espalier", "stage", "measure", "npu_vela"}) {
		t.Errorf("what measures: %+v", beside)
	}
	for _, c := range pod.InitContainers {
		if s := c.SecurityContext; *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Drop) != 1 {
			t.Errorf("security of %s: %+v", c.Name, s)
		}
		for _, m := range c.VolumeMounts {
			if !strings.HasPrefix(m.Name, "measure-") || c.Name == beside.Name && !m.ReadOnly && m.MountPath != "/tmp" {
				t.Errorf("%s has %+v", c.Name, m)
			}
		}
		if data, err := json.Marshal(c); err != nil || strings.Contains(string(data), "payroll") || strings.Contains(string(data), "ESPALIER_") {
			t.Errorf("%s is told too much: %s", c.Name, data)
		}
	}
	for _, m := range pod.Containers[0].VolumeMounts {
		if strings.HasPrefix(m.MountPath, "/measure/answers/") && !m.ReadOnly {
			t.Error("the stage writes where a stranger's program does")
		}
	}
	for name, job := range map[string]*corev1.PodSpec{"publish": &built(t, "publish", measured).Spec.Template.Spec, "without": &built(t, "prune").Spec.Template.Spec} {
		if len(job.InitContainers) > 0 || len(job.Volumes) != 1 {
			t.Errorf("%s: %d init containers, %d volumes", name, len(job.InitContainers), len(job.Volumes))
		}
	}
}

func TestMeasurementsDecideInACluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.metrics = map[string]string{walk.Baseline: "900", "prune": "800", "cluster": "400", "pcqat": "300"}
	allowed := func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Policy.Images = []string{"registry.example/*"} }
	w.run(allowed)
	most := v1alpha1.Decimal("500")
	w.pipeline("p", measured, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Constraints = []v1alpha1.Constraint{{Metric: "npu_cycles", Max: &most}}
	})
	p := w.settled("p", walk.ReasonConstraintsMet)
	if s := p.Status.Selected; s == nil || s.Stage != "cluster" || walk.Value(s.Metrics, "npu_cycles") != "400" {
		t.Fatalf("selected %+v", s)
	}
	runs := w.ran()["cluster"]
	w.edit("p", func(p *v1alpha1.OptimizationPipeline) { // another tool measures every leaf anew
		p.Spec.Measurements[0].Image = strings.Replace(velaImage, "@sha256:0", "@sha256:1", 1)
	})
	w.until("p", "measured anew", func(p *v1alpha1.OptimizationPipeline) bool {
		return p.Status.ObservedGeneration == 2 && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) && w.ran()["cluster"] > runs
	})

	w.pipeline("other", measured, func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Measurements[0].Image = strings.Replace(velaImage, "example", "hostile", 1)
	})
	if c := meta.FindStatusCondition(w.settled("other", walk.ReasonInvalidSpec).Status.Conditions, v1alpha1.ConditionStalled); c == nil || !strings.Contains(c.Message, "--allowed-images") {
		t.Errorf("condition %+v", c)
	}
	if jobs := w.jobs("other", ""); len(jobs) > 0 {
		t.Errorf("%d Jobs were made", len(jobs))
	}
}
