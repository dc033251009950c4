package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	prefix    = "espalier-"                   // of every name in the manifests
	namespace = "espalier-system"             // of the manifests
	manager   = "espalier-controller-manager" // Deployment, service account and NetworkPolicy

	apiServerRule = 1 // of the egress policy, after that for DNS
)

func (o object) name() string { return o.metadata()["name"].(string) }

func (o object) metadata() map[string]any { return o["metadata"].(map[string]any) }

// conditions are the values that objects depend on, by kind and name.
var conditions = map[string]string{
	"CustomResourceDefinition optimizationpipelines.espalier.dev": ".Values.crds.install",
	"NetworkPolicy espalier-controller-manager":                   ".Values.networkPolicy.ingress",
	"NetworkPolicy espalier-controller-manager-egress":            ".Values.networkPolicy.egress",
	"ClusterRole espalier-metrics-auth":                           ".Values.metrics.enabled",
	"ClusterRoleBinding espalier-metrics-auth":                    ".Values.metrics.enabled",
	"ClusterRole espalier-metrics-reader":                         ".Values.metrics.enabled",
	"ServiceAccount espalier-metrics-scraper":                     ".Values.metrics.podMonitor",
	"Secret espalier-metrics-scraper":                             ".Values.metrics.podMonitor",
	"ClusterRoleBinding espalier-metrics-scraper":                 ".Values.metrics.podMonitor",
	"PodMonitor espalier-controller-manager":                      ".Values.metrics.podMonitor",
	"PrometheusRule espalier-controller-manager":                  ".Values.metrics.rules",
	"ConfigMap espalier-dashboard":                                ".Values.metrics.dashboard",
	"ClusterRole espalier-manager":                                "not .Values.namespaces",
	"ClusterRoleBinding espalier-manager":                         "not .Values.namespaces",
}

// templates returns a template for each object by its path in the chart. The namespace is left out: helm has --create-namespace.
func templates(objects []object) (map[string][]byte, error) {
	files, used := map[string][]byte{}, map[string]bool{}
	names := map[string]bool{}
	for _, o := range objects {
		names[o.name()] = true
	}
	for _, o := range objects {
		kind, _ := o["kind"].(string)
		if kind == "Namespace" {
			continue
		}
		key, short := kind+" "+o.name(), strings.TrimPrefix(o.name(), prefix)
		t := &templating{names: names}
		if err := t.fill(key, o); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		text, err := t.text(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		if c := conditions[key]; c != "" {
			text = "{{- if " + c + " }}\n" + text + "{{- end }}\n"
			used[key] = true
		}
		if key == "ClusterRole espalier-manager" || key == "ClusterRoleBinding espalier-manager" {
			inEach, err := t.inEachNamespace(o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			text += inEach
		}
		files["templates/"+strings.ToLower(kind)+"-"+short+".yaml"] = []byte(text)
	}
	for key := range conditions {
		if !used[key] {
			return nil, fmt.Errorf("there is no %s", key)
		}
	}
	return files, nil
}

// templating puts tokens into an object, which become parts of a template in its text.
type templating struct {
	names  map[string]bool // of all objects
	tokens []token
}

// token is what stands for a token: an expression in place, or lines in place of its whole line, made from the line's indent and key.
type token struct {
	expression string
	lines      func(indent, key string) string
}

func (t *templating) add(n token) string {
	t.tokens = append(t.tokens, n)
	return fmt.Sprintf("TOKEN%dTOKEN", len(t.tokens)-1)
}

func (t *templating) expression(e string) string { return t.add(token{expression: "{{ " + e + " }}"}) }

// block is a value written as YAML below its key; without a value the key is left out.
func (t *templating) block(value string) string {
	return t.add(token{lines: func(indent, key string) string {
		return fmt.Sprintf("%[1]s{{- with %[2]s }}\n%[1]s%[3]s\n%[1]s{{- toYaml . | nindent %[4]d }}\n%[1]s{{- end }}\n", indent, value, key, len(indent)+2)
	}})
}

// common replaces what differs in every object: names, the namespace, labels.
func (t *templating) common(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = t.common(inner)
		}
		if v["app.kubernetes.io/name"] == "espalier" {
			v["app.kubernetes.io/instance"] = t.expression("$.Release.Name | quote")
		}
		if v["app.kubernetes.io/managed-by"] == "kustomize" {
			v["app.kubernetes.io/managed-by"] = t.expression("$.Release.Service")
		}
	case []any:
		for i, inner := range v {
			v[i] = t.common(inner)
		}
	case string:
		switch {
		case v == namespace:
			return t.expression("$.Release.Namespace | quote")
		case strings.HasPrefix(v, prefix) && t.names[v]:
			return t.expression(`include "espalier.fullname" $`) + "-" + strings.TrimPrefix(v, prefix)
		}
	}
	return value
}

