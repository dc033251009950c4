package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const name = "registry.example.com/espalier:v1"

// programs builds a static program for each architecture, named as make image names them.
func programs(t *testing.T, architectures ...string) []string {
	t.Helper()
	folder := t.TempDir()
	source := filepath.Join(folder, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, architecture := range architectures {
		binary := filepath.Join(folder, "espalier-linux-"+architecture)
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, source)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "GOFLAGS=", "GOWORK=off")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		out = append(out, binary)
	}
	return out
}

// packed packs binaries and returns the archive.
func packed(t *testing.T, binaries ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := run(file, name, binaries); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// entry is a file of an archive.
type entry struct {
	header  *tar.Header
	content []byte
}

func unpack(t *testing.T, archive []byte) map[string]entry {
	t.Helper()
	files := map[string]entry{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := files[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		files[h.Name] = entry{h, content}
	}
}

// layout is an unpacked image; used are the blobs that something points to.
type layout struct {
	t     *testing.T
	files map[string]entry
	used  map[string]bool
}

// blob returns what a descriptor points to, which has to be of its digest and size.
func (l *layout) blob(d descriptor, mediaType string) []byte {
	l.t.Helper()
	file := "blobs/sha256/" + strings.TrimPrefix(d.Digest, "sha256:")
	content := l.files[file].content
	if d.MediaType != mediaType || digest(content) != d.Digest || len(content) != d.Size {
		l.t.Fatalf("%+v points to %d bytes of digest %s, want a %s", d, len(content), digest(content), mediaType)
	}
	l.used[file] = true
	return content
}

func decode[T any](t *testing.T, content []byte) T {
	t.Helper()
	var v T
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	return v
}

// imageConfig is what the specification calls an image's configuration.
type imageConfig struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Config       struct {
		User, WorkingDir string
		Entrypoint       []string
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// image checks an image of one architecture and returns the program in it.
func (l *layout) image(d descriptor) (architecture string, program []byte) {
	l.t.Helper()
	const oci = "application/vnd.oci.image."
	m := decode[manifest](l.t, l.blob(d, oci+"manifest.v1+json"))
	if m.SchemaVersion != 2 || m.MediaType != d.MediaType || m.Config == nil || len(m.Layers) != 1 {
		l.t.Fatalf("manifest %+v", m)
	}
	config := decode[imageConfig](l.t, l.blob(*m.Config, oci+"config.v1+json"))
	if config.OS != "linux" || d.Platform == nil || *d.Platform != (platform{config.Architecture, config.OS}) {
		l.t.Errorf("the image is for %s/%s, its descriptor says %+v", config.OS, config.Architecture, d.Platform)
	}
	if diff := cmp.Diff([]string{"/espalier"}, config.Config.Entrypoint); diff != "" {
		l.t.Errorf("entrypoint: %s", diff)
	}
	if config.Config.User != "65532:65532" { // a number: kubelets know it is not root
		l.t.Errorf("user %q", config.Config.User)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(l.blob(m.Layers[0], oci+"layer.v1.tar+gzip")))
	if err != nil {
		l.t.Fatal(err)
	}
	layer, err := io.ReadAll(unzip)
	if err != nil {
		l.t.Fatal(err)
	}
	if config.RootFS.Type != "layers" || !cmp.Equal(config.RootFS.DiffIDs, []string{digest(layer)}) {
		l.t.Errorf("root file system %+v, the layer is %s", config.RootFS, digest(layer))
	}
	files := unpack(l.t, layer)
	file := files["espalier"]
	if len(files) != 1 || file.header == nil {
		l.t.Fatalf("the layer holds %d files", len(files))
	}
	if h := file.header; h.Mode != 0o755 || h.Typeflag != tar.TypeReg || h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 {
		l.t.Errorf("the program is %+v, want a file of root's that all may run", h)
	}
	return config.Architecture, file.content
}

func TestTheArchiveIsAnImageOfBothArchitectures(t *testing.T) {
	binaries := programs(t, "amd64", "arm64")
	l := &layout{t: t, files: unpack(t, packed(t, binaries...)), used: map[string]bool{"index.json": true, "oci-layout": true}}
	if got := string(l.files["oci-layout"].content); got != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout is %s", got)
	}
	const index = "application/vnd.oci.image.index.v1+json"
	top := decode[manifest](t, l.files["index.json"].content)
	if top.SchemaVersion != 2 || top.MediaType != index || len(top.Manifests) != 1 {
		t.Fatalf("index.json: %+v", top)
	}
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if top.Manifests[0].Annotations[key] != name {
			t.Errorf("%s is %q", key, top.Manifests[0].Annotations[key])
		}
	}
	list := decode[manifest](t, l.blob(top.Manifests[0], index))
	if list.SchemaVersion != 2 || list.MediaType != index || len(list.Manifests) != 2 {
		t.Fatalf("the list of images: %+v", list)
	}
	machines := []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64}
	for i, want := range []string{"amd64", "arm64"} {
		architecture, program := l.image(list.Manifests[i])
		if architecture != want {
			t.Errorf("image %d is for %s, want %s", i, architecture, want)
		}
		original, err := os.ReadFile(binaries[i])
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(program, original) {
			t.Errorf("%s: the program is another", want)
		}
		file, err := elf.NewFile(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		if file.Machine != machines[i] || file.Section(".interp") != nil {
			t.Errorf("%s: the program is for %v, or not static", want, file.Machine)
		}
	}
	for file, e := range l.files {
		if !l.used[file] || e.header.Mode != 0o644 || e.header.ModTime.Unix() != 0 {
			t.Errorf("%s: %+v, pointed to: %v", file, e.header, l.used[file])
		}
	}
}

func TestAnImageOfOneArchitectureIsItsManifest(t *testing.T) {
	l := &layout{t: t, files: unpack(t, packed(t, programs(t, "amd64")...)), used: map[string]bool{}}
	top := decode[manifest](t, l.files["index.json"].content)
	if architecture, _ := l.image(top.Manifests[0]); architecture != "amd64" {
		t.Errorf("it is for %s", architecture)
	}
}

func TestTheSameProgramsGiveTheSameBytes(t *testing.T) {
	binaries := programs(t, "amd64", "arm64")
	first := packed(t, binaries...)
	for _, binary := range binaries { // copied anew, by somebody else
		content, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(binary), os.WriteFile(binary, content, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first, packed(t, binaries...)) {
		t.Error("the archives differ")
	}
}

func TestWhatWouldNotRunInAnEmptyImageIsRefused(t *testing.T) {
	static, err := os.ReadFile(programs(t, "amd64")[0])
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(static)
	other[18], other[19] = byte(elf.EM_S390), 0
	tests := map[string]struct {
		content []byte
		want    string
	}{
		"a script":             {[]byte("#!/bin/sh\n"), "no program for Linux"},
		"another architecture": {other, "neither amd64 nor arm64"},
	}
	if shell, err := os.ReadFile("/bin/sh"); err == nil && bytes.Contains(shell[:min(len(shell), 4096)], []byte("/ld-")) {
		tests["a program that needs a loader"] = struct {
			content []byte
			want    string
		}{shell, "CGO_ENABLED=0"}
	}
	for what, tt := range tests {
		folder := t.TempDir()
		binary, file := filepath.Join(folder, "espalier"), filepath.Join(folder, "image.tar")
		if err := os.WriteFile(binary, tt.content, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := run(file, name, []string{binary}); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), binary) {
			t.Errorf("%s: %v, want an error with %q", what, err, tt.want)
		}
		if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
			t.Errorf("%s: %v is left", what, left)
		}
	}
	if err := run("x.tar", "", nil); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("without a name: %v", err)
	}
}
