package artifact

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAddressesAreTakenApart(t *testing.T) {
	o := Options{ClaimRoot: "/claims", Base: "/base"}
	tests := map[string]struct {
		uri                        string
		local, scheme, bucket, key string
		refused                    string
	}{
		"a relative path":           {uri: "models/a.tflite", local: "/base/models/a.tflite"},
		"a path beside the base":    {uri: "../a.tflite", local: "/a.tflite"},
		"an absolute path":          {uri: "/m/a.tflite", local: "/m/a.tflite"},
		"a file's address":          {uri: "file:///m/a.tflite", local: "/m/a.tflite"},
		"a claim's file":            {uri: "pvc://models/a/b.tflite", local: "/claims/models/a/b.tflite"},
		"a whole claim":             {uri: "pvc://models", local: "/claims/models"},
		"a claim's folder":          {uri: "pvc://models/a/", local: "/claims/models/a"},
		"an object of S3":           {uri: "s3://b/a/m.tflite", scheme: "s3", bucket: "b", key: "a/m.tflite"},
		"a bucket":                  {uri: "gs://b", scheme: "gs", bucket: "b"},
		"a container's folder":      {uri: "azblob://c/a/", scheme: "azblob", bucket: "c", key: "a/"},
		"dots that lead nowhere":    {uri: "s3://b/a..b/..c", scheme: "s3", bucket: "b", key: "a..b/..c"},
		"out of a claim":            {uri: "pvc://models/../secrets/x", refused: "must not climb"},
		"out of a claim at the end": {uri: "pvc://models/a/..", refused: "must not climb"},
		"out of a claim at once":    {uri: "pvc://../x", refused: "want pvc://claim/path"},
		"a claim named ..":          {uri: "pvc://..", refused: "want pvc://claim/path"},
		"out of a bucket":           {uri: "s3://b/../c", refused: "must not climb"},
		"no bucket":                 {uri: "s3:///a", refused: "want s3://bucket/key"},
		"a relative file's address": {uri: "file://a", refused: "want file:///"},
		"another scheme":            {uri: "ftp://b/a", refused: "scheme ftp is not known"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, err := parse(tt.uri, o)
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) || !strings.Contains(err.Error(), tt.uri) {
					t.Errorf("got %+v, %v, want an error saying %q", a, err, tt.refused)
				}
				return
			}
			claim := ""
			if strings.HasPrefix(tt.uri, "pvc:") {
				claim = filepath.FromSlash("/claims/models")
			}
			want := address{claim: claim, uri: tt.uri, local: filepath.FromSlash(tt.local), scheme: tt.scheme, bucket: tt.bucket, key: tt.key}
			if err != nil || a != want {
				t.Errorf("got %+v, %v, want %+v", a, err, want)
			}
		})
	}
	if _, err := parse("pvc://models/a", Options{}); err == nil || !strings.Contains(err.Error(), "in a cluster only") {
		t.Errorf("a claim without a cluster: %v", err)
	}
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	empty := t.TempDir()
	tests := map[string]struct {
		uri  string
		o    Options
		want string
	}{
		"S3 without keys":              {"s3://b", Options{CredentialsDir: empty}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
		"Google without an account":    {"gs://b", Options{CredentialsDir: empty}, "GOOGLE_APPLICATION_CREDENTIALS"},
		"Azure without an account":     {"azblob://c", Options{CredentialsDir: empty}, "AZURE_STORAGE_ACCOUNT"},
		"Azure with no secret":         {"azblob://c", Options{}, "set AZURE_STORAGE_ACCOUNT in template.env"},
		"an endpoint without a scheme": {"s3://b", Options{S3: S3Options{Endpoint: "minio:9000"}}, "s3.endpoint"},
		"an address that is none":      {"ftp://b", Options{}, "not known"},
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AZURE_STORAGE_ACCOUNT", "")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(t.Context(), tt.uri, tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error saying %q", err, tt.want)
			}
		})
	}
}

func TestAnAzureAccountIsNoHost(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "own.example/x")
	if _, err := Open(t.Context(), "azblob://c", Options{}); err == nil || !strings.Contains(err.Error(), "is no name of a storage account") {
		t.Errorf("got %v", err)
	}
}

