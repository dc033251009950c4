package controllers

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// Labels and annotations of Jobs and pods.
const (
	PipelineLabel        = "espalier.dev/pipeline"         // the pipeline's name
	StageLabel           = "espalier.dev/stage"            // the stage's
	AttemptLabel         = "espalier.dev/attempt"          // from 1
	InputHashAnnotation  = "espalier.dev/input-hash"       // of a Job: names what it computes
	GenerationAnnotation = "espalier.dev/generation"       // of a Job: the pipeline's when it was created
	TokenAnnotation      = "espalier.dev/rerun"            // of a Job: the rerun token when it was created
	QueueLabel           = "kueue.x-k8s.io/queue-name"     // a LocalQueue of Kueue
	ForeignAnnotation    = "espalier.dev/foreign-image"    // of a Job: its image is not the installation's
	ReaderLabel          = "espalier.dev/reads"            // of a Job: the one whose result it reads
	MeasuresLabel        = "espalier.dev/measures"         // of a Job: the one whose leaf it measures
	MeasurementLabel     = "espalier.dev/measurement"      // of such a Job: the measurement
	HelpsLabel           = "espalier.dev/helps"            // of a Job: the search's that it makes trials beside
	HelperLabel          = "espalier.dev/helper"           // of such a Job: its number, from 1
	PriorityLabel        = "kueue.x-k8s.io/priority-class" // a WorkloadPriorityClass of Kueue
)

const (
	containerName = "stage"
	imageUser     = 65532 // of the image; the group that owns claims by default
	maxJobName    = 63
	// deadlineGrace leaves the manager the first word on deadlines: a Job's own is for when there is none.
	deadlineGrace = 5 * time.Minute
	// maxOrder bounds the order's JSON: the kernel takes 128 KiB for one environment variable.
	maxOrder = 120 << 10
)

// attempt is what a Job is built for.
type attempt struct {
	pipeline *v1alpha1.OptimizationPipeline
	stage    *walk.Stage // Name, Attempt, InputHash and Parent count
	pinned   *v1alpha1.Baseline
	status   *v1alpha1.OptimizationPipelineStatus // what publish is to publish; nil otherwise
	rerun    string
	version  string    // of the algorithm
	own      string    // the operator's image, as the installation names it
	image    string    // the same, by its digest where that is known
	shared   bool      // results of other namespaces count
	foreign  bool      // the image that it names is not the installation's
	first    bool      // nothing was published yet
	defaults Resources // where the template says nothing
	after    following // what an attempt lacks, instead of one
}

// jobName is the name of an attempt's Job: at most 63 characters, readable, and another for another pipeline, input or attempt.
func jobName(p *v1alpha1.OptimizationPipeline, stage, inputHash string, number int32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%d", p.UID, stage, inputHash, number))
	suffix := "-" + stage + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:10]
	name := p.Name[:min(len(p.Name), maxJobName-len(suffix))]
	return strings.TrimRight(name, "-") + suffix
}

// job builds the Job. It fails where the spec makes no Job that could run.
func (a attempt) job() (*batchv1.Job, error) {
	spec := &a.pipeline.Spec
	settings := spec.Stage(a.stage.Name)
	template := spec.EffectiveTemplate(settings)
	mounts := mountsOf(spec, a.stage.Name, a.after)
	container, err := a.container(template, mounts)
	if err != nil {
		return nil, err
	}
	labels, podLabels := a.labels(template.Labels)
	annotations := with(template.Annotations, map[string]string{
		InputHashAnnotation: a.stage.InputHash, GenerationAnnotation: strconv.FormatInt(a.pipeline.Generation, 10), TokenAnnotation: a.rerun,
	})
	if a.foreign {
		annotations[ForeignAnnotation] = "true"
	}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Name: jobName(a.pipeline, a.stage.Name, a.stage.InputHash, a.stage.Attempt), Namespace: a.pipeline.Namespace,
			Labels:          labels,
			Annotations:     annotations,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(a.pipeline, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit:          ptr.To[int32](0), // attempts are the pipeline's to count
			ActiveDeadlineSeconds: ptr.To(int64((spec.RunPolicy.StartDeadline() + spec.Deadline(a.stage.Name) + deadlineGrace).Seconds())),
			PodFailurePolicy:      podFailurePolicy(),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: podLabels, Annotations: template.Annotations},
				Spec:       podSpec(template, mounts, container),
			},
		},
	}
	a.measuring(&job.Spec.Template.Spec, template)
	switch {
	case a.after.reads:
		a.read(job)
	case a.after.measures != "":
		a.measure(job)
	case a.after.helps > 0:
		a.help(job)
	}
	return job, nil
}

