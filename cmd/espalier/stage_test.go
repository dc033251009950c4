package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/s3test"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
)

// fakeOperator carries a pipeline out as an operator does, with a process for every stage.
type fakeOperator struct {
	t        *testing.T
	manifest string // of the project
	claims   string // folder
	server   *s3test.Server
	pipeline *v1alpha1.OptimizationPipeline
	facts    walk.Facts
	env      []string
	endpoint string // in place of the server's
}

// newFakeOperator uploads the project's model and dataset and gives its pipeline the addresses. change edits the spec.
func newFakeOperator(t *testing.T, change func(*v1alpha1.OptimizationPipelineSpec)) *fakeOperator {
	t.Helper()
	server := s3test.Start(t, true)
	server.Bucket("models")
	server.Bucket("compressed")
	manifest := project(t)
	c := &fakeOperator{t: t, manifest: manifest, claims: t.TempDir(), server: server, pipeline: decode(t, manifest), endpoint: server.Endpoint}
	c.put("s3://models", "team/corners/model.tflite", read(t, filepath.Join(filepath.Dir(manifest), "model.tflite")))
	c.put("s3://models", "team/corners/data.npz", read(t, filepath.Join(filepath.Dir(manifest), "data.npz")))
	spec := &c.pipeline.Spec
	spec.Model.URI, spec.Dataset.URI = "s3://models/team/corners/model.tflite", "s3://models/team/corners/data.npz"
	spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "s3://compressed/kws", CredentialsSecretRef: &v1alpha1.LocalReference{Name: "s3"}}}
	if change != nil {
		change(spec)
	}
	c.facts = walk.Facts{Stages: map[string]walk.Fact{}, Publish: true, Versions: &walk.Versions{Algorithm: optimizer.AlgorithmVersion}}
	return c
}

func decode(t *testing.T, path string) *v1alpha1.OptimizationPipeline {
	t.Helper()
	p, err := v1alpha1.Decode(read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	p.Namespace, p.Generation = "ns", 1
	return p
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// options reach the test server as the test does.
func (c *fakeOperator) options() artifact.Options {
	return artifact.Options{CredentialsDir: c.server.CredentialsDir,
		S3: artifact.S3Options{Endpoint: c.server.Endpoint, Region: s3test.Region, PathStyle: true, CAFile: c.server.CAFile}}
}

func (c *fakeOperator) store(uri string) *artifact.Store {
	c.t.Helper()
	s, err := artifact.Open(c.t.Context(), uri, c.options())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { s.Close() })
	return s
}

// put stores a file under a name.
func (c *fakeOperator) put(uri, name string, content []byte) {
	c.t.Helper()
	if _, err := c.store(uri).Publish(c.t.Context(), name, content); err != nil {
		c.t.Fatal(err)
	}
}

// get fetches what was published; nil where there is nothing.
func (c *fakeOperator) get(uri string) []byte {
	c.t.Helper()
	got, err := artifact.Fetch(c.t.Context(), uri, c.options(), artifact.Cache{Dir: c.t.TempDir()})
	if errors.Is(err, artifact.ErrNotFound) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return read(c.t, got.Path)
}

// decide is what the operator would do next.
func (c *fakeOperator) decide() walk.Decision {
	return walk.Decide(&c.pipeline.Spec, c.facts, time.Now())
}

// order is the order of a stage that was decided to start.
func (c *fakeOperator) order(d walk.Decision, name string) *stage.Order {
	s := d.Stage(name)
	o := &stage.Order{
		Namespace: c.pipeline.Namespace, Pipeline: c.pipeline.Name, Stage: name, Attempt: 1, InputHash: s.InputHash, Parent: s.Parent,
		AlgorithmVersion: optimizer.AlgorithmVersion, Spec: *c.pipeline.Spec.DeepCopy(), CacheBytes: 1 << 20,
	}
	o.Spec.Artifacts.S3 = &v1alpha1.S3Options{Endpoint: c.endpoint, Region: s3test.Region, PathStyle: true, CASecretRef: &v1alpha1.LocalReference{Name: "ca"}}
	if name != walk.Baseline {
		o.Pinned = c.facts.Baseline
	}
	if name == walk.Publish {
		status := d.Status(c.facts, walk.Shown{Generation: 1, Now: time.Now(), AlgorithmVersion: optimizer.AlgorithmVersion})
		o.Status = &status
	}
	return o
}

// lockedBuffer is a buffer that is read while it is written.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// container is a process of `espalier stage`.
type container struct {
	t           *testing.T
	cmd         *exec.Cmd
	log         lockedBuffer
	termination string
}

// start starts a process for an order.
func (c *fakeOperator) start(o *stage.Order) *container {
	c.t.Helper()
	folder := c.t.TempDir()
	secrets := filepath.Join(folder, "secrets", "artifacts")
	for _, sub := range []string{secrets + "/ca", folder + "/cache"} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := os.Symlink(c.server.CredentialsDir, filepath.Join(secrets, "credentials")); err != nil {
		c.t.Fatal(err)
	}
	write(c.t, filepath.Join(secrets, "ca", "ca.crt"), read(c.t, c.server.CAFile))
	text, err := json.Marshal(o)
	if err != nil {
		c.t.Fatal(err)
	}
	p := &container{t: c.t, termination: filepath.Join(folder, "termination-log")}
	write(c.t, p.termination, nil)
	p.cmd = exec.Command(os.Args[0], "stage", "--claims", c.claims, "--secrets", filepath.Join(folder, "secrets"),
		"--cache", filepath.Join(folder, "cache"), "--termination", p.termination, "--workers", "1", "--checkpoint-every", "20ms")
	p.cmd.Env = append(append(os.Environ(), asCommand+"=1", stage.OrderEnv+"="+string(text)), c.env...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// logs waits until the log says something.
func (p *container) logs(text string) {
	p.t.Helper()
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if strings.Contains(p.log.String(), text) {
			return
		}
	}
	p.t.Fatalf("%s was not logged:\n%s", text, p.log.String())
}

// wait waits for the end: the outcome, the exit code and the log.
func (p *container) wait() (outcome *stage.Outcome, code int, log string) {
	p.t.Helper()
	if err := p.cmd.Wait(); err != nil && p.cmd.ProcessState == nil {
		p.t.Fatal(err)
	}
	log = p.log.String()
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) {
			p.t.Errorf("the log's line is no JSON: %s", line)
		}
	}
	message := read(p.t, p.termination)
	outcome, err := stage.ParseOutcome(string(message))
	if err != nil || len(message) > stage.MaxOutcome {
		p.t.Fatalf("%d bytes, %v\n%s", len(message), err, log)
	}
	return outcome, p.cmd.ProcessState.ExitCode(), log
}

