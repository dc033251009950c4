package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"espalier.dev/espalier/internal/s3test"
)

// s3Options reach a test server.
func s3Options(s *s3test.Server) Options {
	return Options{CredentialsDir: s.CredentialsDir, S3: S3Options{Endpoint: s.Endpoint, Region: s3test.Region, PathStyle: true, CAFile: s.CAFile}}
}

func TestS3KeepsBlobsResultsAndCheckpoints(t *testing.T) {
	for _, withTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", withTLS), func(t *testing.T) {
			server := s3test.Start(t, withTLS)
			server.Bucket("compressed")
			s, err := Open(t.Context(), "s3://compressed/team/", s3Options(server))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			exercise(t, s)
			withdraws(t, s)
			uri, err := s.Publish(t.Context(), "ns/name/leaf.tflite", []byte("leaf"))
			if err != nil || uri != "s3://compressed/team/ns/name/leaf.tflite" {
				t.Errorf("published at %s, %v", uri, err)
			}
			got, err := Fetch(t.Context(), uri, s3Options(server), Cache{Dir: t.TempDir()})
			if err != nil || got.Digest != Digest([]byte("leaf")) {
				t.Errorf("fetched %+v, %v", got, err)
			}
		})
	}
}

func TestS3TheFirstOfManyWritersWins(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("bucket")
	firstOfMany(t, func() *Store {
		s, err := Open(t.Context(), "s3://bucket", s3Options(server))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	})
}

func TestS3BlobsOfManyParts(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("bucket")
	s, err := Open(t.Context(), "s3://bucket", s3Options(server))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	digest, err := s.PutStream(t.Context(), bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.GetBlob(t.Context(), digest); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestS3ErrorsAreToldApart(t *testing.T) {
	server := s3test.Start(t, true)
	server.Bucket("bucket")
	wrong := t.TempDir()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": "wrong"} {
		if err := os.WriteFile(filepath.Join(wrong, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		uri    string
		change func(*Options)
		want   error
		say    string
	}{
		"a missing object":           {"s3://bucket/nothing.tflite", func(*Options) {}, ErrNotFound, "s3://bucket/nothing.tflite"},
		"a missing bucket":           {"s3://other/m.tflite", func(*Options) {}, ErrNotFound, "s3://other/m.tflite"},
		"a wrong secret key":         {"s3://bucket/m.tflite", func(o *Options) { o.CredentialsDir = wrong }, ErrDenied, "check the credentials"},
		"another region":             {"s3://bucket/m.tflite", func(o *Options) { o.S3.Region = "eu-west-1" }, ErrDenied, "s3.region"},
		"no credentials":             {"s3://bucket/m.tflite", func(o *Options) { o.CredentialsDir = "" }, ErrDenied, "check the credentials"},
		"a secret without keys":      {"s3://bucket/m.tflite", func(o *Options) { o.CredentialsDir = t.TempDir() }, ErrDenied, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
		"a CA that is not trusted":   {"s3://bucket/m.tflite", func(o *Options) { o.S3.CAFile = "" }, ErrDenied, "s3.caSecretRef"},
		"a CA that is not there":     {"s3://bucket/m.tflite", func(o *Options) { o.S3.CAFile = "/nowhere/ca.crt" }, ErrDenied, "s3.caSecretRef"},
		"a server that is not there": {"s3://bucket/m.tflite", func(o *Options) { o.S3.Endpoint = "http://127.0.0.1:1" }, ErrTemporary, "connection refused"},
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := s3Options(server)
			tt.change(&o)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // the library's retries would take longer
			defer cancel()
			_, err := Fetch(ctx, tt.uri, o, Cache{Dir: t.TempDir()})
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if err != nil && !errors.Is(tt.want, ErrTemporary) && !strings.Contains(err.Error(), tt.say) {
				t.Errorf("%v does not say %q", err, tt.say)
			}
		})
	}
}

func TestS3OutlastsARestartOfTheServer(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("bucket")
	s, err := Open(t.Context(), "s3://bucket", s3Options(server))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server.Stop()
	var back sync.WaitGroup
	back.Go(func() {
		time.Sleep(200 * time.Millisecond)
		server.Resume()
	})
	digest, err := s.PutBlob(t.Context(), []byte("a leaf"))
	back.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetBlob(t.Context(), digest); err != nil {
		t.Error(err)
	}
}

func TestS3FetchesFoldersOnce(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("data")
	s, err := Open(t.Context(), "s3://data", s3Options(server))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fetchesFoldersOnce(t, s, "s3://data", func(uri string, cache Cache) (Fetched, error) {
		return Fetch(t.Context(), uri, s3Options(server), cache)
	})
}

// through reaches a server by a bad wire.
func through(s *s3test.Server, w *s3test.Wire) Options {
	o := s3Options(s)
	o.S3.Endpoint, o.silence = w.Endpoint, 300*time.Millisecond
	return o
}

func TestS3TransfersGoOnWhereTheyBrokeOff(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("bucket")
	wire := server.Wire(t)
	s, err := Open(t.Context(), "s3://bucket", through(server, wire))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	digest, err := s.PutBlob(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	wire.Cut()
	wire.Hold(2, 300<<10)
	if got, err := s.GetBlob(t.Context(), digest); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	wire.Cut()
	wire.Hold(2, 300<<10)
	uri := "s3://bucket/blobs/sha256/" + strings.TrimPrefix(digest, "sha256:")
	if got, err := Fetch(t.Context(), uri, through(server, wire), Cache{Dir: t.TempDir()}); err != nil || got.Digest != digest {
		t.Errorf("fetched %+v, %v", got, err)
	}
	wire.Cut()
	wire.Hold(1000, 100<<10)
	if _, err := s.GetBlob(t.Context(), digest); !errors.Is(err, ErrTemporary) {
		t.Errorf("a server that always falls silent: %v", err)
	}
}

func TestS3SlowServersAreWaitedFor(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("bucket")
	wire := server.Wire(t)
	wire.Delay(10 * time.Millisecond)
	s, err := Open(t.Context(), "s3://bucket", through(server, wire))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	exercise(t, s)
}

func TestS3DamagedBlobsAreFoundAndMended(t *testing.T) {
	server := s3test.Start(t, false)
	server.Bucket("bucket")
	s, err := Open(t.Context(), "s3://bucket", s3Options(server))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, hash := t.Context(), Digest([]byte("inputs"))
	digest, err := s.PutBlob(ctx, []byte("a leaf"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PutResult(ctx, s, hash, &result{Leaf: digest}); err != nil {
		t.Fatal(err)
	}
	if err := s.objects.write(ctx, "blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"), strings.NewReader("tampered"), false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetBlob(ctx, digest); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
	if _, err := GetResult[result](ctx, s, hash); !errors.Is(err, ErrNotFound) {
		t.Errorf("a result whose blob is damaged: %v", err)
	}
	if _, err := s.PutBlob(ctx, []byte("a leaf")); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckBlob(ctx, digest); err != nil {
		t.Error(err)
	}
}
