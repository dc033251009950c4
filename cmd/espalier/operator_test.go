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
	"testing"
	"time"

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
		SharedStore: true,
		Namespace:   c.pipeline.Namespace, Pipeline: c.pipeline.Name, Stage: name, Attempt: 1, InputHash: s.InputHash, Parent: s.Parent,
		AlgorithmVersion: optimizer.AlgorithmVersion, Spec: *c.pipeline.Spec.DeepCopy(), CacheBytes: 1 << 20,
	}
	o.Spec.Artifacts.S3 = &v1alpha1.S3Options{Endpoint: c.endpoint, Region: s3test.Region, PathStyle: true, CASecretRef: &v1alpha1.LocalReference{Name: "ca"}}
	if name != walk.Baseline {
		o.Pinned = c.facts.Baseline
	} else {
		o.First = c.facts.NothingPublished()
	}
	if name == walk.Publish {
		status := d.Status(c.facts, walk.Shown{Generation: c.pipeline.Generation, Now: time.Now(), AlgorithmVersion: optimizer.AlgorithmVersion})
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
	return startContainer(c.t, folder, c.claims, string(text), c.env...)
}

// startContainer starts a process for an order's text. Its folder may hold secrets, as they are mounted.
func startContainer(t *testing.T, folder, claims, order string, env ...string) *container {
	t.Helper()
	p := &container{t: t, termination: filepath.Join(folder, "termination-log")}
	write(t, p.termination, nil)
	p.cmd = exec.Command(os.Args[0], "stage", "--claims", claims, "--secrets", filepath.Join(folder, "secrets"),
		"--cache", filepath.Join(folder, "cache"), "--termination", p.termination, "--workers", "1", "--checkpoint-every", "20ms")
	p.cmd.Env = append(append(os.Environ(), asCommand+"=1", stage.OrderEnv+"="+order), env...)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
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
	attempt := c.facts.Stages[o.Stage].Attempt + 1
	c.facts.Stages[o.Stage] = walk.Fact{State: v1alpha1.StageCompleted, Attempt: attempt, InputHash: o.InputHash, Reused: o.Reused, Model: o.Model, Leaf: o.Leaf, Message: o.Message}
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

// remember goes on from what a status of the decision records, for another generation.
func (c *fakeOperator) remember(d walk.Decision, generation int64) {
	versions, home := c.facts.Versions, c.pipeline.Spec.Artifacts.URI+"/"+stage.Home(c.pipeline.Namespace, c.pipeline.Name)
	status := d.Status(c.facts, walk.Shown{
		Generation: generation, Now: time.Now(), AlgorithmVersion: optimizer.AlgorithmVersion,
		PublishedURI: func(digest string) string { return home + "/" + stage.DigestFile(digest) },
	})
	c.facts = walk.RecordedFacts(&status, generation+1, "")
	c.facts.Publish, c.facts.Versions = true, versions
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
