package artifact

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// firstContact is how long a server that was never heard of is tried: its address is more likely wrong than the server away. One
	// that was heard of is waited for as the library's retries do.
	firstContact = 5 * time.Second
	// firstSilence is how long a server that was never heard of may take to send its first byte.
	firstSilence = 15 * time.Second
)

// contact is what the connections of one client share.
type contact struct {
	silence time.Duration // how long a server may neither take nor send a byte before its connection counts as broken
	remedy  string        // what to do where a server cannot be reached

	mu      sync.Mutex
	servers map[string]*server // by address: besides the bucket's those that give credentials
}

func newContact(silence time.Duration, remedy string) *contact {
	return &contact{silence: silence, remedy: remedy, servers: map[string]*server{}}
}

// server is what is known of one.
type server struct {
	address string // host:port
	contact *contact

	mu    sync.Mutex
	heard bool      // it sent something
	first time.Time // of the first attempt to reach it
}

func (c *contact) server(address string) *server {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.servers[address]
	if s == nil {
		s = &server{address: address, contact: c, first: time.Now()}
		c.servers[address] = s
	}
	return s
}

// dial connects to a server.
func (c *contact) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s := c.server(address)
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	if !s.known() {
		dialer.Timeout = firstContact
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, &unreachableError{server: s, after: dialer.Timeout, err: err}
	}
	return &impatientConn{conn, s}, nil
}

func (s *server) known() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

func (s *server) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = true
}

// patience is how long a connection may be silent now.
func (s *server) patience() time.Duration {
	if s.known() {
		return s.contact.silence
	}
	return min(s.contact.silence, firstSilence)
}

// firstTries reports whether an error is of a server that was never heard of, and whether it is worth trying once more.
func firstTries(err error) (again, unheard bool) {
	var unreachable *unreachableError
	if !errors.As(err, &unreachable) || unreachable.server.known() {
		return false, false
	}
	return time.Since(unreachable.server.first) < firstContact, true
}

// impatientConn fails where nothing moves for so long.
type impatientConn struct {
	net.Conn
	server *server
}

func (c *impatientConn) Read(p []byte) (int, error) {
	patience := c.server.patience()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.server.hear()
	}
	return n, c.explain(err, patience)
}

// Write puts off the time by which a read has to end as well: a server that takes bytes is not silent.
func (c *impatientConn) Write(p []byte) (int, error) {
	patience := c.server.patience()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	return n, c.explain(err, patience)
}

func (c *impatientConn) explain(err error, patience time.Duration) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return &unreachableError{server: c.server, after: patience, connected: true, err: err}
}

// unreachableError says which server cannot be reached, why, and what to do.
type unreachableError struct {
	server    *server
	after     time.Duration
	connected bool // and then silent
	err       error
}

func (e *unreachableError) Error() string {
	return fmt.Sprintf("%s cannot be reached: %s: %s", e.server.address, e.cause(), e.server.contact.remedy)
}

func (e *unreachableError) Unwrap() error { return e.err }

// cause is why, in a few words.
func (e *unreachableError) cause() string {
	var name *net.DNSError
	var network net.Error
	var number syscall.Errno
	switch {
	case errors.As(e.err, &name) && name.IsNotFound:
		return "no such host"
	case errors.As(e.err, &name):
		return "its name is not resolved: " + name.Err
	case e.connected:
		return fmt.Sprintf("timeout: it took the connection and was silent for %v", e.after)
	case errors.As(e.err, &network) && network.Timeout():
		return fmt.Sprintf("timeout: no answer for %v", e.after)
	case errors.As(e.err, &number):
		return number.Error()
	}
	return e.err.Error()
}
