package s3test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Wire is a bad connection to a server: what passes through it can be slowed down, held up or cut.
type Wire struct {
	Endpoint string // in place of the server's

	server string

	mu          sync.Mutex
	delay       time.Duration
	holdAfter   int64 // bytes from the server on one connection; 0: never
	holds       int   // connections still to be held up
	connections map[net.Conn]struct{}
}

// Wire puts a wire before a server. It is taken away when the test ends.
func (s *Server) Wire(t testing.TB) *Wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{Endpoint: strings.Replace(s.Endpoint, s.address, listener.Addr().String(), 1), server: s.address, connections: map[net.Conn]struct{}{}}
	t.Cleanup(func() {
		_ = listener.Close()
		w.Cut()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return w
}

// Delay slows every packet down.
func (w *Wire) Delay(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = d
}

// Hold has the next connections, so many, fall silent for good once the server has sent so many bytes over them.
func (w *Wire) Hold(connections int, after int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holds, w.holdAfter = connections, after
}

// Cut cuts every connection there is.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.connections {
		_ = c.Close()
	}
}

func (w *Wire) serve(client net.Conn) {
	server, err := net.Dial("tcp", w.server)
	if err != nil {
		_ = client.Close()
		return
	}
	w.mu.Lock()
	w.connections[client], w.connections[server] = struct{}{}, struct{}{}
	after := int64(0)
	if w.holds > 0 {
		w.holds--
		after = w.holdAfter
	}
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.carry(server, client, 0) })
	both.Go(func() { w.carry(client, server, after) })
	both.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.connections, client)
	delete(w.connections, server)
}

// carry copies until an end closes. After so many bytes, if not 0, it only takes.
func (w *Wire) carry(to, from net.Conn, after int64) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	packet, sent := make([]byte, 16<<10), int64(0)
	for {
		n, err := from.Read(packet)
		w.mu.Lock()
		delay := w.delay
		w.mu.Unlock()
		time.Sleep(delay)
		sent += int64(n)
		if after > 0 && sent > after {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, failed := to.Write(packet[:n]); err != nil || failed != nil {
			return
		}
	}
}