// following is a Job that follows one of an attempt: it reads what that left in the store, measures the leaf that the attempt made, or makes
// trials beside it. The zero following is none.
type following struct {
	job      string // the one that it follows
	reads    bool
	measures string             // the measurement that it makes or, where it reads, that the Job made
	pinned   *v1alpha1.Baseline // by the baseline whose leaf it measures
	helps    int32              // its number among the helpers of a search, from 1; 0: it is none
	uid      types.UID          // of the Job that it helps
}

// name is the Job's.
func (f following) name(p *v1alpha1.OptimizationPipeline, stage, inputHash string, number int32) string {
	what := ""
	if f.reads {
		what = "\nread"
	}
	if f.measures != "" {
		what += "\nmeasure " + f.measures
	}
	if f.helps > 0 {
		what += fmt.Sprintf("\nhelp %d", f.helps)
	}
	return jobName(p, stage, inputHash+what, number)
}

// readerTTL is how long a Job that read a result is kept: its answer is in the status within moments.
const readerTTL = 10 * time.Minute

// read makes of a stage's Job one that reads what the attempt left in the store: in no queue, which might send it elsewhere, with next to
// nothing, and on any node that the installation's image runs on. What a template asks for is for the stage, and there may be no such node here.
func (a attempt) read(job *batchv1.Job) {
	pod := &job.Spec.Template.Spec
	job.Labels = with(job.Spec.Template.Labels, map[string]string{ReaderLabel: a.after.job})
	job.Name = a.after.name(a.pipeline, a.stage.Name, a.stage.InputHash, a.stage.Attempt)
	if a.after.measures == "" { // else other measurements may follow before what it says is recorded
		job.Spec.TTLSecondsAfterFinished = ptr.To(int32(readerTTL.Seconds()))
	}
	container := &pod.Containers[0]
	container.Args = append(container.Args, "read")
	container.Resources = little(container.Resources)
	if a.foreign {
		return
	}
	pod.NodeSelector, pod.Affinity = map[string]string{corev1.LabelOSStable: "linux"}, anyNode()
}

// measure makes of a stage's Job one that measures the leaf that the attempt made: where the measurement says, with next to nothing beside what
// that takes. It counts and queues as the stage does.
func (a attempt) measure(job *batchv1.Job) {
	pod, m := &job.Spec.Template.Spec, a.pipeline.Spec.Measurement(a.after.measures)
	job.Labels = with(job.Labels, map[string]string{MeasuresLabel: a.after.job, MeasurementLabel: m.Name})
	job.Name = a.after.name(a.pipeline, a.stage.Name, a.stage.InputHash, a.stage.Attempt)
	pod.Containers[0].Resources = little(pod.Containers[0].Resources)
	pod.Tolerations = m.Job.Tolerations
	if !a.foreign {
		pod.NodeSelector, pod.Affinity = map[string]string{corev1.LabelOSStable: "linux"}, anyNode()
	}
	if len(m.Job.NodeSelector) == 0 {
		return
	}
	if pod.NodeSelector = m.Job.NodeSelector; a.foreign { // what its image runs on is not known, and no stage's nodes are asked for
		pod.Affinity = nil
	}
}

// anyNode is a node that the installation's image runs on.
func anyNode() *corev1.Affinity {
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: corev1.LabelArchStable, Operator: corev1.NodeSelectorOpIn, Values: []string{"amd64", "arm64"}},
		}}},
	}}}
}

// labels of a Job and of its pods. Those of the queue are the Job's alone: on a pod they would ask for quota twice.
func (a attempt) labels(template map[string]string) (job, pod map[string]string) {
	own := map[string]string{
		"app.kubernetes.io/name": "espalier", "app.kubernetes.io/component": "stage", "app.kubernetes.io/managed-by": "espalier",
		PipelineLabel: a.pipeline.Name, StageLabel: a.stage.Name, AttemptLabel: strconv.Itoa(int(a.stage.Attempt)),
	}
	job = with(template, queueing(a.pipeline, template), own)
	pod = with(template, own)
	for key := range pod {
		if strings.HasPrefix(key, "kueue.x-k8s.io/") {
			delete(pod, key)
		}
	}
	return job, pod
}

