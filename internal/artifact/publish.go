package artifact

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"path/filepath"
	"regexp"
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

// Withdraw removes leaves that were published in <namespace>/<name>, as far as they are there. Other files are not touched.
func (s *Store) Withdraw(ctx context.Context, folder string, leaves []string) error {
	files, err := s.Published(ctx, folder)
	if err != nil {
		return err
	}
	for _, name := range files {
		if path.Ext(name) != ".tflite" || !slices.Contains(leaves, name) {
			continue
		}
		if err := s.objects.remove(ctx, folder+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// published are the files that are published in a folder.
var published = regexp.MustCompile(`^(leaf(-[0-9a-f]{64})?\.tflite|leaves/[^/]+\.tflite|report\.html|result\.json)$`)

// Published lists what was published in <namespace>/<name>, none where nothing was.
func (s *Store) Published(ctx context.Context, folder string) ([]string, error) {
	if err := publishable(folder + "/leaf.tflite"); err != nil {
		return nil, err
	}
	names, err := s.objects.list(ctx, folder+"/")
	if err != nil {
		return nil, err
	}
	var files []string
	for _, name := range names {
		if name = strings.TrimPrefix(name, folder+"/"); published.MatchString(name) {
			files = append(files, name)
		}
	}
	return files, nil
}

// publishable reports a name that leads out of the store, or among its blobs.
func publishable(name string) error {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.Count(name, "/") < 2 || path.Ext(name) == "" || strings.HasPrefix(name, blobs+"/") {
		return fmt.Errorf("%q is no name to publish under: want <namespace>/<name>/<file>", name)
	}
	return nil
}
