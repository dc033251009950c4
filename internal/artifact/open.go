package artifact

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"gocloud.dev/blob"

	"espalier.dev/espalier/api/v1alpha1"
)

// Options say how to get at a place.
type Options struct {
	// S3 applies to s3:// addresses.
	S3 S3Options
	// CredentialsDir holds the keys of a credentials secret as files, as Kubernetes mounts it. Empty: the process's own identity
	// (environment, service account), or none.
	CredentialsDir string
	// ClaimRoot is where claims are mounted: pvc://models/a.tflite is <ClaimRoot>/models/a.tflite. Empty: nowhere.
	ClaimRoot string
	// Base is the folder that relative paths are relative to. Empty: the working directory.
	Base string
	// ReadOnly has Open return a store in which nothing is made, written or removed.
	ReadOnly bool

	silence time.Duration // in place of the constant, for tests
}

// patience is how long a server may be silent.
func (o Options) patience() time.Duration {
	if o.silence > 0 {
		return o.silence
	}
	return silence
}

// S3Options describe an S3 server.
type S3Options struct {
	Endpoint  string // such as https://minio:9000; empty: Amazon's
	Region    string // empty: us-east-1, or AWS_REGION
	PathStyle bool   // the bucket is part of the path
	CAFile    string // certificates to trust besides the system's
}

// Open opens the store at an address: s3://bucket/prefix, gs://bucket/prefix, azblob://container/prefix, pvc://claim/folder,
// file:///folder or a folder's path. It does not reach out; errors of the place come with the first use.
func Open(ctx context.Context, uri string, o Options) (*Store, error) {
	a, err := parse(uri, o)
	if err != nil {
		return nil, err
	}
	s, err := a.store(ctx, uri, o)
	if err == nil && o.ReadOnly {
		s.objects = readOnly{s.objects}
	}
	return s, err
}

func (a address) store(ctx context.Context, uri string, o Options) (*Store, error) {
	if a.local != "" && o.ReadOnly {
		return &Store{objects: &folder{a.local}, address: strings.TrimRight(uri, "/")}, nil
	}
	if a.local != "" {
		s, err := OpenFolder(a.local)
		if err == nil && v1alpha1.Scheme(uri) == "pvc" {
			s.address = strings.TrimRight(uri, "/")
		}
		return s, err
	}
	b, err := a.open(ctx, o)
	if err != nil {
		return nil, err
	}
	if a.key != "" {
		b = blob.PrefixedBucket(b, strings.TrimSuffix(a.key, "/")+"/")
	}
	address := strings.TrimRight(uri, "/")
	return &Store{objects: &bucket{b, address}, address: address}, nil
}

// address is a parsed one: a local path, or a bucket and a key.
type address struct {
	uri                 string
	local               string
	claim               string // the folder of the claim that local is in
	scheme, bucket, key string
}

var claimPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// parse takes an address apart. Below a claim or bucket, .. leads nowhere.
func parse(uri string, o Options) (address, error) {
	scheme, rest, found := strings.Cut(uri, "://")
	if !found {
		return localAddress(uri, uri, o), nil
	}
	if strings.HasSuffix(rest, "/..") || strings.Contains(rest, "/../") {
		return address{}, badAddress("%s: an address must not climb out of its place by .. in its path", uri)
	}
	place, key, _ := strings.Cut(rest, "/")
	switch scheme {
	case "file":
		if place != "" {
			return address{}, badAddress("%s: want file:/// and an absolute path", uri)
		}
		return localAddress(uri, rest, o), nil
	case "pvc":
		if !claimPattern.MatchString(place) {
			return address{}, badAddress("%s: want pvc://claim/path", uri)
		}
		if o.ClaimRoot == "" {
			return address{}, badAddress("%s: claims are reached in a cluster only: here, name a path", uri)
		}
		claim := filepath.Join(o.ClaimRoot, place)
		return address{uri: uri, claim: claim, local: filepath.Join(claim, filepath.FromSlash(path.Clean("/"+key)))}, nil
	case "s3", "gs", "azblob":
		if place == "" {
			return address{}, badAddress("%s: want %s://bucket/key", uri, scheme)
		}
		return address{uri: uri, scheme: scheme, bucket: place, key: strings.TrimLeft(key, "/")}, nil
	default:
		return address{}, badAddress("%s: scheme %s is not known: want s3, gs, azblob, pvc, file or a path", uri, scheme)
	}
}

// badAddress is a typed error.
func badAddress(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadAddress, fmt.Sprintf(format, args...))
}

func localAddress(uri, file string, o Options) address {
	file = filepath.FromSlash(file)
	if !filepath.IsAbs(file) {
		file = filepath.Join(o.Base, file)
	}
	return address{uri: uri, local: filepath.Clean(file)}
}

// open opens the address's bucket.
func (a address) open(ctx context.Context, o Options) (*blob.Bucket, error) {
	switch a.scheme {
	case "s3":
		return openS3(ctx, a.bucket, o)
	case "gs":
		return openGoogle(ctx, a.bucket, o)
	default:
		return openAzure(ctx, a.bucket, o)
	}
}

// credential reads one key of the credentials secret, "" where it has none.
func credential(dir, name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: read the credentials secret: %w", ErrDenied, err)
	}
	return strings.TrimSpace(string(data)), nil
}

// missing says which key the credentials secret lacks.
func missing(scheme string, names ...string) error {
	return fmt.Errorf("%s: %w: the credentials secret needs the keys %s", scheme, ErrDenied, strings.Join(names, " and "))
}

// checkEndpoint reports an endpoint that is no address.
func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return badAddress("s3.endpoint is %q: want http:// or https:// and a host", endpoint)
	}
	return nil
}