// queueing are the labels that say in which queue a Job waits and how urgently: the template's or, where it has none, those of the
// pipeline itself.
func queueing(p *v1alpha1.OptimizationPipeline, template map[string]string) map[string]string {
	out := map[string]string{}
	for _, key := range []string{QueueLabel, PriorityLabel} {
		if value := cmp.Or(template[key], p.Labels[key]); value != "" {
			out[key] = value
		}
	}
	return out
}

// podFailurePolicy does not count disruptions and fails at once what fails the same way every time.
func podFailurePolicy() *batchv1.PodFailurePolicy {
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{
			Action:          batchv1.PodFailurePolicyActionIgnore,
			OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}},
		},
		{
			Action: batchv1.PodFailurePolicyActionFailJob,
			OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
				ContainerName: ptr.To(containerName), Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: fault.FinalCodes(),
			},
		},
	}}
}

// podSpec is the stage's container under restricted pod security.
func podSpec(t v1alpha1.PodTemplate, m mounts, container corev1.Container) corev1.PodSpec {
	spec := corev1.PodSpec{
		Containers: []corev1.Container{container}, Volumes: m.volumes(cacheLimit(t)),
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: ptr.To(v1alpha1.Or(t.TerminationGracePeriodSeconds, v1alpha1.DefaultTermination)),
		AutomountServiceAccountToken:  ptr.To(false), EnableServiceLinks: ptr.To(false),
		ServiceAccountName: t.ServiceAccountName, PriorityClassName: t.PriorityClassName,
		NodeSelector: v1alpha1.Or(t.NodeSelector, map[string]string{corev1.LabelArchStable: "arm64"}),
		Tolerations:  t.Tolerations, Affinity: t.Affinity,
		SecurityContext: podSecurity(t.SecurityContext, len(m.claims) > 0),
	}
	if t.RuntimeClassName != "" {
		spec.RuntimeClassName = ptr.To(t.RuntimeClassName)
	}
	for _, ref := range t.ImagePullSecrets {
		spec.ImagePullSecrets = append(spec.ImagePullSecrets, corev1.LocalObjectReference{Name: ref.Name})
	}
	return spec
}

