package artifact

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// answering is a server that answers every request alike.
func answering(t *testing.T, status int, kind, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func TestErrorsOfGoogleAndAzureAreToldApart(t *testing.T) {
	tests := map[string]struct {
		status int
		code   string // Azure's
		want   error
	}{
		"a missing object":   {http.StatusNotFound, "BlobNotFound", ErrNotFound},
		"a missing bucket":   {http.StatusNotFound, "ContainerNotFound", ErrNotFound},
		"no permission":      {http.StatusForbidden, "AuthorizationFailure", ErrDenied},
		"a wrong credential": {http.StatusUnauthorized, "InvalidAuthenticationInfo", ErrDenied},
	}
	for name, tt := range tests {
		google := func(t *testing.T) string {
			t.Setenv("STORAGE_EMULATOR_HOST", answering(t, tt.status, "application/json", `{"error":{"code":`+http.StatusText(tt.status)+`}}`))
			return "gs://bucket/m.tflite"
		}
		azure := func(t *testing.T) string {
			host := answering(t, tt.status, "application/xml", `<?xml version="1.0"?><Error><Code>`+tt.code+`</Code><Message>no</Message></Error>`)
			for name, value := range map[string]string{
				"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_DOMAIN": host, "AZURE_STORAGE_PROTOCOL": "http", "AZURE_STORAGE_IS_LOCAL_EMULATOR": "true",
			} {
				t.Setenv(name, value)
			}
			return "azblob://container/m.tflite"
		}
		for service, address := range map[string]func(*testing.T) string{"Google": google, "Azure": azure} {
			t.Run(service+", "+name, func(t *testing.T) {
				o := Options{}
				uri := address(t)
				if service == "Azure" {
					o.CredentialsDir = t.TempDir()
					writeFile(t, filepath.Join(o.CredentialsDir, "AZURE_STORAGE_ACCOUNT"), "account")
					writeFile(t, filepath.Join(o.CredentialsDir, "AZURE_STORAGE_KEY"), "a2V5")
				}
				s, err := Open(t.Context(), strings.TrimSuffix(uri, "/m.tflite"), o)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if _, err := s.GetBlob(t.Context(), Digest(nil)); !errors.Is(err, tt.want) {
					t.Errorf("reading: %v, want %v", err, tt.want)
				}
				if _, err := Fetch(t.Context(), uri, o, Cache{Dir: t.TempDir()}); !errors.Is(err, tt.want) {
					t.Errorf("fetching: %v, want %v", err, tt.want)
				}
			})
		}
	}
}
