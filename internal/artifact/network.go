package artifact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// silence is how long a server may neither take nor send a byte before its connection counts as broken.
const silence = time.Minute

// transportSettings returns what makes of a transport the one that every client of a bucket speaks through: it gives up on a server
// that falls silent, also in the middle of a transfer, and trusts the certificates of caFile besides the system's.
func transportSettings(caFile string, silence time.Duration) (func(*http.Transport), error) {
	var roots *x509.CertPool
	if caFile != "" {
		var err error
		if roots, err = certificates(caFile); err != nil {
			return nil, err
		}
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 16
		t.IdleConnTimeout = silence
		t.TLSHandshakeTimeout = min(silence, 10*time.Second)
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &impatientConn{conn, silence}, nil
		}
	}, nil
}

// newTransport makes such a transport for libraries that have no settings of their own.
func newTransport(silence time.Duration) (*http.Transport, error) {
	configure, err := transportSettings("", silence)
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	configure(t)
	return t, nil
}

// certificates returns the system's and those of a file.
func certificates(caFile string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("%w: read the certificates of s3.caSecretRef: %w", ErrDenied, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%w: ca.crt of the secret that s3.caSecretRef names holds no certificate in PEM form", ErrDenied)
	}
	return roots, nil
}

// impatientConn fails a read or write in which nothing moves for so long.
type impatientConn struct {
	net.Conn
	silence time.Duration
}

func (c *impatientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatientConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}
