package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const (
	reference = "registry.example.com/espalier:v1"
	commit    = "0123456789012345678901234567890123456789"
	source    = "git+https://example.com/espalier@" + commit
)

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

// build packs binaries into a folder: image.tar, the folder image and archives for docker.
func build(t *testing.T, source string, binaries ...string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := run(options{archive: filepath.Join(folder, "image.tar"), layout: filepath.Join(folder, "image"), docker: folder, ref: reference, source: source}, binaries); err != nil {
		t.Fatal(err)
	}
	return folder
}

// untar unpacks an archive, whose files have to be root's, without times.
func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 || files[h.Name] != nil {
			t.Errorf("there is %+v", h)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func decode[T any](t *testing.T, content []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(content, &v); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	return v
}

// opened is the only entry of a layout, which has to be valid, named as it was to be.
func opened(t *testing.T, folder string) (v1.ImageIndex, v1.Descriptor) {
	t.Helper()
	top, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 1 {
		t.Fatalf("index.json has %d entries: crane would not know which to push", len(manifest.Manifests))
	}
	entry := manifest.Manifests[0]
	for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
		if entry.Annotations[key] != reference {
			t.Errorf("%s is %q", key, entry.Annotations[key])
		}
	}
	return top, entry
}

// program checks an image of one program and returns it.
func program(t *testing.T, image v1.Image) (architecture string, content []byte) {
	t.Helper()
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/espalier"}) { // a number: kubelets know it is not root
		t.Errorf("the configuration is %+v", config)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	unpacked, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer unpacked.Close()
	layer, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	files := untar(t, layer)
	if len(files) != 1 {
		t.Errorf("the layer holds %d files", len(files))
	}
	header, err := tar.NewReader(bytes.NewReader(layer)).Next()
	if err != nil || header.Mode != 0o755 {
		t.Errorf("the program is %+v, %v", header, err)
	}
	return config.Architecture, files["espalier"]
}

