package main

import (
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
)

const rules = "x-kubernetes-validations"

// open has every number of a schema, and of what is below it, be a JSON number or text.
func open(schema map[string]any, path string) error {
	if isNumber(schema) {
		return openNumber(schema, path)
	}
	properties, _ := schema["properties"].(map[string]any)
	if err := openRules(schema, properties); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for name, child := range children(schema) {
		if err := open(child, path+name); err != nil {
			return err
		}
	}
	return nil
}

// children are the schemas directly below one, by .name for a property and by [] for the entries of a list or map.
func children(schema map[string]any) iter.Seq2[string, map[string]any] {
	return func(yield func(string, map[string]any) bool) {
		properties, _ := schema["properties"].(map[string]any)
		for name, child := range properties {
			if child, ok := child.(map[string]any); ok && !yield("."+name, child) {
				return
			}
		}
		for _, name := range []string{"items", "additionalProperties"} {
			if child, ok := schema[name].(map[string]any); ok && !yield("[]", child) {
				return
			}
		}
	}
}

// isNumber tells a Decimal or Quotient from Kubernetes's own quantities and ports, which have an anyOf.
func isNumber(schema any) bool {
	fields, _ := schema.(map[string]any)
	return fields["x-kubernetes-int-or-string"] == true && fields["anyOf"] == nil
}

var (
	oneNumber = regexp.MustCompile(`^double\(self\) (>=|>|<=|<) (-?[0-9.]+)$`)
	presence  = regexp.MustCompile(`has\(self\.([A-Za-z]+)\)`)
)

// openNumber leaves the type of a number open. No object, list or boolean keeps within what is left: no object has both one field and
// none.
func openNumber(schema map[string]any, path string) error {
	for _, rule := range ruleTexts(schema) {
		for _, part := range strings.Split(rule, " && ") {
			m := oneNumber.FindStringSubmatch(part)
			if m == nil {
				return fmt.Errorf("%s: the rule %q is not the bounds of one number", path, rule)
			}
			bound, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				return fmt.Errorf("%s: %q: %w", path, rule, err)
			}
			name, exclusive := "maximum", "exclusiveMaximum"
			if strings.HasPrefix(m[1], ">") {
				name, exclusive = "minimum", "exclusiveMinimum"
			}
			schema[name] = bound
			if len(m[1]) == 1 {
				schema[exclusive] = true
			}
		}
	}
	delete(schema, rules)
	delete(schema, "x-kubernetes-int-or-string")
	schema["x-kubernetes-preserve-unknown-fields"] = true
	schema["not"] = map[string]any{"enum": []any{false, true}}
	schema["minItems"], schema["maxItems"] = 1, 0
	schema["minProperties"], schema["maxProperties"] = 1, 0
	return nil
}

// openRules has an object's rules see no more of its numbers than whether they are there. Those that need more go.
func openRules(schema, properties map[string]any) error {
	list, _ := schema[rules].([]any)
	var kept []any
	for _, r := range list {
		rule, _ := r.(map[string]any)
		text, _ := rule["rule"].(string)
		if strings.Contains(text, "double(") {
			continue
		}
		rule["rule"] = presence.ReplaceAllStringFunc(text, func(call string) string {
			if name := presence.FindStringSubmatch(call)[1]; isNumber(properties[name]) {
				return "has(dyn(self)." + name + ")"
			}
			return call
		})
		kept = append(kept, rule)
	}
	delete(schema, rules)
	if len(kept) > 0 {
		schema[rules] = kept
	}
	for name, child := range properties {
		used := regexp.MustCompile(`[^)]\.` + name + `\b`)
		for _, rule := range ruleTexts(schema) {
			if isNumber(child) && used.MatchString(strings.ReplaceAll(rule, "dyn(self)", "()")) {
				return fmt.Errorf("the rule %q reads the number %s: compare it as double(self.%s)", rule, name, name)
			}
		}
	}
	return nil
}

// ruleTexts are a schema's rules.
func ruleTexts(schema map[string]any) []string {
	list, _ := schema[rules].([]any)
	out := make([]string, len(list))
	for i, r := range list {
		rule, _ := r.(map[string]any)
		out[i], _ = rule["rule"].(string)
	}
	return out
}