// record keeps an outcome as the operator does.
func (c *fakeOperator) record(o *stage.Outcome, code int, log string) {
	c.t.Helper()
	if code != 0 || o.Reason != "" {
		c.t.Fatalf("%s: exit code %d, %+v\n%s", o.Stage, code, o, log)
	}
	if o.Baseline != nil {
		c.facts.Baseline = o.Baseline
	}
	c.facts.Stages[o.Stage] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: 1, InputHash: o.InputHash, Reused: o.Reused, Model: o.Model, Leaf: o.Leaf}
}

// run runs the stages that are due until none is, or one is called until.
func (c *fakeOperator) run(until string) walk.Decision {
	c.t.Helper()
	for {
		d := c.decide()
		if len(d.Start) == 0 || slices.Contains(d.Start, until) {
			return d
		}
		for _, name := range d.Start {
			c.record(c.start(c.order(d, name)).wait())
		}
	}
}

// local runs the same pipeline with `espalier run` and returns its files.
func (c *fakeOperator) local() map[string]string {
	c.t.Helper()
	out := filepath.Join(c.t.TempDir(), "out")
	manifest := filepath.Join(filepath.Dir(c.manifest), "local.yaml")
	p := decode(c.t, c.manifest)
	p.Spec.Stages, p.Spec.Training, p.Spec.Constraints = c.pipeline.Spec.Stages, c.pipeline.Spec.Training, c.pipeline.Spec.Constraints
	text, err := json.Marshal(p)
	if err != nil {
		c.t.Fatal(err)
	}
	write(c.t, manifest, text)
	if stdout, stderr, code := espalier(context.Background(), "run", manifest, "-o", out); code != 0 {
		c.t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	return files(c.t, out)
}

func TestStagesInProcessesOfTheirOwnMakeWhatRunMakes(t *testing.T) {
	c := newFakeOperator(t, nil)
	d := c.run("")
	if !d.Finished || !d.Ready || d.Selected != "pcqat" {
		t.Fatalf("%+v", d)
	}
	const home = "s3://compressed/kws/ns/corners/"
	want := c.local()
	for _, name := range []string{"baseline", "prune", "pqat", "cluster", "pcqat"} {
		if string(c.get(home+"leaves/"+name+".tflite")) != want["leaves/"+name+".tflite"] {
			t.Errorf("the leaf of %s is another than run's", name)
		}
	}
	if string(c.get(home+"leaf.tflite")) != want["leaves/pcqat.tflite"] {
		t.Error("leaf.tflite is not the selected leaf")
	}
	if page := c.get(home + "report.html"); !bytes.Contains(page, []byte("pcqat")) {
		t.Errorf("the report has %d bytes", len(page))
	}
	var published, local v1alpha1.OptimizationPipeline
	for from, into := range map[string]*v1alpha1.OptimizationPipeline{string(c.get(home + "result.json")): &published, want["result.json"]: &local} {
		if err := json.Unmarshal([]byte(from), into); err != nil {
			t.Fatal(err)
		}
	}
	if s := published.Status.Selected; s == nil || s.Stage != "pcqat" || s.URI != home+"leaf.tflite" {
		t.Errorf("selected: %+v", s)
	}
	timeless := func(m []v1alpha1.MetricValue) []v1alpha1.MetricValue {
		return slices.DeleteFunc(slices.Clone(m), func(v v1alpha1.MetricValue) bool { return v.Name == "LatencyMicros" })
	}
	for i, s := range local.Status.Stages {
		p := published.Status.Stages[i]
		if diff := cmp.Diff(timeless(s.Leaf.Metrics), timeless(p.Leaf.Metrics)); diff != "" || p.State != v1alpha1.StageCompleted {
			t.Errorf("%s is %s and measured otherwise (-run +stage):\n%s", s.Name, p.State, diff)
		}
	}
	if diff := cmp.Diff(local.Status.Baseline, published.Status.Baseline); diff != "" {
		t.Errorf("baseline (-run +stage):\n%s", diff)
	}
	if last := published.Status.Stages[len(published.Status.Stages)-1]; last.Name != walk.Publish || last.State != v1alpha1.StageCompleted {
		t.Errorf("published as %+v", last)
	}
	if ready := published.Status.Conditions[0]; ready.Status != "True" {
		t.Errorf("published while %+v", ready)
	}
}

func TestASecondAttemptReusesTheResultWithoutTheDataset(t *testing.T) {
	c := newFakeOperator(t, nil)
	d := c.run("pqat")
	c.record(c.start(c.order(d, "pqat")).wait())
	c.put("s3://models", "team/corners/data.npz", []byte("gone"))
	o, code, log := c.start(c.order(d, "pqat")).wait()
	if code != 0 || !o.Reused || o.Leaf.Digest != c.facts.Stages["pqat"].Leaf.Digest {
		t.Errorf("exit code %d, %+v\n%s", code, o, log)
	}
	if strings.Contains(log, `"fetched"`) {
		t.Errorf("something was fetched:\n%s", log)
	}
}

// long makes training long enough to be stopped.
func long(spec *v1alpha1.OptimizationPipelineSpec) {
	epochs := int32(120)
	spec.Stages[0].Training.Epochs = &epochs
	spec.Stages = spec.Stages[:1]
}

// checkpointed waits until a stage has saved a checkpoint.
func (c *fakeOperator) checkpointed(hash string) {
	c.t.Helper()
	s := c.store("s3://compressed/kws")
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if _, err := s.LoadCheckpoint(c.t.Context(), hash); err == nil {
			return
		}
	}
	c.t.Fatal("no checkpoint came")
}

