package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"espalier.dev/espalier/api/v1alpha1"
)

// generator writes one section a type, in the order in which fields name them.
type generator struct {
	comments map[string]string // of types, by name
	known    map[reflect.Type]bool
	queue    []section
	missing  []string // fields without a comment
	out      strings.Builder
}

type section struct {
	t      reflect.Type
	schema *apiextensionsv1.JSONSchemaProps
	path   string
}

const introText = `# The manifest, field by field

<!-- Made by go generate ./hack/reference from api/v1alpha1. Change the comments there. -->

%s

` + "`kubectl explain optpipe.spec`" + ` says the same in a terminal. The manifest is the same for ` + "`espalier run`" + ` and for a cluster; fields under
**template** and those about Jobs count in a cluster only. A field in **bold** is required. Numbers that are a *decimal* mean exactly the
decimal that is written, with or without quotes: ` + "`3`, `0.5`, `1e-4`, `\"0.5\"`" + `; a *quotient* may also be ` + "`\"1/255\"`" + `. Without quotes YAML and
a cluster keep 15 digits. A cluster refuses a number beyond its bounds as it is applied; one in quotes, and two that contradict each other, the
operator refuses with reason InvalidSpec.

` + "```yaml" + `
apiVersion: %s
kind: %s
metadata: {name: my-model}        # a DNS label of at most 63 characters
spec:   …
status: …                         # written by the operator, and by espalier run into result.json
` + "```" + `
`

func (g *generator) intro(root *apiextensionsv1.JSONSchemaProps) {
	fmt.Fprintf(&g.out, introText, g.comments[v1alpha1.Kind], v1alpha1.GroupVersion, v1alpha1.Kind)
	g.rules(root)
}

// section writes a type's fields, and queues the types that they are of.
func (g *generator) section(t reflect.Type, schema *apiextensionsv1.JSONSchemaProps, path string) {
	fmt.Fprintf(&g.out, "\n### %s\n\n`%s`", t.Name(), path)
	if text := g.comments[t.Name()]; text != "" {
		fmt.Fprintf(&g.out, " · %s", escape(text))
	}
	if t.Kind() != reflect.Struct {
		fmt.Fprintf(&g.out, "\n\nOne of %s.\n", enum(schema))
		return
	}
	g.out.WriteString("\n\n| field | type | what it says |\n|---|---|---|\n")
	g.fields(t, schema, path)
	g.rules(schema)
}

// fields writes a row a field, and one for all fields of an embedded type.
func (g *generator) fields(t reflect.Type, schema *apiextensionsv1.JSONSchemaProps, path string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			fmt.Fprintf(&g.out, "| *and those of* | %s | |\n", g.own(f.Type, schema, path))
			continue
		}
		property, known := schema.Properties[name]
		if !known {
			g.missing = append(g.missing, path+"."+name+" (no such property)")
			continue
		}
		if property.Description == "" {
			g.missing = append(g.missing, path+"."+name)
		}
		shown := "`" + name + "`"
		if slices.Contains(schema.Required, name) {
			shown = "**" + shown + "**"
		}
		fmt.Fprintf(&g.out, "| %s | %s | %s%s |\n", shown, g.typeOf(f.Type, &property, path+"."+name), escape(sentence(name, property.Description)), bounds(&property))
	}
}

// sentence is a field's comment for a table: the name that it begins with, as Go's comments do, stands in the first column.
func sentence(name, text string) string {
	text = oneLine(text)
	if rest, found := strings.CutPrefix(text, name+": "); found {
		text = rest
	}
	return text
}

