package lineage

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Technique makes a network of a network.
type Technique interface {
	// Kind is what it is registered as.
	Kind() Kind
	// String sums its settings up, such as "sparsity 0.5".
	String() string
	// Check reports settings that do not fit a network, before anything is trained.
	Check(n *Network) error
	// Apply returns what it makes of a network, which stays as it is.
	Apply(ctx context.Context, n *Network, w *Work) (*Network, error)
}

// Kind is a technique without its settings.
type Kind struct {
	// Name is its word in manifests, hashes, reports and metrics.
	Name string
	// Final says that what it makes is there for its leaf: nothing builds on it.
	Final bool
	// Typical returns the technique with settings of the usual size, for benchmarks.
	Typical func() Technique
}

// Kinds are the registered techniques, in the order in which they usually follow each other.
var Kinds = []Kind{fineTuneKind, pruneKind, clusterKind, quantizeKind}

// KindOf returns the registered technique of a name.
func KindOf(name string) (Kind, error) {
	i := slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		var names []string
		for _, k := range Kinds {
			names = append(names, k.Name)
		}
		return Kind{}, fmt.Errorf("no technique is called %q; there are %s", name, strings.Join(names, ", "))
	}
	return Kinds[i], nil
}
