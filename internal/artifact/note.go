package artifact

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// notes is the store's folder of what processes that work on one thing tell each other meanwhile.
const notes = "notes"

// maxNote bounds what is read as a note.
const maxNote = 1 << 20

// Notes are what the processes that work on one thing tell each other: each under a name, in place of the one before.
type Notes struct {
	store  *Store
	folder string
}

// Notes returns the notes on a thing that a digest names.
func (s *Store) Notes(digest string) (*Notes, error) {
	folder, err := key(notes+s.domain, digest, "")
	return &Notes{s, folder}, err
}

// Write replaces a note.
func (n *Notes) Write(ctx context.Context, name string, content []byte) error {
	return n.store.objects.write(ctx, n.folder+"/"+name, bytes.NewReader(content), false)
}

// Read returns a note, or ErrNotFound.
func (n *Notes) Read(ctx context.Context, name string) ([]byte, error) {
	r, err := n.store.objects.read(ctx, n.folder+"/"+name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, maxNote+1))
	if err == nil && len(content) > maxNote {
		err = fmt.Errorf("note %s is %w: it has more than %d bytes", name, ErrDamaged, maxNote)
	}
	return content, err
}

// Remove removes a note, if it is there.
func (n *Notes) Remove(ctx context.Context, name string) error {
	return n.store.objects.remove(ctx, n.folder+"/"+name)
}
