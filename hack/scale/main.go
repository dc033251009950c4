// Command scale measures the operator on a real control plane without nodes: many pipelines at once, their pods played by this program.
// It prints what docs/scale.md shows. The binaries of the control plane are those of `make cluster-tools`.
//
//	make build && go run ./hack/scale -pipelines 1000
//	make build && go run ./hack/scale -order -pipelines 300 -jobs 6 -in-flight 10 -run 1s
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"gonum.org/v1/gonum/stat"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/controllers"
	"espalier.dev/espalier/test/controlplane"
)

type options struct {
	pipelines, jobs, inFlight int
	run, rest                 time.Duration
	order                     bool
	binary                    string
	heap                      string
}

func main() {
	var o options
	flag.IntVar(&o.pipelines, "pipelines", 1000, "pipelines at once")
	flag.IntVar(&o.jobs, "jobs", 4, "Jobs of each: baseline, stages, publish")
	flag.DurationVar(&o.run, "run", 200*time.Millisecond, "how long a pod runs")
	flag.BoolVar(&o.order, "order", false, "measure who has to wait for how long, with a late pipeline of another namespace and a restart of the manager")
	flag.IntVar(&o.inFlight, "in-flight", 200, "the manager's --max-in-flight")
	flag.DurationVar(&o.rest, "rest", 30*time.Second, "how long to watch the manager when all is done")
	flag.StringVar(&o.binary, "binary", "bin/espalier", "the manager")
	flag.StringVar(&o.heap, "heap", "", "write the manager's heap profile there when all is done")
	flag.Parse()
	if o.jobs < 3 || o.pipelines < 1 {
		fmt.Fprintln(os.Stderr, "scale: -jobs is 3 or more (baseline, a stage, publish), -pipelines 1 or more")
		os.Exit(2)
	}
	log.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	plane, err := controlplane.New(controlplane.Options{ControllerManager: true})
	if err != nil {
		return err
	}
	defer plane.Stop() //nolint:errcheck // the end
	scheme, err := controllers.Scheme()
	if err != nil {
		return err
	}
	c, err := client.New(plane.Config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	for _, name := range []string{few, many} {
		if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	n, err := newNodes(ctx, o.run, plane.Config, c, scheme)
	if err != nil {
		return err
	}
	m, err := startManager(o, plane.Kubeconfig)
	if err != nil {
		return err
	}
	defer func() { m.stop() }()
	if o.order {
		return measureOrder(ctx, o, c, n, func() error {
			m.stop()
			m, err = startManager(o, plane.Kubeconfig)
			return err
		})
	}
	go m.watchMemory(ctx)
	return measure(ctx, o, c, n, m, plane)
}

// few is the namespace of pipelines that have the cluster to themselves, many that of the crowd.
const few, many = "few", "many"

func measure(ctx context.Context, o options, c client.Client, n *nodes, m *manager, plane *controlplane.ControlPlane) error {
	if _, err := walkAll(ctx, c, n, few, 10, o.jobs); err != nil {
		return err
	}
	overhead := n.overheads()
	fmt.Printf("Ten pipelines alone: from a pod's end to the next Job: median %s, 99th percentile %s, most %s (%d times).\n\n",
		quantile(overhead, 0.5), quantile(overhead, 0.99), quantile(overhead, 1), len(overhead))

	before, err := requests(ctx, plane)
	if err != nil {
		return err
	}
	from, err := m.sample(ctx)
	if err != nil {
		return err
	}
	took, err := walkAll(ctx, c, n, many, o.pipelines, o.jobs)
	if err != nil {
		return err
	}
	busy, err := m.sample(ctx)
	if err != nil {
		return err
	}
	after, err := requests(ctx, plane)
	if err != nil {
		return err
	}
	stages := o.pipelines * o.jobs
	fmt.Printf("%d pipelines of %d Jobs each, at most %d in flight: all settled after %s, %.1f Jobs a second, at most %d pods at a time.\n\n",
		o.pipelines, o.jobs, o.inFlight, took.Round(time.Second), float64(stages)/took.Seconds(), n.most())
	fmt.Println("| request | in all | a stage |\n|---|---|---|")
	for _, kind := range sorted(after) {
		if d := after[kind] - before[kind]; d > 0 {
			fmt.Printf("| %s | %.0f | %.2f |\n", kind, d, d/float64(stages))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Printf("\nManager: %.0f Reconciles (%.1f a stage), %.1f s of processor time (%.1f ms a stage), at most %.0f MB resident,\n%.0f MB of that not pages of its file.\n",
		busy.reconciles-from.reconciles, (busy.reconciles-from.reconciles)/float64(stages),
		busy.cpu-from.cpu, 1000*(busy.cpu-from.cpu)/float64(stages), m.all/1e6, m.own/1e6)
	if o.heap != "" {
		if err := fetch(ctx, "http://"+m.pprof+"/debug/pprof/heap", o.heap); err != nil {
			return err
		}
	}
	return atRest(ctx, o, m)
}

// atRest watches the manager when there is nothing to do.
func atRest(ctx context.Context, o options, m *manager) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second): // what the last walk set off
	}
	from, err := m.sample(ctx)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(o.rest):
	}
	to, err := m.sample(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("At rest, in %s: %.0f Reconciles, %.0f requests, %.2f s of processor time.\n",
		o.rest, to.reconciles-from.reconciles, to.requests-from.requests, to.cpu-from.cpu)
	return nil
}

// walkAll creates pipelines and waits until all have come to their end.
func walkAll(ctx context.Context, c client.Client, n *nodes, namespace string, count, jobs int) (time.Duration, error) {
	start := time.Now()
	for i := range count {
		if err := c.Create(ctx, pipeline(namespace, fmt.Sprintf("p%04d", i), jobs)); err != nil {
			return 0, err
		}
	}
	if err := n.await(ctx, namespace, count); err != nil {
		return 0, err
	}
	return time.Since(start), nil
}

// pipeline is one of baseline, stages and publish, so many Jobs in all.
func pipeline(namespace, name string, jobs int) *v1alpha1.OptimizationPipeline {
	p := &v1alpha1.OptimizationPipeline{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	p.Spec.Model.URI, p.Spec.Dataset.URI = "s3://models/"+name+".tflite", "s3://data/d.npz"
	p.Spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://artifacts"}}
	for i := range jobs - 3 {
		p.Spec.Stages = append(p.Spec.Stages, v1alpha1.Stage{
			Name: fmt.Sprintf("prune%d", i), Prune: &v1alpha1.Prune{Sparsity: v1alpha1.Decimal(fmt.Sprintf("0.%d", 5+i))},
		})
	}
	p.Spec.Stages = append(p.Spec.Stages, v1alpha1.Stage{Name: "pqat", Quantize: &v1alpha1.Quantize{}})
	return p
}

// manager is `espalier manager` as a process of its own, held to what its manifest gives it.
type manager struct {
	command *exec.Cmd
	metrics string // address
	pprof   string // address

	mu       sync.Mutex
	all, own float64 // most memory: resident, and of that its own
}

func startManager(o options, kubeconfig string) (*manager, error) {
	m := &manager{}
	for _, address := range []*string{&m.metrics, &m.pprof} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*address = listener.Addr().String()
		if err := listener.Close(); err != nil {
			return nil, err
		}
	}
	m.command = exec.Command(o.binary, "manager", "--image=none", "--kubeconfig="+kubeconfig, fmt.Sprintf("--max-in-flight=%d", o.inFlight),
		"--metrics-insecure", "--metrics-bind-address="+m.metrics, "--pprof-bind-address="+m.pprof, "--health-probe-bind-address=0")
	m.command.Env = append(os.Environ(), "GOMEMLIMIT=230MiB", "GOMAXPROCS=1")
	return m, m.command.Start()
}

func (m *manager) stop() {
	_ = m.command.Process.Signal(syscall.SIGTERM)
	_ = m.command.Wait()
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	values := make([]float64, len(d))
	for i, v := range d {
		values[i] = float64(v)
	}
	slices.Sort(values)
	return time.Duration(stat.Quantile(q, stat.Empirical, values, nil)).Round(time.Millisecond)
}

func sorted(m map[string]float64) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
