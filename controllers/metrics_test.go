package controllers

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

func gathered(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// Prometheus sees an increase only of a series that has been there before.
func TestEverySeriesIsThereBeforeAnythingHappens(t *testing.T) {
	families := gathered(t)
	kinds := len(v1alpha1.Techniques()) + 2 // of stages: baseline and publish too
	for name, want := range map[string]int{"espalier_pipelines_finished_total": 3, "espalier_stage_attempts_total": kinds, "espalier_stage_duration_seconds": 4 * kinds} {
		if got := len(families[name].GetMetric()); got != want {
			t.Errorf("%s has %d series, want %d", name, got, want)
		}
	}
}

func TestPipelinesAreCountedByStateAndReason(t *testing.T) {
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	var objects []client.Object
	add := func(n int, name string, reason string, conditions ...string) {
		for i := range n {
			p := &v1alpha1.OptimizationPipeline{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: name + string(rune('a'+i))}}
			for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
				status := metav1.ConditionFalse
				for _, c := range conditions {
					if c == kind {
						status = metav1.ConditionTrue
					}
				}
				if reason != "" {
					p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
				}
			}
			objects = append(objects, p)
		}
	}
	add(2, "new", "")
	add(3, "done", walk.ReasonConstraintsMet, v1alpha1.ConditionReady)
	add(1, "image", reasonImagePull, v1alpha1.ConditionReconciling)
	add(2, "not-met", walk.ReasonNotMet, v1alpha1.ConditionStalled)
	add(1, "rests", walk.ReasonSuspended)
	c := &census{desc: pipelines.desc}
	reader := client.Reader(fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build())
	c.reader.Store(&reader)
	want := `
# HELP espalier_pipelines Pipelines there are, by state and the reason of their condition Ready.
# TYPE espalier_pipelines gauge
espalier_pipelines{reason="",state="Pending"} 2
espalier_pipelines{reason="",state="Ready"} 0
espalier_pipelines{reason="",state="Reconciling"} 0
espalier_pipelines{reason="",state="Stalled"} 0
espalier_pipelines{reason="",state="Suspended"} 0
espalier_pipelines{reason="ConstraintsMet",state="Ready"} 3
espalier_pipelines{reason="ConstraintsNotMet",state="Stalled"} 2
espalier_pipelines{reason="ImagePullBackOff",state="Reconciling"} 1
espalier_pipelines{reason="Suspended",state="Suspended"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// What alerts and the dashboard ask for is registered, and so are the values of labels that they pick.
func TestAlertsAndDashboardAskForMetricsThatThereAre(t *testing.T) {
	known := registered(t)
	name := regexp.MustCompile(`\b(?:espalier|controller_runtime|workqueue|rest_client|process|go)_[a-z_]*[a-z]\b`)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	reason := regexp.MustCompile(`reason=~?\\?"([A-Za-z|]+)`)
	sources := ""
	for _, path := range []string{"child.go", "inflight.go", "mounts.go", "observe.go", "diagnose.go", "report.go", "explain.go", "../internal/walk/decision.go"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sources += string(b)
	}
	for _, path := range []string{"../config/prometheus/rules.yaml", "../config/grafana/espalier.json"} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		asked := name.FindAllString(string(b), -1)
		if len(asked) < 4 {
			t.Errorf("%s asks for %d metrics", path, len(asked))
		}
		for _, m := range asked {
			if !known[m] && !known[suffix.ReplaceAllString(m, "")] {
				t.Errorf("%s asks for %s, which is not registered", path, m)
			}
		}
		for _, m := range reason.FindAllStringSubmatch(string(b), -1) {
			for r := range strings.SplitSeq(m[1], "|") {
				if !strings.Contains(sources, `"`+r+`"`) {
					t.Errorf("%s asks for reason %s, which no pipeline has", path, r)
				}
			}
		}
	}
}

// registered names every metric of the registry, of vectors without a series too.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		metrics.Registry.(prometheus.Collector).Describe(descs)
		close(descs)
	}()
	names := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for d := range descs {
		names[name.FindStringSubmatch(d.String())[1]] = true
	}
	return names
}