func TestOpenOpensFoldersOfEveryKind(t *testing.T) {
	root := t.TempDir()
	for _, uri := range []string{"store", root + "/store", "file://" + root + "/store"} {
		s, err := Open(t.Context(), uri, Options{Base: root})
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != filepath.Join(root, "store") {
			t.Errorf("%s is %s", uri, s)
		}
	}
	s, err := Open(t.Context(), "pvc://claim/team", Options{ClaimRoot: root})
	if err != nil || s.String() != "pvc://claim/team" {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := os.Stat(filepath.Join(root, "claim", "team")); err != nil {
		t.Error(err)
	}
}

func TestAStoreForReadingMakesAndChangesNothing(t *testing.T) {
	root := t.TempDir()
	writer, err := Open(t.Context(), "pvc://models/team", Options{ClaimRoot: root})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := writer.PutBlob(t.Context(), []byte("leaf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{"pvc://models/team/", "pvc://models/absent"} {
		s, err := Open(t.Context(), uri, Options{ClaimRoot: root, ReadOnly: true})
		if err != nil || s.String() != strings.TrimSuffix(uri, "/") {
			t.Fatalf("%s: %v, %v", uri, s, err)
		}
		if _, err := s.PutBlob(t.Context(), []byte("another")); err == nil || !strings.Contains(err.Error(), "opened for reading") {
			t.Errorf("%s: written: %v", uri, err)
		}
		if data, err := s.GetBlob(t.Context(), leaf); uri == "pvc://models/team/" && (err != nil || string(data) != "leaf") {
			t.Errorf("read %q, %v", data, err)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "models", "absent")); err == nil {
		t.Error("a folder was made")
	}
	if _, err := Open(t.Context(), "ftp://b", Options{ReadOnly: true}); !errors.Is(err, ErrBadAddress) {
		t.Errorf("an address that is none: %v", err)
	}
	if _, err := Open(t.Context(), "s3://b", Options{ReadOnly: true, CredentialsDir: t.TempDir()}); !errors.Is(err, ErrDenied) {
		t.Errorf("a bucket without keys: %v", err)
	}
}

func TestKeysOfS3AreReadFromTheSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		id, key, token string
		refused        bool
	}{
		"both":             {id: "a", key: "b"},
		"both and a token": {id: "a", key: " b\n", token: "c"},
		"no key":           {id: "a", refused: true},
		"no id":            {key: "b", refused: true},
		"none":             {token: "c", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, value := range map[string]string{"AWS_ACCESS_KEY_ID": tt.id, "AWS_SECRET_ACCESS_KEY": tt.key, "AWS_SESSION_TOKEN": tt.token} {
				if value != "" {
					writeFile(t, filepath.Join(dir, file), value)
				}
			}
			before := time.Now()
			got, err := fileCredentials(dir).Retrieve(t.Context())
			if tt.refused {
				if !errors.Is(err, ErrDenied) {
					t.Errorf("got %v, want ErrDenied", err)
				}
				return
			}
			if err != nil || got.AccessKeyID != tt.id || got.SecretAccessKey != strings.TrimSpace(tt.key) || got.SessionToken != tt.token {
				t.Errorf("got %+v, %v", got, err)
			}
			if in := got.Expires.Sub(before); !got.CanExpire || in < 5*time.Minute || in > 6*time.Minute {
				t.Errorf("read again in %s, want five minutes", in)
			}
		})
	}
}

func TestGoogleAndAzureOpenWithCredentials(t *testing.T) {
	dir := t.TempDir()
	account := `{"type":"service_account","project_id":"p","private_key_id":"k","client_email":"e@p.iam.gserviceaccount.com","token_uri":"https://oauth2.googleapis.com/token","private_key":"x"}`
	for name, value := range map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": account, "AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": "a2V5"} {
		writeFile(t, filepath.Join(dir, name), value)
	}
	for _, uri := range []string{"gs://bucket/prefix", "azblob://container/prefix"} {
		s, err := Open(t.Context(), uri, Options{CredentialsDir: dir})
		if err != nil {
			t.Errorf("%s: %v", uri, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	writeFile(t, filepath.Join(dir, "AZURE_STORAGE_KEY"), "not base64 %")
	if _, err := Open(t.Context(), "azblob://container", Options{CredentialsDir: dir}); err == nil || !strings.Contains(err.Error(), "AZURE_STORAGE_KEY") {
		t.Errorf("a key that is none: %v", err)
	}
}

func FuzzAddressesStayInTheirPlace(f *testing.F) {
	for _, uri := range []string{"pvc://models/a/b.tflite", "pvc://models/..", "pvc://models/a//../..", "s3://b/a/../c", "gs://b", "azblob://c/a/", "file:///m/a", "a/../../b", "pvc://a/\x00"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		a, err := parse(uri, Options{ClaimRoot: "/claims", Base: "/base"})
		if err != nil {
			return
		}
		if claim, ok := strings.CutPrefix(uri, "pvc://"); ok {
			claim, _, _ = strings.Cut(claim, "/")
			if below := "/claims/" + claim; a.local != below && !strings.HasPrefix(a.local, below+"/") {
				t.Errorf("%q leads to %s", uri, a.local)
			}
		}
		if a.local == "" && (a.bucket == "" || strings.HasPrefix(a.key, "/")) || a.local != "" && !filepath.IsAbs(a.local) {
			t.Errorf("%q is %+v", uri, a)
		}
	})
}
