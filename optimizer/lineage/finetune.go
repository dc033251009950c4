package lineage

import "context"

var fineTuneKind = Kind{Name: "fineTune", Typical: func() Technique { return FineTune{} }}

// FineTune trains the weights and leaves them what they are held to: zeros and clusters of its input are kept, and none are added.
type FineTune struct{}

// Kind is what it is registered as.
func (FineTune) Kind() Kind { return fineTuneKind }

// String sums the settings up.
func (FineTune) String() string { return "training alone" }

// Check resolves the settings for the network's weights.
func (FineTune) Check(*Network) error { return nil }

// Apply makes the network.
func (FineTune) Apply(ctx context.Context, _ *Network, w *Work) (*Network, error) {
	if w.Steps() == 0 {
		w.Warn("epochs is 0: nothing is trained, and the network stays as it is")
	}
	if err := w.Train(ctx, nil); err != nil {
		return nil, err
	}
	return w.Done()
}
