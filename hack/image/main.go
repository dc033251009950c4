// Command image packs static Linux binaries of several architectures as one container image from scratch, an OCI archive that needs
// neither docker nor a registry. The same binaries give the same bytes.
//
//	go run ./hack/image -o espalier.tar -ref ghcr.io/espalier-dev/espalier:v1 bin/espalier-linux-amd64 bin/espalier-linux-arm64
//
// Push it with `skopeo copy --all oci-archive:espalier.tar docker://…`, or import it with `ctr images import --all-platforms`.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("o", "image.tar", "archive to write")
	ref := flag.String("ref", "", "name of the image, such as ghcr.io/espalier-dev/espalier:v1")
	flag.Parse()
	if err := run(*out, *ref, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// descriptor points to a blob.
type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int               `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// manifest is an image's manifest, or the index of several images.
type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        *descriptor  `json:"config,omitempty"`
	Layers        []descriptor `json:"layers,omitempty"`
	Manifests     []descriptor `json:"manifests,omitempty"`
}

const media = "application/vnd.oci.image."

// archive collects the blobs of an image.
type archive struct {
	names []string
	blobs map[string][]byte
}

func run(out, ref string, binaries []string) error {
	if ref == "" || len(binaries) == 0 {
		return fmt.Errorf("usage: image -o OUT.tar -ref NAME BINARY…")
	}
	a := &archive{blobs: map[string][]byte{}}
	index := manifest{SchemaVersion: 2, MediaType: media + "index.v1+json"}
	for _, binary := range binaries {
		d, err := a.image(binary)
		if err != nil {
			return fmt.Errorf("%s: %w", binary, err)
		}
		index.Manifests = append(index.Manifests, d)
	}
	list := index.Manifests[0] // of one architecture: what runs it need not look for its own
	if len(binaries) > 1 {
		var err error
		if list, err = a.document(index.MediaType, index); err != nil {
			return err
		}
	}
	list.Annotations = map[string]string{"io.containerd.image.name": ref, "org.opencontainers.image.ref.name": ref}
	top, err := json.Marshal(manifest{SchemaVersion: 2, MediaType: media + "index.v1+json", Manifests: []descriptor{list}})
	if err != nil {
		return err
	}
	a.add("index.json", top)
	a.add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	var file bytes.Buffer
	if err := writeTar(&file, a.names, a.blobs, 0o644); err != nil {
		return err
	}
	temporary := out + ".new"
	if err := os.WriteFile(temporary, file.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, out)
}

// image adds the image of one binary, which becomes its only file, run as user 65532.
func (a *archive) image(binary string) (descriptor, error) {
	architecture, err := architectureOf(binary)
	if err != nil {
		return descriptor{}, err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return descriptor{}, err
	}
	name := filepath.Base(binary)
	for _, suffix := range []string{"-linux-" + architecture, "-" + architecture} {
		if trimmed := name[:max(0, len(name)-len(suffix))]; trimmed+suffix == name {
			name = trimmed
		}
	}
	var layer, packed bytes.Buffer
	if err := writeTar(&layer, []string{name}, map[string][]byte{name: content}, 0o755); err != nil {
		return descriptor{}, err
	}
	zip := gzip.NewWriter(&packed)
	if _, err := zip.Write(layer.Bytes()); err != nil {
		return descriptor{}, err
	}
	if err := zip.Close(); err != nil {
		return descriptor{}, err
	}
	p := &platform{architecture, "linux"}
	config, err := a.document(media+"config.v1+json", map[string]any{
		"architecture": p.Architecture, "os": p.OS,
		"config": map[string]any{"User": "65532:65532", "Entrypoint": []string{"/" + name}, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(layer.Bytes())}},
	})
	if err != nil {
		return descriptor{}, err
	}
	d, err := a.document(media+"manifest.v1+json", manifest{
		SchemaVersion: 2, MediaType: media + "manifest.v1+json", Config: &config,
		Layers: []descriptor{a.blob(media+"layer.v1.tar+gzip", packed.Bytes())},
	})
	d.Platform = p
	return d, err
}

// architectureOf reads a binary's header; one that needs a loader would not run in an empty image.
func architectureOf(binary string) (string, error) {
	file, err := elf.Open(binary)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("it is no program for Linux: %w", err)
	}
	defer file.Close()
	if file.Section(".interp") != nil {
		return "", fmt.Errorf("it is linked dynamically: build it with CGO_ENABLED=0")
	}
	switch file.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return "", fmt.Errorf("machine %s is neither amd64 nor arm64", file.Machine)
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (a *archive) add(name string, data []byte) {
	if _, known := a.blobs[name]; !known {
		a.names = append(a.names, name)
	}
	a.blobs[name] = data
}

func (a *archive) blob(mediaType string, data []byte) descriptor {
	d := descriptor{MediaType: mediaType, Digest: digest(data), Size: len(data)}
	a.add("blobs/sha256/"+d.Digest[len("sha256:"):], data)
	return d
}

func (a *archive) document(mediaType string, v any) (descriptor, error) {
	data, err := json.Marshal(v)
	return a.blob(mediaType, data), err
}

// writeTar writes files owned by root and without times, in order.
func writeTar(w io.Writer, names []string, files map[string][]byte, mode int64) error {
	t := tar.NewWriter(w)
	for _, name := range names {
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(files[name])), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := t.Write(files[name]); err != nil {
			return err
		}
	}
	return t.Close()
}
