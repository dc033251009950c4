package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/s3test"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

func TestAStageThatCannotRunSaysWhy(t *testing.T) {
	tests := map[string]struct {
		stage   string
		prepare func(c *fakeOperator)
		change  func(o *stage.Order)
		code    int
		reason  string
		say     string
	}{
		"an operator of another version": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.AlgorithmVersion = "0" },
			code: 2, reason: stage.ReasonVersion, say: "template.image",
		},
		"an operator that hashes otherwise": {
			stage: "prune", change: func(o *stage.Order) { o.InputHash = artifact.Digest(nil) },
			code: 2, reason: stage.ReasonVersion, say: "template.image",
		},
		"a path for an address": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Model.URI = "model.tflite" },
			code: 2, reason: stage.ReasonSpec, say: "spec.model.uri",
		},
		"no artifacts": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Artifacts = nil },
			code: 2, reason: stage.ReasonSpec, say: "spec.artifacts",
		},
		"a model that is not there": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Model.URI = "s3://models/team/corners/other.tflite" },
			code: 3, reason: stage.ReasonNotFound, say: "spec.model.uri",
		},
		"a bucket that is not there": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Dataset.URI = "s3://nowhere/data.npz" },
			code: 4, reason: stage.ReasonNotFound, say: "spec.dataset.uri",
		},
		"a bucket for artifacts that is not there": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Artifacts.URI = "s3://nowhere" },
			code: 6, reason: stage.ReasonNotFound, say: "no such bucket",
		},
		"a model that is none": {
			stage: walk.Baseline, prepare: func(c *fakeOperator) { c.put("s3://models", "team/corners/model.tflite", []byte("no model")) },
			code: 3, reason: stage.ReasonModel, say: "s3://models/team/corners/model.tflite",
		},
		"a dataset that is none": {
			stage: walk.Baseline, prepare: func(c *fakeOperator) { c.put("s3://models", "team/corners/data.npz", []byte("no data")) },
			code: 4, reason: stage.ReasonDataset, say: "s3://models/team/corners/data.npz",
		},
		"a model other than the spec's digest": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Model.Digest = artifact.Digest(nil) },
			code: 3, reason: walk.ReasonInputChanged, say: "spec.model.digest",
		},
		"a model that changed after the baseline": {
			stage: "prune", prepare: func(c *fakeOperator) { c.put("s3://models", "team/corners/model.tflite", []byte("another")) },
			code: 3, reason: walk.ReasonInputChanged, say: v1alpha1.RerunAnnotation,
		},
		"a dataset that changed after the baseline": {
			stage: "prune", prepare: func(c *fakeOperator) {
				samples, labels := corners(320, 2)
				other := filepath.Join(c.t.TempDir(), "data.npz")
				writeNPZ(c.t, other, map[string]any{"x_train": samples, "y_train": labels, "x_test": samples[:96], "y_test": labels[:96]})
				c.put("s3://models", "team/corners/data.npz", read(c.t, other))
			},
			code: 4, reason: walk.ReasonInputChanged, say: v1alpha1.RerunAnnotation,
		},
		"a wrong secret key": {
			stage: walk.Baseline, prepare: func(c *fakeOperator) {
				write(c.t, filepath.Join(c.server.CredentialsDir, "AWS_SECRET_ACCESS_KEY"), []byte("wrong"))
			},
			code: 6, reason: stage.ReasonDenied, say: "check the credentials",
		},
		"a secret without keys": {
			stage: walk.Baseline, prepare: func(c *fakeOperator) { _ = os.Remove(filepath.Join(c.server.CredentialsDir, "AWS_SECRET_ACCESS_KEY")) },
			code: 6, reason: stage.ReasonDenied, say: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
		},
		"a certificate that is not trusted": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Artifacts.S3.CASecretRef = nil },
			code: 6, reason: stage.ReasonDenied, say: "s3.caSecretRef",
		},
		"a cache that is too small": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.CacheBytes = 10_000 },
			code: 2, reason: stage.ReasonCache, say: "template.cacheSizeLimit",
		},
		"a server that is down": {
			stage: walk.Baseline, prepare: func(c *fakeOperator) { c.server.Stop() },
			code: 6, reason: stage.ReasonUnavailable, say: "cannot be reached: connection refused: check s3.endpoint",
		},
		"a server of the model that is not there": {
			stage: walk.Baseline, prepare: func(c *fakeOperator) { c.env = append(c.env, "AWS_EC2_METADATA_DISABLED=true") },
			change: func(o *stage.Order) {
				o.Spec.Model.S3 = &v1alpha1.S3Options{Endpoint: "http://127.0.0.1:1", PathStyle: true}
			},
			code: 6, reason: stage.ReasonUnavailable, say: "127.0.0.1:1 cannot be reached: connection refused: check s3.endpoint, the server and NetworkPolicies (s3://models/team/corners/model.tflite)",
		},
		"a rule for a layer that is not there": {
			stage: walk.Baseline, change: func(o *stage.Order) { o.Spec.Stages[0].Prune.Pattern = "9:4" },
			code: 2, reason: stage.ReasonSpec, say: `spec.stages[0] "prune"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeOperator(t, nil)
			c.env = []string{"AWS_MAX_ATTEMPTS=2"}
			d := c.run(tt.stage)
			if tt.prepare != nil {
				tt.prepare(c)
			}
			order := c.order(d, tt.stage)
			if tt.change != nil {
				tt.change(order)
			}
			o, code, log := c.start(order).wait()
			if code != tt.code || o.Reason != tt.reason || !strings.Contains(o.Message, tt.say) || o.Stage != tt.stage || o.InputHash != order.InputHash {
				t.Errorf("exit code %d, %+v, want %d, %s and %q\n%s", code, o, tt.code, tt.reason, tt.say, log)
			}
		})
	}
}

func TestAnOrderThatIsNoneSaysWhy(t *testing.T) {
	termination := filepath.Join(t.TempDir(), "log")
	for _, order := range []string{"", "{", `{"stage":"other"}`} {
		t.Setenv(stage.OrderEnv, order)
		_, stderr, code := espalier(t.Context(), "stage", "--termination", termination)
		o, err := stage.ParseOutcome(string(read(t, termination)))
		if code != 2 || err != nil || o.Reason != stage.ReasonSpec || !strings.Contains(o.Message, stage.OrderEnv) || !strings.Contains(stderr, stage.OrderEnv) {
			t.Errorf("%q: exit code %d, %+v, %v\n%s", order, code, o, err, stderr)
		}
	}
}

func TestAStageOutlastsAStoreThatIsAway(t *testing.T) {
	c := newFakeOperator(t, long)
	d := c.run("prune")
	order := c.order(d, "prune")
	p := c.start(order)
	c.checkpointed(order.InputHash)
	c.server.Stop()
	time.Sleep(200 * time.Millisecond)
	c.server.Resume()
	o, code, log := p.wait()
	c.record(o, code, log)
	if want := artifact.Digest([]byte(c.local()["leaves/prune.tflite"])); o.Leaf.Digest != want {
		t.Errorf("leaf %s, run makes %s", o.Leaf.Digest, want)
	}
}

func TestAStageWaitsForASlowStore(t *testing.T) {
	c := newFakeOperator(t, nil)
	wire := c.server.Wire(t)
	wire.Delay(5 * time.Millisecond)
	c.endpoint = wire.Endpoint
	if d := c.run(""); !d.Ready {
		t.Errorf("%+v", d)
	}
}

func TestDamageInTheStoreIsMended(t *testing.T) {
	blob := func(digest string) string { return "blobs/sha256/" + strings.TrimPrefix(digest, "sha256:") }
	tests := map[string]func(c *fakeOperator) (key string){
		"the input":        func(c *fakeOperator) string { return blob(c.facts.Stages["cluster"].Model) },
		"the input's past": func(c *fakeOperator) string { return blob(c.facts.Stages["prune"].Model) },
		"the leaf":         func(c *fakeOperator) string { return blob(c.facts.Stages["pcqat"].Leaf.Digest) },
		"the result": func(c *fakeOperator) string {
			return "stages/" + strings.TrimPrefix(c.facts.Stages["pcqat"].InputHash, "sha256:") + ".json"
		},
	}
	for name, key := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newFakeOperator(t, nil)
			d := c.run("pcqat")
			order := c.order(d, "pcqat")
			c.record(c.start(order).wait())
			want := c.facts.Stages["pcqat"].Leaf.Digest
			c.damage(key(c))
			if strings.HasPrefix(name, "the input") { // else the result is there and the input not needed
				c.damage("stages/" + strings.TrimPrefix(order.InputHash, "sha256:") + ".json")
			}
			o, code, log := c.start(order).wait()
			c.record(o, code, log)
			if o.Leaf.Digest != want || o.Reused {
				t.Errorf("leaf %s, want %s; reused: %v\n%s", o.Leaf.Digest, want, o.Reused, log)
			}
			if err := c.store("s3://compressed/kws").CheckBlob(t.Context(), want); err != nil {
				t.Error(err)
			}
		})
	}
}

// damage overwrites an object of the store with what it is not.
func (c *fakeOperator) damage(key string) {
	c.t.Helper()
	c.server.Put("compressed", "kws/"+key, []byte("damaged"))
}

func TestStagesWorkOnClaims(t *testing.T) {
	c := newFakeOperator(t, func(spec *v1alpha1.OptimizationPipelineSpec) {
		spec.Model.URI, spec.Dataset.URI = "pvc://inputs/corners/model.tflite", "pvc://inputs/corners/data.npz"
		spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://outputs/team"}}
	})
	inputs := filepath.Join(c.claims, "inputs", "corners")
	for _, folder := range []string{inputs, filepath.Join(c.claims, "outputs")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"model.tflite", "data.npz"} {
		write(t, filepath.Join(inputs, name), read(t, filepath.Join(filepath.Dir(c.manifest), name)))
	}
	if d := c.run(""); !d.Ready || d.Selected != "pcqat" {
		t.Fatalf("%+v", d)
	}
	leaf := read(t, filepath.Join(c.claims, "outputs", "team", "ns", "corners", "leaf.tflite"))
	if string(leaf) != c.local()["leaves/pcqat.tflite"] {
		t.Error("leaf.tflite is another than run's")
	}
}

func TestWhatWasRemovedFromTheStoreIsMadeAgainToBePublished(t *testing.T) {
	c := newFakeOperator(t, func(spec *v1alpha1.OptimizationPipelineSpec) {
		spec.Model.URI, spec.Dataset.URI = "pvc://inputs/model.tflite", "pvc://inputs/data.npz"
		spec.Artifacts = &v1alpha1.ArtifactStore{Location: v1alpha1.Location{URI: "pvc://outputs/team"}}
	})
	inputs, team := filepath.Join(c.claims, "inputs"), filepath.Join(c.claims, "outputs", "team")
	for _, folder := range []string{inputs, team} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"model.tflite", "data.npz"} {
		write(t, filepath.Join(inputs, name), read(t, filepath.Join(filepath.Dir(c.manifest), name)))
	}
	first := c.run("")
	published := filepath.Join(team, "ns", "corners", "leaf.tflite")
	want := read(t, published)
	for _, folder := range []string{"blobs", "stages", "checkpoints"} { // as docs/artifacts.md has it
		if err := os.RemoveAll(filepath.Join(team, folder)); err != nil {
			t.Fatal(err)
		}
	}
	generous := v1alpha1.Decimal("1000000")
	c.pipeline.Spec.Constraints = append(c.pipeline.Spec.Constraints, v1alpha1.Constraint{Metric: "FileBytes", Max: &generous})
	d := c.run(walk.Publish)
	o, code, log := c.start(c.order(d, walk.Publish)).wait()
	if code != 6 || o.Reason != walk.ReasonResultsLost || o.Lost[first.Selected] != 1 || len(o.Lost) != len(d.Verdicts) {
		t.Fatalf("exit code %d, %+v; want every stage that has a leaf to be lost\n%s", code, o, log)
	}
	if string(read(t, published)) != string(want) {
		t.Error("what was published did not stay")
	}
	c.facts.Stages[walk.Publish] = walk.Fact{
		State: v1alpha1.StageFailed, Attempt: 2, InputHash: o.InputHash, Reason: o.Reason, Message: o.Message, Lost: o.Lost, Retry: true,
	}
	c.facts.TakeBack(&c.pipeline.Spec)
	d, versions := c.decide(), c.facts.Versions
	status := d.Status(c.facts, walk.Shown{Generation: 1, Now: time.Now()})
	c.facts = walk.RecordedFacts(&status, 1, "")
	c.facts.Versions, c.facts.Publish = versions, true
	if d = c.run(""); !d.Ready || d.Selected != walk.Baseline {
		t.Fatalf("%+v", d)
	}
	if got := read(t, published); artifact.Digest(got) != c.facts.Stages[walk.Baseline].Leaf.Digest {
		t.Error("it is not the selected leaf that was published")
	}
}

func TestRunReadsFromBuckets(t *testing.T) {
	c := newFakeOperator(t, nil)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": s3test.SecretKey, "AWS_CA_BUNDLE": c.server.CAFile,
	} {
		t.Setenv(name, value)
	}
	manifest := strings.NewReplacer(
		"{uri: model.tflite}", "{uri: 's3://models/team/corners/model.tflite', s3: {endpoint: '"+c.server.Endpoint+"', pathStyle: true}}",
		"{uri: data.npz}", "{uri: 's3://models/team/corners/data.npz', s3: {endpoint: '"+c.server.Endpoint+"', pathStyle: true}}",
	).Replace(string(read(t, c.manifest)))
	path := filepath.Join(t.TempDir(), "pipeline.yaml")
	write(t, path, []byte(manifest))
	out := filepath.Join(t.TempDir(), "out")
	if stdout, stderr, code := espalier(t.Context(), "run", path, "-o", out); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
	}
	if files(t, out)["leaves/pcqat.tflite"] != c.local()["leaves/pcqat.tflite"] {
		t.Error("the leaf is another than that of the same files on disk")
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if _, stderr, code := espalier(t.Context(), "run", path, "-o", out); code != 6 || !strings.Contains(stderr, "check the credentials") {
		t.Errorf("with a wrong key: exit code %d\n%s", code, stderr)
	}
}

func TestPublishingAnewWithdrawsWhatWasThere(t *testing.T) {
	c := newFakeOperator(t, nil)
	const home = "ns/corners/"
	c.put("s3://compressed/kws", home+"leaves/earlier.tflite", []byte("old"))
	c.put("s3://compressed/kws", home+"leaf.tflite", []byte("old"))
	impossible := v1alpha1.Decimal("1")
	c.pipeline.Spec.Constraints = []v1alpha1.Constraint{{Metric: "CompressedBytes", Max: &impossible}}
	d := c.run("")
	if !d.Finished || d.Ready {
		t.Fatalf("%+v", d)
	}
	for name, want := range map[string]bool{"leaf.tflite": false, "leaves/earlier.tflite": false, "leaves/prune.tflite": true, "report.html": true} {
		if got := c.get("s3://compressed/kws/"+home+name) != nil; got != want {
			t.Errorf("%s is there: %v, want %v", name, got, want)
		}
	}
}

func TestALeafStaysUnderItsDigestUntilThePublicationAfterTheNext(t *testing.T) {
	c := newFakeOperator(t, nil)
	const home = "s3://compressed/kws/ns/corners/"
	constrain := func(max string) {
		c.t.Helper()
		c.pipeline.Spec.Constraints = []v1alpha1.Constraint{{Metric: "CompressedBytes", Max: ptr.To(v1alpha1.Decimal(max))}}
	}
	foreign := stage.DigestFile(artifact.Digest([]byte("somebody else's")))
	c.put("s3://compressed", "kws/ns/corners/"+foreign, []byte("somebody else's"))
	digests := []string{"", "", ""}
	for i, max := range []string{"1000000", "1", "1"} {
		if constrain(max); i == 2 {
			c.pipeline.Spec.Constraints = nil
		}
		d := c.run("")
		if digests[i] = ""; d.Selected != "" {
			digests[i] = c.facts.Stages[d.Selected].Leaf.Digest
		}
		if pointer := c.get(home + "leaf.tflite"); pointer == nil != (d.Selected == "") || pointer != nil && artifact.Digest(pointer) != digests[i] {
			t.Errorf("generation %d: leaf.tflite is %s, selected is %s", i+1, artifact.Digest(pointer), digests[i])
		}
		var result v1alpha1.OptimizationPipeline
		if err := json.Unmarshal(c.get(home+"result.json"), &result); err != nil {
			t.Fatal(err)
		}
		if p := result.Status.Published; p == nil != (d.Selected == "") || p != nil && p.URI != home+stage.DigestFile(digests[i]) {
			t.Errorf("generation %d: result.json says that %+v is published", i+1, p)
		}
		for j, digest := range digests[:i+1] {
			if digest == "" {
				continue
			}
			content := c.get(home + stage.DigestFile(digest))
			if stays := j >= i-1; content != nil != stays || content != nil && artifact.Digest(content) != digest {
				t.Errorf("generation %d: the leaf of generation %d is there: %v", i+1, j+1, content != nil)
			}
		}
		c.remember(d, int64(i+1))
	}
	if digests[0] == digests[2] || digests[2] == "" {
		t.Errorf("leaves %q", digests)
	}
	if c.get(home+foreign) == nil {
		t.Error("a leaf that the pipeline did not publish was withdrawn")
	}
}

func TestALatePublicationLeavesTheNewerOne(t *testing.T) {
	c := newFakeOperator(t, nil)
	const home = "s3://compressed/kws/ns/corners/"
	c.pipeline.Spec.Constraints = []v1alpha1.Constraint{{Metric: "CompressedBytes", Max: ptr.To(v1alpha1.Decimal("1000000"))}}
	late := c.order(c.run(walk.Publish), walk.Publish) // its node is cut off from the cluster now
	c.pipeline.Spec.Constraints, c.pipeline.Generation = nil, 2
	d := c.run("")
	newer := c.facts.Stages[d.Selected].Leaf.Digest
	outcome, code, _ := c.start(late).wait()
	if code != 6 || !strings.Contains(outcome.Message, "newer, of generation 2") {
		t.Errorf("exit code %d: %s", code, outcome.Message)
	}
	if artifact.Digest(c.get(home+stage.SelectedFile)) != newer || c.get(home+stage.DigestFile(newer)) == nil {
		t.Error("the newer publication is not there any more")
	}
}

func TestAnAnswerThatIsNoneKeepsWhatIsPublished(t *testing.T) {
	c := newFakeOperator(t, nil)
	first := c.run("")
	c.remember(first, 1)
	const home = "s3://compressed/kws/ns/corners/"
	want := c.get(home + "leaf.tflite")
	c.pipeline.Spec.Stages[0].Prune.Sparsity = "0.75"
	c.put("s3://models", "team/corners/model.tflite", append(read(t, filepath.Join(filepath.Dir(c.manifest), "model.tflite")), 0))
	d := c.run("prune")
	o, _, log := c.start(c.order(d, "prune")).wait()
	if o.Reason != walk.ReasonInputChanged {
		t.Fatalf("%+v\n%s", o, log)
	}
	c.facts.Stages["prune"] = walk.Fact{State: v1alpha1.StageFailed, Attempt: 2, InputHash: o.InputHash, Reason: o.Reason, Message: o.Message}
	if d = c.run(""); !d.Finished || d.Reason != walk.ReasonInputChanged {
		t.Fatalf("%+v", d)
	}
	if got := c.get(home + "leaf.tflite"); string(got) != string(want) || c.get(home+stage.DigestFile(artifact.Digest(want))) == nil {
		t.Error("the leaf that is published did not stay")
	}
}

func TestAPipelineMadeAnewDoesNotAnswerWithTheLeafOfAnEarlierOne(t *testing.T) {
	c := newFakeOperator(t, nil)
	c.remember(c.run(""), 1)
	const home = "s3://compressed/kws/ns/corners/"
	old := artifact.Digest(c.get(home + "leaf.tflite"))
	c.facts = walk.Facts{Stages: map[string]walk.Fact{}, Publish: true, Versions: c.facts.Versions} // deleted, and made again
	c.pipeline.Spec.Stages[0].Prune.Sparsity = "0.75"
	d := c.decide()
	o, code, log := c.start(c.order(d, walk.Baseline)).wait()
	if c.record(o, code, log); o.Earlier < 4 || !strings.Contains(log, "an earlier pipeline of this name left files") {
		t.Errorf("the baseline found %d files\n%s", o.Earlier, log)
	}
	if c.get(home+"leaf.tflite") != nil || c.get(home+stage.DigestFile(old)) == nil || c.get(home+"report.html") == nil {
		t.Error("leaf.tflite is to go, and the rest to stay")
	}
	if d = c.run(""); !d.Ready {
		t.Fatalf("%+v", d)
	}
	if got := artifact.Digest(c.get(home + "leaf.tflite")); got == old || c.get(home+stage.DigestFile(old)) != nil {
		t.Errorf("leaf.tflite is %s, the earlier one was %s", got, old)
	}
}

func TestAStageStopsInTimeWhateverItWaitsFor(t *testing.T) {
	tests := map[string]struct {
		stage string
		wait  func(c *fakeOperator, wire *s3test.Wire, p *container, order *stage.Order)
	}{
		"for a dataset that does not come": {walk.Baseline, func(_ *fakeOperator, _ *s3test.Wire, p *container, _ *stage.Order) {
			p.logs("model.tflite")
		}},
		"to save to a store that is away": {"prune", func(c *fakeOperator, _ *s3test.Wire, _ *container, order *stage.Order) {
			c.checkpointed(order.InputHash)
			c.server.Stop()
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := newFakeOperator(t, long)
			d := c.run(tt.stage)
			wire := c.server.Wire(t)
			c.endpoint = wire.Endpoint
			order := c.order(d, tt.stage)
			order.GraceSeconds = 2
			if tt.stage == walk.Baseline {
				wire.Hold(1000, 16<<10)
			}
			p := c.start(order)
			tt.wait(c, wire, p, order)
			stopped := time.Now()
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			o, code, log := p.wait()
			if took := time.Since(stopped); code != 130 || o.Reason != stage.ReasonInterrupted || took > 2*time.Second {
				t.Errorf("exit code %d after %v, %+v\n%s", code, took, o, log)
			}
		})
	}
}

func TestACheckpointThatIsOfNoUseIsStartedOver(t *testing.T) {
	c := newFakeOperator(t, nil)
	order := c.order(c.run("prune"), "prune")
	store := c.store("s3://compressed/kws")
	if err := store.SaveCheckpoint(t.Context(), order.InputHash, func(w io.Writer) error { _, err := io.WriteString(w, "of another build"); return err }); err != nil {
		t.Fatal(err)
	}
	o, code, log := c.start(order).wait()
	c.record(o, code, log)
	if !strings.Contains(log, "not a checkpoint of this version") {
		t.Errorf("nothing is said of it:\n%s", log)
	}
	if want := artifact.Digest([]byte(c.local()["leaves/prune.tflite"])); o.Leaf.Digest != want {
		t.Errorf("leaf %s, run makes %s", o.Leaf.Digest, want)
	}
}
