package controllers

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

func TestAPipelineNamesOnlyWhatTheInstallationAllows(t *testing.T) {
	type spec = v1alpha1.OptimizationPipelineSpec
	images := Policy{Images: []string{"registry/team-*/own:1", "registry/mirror:2"}, IDs: DefaultIDs}
	named := Policy{PriorityClasses: []string{"batch-*"}, ServiceAccounts: []string{"stages"}, RuntimeClasses: []string{"gvisor"}, IDs: IDRange{500, 600}}
	security := func(c v1alpha1.SecurityContext) func(*spec) {
		return func(s *spec) { s.Template.SecurityContext = &c }
	}
	secret := func(s *spec) { s.Artifacts.CredentialsSecretRef = &v1alpha1.LocalReference{Name: "payroll"} }
	beside := func(variable string) func(*spec) {
		return func(s *spec) {
			secret(s)
			s.Template.Env = []v1alpha1.EnvVar{{Name: variable, Value: "x"}}
		}
	}
	identified := func(image, variable string) func(*spec) {
		return func(s *spec) {
			s.Template.Image, s.Template.ServiceAccountName = image, "stages"
			s.Stages[0].Template.Env = []v1alpha1.EnvVar{{Name: variable, Value: "x"}}
		}
	}
	tests := map[string]struct {
		policy Policy
		change func(*spec)
		want   string // part of the error; empty: allowed
	}{
		"nothing":                              {Policy{}, func(*spec) {}, ""},
		"the operator's own image":             {Policy{}, func(s *spec) { s.Template.Image = "espalier:1" }, ""},
		"an image of one's own":                {Policy{}, func(s *spec) { s.Template.Image = "tenant/own:1" }, `spec.template.image "tenant/own:1" is not allowed`},
		"a stage's image":                      {Policy{}, func(s *spec) { s.Stages[1].Template.Image = "tenant/own:1" }, "spec.stages[1].template.image"},
		"an image as allowed":                  {images, func(s *spec) { s.Template.Image = "registry/mirror:2" }, ""},
		"an image by a pattern":                {images, func(s *spec) { s.Template.Image = "registry/team-a/own:1" }, ""},
		"an image that only begins so":         {images, func(s *spec) { s.Template.Image = "registry/mirror:2@sha256:0" }, "--allowed-images"},
		"secrets in the operator's image":      {Policy{}, secret, ""},
		"secrets in an image as allowed":       {images, func(s *spec) { secret(s); s.Template.Image = "registry/mirror:2" }, ""},
		"secrets in anybody's image":           {images, func(s *spec) { secret(s); s.Template.Image = "registry/team-a/own:1" }, "secrets are mounted into images of the installation alone"},
		"secrets in a stage's image":           {images, func(s *spec) { secret(s); s.Stages[0].Template.Image = "registry/team-a/own:1" }, "secrets are mounted"},
		"an Azure host beside secrets":         {Policy{}, beside("AZURE_STORAGE_DOMAIN"), "AZURE_STORAGE_DOMAIN is not allowed beside credentials"},
		"a Google host beside secrets":         {Policy{}, beside("GOOGLE_CLOUD_UNIVERSE_DOMAIN"), "may say where they are sent: leave it out; allowed are GOGC"},
		"a log of every header beside secrets": {Policy{}, beside("GODEBUG"), "GODEBUG is not allowed"},
		"a proxy beside secrets":               {Policy{}, beside("HTTPS_PROXY"), ""},
		"a proxy of what is not encrypted":     {Policy{}, beside("HTTP_PROXY"), "HTTP_PROXY is not allowed"},
		"a bound of memory beside secrets":     {Policy{}, beside("GOMEMLIMIT"), ""},
		"a stage's own authority beside secrets": {Policy{}, func(s *spec) {
			secret(s)
			s.Stages[0].Template.Env = []v1alpha1.EnvVar{{Name: "SSL_CERT_FILE", Value: "/tmp/ca"}}
		}, "SSL_CERT_FILE"},
		"an Azure host without secrets": {Policy{}, func(s *spec) {
			s.Template.Env = []v1alpha1.EnvVar{{Name: "AZURE_STORAGE_DOMAIN", Value: "own.example"}}
		}, ""},
		"a host beside an account's identity": {named, identified("", "AZURE_AUTHORITY_HOST"), "AZURE_AUTHORITY_HOST is not allowed"},
		"a proxy beside an identity":          {named, identified("", "https_proxy"), "https_proxy is not allowed"},
		"an account beside an identity": {named, func(s *spec) {
			identified("", "AZURE_STORAGE_ACCOUNT")(s)
			s.Stages[0].Template.Env[0].Value = "team1"
		}, ""},
		"an account that is a host": {named, func(s *spec) {
			identified("", "AZURE_STORAGE_ACCOUNT")(s)
			s.Stages[0].Template.Env[0].Value = "own.example/x"
		}, `AZURE_STORAGE_ACCOUNT "own.example/x" is no name of a storage account`},
		"a host in code of the author's own":     {Policy{Images: []string{"tenant/*"}, ServiceAccounts: []string{"stages"}}, identified("tenant/own:1", "AZURE_AUTHORITY_HOST"), ""},
		"a measurement in an image of one's own": {images, func(s *spec) { s.Measurements = []v1alpha1.Measurement{{Image: "tenant/own:1"}} }, `spec.measurements[0].image "tenant/own:1" is not allowed`},
		"a measurement in an image by a pattern, beside secrets": {images, func(s *spec) {
			secret(s)
			s.Measurements = []v1alpha1.Measurement{{Image: "registry/team-a/own:1"}}
		}, ""},
		"a measurement in anybody's image, beside an identity": {Policy{Images: []string{"tenant/*"}, ServiceAccounts: []string{"stages"}}, func(s *spec) {
			s.Template.ServiceAccountName, s.Measurements = "stages", []v1alpha1.Measurement{{Image: "tenant/own:1"}}
		}, "every container of a pod has the identity"},
		"a measurement as allowed, beside an identity": {Policy{Images: []string{"tenant/own:1"}, ServiceAccounts: []string{"stages"}}, func(s *spec) {
			s.Template.ServiceAccountName, s.Measurements = "stages", []v1alpha1.Measurement{{Image: "tenant/own:1"}}
		}, ""},
		"a priority":                      {Policy{}, func(s *spec) { s.Template.PriorityClassName = "system-cluster-critical" }, "--allowed-priority-classes"},
		"a priority that is allowed":      {named, func(s *spec) { s.Template.PriorityClassName = "batch-low" }, ""},
		"a stage's priority":              {named, func(s *spec) { s.Stages[0].Template.PriorityClassName = "system-node-critical" }, "spec.stages[0].template.priorityClassName"},
		"a service account":               {Policy{}, func(s *spec) { s.Template.ServiceAccountName = "payroll" }, "--allowed-service-accounts"},
		"the default service account":     {Policy{}, func(s *spec) { s.Template.ServiceAccountName = "default" }, ""},
		"a service account as allowed":    {named, func(s *spec) { s.Template.ServiceAccountName = "stages" }, ""},
		"a runtime class":                 {Policy{}, func(s *spec) { s.Template.RuntimeClassName = "runc" }, "--allowed-runtime-classes"},
		"a runtime class as allowed":      {named, func(s *spec) { s.Template.RuntimeClassName = "gvisor" }, ""},
		"a system user":                   {images, security(v1alpha1.SecurityContext{RunAsUser: ptr.To[int64](999)}), "runAsUser 999 is not allowed"},
		"a system group":                  {images, security(v1alpha1.SecurityContext{RunAsGroup: ptr.To[int64](6)}), "runAsGroup 6"},
		"root's group among others":       {images, security(v1alpha1.SecurityContext{SupplementalGroups: []int64{2000, 0}}), "supplementalGroups 0"},
		"files for a system group":        {images, security(v1alpha1.SecurityContext{FSGroup: ptr.To[int64](10)}), "fsGroup 10"},
		"a user and a group":              {images, security(v1alpha1.SecurityContext{RunAsUser: ptr.To[int64](1000), FSGroup: ptr.To[int64](4294967295)}), ""},
		"an ID of a narrower range":       {named, security(v1alpha1.SecurityContext{RunAsUser: ptr.To[int64](601)}), "from 500 to 600"},
		"a mounted secret as a dataset":   {Policy{}, func(s *spec) { s.Dataset.URI = "file:///secrets/artifacts/credentials" }, "holds no models"},
		"the process's memory as a model": {Policy{}, func(s *spec) { s.Model.URI = "file:///opt/../proc/self/environ" }, "holds no models"},
		"a model of the image's":          {Policy{}, func(s *spec) { s.Model.URI = "file:///models/m.tflite" }, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := chainPipeline("ns", "p")
			tt.change(&p.Spec)
			err := tt.policy.check(&p.Spec, "espalier:1")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestIDRangesAreRead(t *testing.T) {
	for text, want := range map[string]IDRange{"1000-65535": {1000, 65535}, "7-7": {7, 7}, "9-8": {}, "-1-5": {}, "1000": {}, "1-2-3": {}, "a-b": {}, "": {}} {
		if got, err := ParseIDRange(text); got != want || (err == nil) != (want != IDRange{}) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestOnlyCredentialsAreMounted(t *testing.T) {
	for uri, want := range map[string]string{
		"s3://bucket":     "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN?",
		"gs://bucket":     "GOOGLE_APPLICATION_CREDENTIALS",
		"azblob://bucket": "AZURE_STORAGE_ACCOUNT AZURE_STORAGE_KEY? AZURE_STORAGE_SAS_TOKEN?",
	} {
		job := built(t, walk.Publish, func(p *v1alpha1.OptimizationPipeline) {
			p.Spec.Artifacts.URI, p.Spec.Artifacts.CredentialsSecretRef = uri, &v1alpha1.LocalReference{Name: "payroll"}
		})
		var got []string
		for _, v := range job.Spec.Template.Spec.Volumes {
			if v.Secret != nil {
				t.Errorf("%s: volume %s has a whole secret", uri, v.Name)
			}
			if v.Projected == nil {
				continue
			}
			for _, source := range v.Projected.Sources {
				if len(source.Secret.Items) == 0 {
					t.Errorf("%s: all keys of secret %s", uri, source.Secret.Name)
				}
				for _, item := range source.Secret.Items {
					if v1alpha1.Or(source.Secret.Optional, false) {
						item.Key += "?"
					}
					got = append(got, item.Key)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

// TestAPipelineEditorGainsNothing has a tenant who may write pipelines, and nothing else, ask for what others have.
func TestAPipelineEditorGainsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tenant := w.tenant()
	payroll := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "payroll"}, StringData: map[string]string{"password": "hunter2"}}
	if err := w.client.Create(t.Context(), payroll); err != nil {
		t.Fatal(err)
	}
	if err := tenant.Get(t.Context(), client.ObjectKeyFromObject(payroll), &corev1.Secret{}); err == nil {
		t.Fatal("the tenant reads secrets without any pipeline")
	}
	const last = "uid 65532 groups [0] | /secrets/artifacts/credentials/password=hunter2"
	w.play = func(*stage.Order, *corev1.Pod) act { return act{exit: 3, message: last} }
	w.run(func(o *Options, _ *ctrl.Options, _ *Reconciler) { o.Policy.Images = []string{"docker.io/tenant/*"} })
	secret := &v1alpha1.LocalReference{Name: "payroll"}
	attempts := map[string]struct {
		change func(*v1alpha1.OptimizationPipelineSpec)
		reason string
	}{
		"own-image": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.Image = "docker.io/other/own:1" }, walk.ReasonInvalidSpec},
		"secret-in-own": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Template.Image, s.Artifacts.CredentialsSecretRef = "docker.io/tenant/own:1", secret
		}, walk.ReasonInvalidSpec},
		"critical": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.PriorityClassName = "system-cluster-critical" }, walk.ReasonInvalidSpec},
		"root-group": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Template.SecurityContext = &v1alpha1.SecurityContext{SupplementalGroups: []int64{0}}
		}, walk.ReasonInvalidSpec},
		"another-account": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.ServiceAccountName = "payroll" }, walk.ReasonInvalidSpec},
		"secret-as-data": {func(s *v1alpha1.OptimizationPipelineSpec) {
			s.Dataset.URI, s.Artifacts.CredentialsSecretRef = "file:///secrets/artifacts/credentials", secret
		}, walk.ReasonInvalidSpec},
		"last-words":     {func(s *v1alpha1.OptimizationPipelineSpec) { s.Artifacts.CredentialsSecretRef = secret }, reasonStageFailed},
		"own-last-words": {func(s *v1alpha1.OptimizationPipelineSpec) { s.Template.Image = "docker.io/tenant/own:1" }, reasonStageFailed},
	}
	for name, a := range attempts {
		p := chainPipeline(w.namespace, name)
		p.Spec.RunPolicy.Retries = ptr.To[int32](0)
		a.change(&p.Spec)
		if err := tenant.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	for name, a := range attempts {
		p := w.until(name, a.reason, func(p *v1alpha1.OptimizationPipeline) bool {
			return meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionStalled)
		})
		if got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionStalled).Reason; got != a.reason {
			t.Errorf("%s: reason %s: %s", name, got, describe(p))
		}
		if text, _ := json.Marshal(p); strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: the status holds what a container wrote: %s", name, text)
		}
		jobs := w.jobs(name, walk.Baseline)
		if ran := a.reason == reasonStageFailed; ran != (len(jobs) > 0) {
			t.Errorf("%s: %d Jobs", name, len(jobs))
		}
		for i := range jobs {
			if text, _ := json.Marshal(jobs[i].Spec.Template.Spec.Volumes); strings.Contains(string(text), "password") || strings.Contains(string(text), `"secretName"`) {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
}

// tenant is somebody who may write pipelines of the namespace, and nothing else.
func (w *world) tenant() client.Client {
	w.t.Helper()
	rules := []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"optimizationpipelines"}, Verbs: []string{"*"}}}
	meta := metav1.ObjectMeta{Namespace: w.namespace, Name: "espalier-pipeline-editor"}
	for _, object := range []client.Object{
		&rbacv1.Role{ObjectMeta: meta, Rules: rules},
		&rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "tenant"}}},
	} {
		if err := w.client.Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
	config := rest.CopyConfig(w.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: "tenant"}
	c, err := client.New(config, client.Options{Scheme: w.client.Scheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}
