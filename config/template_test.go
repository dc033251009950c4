package config

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"espalier.dev/espalier/test/controlplane"
)

// TestATemplateHasNoFieldForWhatIsNotAllowed applies with kubectl what tenants would ask for, in a pipeline's template and in a stage's. What
// kubectl does not refuse, as it is told not to look, the API server leaves out.
func TestATemplateHasNoFieldForWhatIsNotAllowed(t *testing.T) {
	plane := controlplane.Start(t, controlplane.Options{})
	bin, err := controlplane.Bin()
	if err != nil {
		t.Fatal(err)
	}
	apply := func(template string, args ...string) string {
		text, err := pipelineOf(t, "{template: "+template+", stages: [{name: prune, prune: {sparsity: 0.5}, template: "+template+"}]}").MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		kubectl := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), append([]string{"--kubeconfig=" + plane.Kubeconfig, "apply", "-o", "yaml", "-f", "-"}, args...)...)
		kubectl.Stdin = strings.NewReader(string(text))
		out, _ := kubectl.CombinedOutput()
		return string(out)
	}
	for field, template := range map[string]string{
		"spec":                         "{spec: {containers: [{name: stage, securityContext: {privileged: true}}]}}",
		"metadata":                     "{metadata: {finalizers: [tenant/stay]}}",
		"containers":                   "{containers: [{name: other, image: tenant/own}]}",
		"initContainers":               "{initContainers: [{name: other, image: tenant/own}]}",
		"ephemeralContainers":          "{ephemeralContainers: [{name: other, image: tenant/own}]}",
		"volumes":                      "{volumes: [{name: v, hostPath: {path: /}}]}",
		"volumeMounts":                 "{volumeMounts: [{name: v, mountPath: /secrets/other}]}",
		"envFrom":                      "{envFrom: [{secretRef: {name: payroll}}]}",
		"env[0].valueFrom":             "{env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: payroll, key: password}}}]}",
		"command":                      "{command: [/bin/sh]}",
		"hostNetwork":                  "{hostNetwork: true}",
		"hostPID":                      "{hostPID: true}",
		"hostUsers":                    "{hostUsers: true}",
		"automountServiceAccountToken": "{automountServiceAccountToken: true}",
		"nodeName":                     "{nodeName: control-plane}",
		"securityContext.privileged":   "{securityContext: {privileged: true}}",
		"securityContext.runAsNonRoot": "{securityContext: {runAsNonRoot: false}}",
		"securityContext.capabilities": "{securityContext: {capabilities: {add: [SYS_ADMIN]}}}",
		"affinity.nodeAffinty":         "{affinity: {nodeAffinty: {}}}", // a slip of the pen
		"tolerations[0].opertor":       "{tolerations: [{key: a, opertor: Exists}]}",
	} {
		t.Run(field, func(t *testing.T) {
			said := apply(template)
			for _, path := range []string{"spec.template." + field, "spec.stages[0].template." + field} {
				if !strings.Contains(said, `unknown field "`+path+`"`) {
					t.Errorf("%s is not refused: %s", path, said)
				}
			}
			kept := apply(template, "--validate=ignore")
			_, stored, _ := strings.Cut(kept, "\nspec:\n") // behind the annotation of kubectl apply
			name := field[strings.LastIndex(field, ".")+1:]
			if !strings.Contains(stored, "model:") || strings.Contains(stored, name+":") {
				t.Errorf("what is kept of it:\n%s", kept)
			}
		})
	}
}
