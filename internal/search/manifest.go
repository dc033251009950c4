package search

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/walk"
)

// Run returns the spec that the walk sees of a search: the trials are its stages, and the selection is what the search minimizes.
func Run(spec *v1alpha1.OptimizationPipelineSpec, stages []v1alpha1.Stage) v1alpha1.OptimizationPipelineSpec {
	out := *spec.DeepCopy()
	out.Stages = stages
	if out.Search.Minimize != "" {
		out.Selection = v1alpha1.Selection{Strategy: v1alpha1.SelectBest, Objective: out.Search.Minimize}
	}
	return out
}

// Whole returns the spec that the walk sees of a search whose trials all run in one stage, as in a cluster; a spec with stages of its own
// as it is.
func Whole(spec *v1alpha1.OptimizationPipelineSpec) v1alpha1.OptimizationPipelineSpec {
	if spec.Search == nil {
		return *spec
	}
	return Run(spec, []v1alpha1.Stage{{Name: walk.Search}})
}

// Manifest is the plain pipeline whose stages make the leaf of a trial again, byte for byte; nil where the trial is none of the plan.
func Manifest(p *v1alpha1.OptimizationPipeline, plan *Plan, trial string) *v1alpha1.OptimizationPipeline {
	var chain []v1alpha1.Stage
	for i := len(plan.Trials) - 1; i >= 0; i-- {
		if stage := plan.Trials[i].Stage; stage.Name == trial {
			chain, trial = append(chain, stage), stage.From
		}
	}
	if chain == nil {
		return nil
	}
	slices.Reverse(chain)
	out := &v1alpha1.OptimizationPipeline{TypeMeta: p.TypeMeta, Spec: Run(&p.Spec, chain)}
	out.ObjectMeta = metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, Labels: p.Labels, Annotations: p.Annotations}
	out.Spec.Leaf = p.Spec.EffectiveLeaf(nil)
	out.Spec.Search = nil
	return out
}
