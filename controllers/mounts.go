package controllers

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/stage"
	"espalier.dev/espalier/internal/walk"
)

// mounts are the claims and secrets that a stage's addresses name.
type mounts struct {
	claims  []claimMount
	secrets []secretMount
}

// claimMount is a claim at <ClaimsPath>/<claim>.
type claimMount struct {
	claim string
	write bool
}

// secretMount are keys of a secret, as files in a folder below SecretsPath. No other key of the secret is there.
type secretMount struct {
	secret, location, folder string
	keys, optional           []string
}

// credentialKeys are those of a credentials secret, by the scheme of the address: what has to be there, and what may be.
var credentialKeys = map[string]struct{ keys, optional []string }{
	"s3":     {[]string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}, []string{"AWS_SESSION_TOKEN"}},
	"gs":     {[]string{"GOOGLE_APPLICATION_CREDENTIALS"}, nil},
	"azblob": {[]string{"AZURE_STORAGE_ACCOUNT"}, []string{"AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"}},
}

// mountsOf collects what a stage needs: the artifacts, and unless it only publishes, model and dataset. Only the artifacts are written. Who
// only reads what a stage made writes nothing, and needs model and dataset for the baseline alone, whose result is named after them. Who
// measures its leaf needs neither.
func mountsOf(spec *v1alpha1.OptimizationPipelineSpec, name string, after following) mounts {
	var m mounts
	if spec.Artifacts != nil {
		m.add("artifacts", spec.Artifacts.Location, !after.reads)
	}
	if after.reads && name == walk.Baseline || after == (following{}) && name != walk.Publish {
		m.add("model", spec.ModelLocation(), false)
		m.add("dataset", spec.DatasetLocation(), false)
	}
	return m
}

func (m *mounts) add(name string, l v1alpha1.Location, write bool) {
	if claim := claimOf(l.URI); claim != "" {
		i := slices.IndexFunc(m.claims, func(c claimMount) bool { return c.claim == claim })
		if i < 0 {
			m.claims = append(m.claims, claimMount{claim, write})
		}
	}
	if l.CredentialsSecretRef != nil {
		known := credentialKeys[v1alpha1.Scheme(l.URI)]
		m.secrets = append(m.secrets, secretMount{secret: l.CredentialsSecretRef.Name, location: name, folder: "credentials", keys: known.keys, optional: known.optional})
	}
	if l.S3 != nil && l.S3.CASecretRef != nil {
		m.secrets = append(m.secrets, secretMount{secret: l.S3.CASecretRef.Name, keys: []string{"ca.crt"}, location: name, folder: "ca"})
	}
}

// claimOf returns the claim that an address is in, "" where it is in none.
func claimOf(uri string) string {
	rest, found := strings.CutPrefix(uri, "pvc://")
	if !found {
		return ""
	}
	claim, _, _ := strings.Cut(rest, "/")
	return claim
}

// volumes of the pod; cache bounds the scratch volume.
func (m mounts) volumes(cache *resource.Quantity) []corev1.Volume {
	volumes := []corev1.Volume{{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: cache}}}}
	for i, c := range m.claims {
		volumes = append(volumes, corev1.Volume{Name: claimVolume(i), VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: c.claim},
		}})
	}
	for _, s := range m.secrets {
		sources := []corev1.VolumeProjection{s.projection(s.keys, false)}
		for _, key := range s.optional {
			sources = append(sources, s.projection([]string{key}, true))
		}
		volumes = append(volumes, corev1.Volume{Name: s.volume(), VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}})
	}
	return volumes
}

// volumeMounts of the container.
func (m mounts) volumeMounts() []corev1.VolumeMount {
	out := []corev1.VolumeMount{{Name: "cache", MountPath: stage.CachePath}}
	for i, c := range m.claims {
		out = append(out, corev1.VolumeMount{Name: claimVolume(i), MountPath: path.Join(stage.ClaimsPath, c.claim), ReadOnly: !c.write})
	}
	for _, s := range m.secrets {
		out = append(out, corev1.VolumeMount{Name: s.volume(), MountPath: path.Join(stage.SecretsPath, s.location, s.folder), ReadOnly: true})
	}
	return out
}

// projection are keys of the secret under their own names.
func (s secretMount) projection(keys []string, optional bool) corev1.VolumeProjection {
	p := &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: s.secret}}
	for _, key := range keys {
		p.Items = append(p.Items, corev1.KeyToPath{Key: key, Path: key})
	}
	if optional {
		p.Optional = ptr.To(true)
	}
	return corev1.VolumeProjection{Secret: p}
}

func claimVolume(i int) string { return fmt.Sprintf("claim-%d", i) }

func (s secretMount) volume() string { return s.location + "-" + s.folder }
