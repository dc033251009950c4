package controllers

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

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

// secretMount is a secret, or one key of it, in a folder below SecretsPath.
type secretMount struct{ secret, key, location, folder string }

// mountsOf collects what a stage needs: the artifacts, and unless it only publishes, model and dataset. Only the artifacts are written.
func mountsOf(spec *v1alpha1.OptimizationPipelineSpec, name string) mounts {
	var m mounts
	if spec.Artifacts != nil {
		m.add("artifacts", spec.Artifacts.Location, true)
	}
	if name != walk.Publish {
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
		m.secrets = append(m.secrets, secretMount{secret: l.CredentialsSecretRef.Name, location: name, folder: "credentials"})
	}
	if l.S3 != nil && l.S3.CASecretRef != nil {
		m.secrets = append(m.secrets, secretMount{secret: l.S3.CASecretRef.Name, key: "ca.crt", location: name, folder: "ca"})
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
		source := &corev1.SecretVolumeSource{SecretName: s.secret}
		if s.key != "" {
			source.Items = []corev1.KeyToPath{{Key: s.key, Path: s.key}}
		}
		volumes = append(volumes, corev1.Volume{Name: s.volume(), VolumeSource: corev1.VolumeSource{Secret: source}})
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

func claimVolume(i int) string { return fmt.Sprintf("claim-%d", i) }

func (s secretMount) volume() string { return s.location + "-" + s.folder }