func TestAStoppedStageGoesOnToTheSameBytes(t *testing.T) {
	for name, signal := range map[string]syscall.Signal{"by SIGTERM": syscall.SIGTERM, "by SIGKILL": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			c := newFakeOperator(t, long)
			d := c.run("prune")
			order := c.order(d, "prune")
			p := c.start(order)
			c.checkpointed(order.InputHash)
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if signal == syscall.SIGTERM {
				o, code, log := p.wait()
				if code != 130 || o.Reason != stage.ReasonInterrupted {
					t.Fatalf("exit code %d, %+v\n%s", code, o, log)
				}
			} else {
				_ = p.cmd.Wait()
			}
			o, code, log := c.start(order).wait()
			c.record(o, code, log)
			if first := firstStep(t, log); first < 10 {
				t.Errorf("it began anew, at step %d", first)
			}
			if _, err := c.store("s3://compressed/kws").LoadCheckpoint(t.Context(), order.InputHash); !errors.Is(err, artifact.ErrNotFound) {
				t.Errorf("the checkpoint is still there: %v", err)
			}
			if want := artifact.Digest([]byte(c.local()["leaves/prune.tflite"])); o.Leaf.Digest != want {
				t.Errorf("leaf %s, run makes %s", o.Leaf.Digest, want)
			}
		})
	}
}

// firstStep is the step of the first line of progress.
func firstStep(t *testing.T, log string) int {
	t.Helper()
	for line := range strings.Lines(log) {
		var l struct {
			Msg  string
			Step int
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg == "training" {
			return l.Step
		}
	}
	t.Fatalf("no progress:\n%s", log)
	return 0
}

func TestTwoProcessesWithOneOrderAreHarmless(t *testing.T) {
	c := newFakeOperator(t, nil)
	d := c.run("prune")
	order := c.order(d, "prune")
	var both sync.WaitGroup
	outcomes := make([]*stage.Outcome, 2)
	for i := range outcomes {
		p := c.start(order)
		both.Go(func() {
			var code int
			var log string
			if outcomes[i], code, log = p.wait(); code != 0 {
				t.Errorf("exit code %d, %+v\n%s", code, outcomes[i], log)
			}
		})
	}
	both.Wait()
	if outcomes[0].Leaf.Digest != outcomes[1].Leaf.Digest || outcomes[0].Model != outcomes[1].Model {
		t.Errorf("%+v\n%+v", outcomes[0], outcomes[1])
	}
}
