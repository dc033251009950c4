package stage

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
)

func TestLocationsAreReachedWithTheirSecrets(t *testing.T) {
	secrets := t.TempDir()
	mount := func(folder string) {
		if err := os.MkdirAll(filepath.Join(secrets, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("artifacts/credentials")
	mount("artifacts/ca")
	mount("dataset/credentials")
	secret := func(name string) *v1alpha1.LocalReference { return &v1alpha1.LocalReference{Name: name} }
	store := &v1alpha1.ArtifactStore{Location: v1alpha1.Location{
		URI: "s3://out", CredentialsSecretRef: secret("s3"), S3: &v1alpha1.S3Options{Endpoint: "https://minio:9000", Region: "eu", PathStyle: true, CASecretRef: secret("ca")},
	}}
	theirs := artifact.Options{
		ClaimRoot: "/claims", CredentialsDir: secrets + "/artifacts/credentials",
		S3: artifact.S3Options{Endpoint: "https://minio:9000", Region: "eu", PathStyle: true, CAFile: secrets + "/artifacts/ca/ca.crt"},
	}
	none := artifact.Options{ClaimRoot: "/claims"}
	tests := map[string]struct {
		location v1alpha1.Location
		store    *v1alpha1.ArtifactStore
		want     artifact.Options
	}{
		"those of the artifacts where it has none":     {v1alpha1.Location{URI: "s3://in/a"}, store, theirs},
		"none where the artifacts are elsewhere":       {v1alpha1.Location{URI: "gs://in/a"}, store, none},
		"none where it says Amazon without":            {v1alpha1.Location{URI: "s3://in/a", S3: &v1alpha1.S3Options{}}, store, none},
		"its own":                                      {v1alpha1.Location{URI: "s3://in/a", CredentialsSecretRef: secret("other")}, store, artifact.Options{ClaimRoot: "/claims", CredentialsDir: secrets + "/dataset/credentials"}},
		"none without artifacts":                       {v1alpha1.Location{URI: "s3://in/a"}, nil, none},
		"its own certificates, though not mounted yet": {v1alpha1.Location{URI: "s3://in/a", S3: &v1alpha1.S3Options{CASecretRef: secret("x")}}, store, artifact.Options{ClaimRoot: "/claims", S3: artifact.S3Options{CAFile: secrets + "/dataset/ca/ca.crt"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.OptimizationPipelineSpec{Artifacts: tt.store}
			spec.Dataset.Location = tt.location
			s := &Sources{Claims: "/claims", Secrets: secrets}
			want := tt.want
			if tt.location.CredentialsSecretRef == nil && want.CredentialsDir != "" { // the dataset's own folder is preferred
				want.CredentialsDir = secrets + "/dataset/credentials"
			}
			got := s.options(spec, spec.DatasetLocation(), spec.Dataset.Location, "dataset")
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(artifact.Options{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := s.options(spec, spec.DatasetLocation(), spec.Dataset.Location, "model"); tt.location.CredentialsSecretRef == nil && got.CredentialsDir != tt.want.CredentialsDir {
				t.Errorf("without a folder of its own: %s, want %s", got.CredentialsDir, tt.want.CredentialsDir)
			}
		})
	}
}
