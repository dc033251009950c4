package measure

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/answer"
)

func TestOutputsThatAnswerAllSamplesAlikeAreFound(t *testing.T) {
	classes := func(samples int, of ...int) *Answers { return choicesOf(answer.Classes, samples, nil, of) }
	values := func(samples int, of ...float32) *Answers {
		return &Answers{samples: samples, columns: []*column{{out: &answer.Output{Kind: answer.Values}, samples: samples, values: of}}}
	}
	for name, c := range map[string]struct {
		leaf, original *Answers
		want           []Alike
	}{
		"one class":                             {classes(5, 2, 2, 2, 2, 2), classes(5, 0, 1, 2, 0, 1), []Alike{{Otherwise: 4}}},
		"one class that the original never has": {classes(4, 2, 2, 2, 2), classes(4, 0, 1, 0, 1), []Alike{{Otherwise: 4}}},
		"two classes":                           {classes(5, 2, 2, 2, 2, 1), classes(5, 0, 1, 2, 0, 1), nil},
		"as the original":                       {classes(4, 1, 1, 1, 1), classes(4, 1, 1, 1, 1), nil},
		"an original that answers all alike":    {classes(4, 1, 1, 1, 1), classes(4, 0, 0, 0, 0), nil},
		"what may be chance":                    {classes(4, 1, 1, 1, 1), classes(4, 1, 0, 1, 0), nil},
		"the same map for every sample":         {classes(3, 0, 1, 0, 1, 0, 1), classes(3, 1, 1, 0, 0, 2, 1), []Alike{{Otherwise: 3}}},
		"maps that differ":                      {classes(3, 0, 1, 0, 1, 1, 1), classes(3, 1, 1, 0, 0, 2, 1), nil},
		"one number":                            {values(3, 0.5, 0.5, 0.5), values(3, 1, 2, 3), []Alike{{Otherwise: 3}}},
		"numbers":                               {values(3, 0.5, 0.5, 0.6), values(3, 1, 2, 3), nil},
		"one embedding":                         {values(3, 1, 0, 1, 0, 1, 0), values(3, 1, 0, 0, 1, 0, 1), nil},
		"other samples":                         {classes(5, 2, 2, 2, 2, 2), classes(4, 0, 1, 2, 0), nil},
		"no original":                           {classes(5, 2, 2, 2, 2, 2), nil, nil},
		"no choices":                            {values(3), values(3), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.leaf.Alike(c.original)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
