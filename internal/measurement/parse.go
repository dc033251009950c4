package measurement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/optimizer/measure"
)

// MaxOutput bounds what a program prints, in bytes.
const MaxOutput = 64 << 10

// tooLarge is the least number that has no room in a status.
const tooLarge = 1e15

var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,26}$`)

// Parse reads what the program of a measurement printed: {"metrics": {"NAME": NUMBER or null}}, each metric that it is to give once, and
// nothing else. Those that are null are left out. Errors quote nothing but names in small letters, digits and _.
func Parse(output []byte, m *v1alpha1.Measurement) ([]v1alpha1.MetricValue, error) {
	if len(output) > MaxOutput {
		return nil, errLong
	}
	given := m.Gives()
	if len(bytes.TrimSpace(output)) == 0 {
		return nil, fmt.Errorf("it printed nothing; it is to print %s", example(given))
	}
	found, err := read(output)
	if err != nil {
		return nil, fmt.Errorf("what it printed is not what it is to print, %s alone: %w", example(given), err)
	}
	var out []v1alpha1.MetricValue
	for _, g := range given {
		i := slices.IndexFunc(found, func(p printed) bool { return p.name == g.Name })
		if i < 0 {
			return nil, fmt.Errorf("it did not print %s: have it print a number, or null where the leaf has none", g.Name)
		}
		p := found[i]
		found = slices.Delete(found, i, i+1)
		if p.null {
			continue
		}
		text, err := written(p.value)
		if err != nil {
			return nil, fmt.Errorf("%s %w", g.Name, err)
		}
		out = append(out, v1alpha1.MetricValue{Name: g.Name, Value: text})
	}
	if len(found) > 0 {
		name := "a metric whose name is none, of small letters, digits and _,"
		if metricName.MatchString(found[0].name) {
			name = found[0].name
		}
		return nil, fmt.Errorf("it printed %s which it is not to give: add it to the measurement's metrics, or have it print those alone", name)
	}
	return out, nil
}

// example is what a program is to print.
func example(given []v1alpha1.MeasuredMetric) string {
	parts := make([]string, len(given))
	for i, g := range given {
		parts[i] = fmt.Sprintf(`"%s": 123`, g.Name)
	}
	return `{"metrics": {` + strings.Join(parts, ", ") + `}}`
}

// written is a number as a status has it.
func written(v float64) (string, error) {
	text := measure.Format(v)
	switch {
	case math.Abs(v) >= tooLarge:
		return "", fmt.Errorf("is 10¹⁵ or more: give it in a larger unit")
	case v != 0 && text == "0":
		return "", errors.New("is less than 0.000001, which is the last place that is kept: give it in a smaller unit")
	}
	if len(text) > v1alpha1.MaxMetricValue {
		text, _, _ = strings.Cut(text, ".")
	}
	return text, nil
}

// printed is one metric as it was read.
type printed struct {
	name  string
	value float64
	null  bool
}

// read takes the output apart. A name that is there twice is an error.
func read(output []byte) ([]printed, error) {
	d := json.NewDecoder(bytes.NewReader(output))
	d.UseNumber()
	token := func() json.Token {
		t, err := d.Token()
		if err != nil {
			return err
		}
		return t
	}
	wrong := func(what string) error { return fmt.Errorf("at byte %d %s", d.InputOffset(), what) }
	for _, want := range []json.Token{json.Delim('{'), "metrics", json.Delim('{')} {
		if token() != want {
			return nil, wrong("it is something else")
		}
	}
	var out []printed
	for d.More() {
		name, ok := token().(string)
		if !ok {
			return nil, wrong("there is no name of a metric")
		}
		if slices.ContainsFunc(out, func(p printed) bool { return p.name == name }) {
			return nil, wrong("a metric is there a second time")
		}
		p := printed{name: name}
		switch v := token().(type) {
		case json.Number:
			var err error
			if p.value, err = v.Float64(); err != nil {
				return nil, wrong("a number is too large")
			}
		case nil:
			p.null = true
		default:
			return nil, wrong("there is no number: NaN, infinities and numbers in quotes are none")
		}
		out = append(out, p)
	}
	for range 2 {
		if token() != json.Delim('}') {
			return nil, wrong("it does not end")
		}
	}
	if err, ended := token().(error); !ended || !errors.Is(err, io.EOF) {
		return nil, wrong("more follows: what is for people belongs on standard error")
	}
	return out, nil
}
