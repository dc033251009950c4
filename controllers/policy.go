package controllers

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/optimizer/weight"
)

// Policy bounds what pipelines may name. Who may create one acts through the operator, which may create Jobs: what it would not be
// given itself, a pipeline must not get for it. Names may hold *, which stands for any run of characters. The zero value allows the
// operator's own image alone, and no names or IDs at all.
type Policy struct {
	Images          []string // besides the operator's own
	PriorityClasses []string // of pods
	ServiceAccounts []string // besides the namespace's default account
	RuntimeClasses  []string
	IDs             IDRange // of users and groups
	MaxPriority     int32   // of pipelines: spec.priority counts up to it
	SharedStore     bool    // results of other namespaces count, where a store holds any
}

// IDRange are the numbers from First to Last.
type IDRange struct{ First, Last int64 }

// DefaultIDs are those that no system user or group has.
var DefaultIDs = IDRange{1000, 1<<32 - 1}

// trusts reports whether an image is the installation's: the operator's own, or one that is allowed by its whole name. An image that
// only a pattern allows may be anybody's.
func (p Policy) trusts(image, own string) bool {
	return image == "" || image == own || !strings.Contains(image, "*") && slices.Contains(p.Images, image)
}

// check reports what a spec names and may not.
func (p Policy) check(spec *v1alpha1.OptimizationPipelineSpec, own string) error {
	effective := []v1alpha1.PodTemplate{spec.EffectiveTemplate(nil)}
	if err := p.template("spec.template", spec.Template, own); err != nil {
		return err
	}
	for i := range spec.Stages {
		if err := p.template(fmt.Sprintf("spec.stages[%d].template", i), spec.Stages[i].Template, own); err != nil {
			return err
		}
		effective = append(effective, spec.EffectiveTemplate(&spec.Stages[i]))
	}
	secrets := hasSecrets(spec)
	for _, t := range effective {
		trusted, identity := p.trusts(t.Image, own), t.ServiceAccountName != "" && t.ServiceAccountName != "default"
		if err := p.measuredBy(spec, own, identity); err != nil {
			return err
		}
		if secrets && !trusted {
			return noSecrets(t.Image)
		}
		if secrets || identity && trusted {
			if err := onlyHarmless(t.Env, identity); err != nil {
				return err
			}
		}
	}
	return insideImage(spec)
}

// harmless are the environment variables that pipelines may set beside secrets, and beside a service account that is allowed: what bounds
// the Go runtime, and the account of an azblob:// address. Of others a library may learn another host to send tokens to, as of
// GOOGLE_CLOUD_UNIVERSE_DOMAIN, or to write them into the log, as of GODEBUG. Code of the author's own needs no variables for that.
var harmless = []string{"GOGC", "GOMAXPROCS", "GOMEMLIMIT", azureAccount}

// proxies are allowed beside secrets alone: what a secret authorises is signed or goes over TLS. An account's tokens come from plain HTTP
// services of the node, which HTTP_PROXY would put itself before.
var proxies = []string{"HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy"}

const azureAccount = "AZURE_STORAGE_ACCOUNT"

// onlyHarmless refuses environment variables that could give credentials away, those of an identity among them or secrets alone.
func onlyHarmless(env []v1alpha1.EnvVar, identity bool) error {
	allowed := harmless
	if !identity {
		allowed = slices.Concat(harmless, proxies)
	}
	for _, e := range env {
		if !slices.Contains(allowed, e.Name) {
			return fmt.Errorf("template.env %s is not allowed beside credentials, as it may say where they are sent: leave it out; allowed are %s",
				e.Name, strings.Join(allowed, ", "))
		}
		if e.Name == azureAccount {
			if err := artifact.CheckAzureAccount(e.Value); err != nil {
				return fmt.Errorf("template.env %w", err)
			}
		}
	}
	return nil
}

func noSecrets(image string) error {
	return fmt.Errorf("secrets are mounted into images of the installation alone, and %q is allowed only by a pattern: leave template.image out, or have it added by its whole name to the manager's --allowed-images", image)
}

func hasSecrets(spec *v1alpha1.OptimizationPipelineSpec) bool {
	return len(mountsOf(spec, "", following{}).secrets) > 0
}

// template checks one pod template.
func (p Policy) template(field string, t v1alpha1.PodTemplate, own string) error {
	for _, named := range []struct {
		field, value, flag string
		allowed            []string
	}{
		{"image", t.Image, "--allowed-images", append(slices.Clone(p.Images), own)},
		{"priorityClassName", t.PriorityClassName, "--allowed-priority-classes", p.PriorityClasses},
		{"serviceAccountName", t.ServiceAccountName, "--allowed-service-accounts", append(slices.Clone(p.ServiceAccounts), "default")},
		{"runtimeClassName", t.RuntimeClassName, "--allowed-runtime-classes", p.RuntimeClasses},
	} {
		if named.value != "" && !matchesAny(named.allowed, named.value) {
			return fmt.Errorf("%s.%s %q is not allowed in this installation: leave it out, or have it added to the manager's %s", field, named.field, named.value, named.flag)
		}
	}
	return p.ids(field+".securityContext", t.SecurityContext)
}

// matchesAny reports whether a name is among those that are allowed, by itself or by a pattern.
func matchesAny(allowed []string, name string) bool {
	return slices.ContainsFunc(allowed, func(pattern string) bool { return pattern == name || weight.MatchName(pattern, name) })
}

func (p Policy) ids(field string, c *v1alpha1.SecurityContext) error {
	if c == nil {
		return nil
	}
	ids := map[string][]int64{"supplementalGroups": c.SupplementalGroups}
	for name, id := range map[string]*int64{"runAsUser": c.RunAsUser, "runAsGroup": c.RunAsGroup, "fsGroup": c.FSGroup} {
		if id != nil {
			ids[name] = []int64{*id}
		}
	}
	for _, name := range []string{"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"} {
		for _, id := range ids[name] {
			if id < p.IDs.First || id > p.IDs.Last {
				return fmt.Errorf("%s.%s %d is not allowed in this installation: take one from %d to %d, or have the manager's --allowed-ids changed", field, name, id, p.IDs.First, p.IDs.Last)
			}
		}
	}
	return nil
}

// insideImage refuses files of the pod that are no model or dataset: secrets and what the kernel says of the process.
func insideImage(spec *v1alpha1.OptimizationPipelineSpec) error {
	for _, place := range []struct{ field, uri string }{{"model", spec.Model.URI}, {"dataset", spec.Dataset.URI}} {
		file, found := strings.CutPrefix(place.uri, "file://")
		if !found {
			continue
		}
		for _, folder := range []string{stage.SecretsPath, stage.ClaimsPath, "/proc", "/sys", "/dev", "/run", "/var/run", "/etc"} {
			if clean := path.Clean("/" + file); clean == folder || strings.HasPrefix(clean, folder+"/") {
				return fmt.Errorf("spec.%s.uri %q is below %s, which holds no models or datasets", place.field, place.uri, folder)
			}
		}
	}
	return nil
}

// ParseIDRange reads FIRST-LAST, such as 1000-65535.
func ParseIDRange(text string) (IDRange, error) {
	var r IDRange
	if n, err := fmt.Sscanf(text+"\n", "%d-%d\n", &r.First, &r.Last); n != 2 || err != nil || r.First < 0 || r.First > r.Last {
		return IDRange{}, errors.New("want the first and the last ID, such as 1000-4294967295")
	}
	return r, nil
}
