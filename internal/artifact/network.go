package artifact

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"
)

// silence is how long a server may neither take nor send a byte before its connection counts as broken.
const silence = time.Minute

// cloudRemedy says what to do where a cloud's server cannot be reached.
const cloudRemedy = "check DNS, proxy and NetworkPolicies"

// transportSettings returns what makes of a transport the one that every client of a bucket speaks through: it gives up on a server
// that falls silent, also in the middle of a transfer, and trusts the certificates of caFile besides the system's.
func transportSettings(caFile string, c *contact) (func(*http.Transport), error) {
	var roots *x509.CertPool
	if caFile != "" {
		var err error
		if roots, err = certificates(caFile); err != nil {
			return nil, err
		}
	}
	return func(t *http.Transport) {
		t.MaxIdleConnsPerHost = 16
		t.IdleConnTimeout = c.silence
		t.TLSHandshakeTimeout = 0 // silence ends it, and says of which server
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		t.DialContext = c.dial
	}, nil
}

// newTransport makes such a transport for libraries that have no settings of their own.
func newTransport(c *contact) (*http.Transport, error) {
	configure, err := transportSettings("", c)
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
