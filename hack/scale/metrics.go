package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"

	"espalier.dev/espalier/test/controlplane"
)

// sample is what the manager says of itself.
type sample struct{ reconciles, requests, cpu float64 }

func (m *manager) sample(ctx context.Context) (sample, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.metrics+"/metrics", http.NoBody)
	if err != nil {
		return sample{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return sample{}, err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return sample{}, err
	}
	s := sample{
		reconciles: total(families["controller_runtime_reconcile_total"]), requests: total(families["rest_client_requests_total"]),
		cpu: total(families["process_cpu_seconds_total"]),
	}
	return s, nil
}

// fetch writes what an address answers to a file.
func fetch(ctx context.Context, url, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// total adds up a metric's series.
func total(f *dto.MetricFamily) float64 {
	sum := 0.0
	for _, m := range f.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// memory is what a process has resident now, in bytes, by Linux: in all, and without the pages of its file.
func memory(pid int) (all, own float64) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		for name, at := range map[string]*float64{"VmRSS:": &all, "RssAnon:": &own} {
			if rest, found := strings.CutPrefix(line, name); found {
				kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
				*at = kib * 1024
			}
		}
	}
	return all, own
}

// watchMemory notes the most memory the manager has.
func (m *manager) watchMemory(ctx context.Context) {
	for ctx.Err() == nil {
		all, own := memory(m.command.Process.Pid)
		m.mu.Lock()
		m.all, m.own = max(m.all, all), max(m.own, own)
		m.mu.Unlock()
		time.Sleep(200 * time.Millisecond)
	}
}

// requests counts what the API server answered, of the kinds that the manager alone asks for, by verb.
func requests(ctx context.Context, plane *controlplane.ControlPlane) (map[string]float64, error) {
	c, err := kubernetes.NewForConfig(plane.Config)
	if err != nil {
		return nil, err
	}
	text, err := c.RESTClient().Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	counts := map[string]float64{}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		label := map[string]string{}
		for _, l := range m.GetLabel() {
			label[l.GetName()] = l.GetValue()
		}
		kind := strings.TrimSuffix(label["verb"]+" "+label["resource"]+"/"+label["subresource"], "/")
		if strings.HasPrefix(label["code"], "4") {
			kind += " refused"
		}
		if ours(label) {
			counts[kind] += m.GetCounter().GetValue()
		}
	}
	return counts, nil
}

// ours reports whether only the manager makes such requests: of pipelines' statuses, and of Jobs but for their statuses, which the Job
// controller writes.
func ours(label map[string]string) bool {
	switch label["resource"] {
	case "optimizationpipelines":
		return label["subresource"] == "status"
	case "jobs":
		return label["subresource"] == "" && (label["verb"] == "POST" || label["verb"] == "PATCH" || label["verb"] == "GET" || label["verb"] == "DELETE")
	}
	return false
}
