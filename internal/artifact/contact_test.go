package artifact

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"espalier.dev/espalier/internal/s3test"
)

// refusing is the address of a port that nobody listens on.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// silent is the address of a server that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// swallowing is the address of a port to which packets get lost: its queue of connections is full.
func swallowing(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 8 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("this system takes connections beyond the queue's length")
	return ""
}

func TestAServerThatIsNotThereIsNamedWithinSeconds(t *testing.T) {
	credentials := s3test.Start(t, false).CredentialsDir
	tests := map[string]struct {
		address func(*testing.T) string
		change  func(*Options)
		want    string // of the message's begin, after the address
	}{
		"a port that nobody listens on": {refusing, nil, "cannot be reached: connection refused: check s3.endpoint"},
		"packets that get lost":         {swallowing, nil, "cannot be reached: timeout: no answer for 5s: check s3.endpoint"},
		"a server that says nothing": {silent, func(o *Options) { o.silence = 200 * time.Millisecond },
			"cannot be reached: timeout: it took the connection and was silent for 200ms: check s3.endpoint"},
		"a name that there is not": {func(*testing.T) string { return "minio.storage.invalid:9000" }, nil,
			"cannot be reached: (no such host|its name is not resolved: .*): check s3.endpoint"},
		"the bucket as part of a host": {func(t *testing.T) string { return strings.Replace(refusing(t), "127.0.0.1", "localhost", 1) }, func(o *Options) { o.S3.PathStyle = false }, "cannot be reached: .*s3.pathStyle"},
	}
	for name, tt := range tests {
		uses := map[string]func(uri string, o Options) error{
			"read": func(uri string, o Options) error {
				_, err := Fetch(t.Context(), uri+"/m.tflite", o, Cache{Dir: t.TempDir()})
				return err
			},
			"write": func(uri string, o Options) error {
				s, err := Open(t.Context(), uri, o)
				if err != nil {
					return err
				}
				defer s.Close()
				_, err = s.PutBlob(t.Context(), []byte("a leaf"))
				return err
			},
		}
		for use, try := range uses {
			t.Run(name+", "+use, func(t *testing.T) {
				t.Parallel()
				address := tt.address(t)
				o := Options{CredentialsDir: credentials, S3: S3Options{Endpoint: "http://" + address, PathStyle: true}}
				if tt.change != nil {
					tt.change(&o)
				}
				if !o.S3.PathStyle {
					address = "bucket." + address
				}
				start := time.Now()
				err := try("s3://bucket", o)
				if took := time.Since(start); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				if !errors.Is(err, ErrTemporary) {
					t.Fatalf("%v is nothing that passes", err)
				}
				want := regexp.MustCompile("^" + regexp.QuoteMeta(address) + " (" + tt.want + ")")
				if text := err.Error(); !want.MatchString(text) || len(text) > 256 || !strings.Contains(text, "(s3://bucket/") {
					t.Errorf("%s\nwant %s", text, want)
				}
			})
		}
	}
}

func TestAzureThatIsNotThereIsNamedWithinSeconds(t *testing.T) {
	for kind, server := range map[string]func(*testing.T) string{"refuses": refusing, "loses packets": swallowing} {
		t.Run(kind, func(t *testing.T) {
			address, credentials := server(t), t.TempDir()
			for name, value := range map[string]string{
				"AZURE_STORAGE_DOMAIN": address, "AZURE_STORAGE_PROTOCOL": "http", "AZURE_STORAGE_IS_LOCAL_EMULATOR": "true",
			} {
				t.Setenv(name, value)
			}
			writeFile(t, filepath.Join(credentials, "AZURE_STORAGE_ACCOUNT"), "account")
			writeFile(t, filepath.Join(credentials, "AZURE_STORAGE_KEY"), "a2V5")
			start := time.Now()
			_, err := Fetch(t.Context(), "azblob://container/m.tflite", Options{CredentialsDir: credentials}, Cache{Dir: t.TempDir()})
			if took := time.Since(start); took > 12*time.Second {
				t.Errorf("it took %v", took)
			}
			if !errors.Is(err, ErrTemporary) || !strings.HasPrefix(err.Error(), address+" cannot be reached: ") || !strings.Contains(err.Error(), cloudRemedy) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAServerThatWasHeardOfIsWaitedForLonger(t *testing.T) {
	c := newContact(time.Minute, "")
	failure := func(first time.Duration, heard bool) error {
		s := c.server(first.String())
		s.first, s.heard = time.Now().Add(-first), heard
		return fmt.Errorf("get: %w", &unreachableError{server: s, err: syscall.ECONNREFUSED})
	}
	tests := map[string]struct {
		err            error
		again, unheard bool
	}{
		"the first try":                     {failure(0, false), true, true},
		"after a while":                     {failure(firstContact, false), false, true},
		"one that was heard of, after days": {failure(48*time.Hour, true), false, false},
		"another error":                     {syscall.ECONNRESET, false, false},
	}
	for name, tt := range tests {
		if again, unheard := firstTries(tt.err); again != tt.again || unheard != tt.unheard {
			t.Errorf("%s: again %v, unheard %v", name, again, unheard)
		}
	}
}
