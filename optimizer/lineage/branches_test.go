package lineage

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/tflite/schema"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
	"espalier.dev/espalier/optimizer/weight"
)

// residual is a network of two residual blocks, of which the second has a projection; small has the first add a hundredth of what it would.
func residual(small bool) *tflite.Model {
	by := 0.3
	if small {
		by = 0.003
	}
	return image(gauss(1, 8*9*2, 0.3), func(b *tflitetest.Builder, x int32) int32 {
		y := b.Conv("early/a", x, gauss(4, 8*9*8, 0.2), gauss(5, 8, 0.1), 8, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
		y = b.Conv("early/b", y, gauss(6, 8*9*8, by), nil, 8, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
		x = b.Add("early", x, y, tflitetest.ReLU)
		y = b.Conv("late/a", x, gauss(9, 12*9*8, 0.2), gauss(10, 12, 0.1), 12, 3, 3, 1, schema.PaddingSAME, tflitetest.ReLU)
		y = b.Conv("late/b", y, gauss(11, 12*9*12, 0.2), gauss(12, 12, 0.1), 12, 3, 3, 1, schema.PaddingSAME, tflitetest.None)
		return b.Add("late", b.Conv("projection", x, gauss(13, 12*8, 0.4), gauss(14, 12, 0.1), 12, 1, 1, 1, schema.PaddingSAME, tflitetest.None), y, tflitetest.ReLU)
	})
}

// branching takes branches, and channels, for a share of the multiplications.
func branching(share float64, r Reconstruction, rules ...channel.Rule) Channels {
	return Channels{Options: channel.Options{Multiplications: share, Rules: rules}, Branches: true, Reconstruct: r}
}

// taken are the sums whose branches an outcome says are taken out.
func taken(out *Outcome) (names []string) {
	for _, note := range out.Once {
		if name, ok := strings.CutPrefix(note, `the branch of addition "`); ok {
			names = append(names, name[:strings.IndexByte(name, '"')])
		}
	}
	return names
}

// The branch goes that is missed least, as long as not too few multiplications are left; channels go for the rest.
func TestBranchesForAShareOfTheMultiplications(t *testing.T) {
	for name, test := range map[string]struct {
		small bool
		share float64
		rules []channel.Rule
		want  []string
	}{
		"the one that adds little":                {true, 0.75, nil, []string{"early"}},
		"and channels":                            {true, 0.6, nil, []string{"early"}},
		"both":                                    {true, 0.085, nil, []string{"early", "late"}},
		"none of so many multiplications":         {true, 0.9, nil, nil},
		"but for what a rule skips":               {true, 0.7, []channel.Rule{{Layers: "early/a*", Skip: true}}, nil},
		"and for what a rule gives a share":       {true, 0.5, []channel.Rule{{Layers: "early/b*", Share: new(float64)}}, nil},
		"rules for weights that go with a branch": {true, 0.085, []channel.Rule{{Layers: "projection*", Skip: true}}, []string{"early", "late"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := read(t, residual(test.small))
			all, err := multiplications(n.model)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []Reconstruction{On, Off} {
				technique := branching(test.share, r, test.rules...)
				if err := technique.Check(n); err != nil {
					t.Fatal(err)
				}
				var first []byte
				for range 2 {
					out, err := untrained(n).Apply(context.Background(), n, technique)
					if err != nil {
						t.Fatal(err)
					}
					if d := cmp.Diff(test.want, taken(out)); d != "" {
						t.Error(d)
					}
					left, err := multiplications(out.Network.model)
					if err != nil {
						t.Fatal(err)
					}
					if share := float64(left) / float64(all); share > test.share || share < 0.7*test.share {
						t.Errorf("%.3f of the multiplications are left, not %v", share, test.share)
					}
					leaf, err := out.Leaf.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					if first == nil {
						first = leaf
					} else if !bytes.Equal(first, leaf) {
						t.Error("the leaf is another the second time")
					}
				}
			}
		})
	}
}

// A stage behind one that took all branches says that there is none.
func TestNoBranchIsLeft(t *testing.T) {
	n := read(t, residual(true))
	for _, technique := range []Technique{branching(0.085, Off), branching(0.9, Off)} {
		out, err := untrained(n).Apply(context.Background(), n, technique)
		if err != nil {
			t.Fatal(err)
		}
		if n, err = n.Next(stored(t, out.Network.Model())); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Contains(strings.Join(out.Warnings, ""), "none of those that are left can go"), len(taken(out)) == 0; got != want {
			t.Errorf("took %q and says %q", taken(out), out.Warnings)
		}
	}
}

// Branches go before and after whatever else is done, twice too; what weights are held to stays with those that are left.
func TestBranchesGoInAnyOrder(t *testing.T) {
	most, least := branching(0.75, On), branching(0.3, Off)
	orders := [][]Technique{{most, half, eight, qat}, {half, eight, least, qat}, {eight, most, least, half}, {narrow, most, qat}, {most, narrow, eight}}
	for _, given := range []string{"float", "int8"} {
		for i, order := range orders {
			t.Run(fmt.Sprint(given, " ", i), func(t *testing.T) {
				n := read(t, residual(true))
				if given == "int8" {
					n = quantized8(t, n, true)
				}
				run, done := fast(n), false
				for _, technique := range order {
					if err := technique.Check(n); err != nil {
						t.Fatal(err)
					}
					out, err := run.Apply(context.Background(), n, technique)
					if err != nil {
						t.Fatalf("%s: %v", technique, err)
					}
					if done = done || len(taken(out)) > 0; len(taken(out)) > 0 {
						held(t, n, out.Network)
					}
					if n = out.Network; n.Final() {
						break
					}
					if n, err = n.Next(stored(t, n.Model())); err != nil {
						t.Fatal(err)
					}
				}
				if !done {
					t.Error("no branch was taken out")
				}
			})
		}
	}
}

// held checks that weights which are left are held to what they were.
func held(t *testing.T, before, after *Network) {
	t.Helper()
	now, states := after.States(), before.States()
	for _, k := range after.Kernels() {
		was, is := states[k.Tensor], now[k.Tensor]
		if was.Pruned() > 0 && is.Pruned() == 0 || was.Clusters < is.Clusters || was.Clustered() != is.Clustered() {
			t.Errorf("weights %q were held to %d zeros and %d clusters, now to %d and %d", k.Name, was.Pruned(), was.Clusters, is.Pruned(), is.Clusters)
		}
	}
	kernels := func(n *Network) (tensors []int) {
		for _, k := range n.Kernels() {
			tensors = append(tensors, k.Tensor)
		}
		return tensors
	}
	for at := range now {
		if !slices.Contains(kernels(after), at) {
			t.Errorf("tensor %d is held to something, and is none of the weights", at)
		}
	}
	if len(kernels(after)) >= len(kernels(before)) {
		t.Error("no weights are gone")
	}
}

// An int8 network keeps the integers of the layers that are left, where they are not refitted, and the ranges of what comes before the branch only.
func TestBranchesKeepIntegers(t *testing.T) {
	n := quantized8(t, read(t, residual(true)), true)
	out, err := untrained(n).Apply(context.Background(), n, branching(0.75, Off))
	if err != nil {
		t.Fatal(err)
	}
	given, left := map[string]*schema.TensorT{}, 0
	for _, x := range n.Given().Subgraph().Tensors {
		given[x.Name] = x
	}
	for _, k := range weight.Kernels(out.Leaf) {
		left++
		was, is := given[k.Name], out.Leaf.Subgraph().Tensors[k.Tensor]
		if k.Shape[0] == int(was.Shape[0]) && k.Shape[len(k.Shape)-1] == int(was.Shape[len(was.Shape)-1]) && !bytes.Equal(n.Given().Data(was), out.Leaf.Data(is)) {
			t.Errorf("weights %q have other integers", k.Name)
		}
	}
	if want := len(weight.Kernels(n.Given())) - 2; left != want {
		t.Errorf("%d weights are left, want %d", left, want)
	}
	ranges, have := out.Network.ranges(), []string{}
	for at, x := range n.from.model.Subgraph().Tensors {
		if _, has := ranges[at]; has {
			have = append(have, x.Name)
		}
	}
	if d := cmp.Diff([]string{"x", "first"}, have); d != "" {
		t.Errorf("ranges that were given with the network: %s", d)
	}
}

// A network without branches that may go is refused before anything is trained, and says why.
func TestBranchesThatCannotGo(t *testing.T) {
	for name, test := range map[string]struct {
		model     *tflite.Model
		technique Channels
		want      string
	}{
		"no residual additions":  {networks()["convolution and dense"], branching(0.5, Off), "branches: the network has no residual additions, whose branches could go: leave branches out"},
		"all are skipped":        {residual(true), branching(0.5, Off, channel.Rule{Layers: "*/a*", Skip: true}), `branches: none can go; the branch of addition "early" stays: rule "*/a*" names weights of it; the branch of addition "late" stays: rule "*/a*" names weights of it: leave branches out`},
		"too few":                {residual(true), branching(0.0001, Off), "multiplications 0.0001 cannot be reached with the branches that fit and every channel out that can go"},
		"a rule without weights": {residual(true), branching(0.5, Off, channel.Rule{Layers: "third*", Skip: true}), `rule "third*" matches no weights`},
	} {
		if err := test.technique.Check(read(t, test.model)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// Refitting makes up for much of what a branch gave.
func TestLayersBehindABranchAreRefitted(t *testing.T) {
	n := read(t, residual(false))
	run, noise := untrained(n), map[Reconstruction]float64{}
	for _, r := range []Reconstruction{On, Off} {
		technique := branching(0.75, r)
		out, err := run.Apply(context.Background(), n, technique)
		if err != nil {
			t.Fatal(err)
		}
		noise[r] = distance(t, run, n, out.Network)
	}
	if noise[On] > 0.5*noise[Off] {
		t.Errorf("outputs are %.3g off with refitting, %.3f without", noise[On], noise[Off])
	}
}

// A network that lost a branch is of its lineage only with the record of it.
func TestBranchesAreRecorded(t *testing.T) {
	n := read(t, residual(true))
	out, err := untrained(n).Apply(context.Background(), n, branching(0.75, On))
	if err != nil {
		t.Fatal(err)
	}
	m := stored(t, out.Network.Model())
	again, err := n.Next(m)
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(out.Notes, "\n"); strings.Contains(notes, "do not train") || !strings.Contains(notes, "is taken out") {
		t.Errorf("notes say that a branch that is gone does not train:\n%s", notes)
	}
	if d := cmp.Diff(out.Network.gone, again.gone); d != "" || len(again.gone) == 0 {
		t.Errorf("operators %v are gone: %s", again.gone, d)
	}
	if err := channel.Write(m, again.cuts, again.gone[1:]); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Next(m); err == nil || !strings.Contains(err.Error(), "operators and lost") {
		t.Errorf("with one operator less recorded: %v", err)
	}
}
