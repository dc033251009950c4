package controllers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// amounts reads texts such as cpu=1 as a list of resources.
func amounts(texts ...string) corev1.ResourceList {
	r, err := ParseResources(texts, nil)
	if err != nil {
		panic(err)
	}
	return r.Requests
}

func TestResourcesBesideATemplate(t *testing.T) {
	defaults := Resources{Requests: amounts("cpu=500m", "memory=512Mi"), Limits: amounts("memory=2Gi")}
	tests := map[string]struct {
		requests, limits []string // of the template
		wantRequests     []string
		wantLimits       []string
		processors       string // where GOMAXPROCS is from
		memory           string // GOMEMLIMIT
	}{
		"nothing":              {nil, nil, []string{"cpu=500m", "memory=512Mi"}, []string{"memory=2Gi"}, "from requests.cpu", "1932735276"},
		"more memory":          {[]string{"memory=3Gi"}, nil, []string{"cpu=500m", "memory=3Gi"}, []string{"memory=3Gi"}, "from requests.cpu", "2899102923"},
		"a limit of memory":    {nil, []string{"memory=256Mi"}, []string{"cpu=500m", "memory=256Mi"}, []string{"memory=256Mi"}, "from requests.cpu", "241591905"},
		"a limit of processor": {nil, []string{"cpu=4"}, []string{"cpu=500m", "memory=512Mi"}, []string{"cpu=4", "memory=2Gi"}, "from limits.cpu", "1932735276"},
		"a mistake stays":      {[]string{"memory=3Gi"}, []string{"memory=1Gi"}, []string{"cpu=500m", "memory=3Gi"}, []string{"memory=1Gi"}, "from requests.cpu", "966367638"},
		"another kind":         {nil, []string{"example.com/npu=1"}, []string{"cpu=500m", "memory=512Mi"}, []string{"memory=2Gi", "example.com/npu=1"}, "from requests.cpu", "1932735276"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := defaults.beside(corev1.ResourceRequirements{Requests: amounts(tt.requests...), Limits: amounts(tt.limits...)})
			if diff := cmp.Diff(corev1.ResourceRequirements{Requests: amounts(tt.wantRequests...), Limits: amounts(tt.wantLimits...)}, got); diff != "" {
				t.Error(diff)
			}
			job := &batchv1.Job{}
			job.Spec.Template.Spec.Containers = []corev1.Container{{Env: bounds(got)}}
			if p, m := variable(job, "GOMAXPROCS"), variable(job, "GOMEMLIMIT"); p != tt.processors || m != tt.memory {
				t.Errorf("GOMAXPROCS %s, GOMEMLIMIT %s", p, m)
			}
			for name, quantity := range little(got).Requests {
				if limit, limited := got.Limits[name]; limited && quantity.Cmp(limit) > 0 {
					t.Errorf("reading requests %s of %s, above the limit", quantity.String(), name)
				}
			}
		})
	}
	if diff := cmp.Diff(amounts("memory=2Gi"), defaults.Limits); diff != "" {
		t.Errorf("the defaults changed:\n%s", diff)
	}
	if r := little(corev1.ResourceRequirements{Limits: amounts("memory=32Mi", "example.com/npu=1")}); r.Requests.Memory().String() != "32Mi" || len(r.Limits) != 1 {
		t.Errorf("reading takes %+v", r)
	}
}

func TestParseResources(t *testing.T) {
	for name, tt := range map[string]struct {
		requests, limits []string
		want             string
	}{
		"nothing":                 {nil, nil, ""},
		"usual":                   {[]string{"cpu=1"}, []string{"memory=1Gi"}, ""},
		"no quantity":             {[]string{"cpu=much"}, nil, `"cpu=much"`},
		"none of it":              {nil, []string{"memory=0"}, "above 0"},
		"no name":                 {nil, []string{"=1"}, "such as"},
		"request above its limit": {[]string{"memory=2Gi"}, []string{"memory=1Gi"}, "above its limit"},
	} {
		_, err := ParseResources(tt.requests, tt.limits)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoStageRunsAtBestEffort asks the API server for the class of the pods of a pipeline that says nothing of resources.
func TestNoStageRunsAtBestEffort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.play = func(*stage.Order, *corev1.Pod) act { return act{} }
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) {
		o.Resources = Resources{Requests: amounts("cpu=500m", "memory=512Mi"), Limits: amounts("memory=2Gi")}
	})
	w.pipeline("p", func(p *v1alpha1.OptimizationPipeline) {
		p.Spec.Stages[0].Template.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	})
	w.settled("p", walk.ReasonAllStagesRun)
	var pods corev1.PodList
	if err := w.client.List(t.Context(), &pods, client.InNamespace(w.namespace)); err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		r := pod.Spec.Containers[0].Resources
		want := "2Gi"
		if pod.Labels[StageLabel] == "prune" {
			want = "64Mi"
		}
		if r.Requests.Cpu().String() != "500m" || r.Limits.Memory().String() != want || r.Requests.Memory().Cmp(*r.Limits.Memory()) > 0 {
			t.Errorf("stage %s has %+v", pod.Labels[StageLabel], r)
		}
	}
	if len(pods.Items) != 5 {
		t.Errorf("%d pods", len(pods.Items))
	}
}