func TestTheLayoutIsAnImageOfBothArchitectures(t *testing.T) {
	binaries := programs(t, "amd64", "arm64")
	folder := build(t, source, binaries...)
	top, entry := opened(t, filepath.Join(folder, "image"))
	index, err := top.ImageIndex(entry.Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 4 {
		t.Fatalf("%d entries, want two images and what attests them", len(manifest.Manifests))
	}
	machines := []elf.Machine{elf.EM_X86_64, elf.EM_AARCH64}
	for i, want := range []string{"amd64", "arm64"} {
		d := manifest.Manifests[i]
		image, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		architecture, content := program(t, image)
		if architecture != want || d.Platform.String() != "linux/"+want {
			t.Errorf("image %d is for %s, as %s, want %s", i, architecture, d.Platform, want)
		}
		if !bytes.Equal(content, read(t, binaries[i])) {
			t.Errorf("%s: the program is another", want)
		}
		file, err := elf.NewFile(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if file.Machine != machines[i] || file.Section(".interp") != nil {
			t.Errorf("%s: the program is for %v, or not static", want, file.Machine)
		}

		docker, err := tarball.ImageFromPath(filepath.Join(folder, "espalier-linux-"+want+".tar"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if architecture, same := program(t, docker); architecture != want || !bytes.Equal(same, content) {
			t.Errorf("%s: docker's archive is another", want)
		}
	}
}

func TestTheArchiveIsTheLayout(t *testing.T) {
	folder := build(t, source, programs(t, "amd64", "arm64")...)
	files := map[string][]byte{}
	for name, content := range untar(t, read(t, filepath.Join(folder, "image.tar"))) {
		files[filepath.Join(folder, "image", filepath.FromSlash(name))] = content
	}
	found := 0
	err := filepath.WalkDir(filepath.Join(folder, "image"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found++
			if !bytes.Equal(files[path], read(t, path)) {
				t.Errorf("%s is another in the archive", path)
			}
		}
		return err
	})
	if err != nil || found != len(files) {
		t.Errorf("%d files, %d in the archive, %v", found, len(files), err)
	}
}

func TestAnImageOfOneArchitectureIsItsManifest(t *testing.T) {
	top, entry := opened(t, filepath.Join(build(t, "", programs(t, "amd64")...), "image"))
	image, err := top.Image(entry.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if architecture, _ := program(t, image); architecture != "amd64" {
		t.Errorf("it is for %s", architecture)
	}
}

// statementOf is a statement of in-toto about a program.
type statementOf[P any] struct {
	Type          string `json:"_type"`
	PredicateType string `json:"predicateType"`
	Predicate     P      `json:"predicate"`
	Subject       []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
}

// attested returns the statements beside an image of the index, by what they are about.
func attested(t *testing.T, folder string) (image v1.Descriptor, statements map[string][]byte) {
	t.Helper()
	top, entry := opened(t, folder)
	index, err := top.ImageIndex(entry.Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	image, d := manifest.Manifests[0], manifest.Manifests[1]
	if d.Platform.String() != "unknown/unknown" || d.Annotations["vnd.docker.reference.digest"] != image.Digest.String() {
		t.Errorf("the attestation's entry is %+v", d)
	}
	attestation, err := index.Image(d.Digest)
	if err != nil {
		t.Fatal(err)
	}
	m, err := attestation.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Subject == nil || m.Subject.Digest != image.Digest {
		t.Errorf("it refers to %v, not to the image %s", m.Subject, image.Digest)
	}
	layers, err := attestation.Layers()
	if err != nil {
		t.Fatal(err)
	}
	statements = map[string][]byte{}
	for i, layer := range layers {
		content, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer content.Close()
		text, err := io.ReadAll(content)
		if err != nil {
			t.Fatal(err)
		}
		if m.Layers[i].MediaType != mediaInToto {
			t.Errorf("a statement is a %s", m.Layers[i].MediaType)
		}
		statements[m.Layers[i].Annotations["in-toto.io/predicate-type"]] = text
	}
	return image, statements
}

func TestAnImageSaysWhatItIsMadeOfAndHow(t *testing.T) {
	// a program with a module in it: this one
	binary := filepath.Join(t.TempDir(), "espalier-linux-amd64")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-tags=some_tag", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-buildvcs=false")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	image, statements := attested(t, filepath.Join(build(t, source, binary), "image"))
	if len(statements) != 2 {
		t.Fatalf("%d statements", len(statements))
	}

	bill := decode[statementOf[cyclonedx.BOM]](t, statements[predicateSBOM])
	made := decode[statementOf[map[string]any]](t, statements[predicateBuild])
	if bill.PredicateType != predicateSBOM || made.PredicateType != predicateBuild || bill.Type != "https://in-toto.io/Statement/v1" || bill.Subject[0].Digest["sha256"] != image.Digest.Hex || made.Subject[0].Digest["sha256"] != image.Digest.Hex {
		t.Errorf("the statements are %+v and %+v", bill, made)
	}
	var urls []string
	for _, c := range *bill.Predicate.Components {
		urls = append(urls, c.PackageURL)
	}
	for _, want := range []string{"pkg:golang/std@", "pkg:golang/github.com/google/go-containerregistry@v"} {
		if !slices.ContainsFunc(urls, func(u string) bool { return strings.HasPrefix(u, want) }) {
			t.Errorf("the bill lacks %s: %v", want, urls)
		}
	}
	if c := bill.Predicate.Metadata.Component; c.Version != "v1" || len((*c.Hashes)[0].Value) != 64 {
		t.Errorf("it is a bill of %+v", c)
	}
	definition := made.Predicate["buildDefinition"].(map[string]any)
	parameters := definition["externalParameters"].(map[string]any)
	if settings := parameters["settings"].(map[string]any); parameters["version"] != "v1" || settings["-tags"] != "some_tag" || settings["GOARCH"] != "amd64" {
		t.Errorf("it was built with %v", parameters)
	}
	from := definition["resolvedDependencies"].([]any)[0].(map[string]any)
	if from["uri"] != source || cmp.Diff(map[string]any{"gitCommit": commit}, from["digest"]) != "" {
		t.Errorf("it was built from %v", from)
	}
}

// craneFile is the program; without it the test is skipped.
func craneFile(t *testing.T) string {
	t.Helper()
	file, err := filepath.Abs("../../bin/crane")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Skip("needs crane: run `make tools`")
	}
	return file
}

func crane(t *testing.T, args ...string) string {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), craneFile(t), args...).CombinedOutput()
	if err != nil {
		t.Errorf("crane %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return strings.TrimSpace(string(text))
}

// TestTheArchivesArePushedAsDocumented runs what docs/operator.md has for them, against a registry.
func TestTheArchivesArePushedAsDocumented(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(build(t, source, programs(t, "amd64", "arm64")...), filepath.Join(folder, "bin", "built")); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"image": "image", "image.tar": "espalier.tar", "espalier-linux-amd64.tar": "espalier-linux-amd64.tar", "espalier-linux-arm64.tar": "espalier-linux-arm64.tar"} {
		if err := os.Rename(filepath.Join(folder, "bin", "built", from), filepath.Join(folder, "bin", to)); err != nil {
			t.Fatal(err)
		}
	}
	top, entry := opened(t, filepath.Join(folder, "bin", "image"))
	index, err := top.ImageIndex(entry.Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	ran := 0
	for line := range strings.Lines(string(read(t, "../../docs/operator.md"))) {
		command, found := strings.CutPrefix(line, "$ ")
		command, _, _ = strings.Cut(command, "#")
		args := strings.Fields(strings.ReplaceAll(command, "registry.example.com", host))
		if !found || len(args) == 0 || args[0] != "crane" && args[0] != "skopeo" {
			continue
		}
		tool, err := exec.LookPath(args[0])
		if args[0] == "crane" {
			tool, err = craneFile(t), nil
		}
		if err != nil { // skopeo is not built here
			t.Logf("%s is not there", args[0])
			continue
		}
		if args[0] == "skopeo" {
			args = append([]string{"skopeo", "--insecure-policy", args[1], "--dest-tls-verify=false"}, args[2:]...)
		}
		cmd := exec.CommandContext(t.Context(), tool, args[1:]...)
		cmd.Dir = folder
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, text)
			continue
		}
		ran++
		target := strings.TrimPrefix(args[len(args)-1], "docker://")
		if strings.Contains(target, "-linux-") { // docker's manifest is another one
			if got := crane(t, "config", target); !strings.Contains(got, `"/espalier"`) {
				t.Errorf("%s: its configuration is %s", target, got)
			}
			continue
		}
		for _, d := range manifest.Manifests[:2] {
			if got := crane(t, "digest", "--platform", d.Platform.String(), target); got != d.Digest.String() {
				t.Errorf("%s: in the registry %s is %s, in the layout %s", strings.Join(args, " "), d.Platform, got, d.Digest)
			}
		}
		if got := crane(t, "digest", target); args[0] == "crane" && got != entry.Digest.String() {
			t.Errorf("in the registry it is %s, in the layout %s", got, entry.Digest)
		}
	}
	if ran == 0 {
		t.Error("operator.md pushes nothing")
	}
}

func TestTheSameProgramsGiveTheSameBytes(t *testing.T) {
	binaries := programs(t, "amd64", "arm64")
	first := build(t, source, binaries...)
	for _, binary := range binaries { // copied anew, by somebody else
		content, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(os.Remove(binary), os.WriteFile(binary, content, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	second := build(t, source, binaries...)
	for _, file := range []string{"image.tar", "image/index.json", "espalier-linux-amd64.tar", "espalier-linux-arm64.tar"} {
		if !bytes.Equal(read(t, filepath.Join(first, file)), read(t, filepath.Join(second, file))) {
			t.Errorf("%s differs", file)
		}
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
		if err := run(options{archive: file, ref: reference}, []string{binary}); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), binary) {
			t.Errorf("%s: %v, want an error with %q", what, err, tt.want)
		}
		if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
			t.Errorf("%s: %v is left", what, left)
		}
	}
	if err := run(options{archive: "x.tar"}, nil); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("without a name: %v", err)
	}
}
