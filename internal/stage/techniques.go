package stage

import (
	"fmt"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/optimizer/lineage"
)

// techniques make a stage's technique of its section, by its name.
var techniques = map[string]func(section any) (lineage.Technique, error){
	"fineTune": from(func(v1alpha1.FineTune) (lineage.Technique, error) { return lineage.FineTune{}, nil }),
	"prune":    from(pruneTechnique),
	"cluster":  from(clusterTechnique),
	"quantize": from(quantizeTechnique),
}

func from[Section any](convert func(Section) (lineage.Technique, error)) func(any) (lineage.Technique, error) {
	return func(section any) (lineage.Technique, error) { return convert(section.(Section)) }
}

// techniqueOf converts what a stage does.
func techniqueOf(s *v1alpha1.Stage) (lineage.Technique, error) {
	name, section := s.Technique()
	convert, ok := techniques[name]
	if !ok {
		return nil, fault.As(fault.Spec, fmt.Errorf("stage %q has no technique", s.Name))
	}
	return convert(section)
}
