// Command image packs static Linux binaries of several architectures as one container image from scratch; it needs neither docker nor a
// registry. The same binaries give the same bytes.
//
//	go run ./hack/image -o espalier.tar -ref ghcr.io/espalier-dev/espalier:v1 bin/espalier-linux-amd64 bin/espalier-linux-arm64
//
// The archive is an OCI layout. With -layout the same is left as a folder, and with -docker an archive for each architecture, as
// `docker save` writes them: FOLDER/NAME-linux-ARCH.tar. With -source each image has an attestation beside it in the index, as BuildKit's
// are, that refers to the image by its subject: what the binary was made of (CycloneDX), and how (SLSA provenance).
package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// options say what is written where.
type options struct {
	archive string // an OCI layout as a tar
	layout  string // the same as a folder
	docker  string // folder of archives for docker
	ref     string // the image's name
	source  string // commit that the binaries were built from
}

func main() {
	var o options
	flag.StringVar(&o.archive, "o", "image.tar", "OCI archive to write")
	flag.StringVar(&o.layout, "layout", "", "folder to write the OCI layout to as well")
	flag.StringVar(&o.docker, "docker", "", "folder to write an archive for docker to, for each architecture")
	flag.StringVar(&o.ref, "ref", "", "name of the image, such as ghcr.io/espalier-dev/espalier:v1")
	flag.StringVar(&o.source, "source", "", "what the binaries were built from, such as git+https://example.com/espalier@COMMIT: adds attestations")
	flag.Parse()
	if err := run(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(o options, binaries []string) error {
	if o.ref == "" || len(binaries) == 0 {
		return errors.New("usage: image -o OUT.tar -ref NAME BINARY…")
	}
	tag, err := name.NewTag(o.ref, name.StrictValidation)
	if err != nil {
		return err
	}
	images := make([]packed, 0, len(binaries))
	for _, binary := range binaries {
		p, err := pack(binary)
		if err != nil {
			return fmt.Errorf("%s: %w", binary, err)
		}
		images = append(images, p)
	}
	index, err := indexOf(images, tag.TagStr(), o.source)
	if err != nil {
		return err
	}
	if err := writeLayout(o, images, index); err != nil {
		return err
	}
	if o.docker == "" {
		return nil
	}
	for _, p := range images {
		file := filepath.Join(o.docker, p.name+"-linux-"+p.platform.Architecture+".tar")
		if err := replace(file, func(w io.Writer) error { return tarball.Write(tag, p.image, w) }); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the platform of what is for no node.
const unknown = "unknown"

// epoch is when every image was created, so that the same binaries give the same bytes.
var epoch = v1.Time{Time: time.Unix(0, 0).UTC()}

// packed is the image of one binary.
type packed struct {
	binary   string // file
	name     string // in the image
	image    v1.Image
	platform v1.Platform
}

// pack makes the image of one binary, which becomes its only file, run as user 65532.
func pack(binary string) (packed, error) {
	architecture, err := architectureOf(binary)
	if err != nil {
		return packed{}, err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return packed{}, err
	}
	p := packed{binary: binary, name: filepath.Base(binary), platform: v1.Platform{OS: "linux", Architecture: architecture}}
	p.name = strings.TrimSuffix(strings.TrimSuffix(p.name, "-"+architecture), "-linux")
	var files bytes.Buffer
	if err := writeTar(&files, []file{{p.name, 0o755, content}}); err != nil {
		return packed{}, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching)
	if err != nil {
		return packed{}, err
	}
	config := &v1.ConfigFile{Created: epoch, OS: p.platform.OS, Architecture: architecture, RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{User: "65532:65532", Entrypoint: []string{"/" + p.name}, WorkingDir: "/"}}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if p.image, err = mutate.ConfigFile(base, config); err != nil {
		return packed{}, err
	}
	p.image, err = mutate.AppendLayers(p.image, layer)
	return p, err
}

// indexOf lists images, and behind them their attestations where there is a source.
func indexOf(images []packed, version, source string) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range images {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: p.image, Descriptor: v1.Descriptor{Platform: &p.platform}})
	}
	if source == "" {
		return index, nil
	}
	for _, p := range images {
		attestation, err := attest(p, version, source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.binary, err)
		}
		digest, err := p.image.Digest()
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
			Platform:    &v1.Platform{OS: unknown, Architecture: unknown},
			Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String()},
		}})
	}
	return index, nil
}

// writeLayout writes the layout, which holds the index, or of one image without attestations the image itself: what runs it need not
// look for its own.
func writeLayout(o options, images []packed, index v1.ImageIndex) (err error) {
	folder := o.layout
	if folder == "" {
		if folder, err = os.MkdirTemp("", "espalier-image-*"); err != nil {
			return err
		}
		defer os.RemoveAll(folder)
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	called := layout.WithAnnotations(map[string]string{"io.containerd.image.name": o.ref, "org.opencontainers.image.ref.name": o.ref})
	if len(images) == 1 && o.source == "" {
		err = path.AppendImage(images[0].image, called, layout.WithPlatform(images[0].platform))
	} else {
		err = path.AppendIndex(index, called)
	}
	if err != nil {
		return err
	}
	var files []file
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(folder, path)
		files = append(files, file{filepath.ToSlash(inside), 0o644, content})
		return err
	})
	if err != nil {
		return err
	}
	return replace(o.archive, func(w io.Writer) error { return writeTar(w, files) })
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
		return "", errors.New("it is linked dynamically: build it with CGO_ENABLED=0")
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

// file is one of a tar.
type file struct {
	name    string
	mode    int64
	content []byte
}

// writeTar writes files owned by root and without times, in order.
func writeTar(w io.Writer, files []file) error {
	t := tar.NewWriter(w)
	for _, f := range files {
		if err := t.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	return t.Close()
}

// replace writes a file whole, or leaves what was there.
func replace(path string, write func(io.Writer) error) error {
	temporary, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if err := errors.Join(write(temporary), temporary.Close()); err != nil {
		os.Remove(temporary.Name())
		return err
	}
	return os.Rename(temporary.Name(), path)
}
