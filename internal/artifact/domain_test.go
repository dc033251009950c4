package artifact

import (
	"errors"
	"testing"
)

func TestNamespacesDoNotShareResults(t *testing.T) {
	ctx := t.Context()
	s, err := OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, b := s.In("a"), s.In("b")
	leaf, err := a.PutBlob(ctx, []byte("leaf"))
	if err != nil {
		t.Fatal(err)
	}
	hash := Digest([]byte("inputs"))
	if _, err := PutResult(ctx, a, hash, &result{Leaf: leaf}); err != nil {
		t.Fatal(err)
	}
	if got, err := GetResult[result](ctx, a, hash); err != nil || got.Leaf != leaf {
		t.Errorf("its own namespace: %+v, %v", got, err)
	}
	for name, other := range map[string]*Store{"another": b, "none": s} {
		if got, err := GetResult[result](ctx, other, hash); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s namespace: %+v, %v", name, got, err)
		}
		if err := other.CheckBlob(ctx, leaf); err != nil {
			t.Errorf("%s namespace: blobs are shared: %v", name, err)
		}
	}
}