// fill puts the tokens into an object.
func (t *templating) fill(key string, o object) error {
	t.common(map[string]any(o))
	labels, _ := o.metadata()["labels"].(map[string]any)
	if labels == nil {
		labels = map[string]any{}
		o.metadata()["labels"] = labels
	}
	labels["app.kubernetes.io/name"] = "espalier"
	labels["app.kubernetes.io/instance"] = t.expression("$.Release.Name | quote")
	labels["app.kubernetes.io/managed-by"] = t.expression("$.Release.Service")
	labels["app.kubernetes.io/version"] = t.expression("$.Chart.AppVersion | quote")
	labels["helm.sh/chart"] = t.expression(`printf "%s-%s" $.Chart.Name $.Chart.Version | quote`)
	for name := range labels {
		if strings.HasPrefix(name, "rbac.authorization.k8s.io/aggregate-to-") {
			labels[name] = t.expression("$.Values.roles.aggregate | quote")
		}
	}
	switch key {
	case "CustomResourceDefinition optimizationpipelines.espalier.dev":
		annotations := o.metadata()["annotations"].(map[string]any)
		annotations["helm.sh/resource-policy"] = t.add(token{lines: func(indent, _ string) string {
			return indent + "{{- if .Values.crds.keep }}\n" + indent + "helm.sh/resource-policy: keep\n" + indent + "{{- end }}\n"
		}})
	case "ServiceAccount espalier-controller-manager":
		o.metadata()["annotations"] = t.block("$.Values.serviceAccountAnnotations")
	case "NetworkPolicy espalier-controller-manager-egress":
		return t.egress(o)
	case "Deployment espalier-controller-manager":
		return t.deployment(o)
	}
	return nil
}

func (t *templating) egress(o object) error {
	rules, _ := at(map[string]any(o), "spec", "egress").([]any)
	if len(rules) != apiServerRule+1 {
		return fmt.Errorf("%d rules, want one for DNS and one for the API server", len(rules))
	}
	rules[apiServerRule].(map[string]any)["ports"] = []any{t.add(token{lines: func(indent, _ string) string {
		return indent + "{{- range .Values.networkPolicy.apiServerPorts }}\n" + indent + "- {protocol: TCP, port: {{ . }}}\n" + indent + "{{- end }}\n"
	}})}
	return nil
}

func (t *templating) deployment(o object) error {
	spec, _ := at(map[string]any(o), "spec").(map[string]any)
	template, _ := at(spec, "template").(map[string]any)
	pod, _ := at(template, "spec").(map[string]any)
	containers, _ := at(pod, "containers").([]any)
	if len(containers) != 1 {
		return fmt.Errorf("%d containers", len(containers))
	}
	container := containers[0].(map[string]any)
	image := container["image"]
	found := false
	for _, e := range container["env"].([]any) {
		if variable := e.(map[string]any); variable["value"] == image {
			variable["value"] = t.expression(`include "espalier.image" $ | quote`)
			found = true
		}
	}
	if !found {
		return errors.New("no variable has the manager's image")
	}
	container["image"] = t.expression(`include "espalier.image" $ | quote`)
	container["imagePullPolicy"] = t.expression("$.Values.image.pullPolicy")
	container["resources"] = t.block("$.Values.resources")
	container["args"] = append(container["args"].([]any), t.add(token{lines: func(indent, _ string) string {
		return fmt.Sprintf("%[1]s{{- with include \"espalier.args\" $ | trim }}\n%[1]s{{- . | nindent %[2]d }}\n%[1]s{{- end }}\n", indent, len(indent))
	}}))
	spec["replicas"] = t.expression("$.Values.replicas")
	for _, field := range []string{"imagePullSecrets", "nodeSelector", "tolerations", "priorityClassName"} {
		if pod[field] != nil {
			return fmt.Errorf("%s is set: the chart's values would replace it", field)
		}
	}
	for _, field := range []string{"imagePullSecrets", "nodeSelector", "tolerations"} {
		pod[field] = t.block("$.Values." + field)
	}
	pod["priorityClassName"] = t.add(token{lines: func(indent, key string) string {
		return fmt.Sprintf("%[1]s{{- with $.Values.priorityClassName }}\n%[1]s%[2]s {{ . }}\n%[1]s{{- end }}\n", indent, key)
	}})
	annotations := at(template, "metadata", "annotations").(map[string]any)
	annotations["zz"] = t.add(token{lines: func(indent, _ string) string { // after those that are there
		return fmt.Sprintf("%[1]s{{- with $.Values.podAnnotations }}\n%[1]s{{- toYaml . | nindent %[2]d }}\n%[1]s{{- end }}\n", indent, len(indent))
	}})
	return nil
}

// inEachNamespace is a cluster-wide role or binding as one of each namespace that values name.
func (t *templating) inEachNamespace(o object) (string, error) {
	here := maps.Clone(o)
	here["kind"] = strings.TrimPrefix(o["kind"].(string), "Cluster")
	metadata := maps.Clone(o.metadata())
	metadata["namespace"] = t.expression(". | quote")
	here["metadata"] = metadata
	if ref, ok := o["roleRef"].(map[string]any); ok {
		ref = maps.Clone(ref)
		ref["kind"] = "Role"
		here["roleRef"] = ref
	}
	text, err := t.text(here)
	return "{{- range .Values.namespaces }}\n---\n" + text + "{{- end }}\n", err
}

// text is an object as a template.
func (t *templating) text(o object) (string, error) {
	written, err := yaml.Marshal(o)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(written), "{{", `{{ "{{" }}`)
	for i := range slices.Backward(t.tokens) {
		n, mark := t.tokens[i], fmt.Sprintf("TOKEN%dTOKEN", i)
		if n.lines == nil {
			text = strings.ReplaceAll(text, mark, n.expression)
			continue
		}
		line := regexp.MustCompile(`(?m)^( *)(?:- |(\w[^\s:]*:) )` + mark + "\n")
		for _, m := range line.FindAllStringSubmatch(text, -1) {
			text = strings.Replace(text, m[0], n.lines(m[1], m[2]), 1)
		}
	}
	if left := regexp.MustCompile(`.*TOKEN\d+TOKEN.*`).FindString(text); left != "" {
		return "", fmt.Errorf("a place was not filled in: %s", left)
	}
	return text, nil
}

// at is the value at a path of fields, or nil.
func at(value any, path ...string) any {
	for _, field := range path {
		m, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = m[field]
	}
	return value
}
