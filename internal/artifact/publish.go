package artifact

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Publish stores data under a name for people, <namespace>/<name>/<file>, in place of what was there, and returns its address.
func (s *Store) Publish(ctx context.Context, name string, data []byte) (string, error) {
	if err := publishable(name); err != nil {
		return "", err
	}
	return s.address + "/" + name, s.objects.write(ctx, name, bytes.NewReader(data), false)
}

// Withdraw removes leaves (.tflite files) that were published in <namespace>/<name>, except those to keep. Other files are not touched:
// they may be somebody else's.
func (s *Store) Withdraw(ctx context.Context, folder string, keep []string) error {
	if err := publishable(folder + "/leaf.tflite"); err != nil {
		return err
	}
	names := []string{folder + "/leaf.tflite"}
	leaves, err := s.Published(ctx, folder)
	if err != nil {
		return err
	}
	for _, name := range append(names, leaves...) {
		if path.Ext(name) != ".tflite" || slices.Contains(keep, strings.TrimPrefix(name, folder+"/")) {
			continue
		}
		if err := s.objects.remove(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Published lists the leaves of stages that were published in <namespace>/<name>, none where nothing was.
func (s *Store) Published(ctx context.Context, folder string) ([]string, error) {
	return s.objects.list(ctx, folder+"/leaves/")
}

// publishable reports a name that leads out of the store, or among its blobs.
func publishable(name string) error {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.Count(name, "/") < 2 || path.Ext(name) == "" || strings.HasPrefix(name, blobs+"/") {
		return fmt.Errorf("%q is no name to publish under: want <namespace>/<name>/<file>", name)
	}
	return nil
}
