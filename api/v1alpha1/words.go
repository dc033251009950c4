package v1alpha1

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// inWords says one finding in a sentence: the value that is at fault, and what is allowed. s is the schema, nil for metadata.
func inWords(p *field.Error, path string, s *structural.Structural) string {
	var at *structural.Structural
	if s != nil {
		at = lookUp(s, path)
	}
	detail := plain(strings.ReplaceAll(p.Detail, path+" in body ", ""))
	switch p.Type {
	case field.ErrorTypeTypeInvalid:
		switch {
		case at == nil:
		case at.XIntOrString:
			return fmt.Sprintf("%v is not a number such as 3, 0.5 or 1e-4", p.BadValue)
		default:
			return wrongKind(fmt.Sprint(p.BadValue), at)
		}
	case field.ErrorTypeNotSupported:
		if at != nil && at.ValueValidation != nil {
			var names []string
			for _, v := range at.ValueValidation.Enum {
				names = append(names, fmt.Sprint(v.Object))
			}
			return fmt.Sprintf("%v is not known%s", p.BadValue, suggestion(fmt.Sprint(p.BadValue), names))
		}
	case field.ErrorTypeRequired:
		if detail == "" {
			return "is missing"
		}
		return "is missing: " + detail
	case field.ErrorTypeDuplicate:
		return twice(p.BadValue)
	case field.ErrorTypeTooMany:
		return fmt.Sprintf("has %v entries: %s", p.BadValue, detail)
	case field.ErrorTypeTooLong:
		return "is too long: " + detail
	case field.ErrorTypeInvalid:
		if at != nil && at.ValueValidation != nil && strings.HasPrefix(detail, "should match '") {
			if words, known := patternWords[at.ValueValidation.Pattern]; known {
				detail = "want " + words
			}
		}
		if value, short := quoted(p.BadValue); short {
			return fmt.Sprintf("%s is not allowed: %s", value, detail)
		}
		return detail
	}
	return strings.ReplaceAll(p.ErrorBody(), path+" in body ", "")
}

// bounds are the ways in which a validator says a bound, and how it is said here.
var bounds = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{regexp.MustCompile(`^should be greater than or equal to (\S+)$`), "must be at least $1"},
	{regexp.MustCompile(`^should be less than or equal to (\S+)$`), "must be at most $1"},
	{regexp.MustCompile(`^(?:should|must) have at least (\d+) (?:items|properties)$`), "must have at least $1"},
	{regexp.MustCompile(`^(?:should|must) have at most (\d+) (?:items|properties)$`), "must have at most $1"},
	{regexp.MustCompile(`^should be at least 1 chars long$`), "must not be empty"},
	{regexp.MustCompile(`^should be at least (\d+) chars long$`), "must have at least $1 characters"},
	{regexp.MustCompile(`^(?:should be at most|may not be more than|may not be longer than) (\d+)(?: chars long| bytes| characters)?$`), "must have at most $1 characters"},
	{regexp.MustCompile(`^a (?:lowercase )?RFC 1123 (?:subdomain|label).*$`), "want a-z, 0-9, - and ., beginning and ending with a letter or digit"},
	{regexp.MustCompile(` \(e\.g\. .*$`), ""},
}

// plain says a bound without the validator's turns of phrase.
func plain(detail string) string {
	for _, b := range bounds {
		detail = b.theirs.ReplaceAllString(detail, b.ours)
	}
	if fields, one := strings.CutPrefix(detail, "exactly one of the fields in ["); one {
		fields, _, _ = strings.Cut(fields, "]")
		return "give it exactly one of " + strings.ReplaceAll(fields, " ", ", ")
	}
	return detail
}

// quoted is a value as a user wrote it, false where it is long or no single value.
func quoted(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return fmt.Sprintf("%q", value), len(value) <= 100
	case int64, int32, float64, float32, bool, int:
		return fmt.Sprint(value), true
	}
	return "", false
}

// twice says what an entry of a list has that another one has too.
func twice(value any) string {
	keys, ok := value.(map[string]any)
	if !ok {
		return fmt.Sprintf("%v is there twice: leave one out", value)
	}
	if metric, of := keys["metric"]; of {
		on := fmt.Sprint(metric)
		if output := fmt.Sprint(keys["output"]); keys["output"] != nil && output != "" {
			on += " of output " + output
		}
		return fmt.Sprintf("another constraint is on %s already: one constraint may have both min and max", on)
	}
	var said []string
	for key, v := range keys {
		said = append(said, fmt.Sprintf("%s %v", key, v))
	}
	slices.Sort(said)
	return fmt.Sprintf("another one before it has %s too: each is to have its own", strings.Join(said, " and "))
}
