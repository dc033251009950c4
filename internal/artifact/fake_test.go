package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a server that speaks as much of S3's protocol as single objects need, and fails as servers do.
type fake struct {
	unconditional bool               // knows no If-None-Match
	content       func(n int) []byte // what the nth transfer of any object begins to send, if not what was put
	breaks, after int                // so many transfers break off, after so many bytes

	mutex     sync.Mutex
	objects   map[string][]byte
	transfers int
}

// start returns what reaches the server.
func (f *fake) start(t *testing.T) Options {
	t.Helper()
	f.objects = map[string][]byte{}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	o := Options{CredentialsDir: t.TempDir(), S3: S3Options{Endpoint: server.URL, PathStyle: true}}
	writeFile(t, filepath.Join(o.CredentialsDir, "AWS_ACCESS_KEY_ID"), "id")
	writeFile(t, filepath.Join(o.CredentialsDir, "AWS_SECRET_ACCESS_KEY"), "key")
	return o
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	old, present := f.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "" && f.unconditional:
		refuse(w, http.StatusNotImplemented, "NotImplemented")
	case r.Method == http.MethodPut && r.Header.Get("If-None-Match") != "" && present:
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		f.objects[r.URL.Path], _ = io.ReadAll(r.Body)
	case f.content == nil && !present:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		if f.content != nil {
			old = f.content(f.transfers)
		}
		if r.Method == http.MethodGet {
			if f.transfers++; f.transfers <= f.breaks {
				w = &breaking{w, f.after}
			}
		}
		w.Header().Set("ETag", `"x"`)
		http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(old))
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

// breaking breaks off after so many bytes.
type breaking struct {
	http.ResponseWriter
	rest int
}

func (b *breaking) Write(data []byte) (int, error) {
	n, err := b.ResponseWriter.Write(data[:min(b.rest, len(data))])
	if b.rest -= n; err == nil && b.rest == 0 {
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestATransferGoesOnWhereItBrokeOff(t *testing.T) {
	content := make([]byte, 100_000)
	for i := range content {
		content[i] = byte(i * i >> 8)
	}
	for name, tt := range map[string]struct {
		breaks, after int
		content       func(int) []byte
		want          string // "": all of it
	}{
		"whole":             {content: func(int) []byte { return content }},
		"broken once":       {breaks: 1, after: 30_000, content: func(int) []byte { return content }},
		"broken twice":      {breaks: 2, after: 45_000, content: func(int) []byte { return content }},
		"always broken":     {breaks: 100, after: 1000, content: func(int) []byte { return content }, want: "s3://bucket/model.tflite"},
		"longer afterwards": {breaks: 1, after: 30_000, content: func(n int) []byte { return content[:50_000+1000*n] }, want: "changed while it was read"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{breaks: tt.breaks, after: tt.after, content: tt.content}
			o := f.start(t)
			got, err := Fetch(t.Context(), "s3://bucket/model.tflite", o, Cache{Dir: t.TempDir()})
			switch {
			case tt.want != "":
				if !errors.Is(err, ErrTemporary) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %+v, %v, want an error saying %q", got, err, tt.want)
				}
				if f.transfers > resumptions+1 {
					t.Errorf("%d transfers, want at most %d resumptions", f.transfers, resumptions)
				}
			case err != nil || got.Digest != Digest(content) || got.Bytes != int64(len(content)):
				t.Errorf("got %+v, %v", got, err)
			case f.transfers != tt.breaks+1:
				t.Errorf("%d transfers, want %d", f.transfers, tt.breaks+1)
			}
		})
	}
}

func TestServersWithoutConditionsKeepTheFirstResult(t *testing.T) {
	for _, unconditional := range []bool{false, true} {
		t.Run(fmt.Sprintf("unconditional %v", unconditional), func(t *testing.T) {
			s, err := Open(t.Context(), "s3://bucket/team", (&fake{unconditional: unconditional}).start(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			hash := Digest([]byte("inputs"))
			for _, by := range []string{"first", "second"} {
				if got, err := PutResult(t.Context(), s, hash, &result{By: by}); err != nil || got.By != "first" {
					t.Errorf("putting the %s: got %+v, %v", by, got, err)
				}
			}
		})
	}
}
