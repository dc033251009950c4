package stage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/measurement"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
	"espalier.dev/espalier/optimizer/kernel"
)

// Job carries out orders, as a Job's container does.
type Job struct {
	// Claims, Secrets and Cache are the folders of order.go.
	Claims, Secrets, Cache string
	// Workers are goroutines for training and measuring; 0: one a processor.
	Workers int
	// ReadOnly has orders carried out from what the store has: a result that is not there is an error, and nothing is run or written.
	ReadOnly bool
	// Measure has the programs of measurements run.
	Measure measurement.Runner
	// Tool says in the report what made it.
	Tool string
	// Log gets what happens, and a heartbeat.
	Log *slog.Logger
	// CheckpointEvery is how often a training under way is saved; default half a minute.
	CheckpointEvery time.Duration
	// PollEvery is how often a search and its helpers look for what the others say; default two seconds.
	PollEvery time.Duration
	// Guard, if set, makes an error of a panic in what it is given.
	Guard func(func() error) error
}

// Run carries out an order. There is always an outcome; with an error it says why.
func (j *Job) Run(ctx context.Context, order *Order) (*Outcome, error) {
	start := time.Now()
	log := j.Log.With("namespace", order.Namespace, "pipeline", order.Pipeline, "stage", order.Stage, "attempt", order.Attempt)
	log.Info("started", "inputHash", order.InputHash, "algorithmVersion", optimizer.AlgorithmVersion, "arch", runtime.GOARCH, "kernels", kernel.Class())
	quiet := heartbeat(log)
	defer quiet()
	outcome, err := j.run(ctx, order, log)
	took := slog.Float64("seconds", time.Since(start).Seconds())
	if err != nil {
		earlier := outcome.Earlier
		outcome = failure(order, err)
		outcome.Earlier = earlier
		log.Error("failed", "reason", outcome.Reason, "error", err.Error(), took)
		return outcome, err
	}
	outcome.Stage, outcome.InputHash = order.Stage, order.InputHash
	log.Info("completed", "reused", outcome.Reused, took)
	return outcome, nil
}

// run returns an outcome with errors, too: what was found on the way.
func (j *Job) run(ctx context.Context, order *Order, log *slog.Logger) (*Outcome, error) {
	outcome := &Outcome{}
	if order.AlgorithmVersion != optimizer.AlgorithmVersion {
		return outcome, fault.As(fault.Spec, fmt.Errorf("%w: the operator's algorithm is version %s, that of this image %s: give template.image the operator's version, or none",
			errVersion, order.AlgorithmVersion, optimizer.AlgorithmVersion))
	}
	sources := &Sources{
		Claims: j.Claims, Secrets: j.Secrets, Pinned: order.Pinned, Cache: artifact.Cache{Dir: j.Cache, MaxBytes: order.CacheBytes},
		ReadOnly: j.ReadOnly,
		Fetched:  func(uri string, bytes int64) { log.Info("fetched", "uri", uri, "bytes", bytes) },
	}
	if err := reachable(&order.Spec); err != nil {
		return outcome, err
	}
	store, err := sources.Open(ctx, &order.Spec)
	if err != nil {
		return outcome, err
	}
	defer store.Close()
	if !order.SharedStore {
		store = store.In(order.Namespace)
	}
	switch {
	case order.Stage == walk.Publish && j.ReadOnly:
		return outcome, published(ctx, order, store, outcome)
	case order.Stage == walk.Publish:
		return outcome, j.publish(ctx, order, store, outcome, log)
	case order.Stage == walk.Baseline:
		if err := j.succeed(ctx, order, store, outcome, log); err != nil {
			return outcome, err
		}
	}
	return outcome, j.stage(ctx, order, sources, store, outcome, log)
}

// succeed takes the place of an earlier pipeline of the name: its leaf is not to be taken for the answer of this one.
func (j *Job) succeed(ctx context.Context, order *Order, store *artifact.Store, outcome *Outcome, log *slog.Logger) error {
	if !order.First {
		return nil
	}
	home := Home(order.Namespace, order.Pipeline)
	files, err := store.Published(ctx, home)
	if err != nil || len(files) == 0 {
		return fault.As(fault.Storage, err)
	}
	outcome.Earlier = int32(len(files))
	if j.ReadOnly {
		return nil
	}
	log.Warn("an earlier pipeline of this name left files; its leaf is withdrawn, the rest stays until this one publishes",
		"uri", store.String()+"/"+home, "files", files)
	return fault.As(fault.Storage, store.Withdraw(ctx, home, []string{SelectedFile}))
}