func podSecurity(asked *v1alpha1.SecurityContext, claims bool) *corev1.PodSecurityContext {
	context := &corev1.PodSecurityContext{
		RunAsNonRoot:   ptr.To(true),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	if asked != nil {
		context.RunAsUser, context.RunAsGroup = asked.RunAsUser, asked.RunAsGroup
		context.FSGroup, context.SupplementalGroups = asked.FSGroup, asked.SupplementalGroups
	}
	if claims && context.FSGroup == nil {
		context.FSGroup = ptr.To[int64](imageUser)
	}
	if context.FSGroup != nil {
		context.FSGroupChangePolicy = ptr.To(corev1.FSGroupChangeOnRootMismatch)
	}
	return context
}

// container runs `espalier stage` with the order in its environment.
func (a attempt) container(t v1alpha1.PodTemplate, m mounts) (corev1.Container, error) {
	order, err := a.order(t)
	if err != nil {
		return corev1.Container{}, err
	}
	image := t.Image
	if image == "" || image == a.own {
		image = a.image
	}
	resources := a.defaults.beside(t.Resources)
	return corev1.Container{
		Name: containerName, Image: image, ImagePullPolicy: t.ImagePullPolicy, Args: []string{"stage"},
		Env: environment(t, order, resources), Resources: resources, VolumeMounts: m.volumeMounts(),
		TerminationMessagePath: stage.TerminationPath, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		SecurityContext: restricted(),
	}, nil
}

// restricted is what restricted pod security asks of a container, and a file system that is not written to.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// order is what the container is told, as JSON. A dollar is escaped: $(NAME) in a variable's value is Kubernetes's.
func (a attempt) order(t v1alpha1.PodTemplate) (string, error) {
	order := stage.Order{
		Namespace: a.pipeline.Namespace, Pipeline: a.pipeline.Name, UID: a.pipeline.UID, Created: a.pipeline.CreationTimestamp, Stage: a.stage.Name, Attempt: a.stage.Attempt,
		InputHash: a.stage.InputHash, Parent: a.stage.Parent, AlgorithmVersion: a.version, Pinned: a.pinned,
		Spec: *a.pipeline.Spec.DeepCopy(), CacheBytes: cacheLimit(t).Value(),
		GraceSeconds: v1alpha1.Or(t.TerminationGracePeriodSeconds, v1alpha1.DefaultTermination), Status: a.status, SharedStore: a.shared,
	}
	switch {
	case !a.after.reads && a.after.measures != "":
		order.Measure = a.after.measures
	case a.after.helps > 0:
		order.Helper = a.after.helps
	case a.stage.Name == walk.Baseline:
		order.Pinned, order.First = nil, a.first
	}
	order.Spec.Template = v1alpha1.PodTemplate{}
	for i := range order.Spec.Stages {
		order.Spec.Stages[i].Template = v1alpha1.PodTemplate{}
	}
	data, err := json.Marshal(order)
	if err != nil {
		return "", fmt.Errorf("write the order of stage %s: %w", a.stage.Name, err)
	}
	text := strings.ReplaceAll(string(data), "$", `\u0024`)
	if len(text) > maxOrder {
		return "", fmt.Errorf("what stage %s is told takes %d bytes, more than the %d that fit into an environment variable: shorten classWeights or rules",
			a.stage.Name, len(text), maxOrder)
	}
	return text, nil
}

// The most that a status takes in publish's order, without the messages of failures: of every stage, and of the whole.
const (
	mostStageStatus = 1700
	mostStatus      = 8 << 10
)

// checkOrder reports a spec that makes an order to publish too long, which else would be told when all stages are over: it has the status
// with it.
func checkOrder(p *v1alpha1.OptimizationPipeline) error {
	last := attempt{pipeline: p, stage: &walk.Stage{Name: walk.Publish, Attempt: 1, InputHash: artifact.Digest(nil)}}
	text, err := last.order(p.Spec.EffectiveTemplate(nil))
	if err != nil {
		return err
	}
	stages := len(p.Spec.Stages) + 2 // baseline and publish
	if n := len(text) + mostStatus + stages*mostStageStatus; n > maxOrder {
		return fmt.Errorf("what stage %s is told may come to %d bytes, with the status of %d stages, more than the %d that fit into an environment variable: shorten classWeights or rules, or have fewer stages",
			walk.Publish, n, stages, maxOrder)
	}
	return nil
}

// environment of the container.
func environment(t v1alpha1.PodTemplate, order string, resources corev1.ResourceRequirements) []corev1.EnvVar {
	env := append([]corev1.EnvVar{{Name: stage.OrderEnv, Value: order}, {Name: "TMPDIR", Value: stage.CachePath}}, bounds(resources)...)
	for _, v := range t.Env { // later ones win
		env = append(env, corev1.EnvVar{Name: v.Name, Value: v.Value})
	}
	return env
}

func cacheLimit(t v1alpha1.PodTemplate) *resource.Quantity {
	if t.CacheSizeLimit != nil {
		return t.CacheSizeLimit
	}
	return ptr.To(resource.MustParse(v1alpha1.DefaultCacheSizeLimit))
}

// with merges maps; later ones win. The result is nobody else's.
func with(maps ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range maps {
		for key, value := range m {
			out[key] = value
		}
	}
	return out
}

// checkSpec reports what a cluster cannot do though `espalier run` can.
func checkSpec(spec *v1alpha1.OptimizationPipelineSpec) error {
	for i := range spec.Measurements {
		m := &spec.Measurements[i]
		if m.Image == "" {
			return fmt.Errorf("spec.measurements[%d] %s has no image: in a cluster name the one that has its command, by its digest", i, m.Name)
		}
		if m.Job != nil && (spec.Search != nil || spec.Stage(walk.Search) != nil) {
			return fmt.Errorf("spec.measurements[%d] %s has a Job of its own, and the trials of a search are all made in one: leave job out, so that it is measured beside them", i, m.Name)
		}
	}
	if spec.Artifacts == nil {
		return errors.New("spec.artifacts is missing: in a cluster stages keep what they make there; name an s3://, gs://, azblob:// or pvc:// address")
	}
	for _, place := range []struct{ field, uri string }{
		{"artifacts", spec.Artifacts.URI}, {"model", spec.Model.URI}, {"dataset", spec.Dataset.URI},
	} {
		scheme := v1alpha1.Scheme(place.uri)
		if scheme == "" || scheme == "file" && place.field == "artifacts" {
			return fmt.Errorf("spec.%s.uri %q is a path on one machine, which a Job's pod does not have: use an s3://, gs://, azblob:// or pvc:// address", place.field, place.uri)
		}
	}
	return nil
}