// typeOf names a field's type, and queues it where it has a section of its own.
func (g *generator) typeOf(t reflect.Type, schema *apiextensionsv1.JSONSchemaProps, path string) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return g.typeOf(t.Elem(), schema, path)
	case t.Kind() == reflect.Slice:
		return "list of " + g.typeOf(t.Elem(), schema.Items.Schema, path+"[]")
	case t.Kind() == reflect.Map:
		return "map of strings"
	case strings.HasSuffix(t.PkgPath(), "espalier/api/v1alpha1"):
		return g.own(t, schema, path)
	case kubernetes[t.Name()] != "":
		return fmt.Sprintf("[%s](%s)", t.Name(), kubernetes[t.Name()])
	case schema.XIntOrString:
		return "quantity"
	case schema.Type == "integer", schema.Type == "boolean":
		return schema.Type
	case schema.Format == "date-time":
		return "time"
	case len(schema.Enum) > 0:
		return enum(schema)
	default:
		return "string"
	}
}

// own names a type of the API.
func (g *generator) own(t reflect.Type, schema *apiextensionsv1.JSONSchemaProps, path string) string {
	switch {
	case t.Kind() == reflect.Struct, len(schema.Enum) > 0 && g.comments[t.Name()] != "":
		if !g.known[t] {
			g.known[t] = true
			g.queue = append(g.queue, section{t, schema, path})
		}
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	case schema.XIntOrString:
		return "*" + strings.ToLower(t.Name()) + "*"
	default:
		return enum(schema)
	}
}

const kubernetesAPI = "https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.37/"

// kubernetes are the types that are Kubernetes's, where its reference has them.
var kubernetes = map[string]string{
	"Affinity":             kubernetesAPI + "#affinity-v1-core",
	"Toleration":           kubernetesAPI + "#toleration-v1-core",
	"ResourceRequirements": kubernetesAPI + "#resourcerequirements-v1-core",
	"Condition":            kubernetesAPI + "#condition-v1-meta",
}

func enum(schema *apiextensionsv1.JSONSchemaProps) string {
	var values []string
	for _, v := range schema.Enum {
		values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
	}
	if len(values) == 0 {
		return "string"
	}
	return strings.Join(values, ", ")
}

// bounds says what the schema holds a field to, where that is not its type.
func bounds(s *apiextensionsv1.JSONSchemaProps) string {
	var parts []string
	add := func(format string, values ...any) { parts = append(parts, fmt.Sprintf(format, values...)) }
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		add("%.0f to %.0f", *s.Minimum, *s.Maximum)
	case s.Minimum != nil:
		add("at least %.0f", *s.Minimum)
	case s.Maximum != nil:
		add("at most %.0f", *s.Maximum)
	}
	switch {
	case s.MinItems != nil && s.MaxItems != nil && *s.MinItems == *s.MaxItems:
		add("%d entries", *s.MaxItems)
	case s.MinItems != nil && s.MaxItems != nil:
		add("%d to %d entries", *s.MinItems, *s.MaxItems)
	case s.MaxItems != nil:
		add("at most %d entries", *s.MaxItems)
	case s.MaxProperties != nil:
		add("at most %d entries", *s.MaxProperties)
	}
	for _, rule := range s.XValidations {
		if rule.Message != "" && s.Type != "object" && s.Type != "array" {
			add("%s", rule.Message)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " *(" + escape(strings.Join(parts, "; ")) + ")*"
}

// rules writes what the schema checks across a type's fields.
func (g *generator) rules(schema *apiextensionsv1.JSONSchemaProps) {
	var all []string
	for _, rule := range schema.XValidations {
		all = append(all, rule.Message)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property := schema.Properties[name]
		if property.Type == "array" || property.Type == "object" && property.AdditionalProperties != nil {
			for _, rule := range property.XValidations {
				all = append(all, rule.Message)
			}
		}
	}
	if len(all) == 0 {
		return
	}
	g.out.WriteString("\nChecked by the API server and by `espalier run`:\n\n")
	for _, message := range all {
		fmt.Fprintf(&g.out, "- %s\n", escape(message))
	}
}

// escape keeps text from being Markdown that it is not meant to be.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;", ">", "&gt;").Replace(text)
}
