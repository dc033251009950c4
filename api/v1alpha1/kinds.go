package v1alpha1

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// kinds say in words what the schema calls types.
var kinds = map[string]string{
	"string": "a text", "integer": "a whole number", "int32": "a whole number", "int64": "a whole number", "float64": "a number with a fraction", "number": "a number",
	"boolean": "true or false", "array": "a list", "object": "a mapping of fields", "null": "empty",
}

// wrongKind says that a value is a list, a text … where another kind is wanted, and how to write that.
func wrongKind(have string, at *structural.Structural) string {
	remedy := ""
	switch want := at.Type; {
	case have == "null":
		remedy = "give it a value, or leave it out"
	case want == "array":
		remedy = "write it in brackets, such as [a, b]"
	case want == "string" && have == "boolean":
		remedy = "quote it: y, yes, n, no, on and off are true and false without"
	case want == "string" && (have == "integer" || have == "float64" || have == "number"):
		remedy = "quote it"
	case want == "integer" && have == "string":
		remedy = "write digits, without quotes"
	case want == "boolean":
		remedy = "write true or false, without quotes"
	case want == "object" && len(at.Properties) > 0:
		remedy = fmt.Sprintf("its fields are %s", strings.Join(slices.Sorted(maps.Keys(at.Properties)), ", "))
	case want == "object":
		remedy = "write {name: value}"
	}
	text := fmt.Sprintf("is %s, want %s", word(have), word(at.Type))
	if remedy != "" {
		text += ": " + remedy
	}
	return text
}

func word(kind string) string {
	if known := kinds[kind]; known != "" {
		return known
	}
	return kind
}

// consequences drops what is said once more of a value that something else is said of already.
func consequences(problems field.ErrorList) field.ErrorList {
	path := func(p *field.Error) string { return strings.TrimPrefix(strings.TrimPrefix(p.Field, "<nil>."), "<nil>") }
	return slices.DeleteFunc(slices.Clone(problems), func(p *field.Error) bool {
		return slices.ContainsFunc(problems, func(other *field.Error) bool {
			at := path(other)
			again := at != "" && strings.HasSuffix(p.Detail, " in "+at) && strings.HasPrefix(p.Detail, "Checked value")
			return again || other.Type == field.ErrorTypeTypeInvalid && p.Type != other.Type && path(p) == at
		})
	})
}
