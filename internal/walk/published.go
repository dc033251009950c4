package walk

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

// Reasons of the condition Published.
const (
	ReasonPublished         = "Published"
	ReasonEarlierGeneration = "EarlierGeneration" // what is published is another generation's answer
	ReasonWithdrawn         = "Withdrawn"
	ReasonNotPublished      = "NotPublished"
	ReasonEarlierPipeline   = "EarlierPipeline" // nothing is, but a pipeline of the name left files in the store
)

// NothingPublished reports whether the pipeline never put anything where people look: what is there is of an earlier one of its name.
func (f Facts) NothingPublished() bool { return f.Published == nil && f.Stages[Publish].Attempt == 0 }

// recordPublished takes up what a status says is published. One of a version that did not say so published what it selected.
func (f *Facts) recordPublished(status *v1alpha1.OptimizationPipelineStatus) {
	f.Published = status.Published.DeepCopy()
	for i := range status.Stages {
		s := &status.Stages[i]
		if s.Name != Publish || s.State != v1alpha1.StageCompleted {
			continue
		}
		if taken := status.Selected; f.Published == nil && taken != nil {
			f.Published = &v1alpha1.Published{
				Generation: status.ObservedGeneration, Stage: taken.Stage, Digest: taken.Digest, Metrics: taken.DeepCopy().Metrics, Time: s.CompletionTime,
			}
		}
	}
}

// published is the leaf that is for use. A publication that is over puts the leaf that was taken in place of the one before, or nothing
// where every leaf was judged and none was taken. Until then, and where the walk ends undecided, the one before stands.
func (d *Decision) published(facts Facts, shown Shown) *v1alpha1.Published {
	before := facts.Published.DeepCopy()
	if before != nil && before.URI == "" && shown.StoredURI != nil {
		before.URI = shown.StoredURI(before.Digest)
	}
	publish, taken := d.Stage(Publish), d.Stage(d.Selected)
	switch {
	case publish == nil || publish.State != v1alpha1.StageCompleted || !d.judged:
		return before
	case taken == nil:
		return nil
	}
	leaf := taken.fact.Leaf.DeepCopy()
	out := &v1alpha1.Published{Generation: shown.Generation, Stage: taken.Name, Digest: leaf.Digest, Metrics: leaf.Metrics, Time: publish.fact.Ended.DeepCopy()}
	switch {
	case before != nil && before.Digest == out.Digest && before.Time.Equal(out.Time): // the very publication that is recorded
		out.URI = before.URI
	case shown.PublishedURI != nil:
		out.URI = shown.PublishedURI(leaf.Digest)
	}
	return out
}

// publishedCondition says what is published or, where nothing is, what became of what was. That is remembered in the condition itself.
func (d *Decision) publishedCondition(facts Facts, now *v1alpha1.Published, previous []metav1.Condition, shown Shown) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionPublished, Status: truth(now != nil)}
	generation := shown.Generation
	before, left, over := find(previous, c.Type), d.Stage(Baseline).fact.Earlier, d.Stage(Publish).State == v1alpha1.StageCompleted
	switch {
	case now != nil && now.Generation == generation:
		c.Reason, c.Message = ReasonPublished, fmt.Sprintf("the leaf of %s is published", now.Stage)
	case now != nil:
		c.Reason = ReasonEarlierGeneration
		c.Message = fmt.Sprintf("the leaf of %s, published for generation %d, stands until generation %d publishes its answer", now.Stage, now.Generation, generation)
	case facts.Published != nil:
		c.Reason = ReasonWithdrawn
		c.Message = fmt.Sprintf("the leaf of %s (%s), published for generation %d, is withdrawn: no leaf meets the constraints of generation %d",
			facts.Published.Stage, facts.Published.Digest, facts.Published.Generation, generation)
		if shown.elsewhere(facts.Published) {
			c.Message += fmt.Sprintf("; it was published in another store, where %s stays, and leaf.tflite beside it", facts.Published.URI)
		}
	case left > 0 && !over:
		c.Reason = ReasonEarlierPipeline
		c.Message = fmt.Sprintf("no leaf is published; an earlier pipeline of this name left %s in the store: its leaf.tflite is withdrawn, the rest stays until this one publishes", counted(int(left), "file"))
	case before.Reason == ReasonWithdrawn, before.Reason == ReasonEarlierPipeline && !over:
		c.Reason, c.Message = before.Reason, before.Message
	default:
		c.Reason, c.Message = ReasonNotPublished, "no leaf is published"
	}
	c.Message = Truncate(c.Message, v1alpha1.MaxStageMessage)
	return c
}

// elsewhere reports whether a leaf was published in another store than the one that is written to now, as far as both are known.
func (s Shown) elsewhere(p *v1alpha1.Published) bool {
	known := p.URI != "" && s.PublishedURI != nil && s.StoredURI != nil
	return known && p.URI != s.PublishedURI(p.Digest) && p.URI != s.StoredURI(p.Digest)
}

// find returns the condition of a type, an empty one where there is none.
func find(conditions []metav1.Condition, kind string) metav1.Condition {
	for _, c := range conditions {
		if c.Type == kind {
			return c
		}
	}
	return metav1.Condition{}
}