// reachable refuses paths without a scheme: there is no manifest that they could be beside.
func reachable(spec *v1alpha1.OptimizationPipelineSpec) error {
	places := map[string]string{"model": spec.Model.URI, "dataset": spec.Dataset.URI}
	if spec.Artifacts != nil {
		places["artifacts"] = spec.Artifacts.URI
	}
	for _, name := range []string{"model", "dataset", "artifacts"} {
		if uri, ok := places[name]; ok && v1alpha1.Scheme(uri) == "" {
			return fault.As(fault.Spec, fmt.Errorf("spec.%s.uri %q is a path: in a cluster name an s3://, gs://, azblob:// or pvc:// address", name, uri))
		}
	}
	return nil
}

// stage runs the baseline or a stage of the spec.
func (j *Job) stage(ctx context.Context, order *Order, sources *Sources, store *artifact.Store, outcome *Outcome, log *slog.Logger) error {
	if err := checkHash(order); err != nil {
		return err
	}
	progress := &progressLog{log: log}
	runner := &Runner{
		Spec: &order.Spec, Store: store, Pinned: order.Pinned, Workers: j.Workers, ReadOnly: j.ReadOnly, Progress: progress.tell,
		Measure: j.Measure, Elsewhere: true, Measures: order.Measure,
		CheckpointEvery: j.CheckpointEvery, Grace: order.grace() * 4 / 5,
		Warn: func(_ string, err error) { log.Warn("goes on", "error", err.Error()) }, Say: log.Info, Guard: j.Guard,
	}
	runner.Prepare = func(ctx context.Context) (*Prepared, error) {
		prepared, err := Prepare(ctx, &order.Spec, *sources)
		if err != nil {
			return nil, err
		}
		log.Info("prepared", "modelDigest", prepared.ModelDigest, "datasetDigest", prepared.Data.Digest, "trainingSamples", prepared.Data.Train.Len())
		runner.Prepared = prepared
		warnings, err := runner.Check()
		if order.Stage != walk.Baseline {
			return prepared, err
		}
		for _, w := range warnings {
			log.Warn("goes on", "error", w)
		}
		if err == nil {
			err = prepared.Answer(ctx, j.Workers)
		}
		if err == nil {
			err = prepared.Tellable(order.Spec.Constraints)
		}
		return prepared, err
	}
	defer func() {
		if runner.Prepared != nil {
			_ = runner.Prepared.Close()
		}
	}()
	if order.Stage == walk.Search && !j.ReadOnly {
		var err error
		if runner.notes, err = store.Notes(order.crew()); err != nil {
			return fault.As(fault.Spec, err)
		}
		runner.helpers, runner.rhythm = search.Helpers(&order.Spec), rhythmOf(cmp.Or(j.PollEvery, pollEvery))
	}
	if order.Helper > 0 {
		return help(ctx, runner, order)
	}
	result, hash, reused, err := runner.Run(ctx, order.Stage, order.Parent)
	var awaits *awaitsError
	if errors.As(err, &awaits) {
		result, outcome.Awaits, err = awaits.result, awaits.measurement, nil
	}
	if err != nil {
		return err
	}
	log.Info("result", "hash", hash, "leaf", result.Leaf, "model", result.Model, "kernelClass", result.KernelClass, "metrics", metricAttrs(result.Metrics))
	outcome.Reused, outcome.Model, outcome.Leaf = reused, result.Model, result.Status()
	outcome.LearningRate, outcome.Epochs = result.FoundRate(), result.FoundEpochs()
	if result.Searched != nil {
		outcome.Reason, outcome.Message = result.Searched.Limit, shortened(result.Searched.Ended, v1alpha1.MaxStageMessage)
	}
	if order.Stage == walk.Baseline {
		pinned := runner.digests()
		pinned.Metrics = result.Float
		outcome.Baseline = &pinned
	}
	return nil
}

// checkHash compares the operator's name for the result with this program's.
func checkHash(order *Order) error {
	if order.Stage == walk.Baseline {
		return nil
	}
	if order.Pinned == nil {
		return fault.As(fault.Spec, fmt.Errorf("%s: pinned is missing: every stage but the baseline needs it", OrderEnv))
	}
	parent := order.Parent
	if parent == "" {
		parent = order.Pinned.ModelDigest
	}
	hash := walk.AttemptHash(&order.Spec, walk.StageHash(&order.Spec, order.Stage, walk.Versions{Algorithm: optimizer.AlgorithmVersion}, *order.Pinned, parent))
	if hash != order.InputHash {
		return fault.As(fault.Spec, fmt.Errorf("%w: the operator names this stage's result %s, this image %s: give template.image the operator's version, or none", errVersion, order.InputHash, hash))
	}
	return nil
}

// errVersion says that operator and image do not belong together.
var errVersion = errors.New("operator and image are of different versions")
