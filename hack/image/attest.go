package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"os"
	"regexp"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	mediaInToto    = types.MediaType("application/vnd.in-toto+json")
	predicateSBOM  = "https://cyclonedx.org/bom"
	predicateBuild = "https://slsa.dev/provenance/v1"
	buildType      = "https://espalier.dev/make-image/v1" // go build, then hack/image
	builder        = "https://espalier.dev/make-image"    // whoever runs make image, on a machine of its own choice
)

// attest says in a manifest what the binary of an image was made of and how, as two statements of in-toto about the image. They are not
// signed: they say what the builder says.
func attest(p packed, version, source string) (v1.Image, error) {
	digest, err := p.image.Digest()
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(p.binary)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(p.binary)
	if err != nil {
		return nil, err
	}
	sbom, err := bill(info, version, content)
	if err != nil {
		return nil, err
	}
	build, err := buildOf(info, version, source)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	attestation, err := mutate.ConfigFile(base, &v1.ConfigFile{Created: epoch, OS: unknown, Architecture: unknown, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	for _, s := range []struct {
		predicate string
		document  []byte
	}{{predicateSBOM, sbom}, {predicateBuild, build}} {
		text, err := statement(p.name, digest, s.predicate, s.document)
		if err != nil {
			return nil, err
		}
		if attestation, err = mutate.Append(attestation, mutate.Addendum{
			Layer: static.NewLayer(text, mediaInToto), Annotations: map[string]string{"in-toto.io/predicate-type": s.predicate},
		}); err != nil {
			return nil, err
		}
	}
	subject, err := partial.Descriptor(p.image)
	if err != nil {
		return nil, err
	}
	return mutate.Subject(attestation, *subject).(v1.Image), nil
}

// statement is what in-toto calls one, about an image.
func statement(name string, digest v1.Hash, predicateType string, document []byte) ([]byte, error) {
	predicate := &structpb.Struct{}
	if err := protojson.Unmarshal(document, predicate); err != nil {
		return nil, err
	}
	s := &intoto.Statement{
		Type: intoto.StatementTypeUri, PredicateType: predicateType, Predicate: predicate,
		Subject: []*intoto.ResourceDescriptor{{Name: name, Digest: map[string]string{digest.Algorithm: digest.Hex}}},
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return text(s)
}

// text writes a message in one way: protojson varies its spaces.
func text(m proto.Message) ([]byte, error) {
	written, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Compact(&out, written); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// bill is the bill of materials: the modules that Go's linker says are in a binary.
func bill(info *buildinfo.BuildInfo, version string, binary []byte) ([]byte, error) {
	sum := sha256.Sum256(binary)
	b := cyclonedx.NewBOM()
	b.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, BOMRef: info.Main.Path, Name: info.Main.Path, Version: version,
		Hashes: &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}}
	components := []cyclonedx.Component{{
		Type: cyclonedx.ComponentTypeLibrary, BOMRef: "std", Name: "std", Version: strings.TrimPrefix(info.GoVersion, "go"),
		PackageURL: "pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"),
	}}
	uses := []string{"std"}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := cyclonedx.Component{Type: cyclonedx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, PackageURL: "pkg:golang/" + m.Path + "@" + m.Version}
		c.BOMRef = c.PackageURL
		if m.Sum != "" {
			c.Properties = &[]cyclonedx.Property{{Name: "go.sum", Value: m.Sum}} // of the module's files, as go.sum has it
		}
		components = append(components, c)
		uses = append(uses, c.BOMRef)
	}
	b.Components, b.Dependencies = &components, &[]cyclonedx.Dependency{{Ref: info.Main.Path, Dependencies: &uses}}
	var out bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).Encode(b)
	return out.Bytes(), err
}

// buildOf is the provenance: what was built how, as far as Go wrote it into the binary.
func buildOf(info *buildinfo.BuildInfo, version, source string) ([]byte, error) {
	settings := map[string]any{}
	for _, s := range info.Settings {
		if !strings.HasPrefix(s.Key, "vcs") {
			settings[s.Key] = s.Value
		}
	}
	parameters, err := structpb.NewStruct(map[string]any{"version": version, "settings": settings})
	if err != nil {
		return nil, err
	}
	from := &intoto.ResourceDescriptor{Uri: source}
	if m := regexp.MustCompile("@([0-9a-f]{40})$").FindStringSubmatch(source); m != nil {
		from.Digest = map[string]string{"gitCommit": m[1]}
	}
	p := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{BuildType: buildType, ExternalParameters: parameters, ResolvedDependencies: []*intoto.ResourceDescriptor{
			from, {Name: "go", Uri: "pkg:golang/toolchain@" + strings.TrimPrefix(info.GoVersion, "go")},
		}},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{Id: builder}},
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return text(p)
}
