package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/walk"
)

// OrderEnv is the environment variable that holds a Job's order, an Order as JSON.
const OrderEnv = "ESPALIER_STAGE"

// Where a Job's pod has what its order refers to. Each location that names secrets has a folder below SecretsPath, called as the
// location: model, dataset or artifacts, with the credentials secret's keys in <location>/credentials and the certificates in
// <location>/ca/ca.crt.
const (
	ClaimsPath      = "/claims"              // claims, each at <ClaimsPath>/<claim>
	SecretsPath     = "/secrets"             // secrets, see above
	CachePath       = "/cache"               // an emptyDir: what is fetched, and temporary files
	TerminationPath = "/dev/termination-log" // where the Outcome goes
)

// Order is what one Job is to do: everything a stage's container is told.
type Order struct {
	// Namespace and Pipeline name the pipeline, for logs and for where publish puts things.
	Namespace string `json:"namespace"`
	Pipeline  string `json:"pipeline"`
	// UID tells it from others that have its name at other times.
	UID types.UID `json:"uid,omitempty"`
	// Created is when it was made: of two that have its name the later one publishes.
	Created metav1.Time `json:"created,omitzero"`
	// Stage is walk.Baseline, a stage of the spec or walk.Publish.
	Stage   string `json:"stage"`
	Attempt int32  `json:"attempt"`
	// InputHash is what walk.Decide gave the stage. A spec stage whose own computation differs fails: it is of another version.
	InputHash string `json:"inputHash"`
	// Parent is the digest of the float model to work on; empty for the baseline and publish.
	Parent string `json:"parent,omitempty"`
	// AlgorithmVersion is that of the operator; a container of another one fails at once.
	AlgorithmVersion string `json:"algorithmVersion"`
	// Pinned is what the baseline pinned: what is read now must be the same. Nil for the baseline itself.
	Pinned *v1alpha1.Baseline `json:"pinned,omitempty"`
	// SharedStore has results of other namespaces count, where the store holds any.
	SharedStore bool `json:"sharedStore,omitempty"`
	// First says that the pipeline has published nothing yet: what the baseline finds in its place is an earlier pipeline's, whose leaf it
	// withdraws.
	First bool `json:"first,omitempty"`
	// Measure names the measurement that this Job is for: the stage's result is in the store, and its leaf is measured. Empty: a stage's Job.
	Measure string `json:"measure,omitempty"`
	// Helper is this Job's number, from 1, among those that make trials beside the Job that searches; 0: it is none of them.
	Helper int32 `json:"helper,omitempty"`
	// Spec is the pipeline's. Template and the like are left out.
	Spec v1alpha1.OptimizationPipelineSpec `json:"spec"`
	// CacheBytes bounds what is fetched; 0: no bound.
	CacheBytes int64 `json:"cacheBytes,omitempty"`
	// GraceSeconds is the time between SIGTERM and the end: the pod's terminationGracePeriodSeconds. 0: 60.
	GraceSeconds int64 `json:"graceSeconds,omitempty"`
	// Status is what publish puts into result.json and report.html; nil otherwise.
	Status *v1alpha1.OptimizationPipelineStatus `json:"status,omitempty"`
}

// crew names what a search and its helpers have to tell each other.
func (o *Order) crew() string {
	return artifact.Digest(fmt.Appendf(nil, "%s\n%s\n%s\n%d", o.UID, o.Stage, o.InputHash, o.Attempt))
}

// grace is the time a stopped stage has.
func (o *Order) grace() time.Duration {
	if o.GraceSeconds > 0 {
		return time.Duration(o.GraceSeconds) * time.Second
	}
	return time.Minute
}

// ParseOrder reads OrderEnv's value.
func ParseOrder(text string) (*Order, error) {
	if text == "" {
		return nil, fault.As(fault.Spec, fmt.Errorf("%s is not set: this command is what a Job's container runs; use `espalier run` for a pipeline", OrderEnv))
	}
	order := &Order{}
	if err := json.Unmarshal([]byte(text), order); err != nil {
		return nil, fault.As(fault.Spec, fmt.Errorf("%s: %w", OrderEnv, err))
	}
	if order.Stage != walk.Baseline && order.Stage != walk.Publish && order.Spec.Stage(order.Stage) == nil {
		return nil, fault.As(fault.Spec, fmt.Errorf("%s: the pipeline has no stage %q", OrderEnv, order.Stage))
	}
	return order, nil
}

// MaxOutcome bounds an Outcome's JSON: what Kubernetes keeps of a termination message.
const MaxOutcome = 4096

// Outcome is what a stage's container says when it ends, as its termination message. The full Result is in the store.
type Outcome struct {
	// Stage and InputHash are the order's.
	Stage     string `json:"stage"`
	InputHash string `json:"inputHash,omitempty"`
	// Reused says that the result was in the store.
	Reused bool `json:"reused,omitempty"`
	// Model is the digest of the float model that later stages build on.
	Model string `json:"model,omitempty"`
	// Leaf is the deployable model.
	Leaf *v1alpha1.Leaf `json:"leaf,omitempty"`
	// LearningRate is the one that the stage found, if it looked for one.
	LearningRate string `json:"learningRate,omitempty"`
	// Epochs are those that it trained, where the validation loss decided how many.
	Epochs int32 `json:"epochs,omitempty"`
	// Awaits names a measurement that has to be made of the leaf in a Job of its own before the stage is over.
	Awaits string `json:"awaits,omitempty"`
	// Baseline is what the baseline pinned and measured.
	Baseline *v1alpha1.Baseline `json:"baseline,omitempty"`
	// Lost are the stages, with their attempts, whose results publish did not find in the store.
	Lost map[string]int32 `json:"lost,omitempty"`
	// Earlier are files of an earlier pipeline of the name that the baseline found where this one is to publish.
	Earlier int32 `json:"earlier,omitempty"`
	// URI is where publish put things.
	URI string `json:"uri,omitempty"`
	// Reason and Message say why it failed: a word for conditions (walk.ReasonInputChanged among them), and a sentence; of a search why it tried
	// nothing more, Reason where a bound of the spec ended it (walk.EndedByTrials).
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Marshal returns the compact JSON; longer than MaxOutcome is an error.
func (o *Outcome) Marshal() ([]byte, error) {
	data, err := json.Marshal(o)
	if err == nil && len(data) > MaxOutcome {
		err = fmt.Errorf("the outcome takes %d bytes, more than the %d of a termination message", len(data), MaxOutcome)
	}
	return data, err
}

// errOutcome does not say what a container wrote instead.
var errOutcome = errors.New("the termination message is not that of a stage")

// ParseOutcome reads a termination message: one Outcome and nothing else, of at most MaxOutcome bytes. Its message comes back as one
// line of at most maxMessage bytes of printable characters. Errors do not quote what was read.
func ParseOutcome(message string) (*Outcome, error) {
	if len(message) > MaxOutcome {
		return nil, errOutcome
	}
	outcome := &Outcome{}
	decoder := json.NewDecoder(strings.NewReader(message))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(outcome); err != nil || outcome.Stage == "" {
		return nil, errOutcome
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errOutcome
	}
	outcome.Message = shortened(oneLine(outcome.Message), maxMessage)
	return outcome, nil
}

// oneLine has spaces in place of white space, and nothing that does not print.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}
