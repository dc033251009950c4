package v1alpha1

import "slices"

// technique is one of the sections of which every stage has one.
type technique struct {
	name    string // the field's, in JSON
	final   bool   // it yields a leaf only: no stage builds on it
	section func(*Stage) any
}

var techniques = []technique{
	{"fineTune", false, func(s *Stage) any { return defaulted(s.FineTune) }},
	{"prune", false, func(s *Stage) any { return defaulted(s.Prune) }},
	{"cluster", false, func(s *Stage) any { return defaulted(s.Cluster) }},
	{"quantize", true, func(s *Stage) any { return defaulted(s.Quantize) }},
}

// Techniques are the names of the techniques, in the order in which they usually follow each other.
func Techniques() []string {
	var names []string
	for _, t := range techniques {
		names = append(names, t.name)
	}
	return names
}

// defaulted returns a section with its defaults filled in, nil where there is none.
func defaulted[T interface{ Defaulted() T }](section *T) any {
	if section == nil {
		return nil
	}
	return (*section).Defaulted()
}

// Technique returns the name of the stage's technique and its section, such as a Prune, with its defaults filled in.
func (s *Stage) Technique() (name string, section any) {
	for _, t := range techniques {
		if section := t.section(s); section != nil {
			return t.name, section
		}
	}
	return "", nil
}

// Final reports whether the stage yields a leaf only, which no stage builds on.
func (s *Stage) Final() bool {
	name, _ := s.Technique()
	return isFinal(name)
}

func isFinal(name string) bool {
	return slices.ContainsFunc(techniques, func(t technique) bool { return t.name == name && t.final })
}

// isFinalObject is Final for a stage as it was written.
func isFinalObject(stage any) bool {
	return slices.ContainsFunc(techniques, func(t technique) bool { return t.final && has(stage, t.name) })
}
