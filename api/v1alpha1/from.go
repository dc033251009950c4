package v1alpha1

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The messages of the rules on from. They are rules of the whole list, and too costly there to name a stage.
const (
	fromUnknown = "from must name a stage of this pipeline, or be model"
	fromLater   = "from must name an earlier stage: move that stage up"
	fromLeaf    = "from must name a stage that yields a model: a quantize stage yields only a leaf"
)

// locate says of a broken rule on from which stages break it, and what they may say. Another problem stays as it is.
func locate(problem *field.Error, object map[string]any) field.ErrorList {
	if !slices.Contains([]string{fromUnknown, fromLater, fromLeaf}, problem.Detail) {
		return field.ErrorList{problem}
	}
	spec, _ := object["spec"].(map[string]any)
	stages, _ := spec["stages"].([]any)
	var out field.ErrorList
	for i := range stages {
		from := text(stages[i], "from")
		named := slices.IndexFunc(stages, func(s any) bool { return text(s, "name") == from })
		broken := map[string]bool{
			fromUnknown: from != FromModel && named < 0, fromLater: named >= i, fromLeaf: named >= 0 && isFinalObject(stages[named]),
		}
		if from != "" && broken[problem.Detail] {
			path := field.NewPath("spec", "stages").Index(i).Child("from")
			out = append(out, field.Invalid(path, from, problem.Detail+"; allowed here: "+strings.Join(inputs(stages[:i]), ", ")))
		}
	}
	if len(out) == 0 {
		return field.ErrorList{problem}
	}
	return out
}

// inputs are what a stage after others may work on.
func inputs(earlier []any) []string {
	out := []string{FromModel}
	for _, s := range earlier {
		if !isFinalObject(s) {
			out = append(out, text(s, "name"))
		}
	}
	return out
}

func text(object any, name string) string {
	fields, _ := object.(map[string]any)
	value, _ := fields[name].(string)
	return value
}

func has(object any, name string) bool {
	fields, _ := object.(map[string]any)
	_, found := fields[name]
	return found
}
