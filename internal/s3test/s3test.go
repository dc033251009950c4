// Package s3test runs a real S3 server, versitygw, as a process for tests. `make tools` builds it; without it tests that need it are
// skipped, saying so.
package s3test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// The server's one user.
const (
	AccessKey = "espalier-test"
	SecretKey = "espalier-test-secret"
	Region    = "us-east-1"
)

// Server is a running S3 server. It is stopped when the test ends.
type Server struct {
	Endpoint string // http://127.0.0.1:port or https://…
	CAFile   string // certificates to trust; empty without TLS
	// CredentialsDir holds the user's keys as files, as a mounted secret does.
	CredentialsDir string

	t       testing.TB
	binary  string
	args    []string
	address string
	process *exec.Cmd
	log     bytes.Buffer // of the process; read when it has ended
}

// Start starts a server with empty storage, with TLS or without.
func Start(t testing.TB, withTLS bool) *Server {
	t.Helper()
	s := &Server{t: t, binary: binary(t), CredentialsDir: t.TempDir()}
	s.address = freeAddress(t)
	s.Endpoint = "http://" + s.address
	write(t, filepath.Join(s.CredentialsDir, "AWS_ACCESS_KEY_ID"), AccessKey)
	write(t, filepath.Join(s.CredentialsDir, "AWS_SECRET_ACCESS_KEY"), SecretKey+"\n")
	s.args = []string{"--port", s.address, "--access", AccessKey, "--secret", SecretKey, "--region", Region, "--quiet"}
	if withTLS {
		folder := t.TempDir()
		s.Endpoint, s.CAFile = "https://"+s.address, filepath.Join(folder, "ca.crt")
		key := filepath.Join(folder, "tls.key")
		certificate(t, s.CAFile, key)
		s.args = append(s.args, "--cert", s.CAFile, "--key", key)
	}
	s.args = append(s.args, "posix", t.TempDir())
	s.Resume()
	t.Cleanup(s.Stop)
	return s
}

// Stop stops the server; what is stored stays for Resume.
func (s *Server) Stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
	s.process = nil
	if s.t.Failed() && s.log.Len() > 0 {
		s.t.Logf("%s said:\n%s", s, s.log.String())
	}
	s.log.Reset()
}

// Resume starts the server again, at the same address.
func (s *Server) Resume() {
	s.t.Helper()
	s.process = exec.Command(s.binary, s.args...)
	s.process.Stderr = &s.log
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	for range 200 {
		if c, err := net.DialTimeout("tcp", s.address, time.Second); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	s.t.Fatalf("%s did not listen on %s", s.binary, s.address)
}

// Bucket makes a bucket.
func (s *Server) Bucket(name string) {
	s.t.Helper()
	if _, err := s.client().CreateBucket(context.Background(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		s.t.Fatal(err)
	}
}

// Put stores an object, behind the back of whoever works with the server.
func (s *Server) Put(bucket, key string, content []byte) {
	s.t.Helper()
	input := &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(key), Body: bytes.NewReader(content)}
	if _, err := s.client().PutObject(context.Background(), input); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) client() *s3.Client {
	s.t.Helper()
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: Region, UsePathStyle: true, HTTPClient: httpClient(s.t, s.CAFile),
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	})
}

// binary finds the server: ESPALIER_VERSITYGW, else bin/versitygw of the module.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ESPALIER_VERSITYGW")
	if path == "" {
		path = filepath.Join(moduleRoot(t), "bin", "versitygw")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs an S3 server: run `make tools`, or set ESPALIER_VERSITYGW")
	}
	return path
}

func moduleRoot(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for folder != filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		folder = filepath.Dir(folder)
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificate makes a certificate for 127.0.0.1 that signs itself.
func certificate(t testing.TB, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "espalier-test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// String names the server in messages.
func (s *Server) String() string { return fmt.Sprintf("versitygw at %s", s.Endpoint) }
