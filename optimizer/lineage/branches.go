package lineage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/channel"
	"espalier.dev/espalier/optimizer/exec/float"
	"espalier.dev/espalier/optimizer/ir"
	"espalier.dev/espalier/optimizer/reconstruct"
	"espalier.dev/espalier/optimizer/tflite"
	"espalier.dev/espalier/optimizer/weight"
)

// branches are those of a model that may go: what rules name stays. It is an error if the network has none, whatever the rules.
func (c Channels) branches(m *tflite.Model) (branches []channel.Branch, notes []string, err error) {
	all, stays, err := channel.Branches(m)
	if err != nil {
		return nil, nil, err
	}
	for _, b := range all {
		if rule := c.names(b.Weights); rule != "" {
			stays = append(stays, channel.Stay{Name: b.Name, Why: fmt.Sprintf("rule %q names weights of it", rule)})
			continue
		}
		branches = append(branches, b)
	}
	for _, stay := range stays {
		notes = append(notes, fmt.Sprintf("the branch of addition %q stays: %s", stay.Name, stay.Why))
	}
	return branches, notes, nil
}

// names is the first rule that names one of some weights; "": none does.
func (c Channels) names(weights []string) string {
	for _, r := range c.Rules {
		if slices.ContainsFunc(weights, func(name string) bool { return weight.MatchName(r.Layers, name) }) {
			return r.Layers
		}
	}
	return ""
}

// errBranches is returned where no branch of a network may go.
func errBranches(notes []string) error {
	if len(notes) == 0 {
		return errors.New("branches: the network has no residual additions, whose branches could go: leave branches out")
	}
	return fmt.Errorf("branches: none can go; %s: leave branches out", strings.Join(notes[:min(len(notes), 4)], "; "))
}

// fitting are the branches without which about as many multiplications are left as there may be, or more: those wanted are the share of a
// network's multiplications.
func fitting(branches []channel.Branch, all, wanted float64) []channel.Branch {
	return slices.DeleteFunc(slices.Clone(branches), func(b channel.Branch) bool {
		return all-float64(b.Multiplications) < channel.Near*wanted
	})
}

// checkBranches reports a network without branches that may go, and a share of the multiplications that cannot be reached with them.
func (c Channels) checkBranches(m *tflite.Model) error {
	all, err := multiplications(m)
	if err != nil {
		return err
	}
	wanted := c.Multiplications * float64(all)
	for now, first := all, true; ; first = false {
		branches, notes, err := c.branches(m)
		if err != nil {
			return err
		}
		if first && len(branches) == 0 {
			return errBranches(notes)
		}
		if branches = fitting(branches, float64(now), wanted); len(branches) == 0 {
			return c.reaches(m, wanted/float64(now))
		}
		largest := slices.MaxFunc(branches, func(a, b channel.Branch) int { return cmp.Compare(a.Multiplications, b.Multiplications) })
		if m, _, err = largest.Without(m); err != nil {
			return err
		}
		if now, err = multiplications(m); err != nil {
			return err
		}
	}
}

// reaches reports a network whose channels cannot go such that a share of its multiplications is left.
func (c Channels) reaches(m *tflite.Model, share float64) error {
	if share >= 1 {
		return nil
	}
	s, err := channel.Couple(m)
	if err != nil {
		return err
	}
	rest := c.Options
	rest.Multiplications, rest.Rules = share, s.Known(c.Rules)
	targets, _, err := s.NewPlan(rest)
	if err == nil {
		_, err = s.ChooseWithin(targets, share, nil)
	}
	if err != nil {
		return fmt.Errorf("multiplications %v cannot be reached with the branches that fit and every channel out that can go; ask for more, or have rules skip fewer layers", c.Multiplications)
	}
	return nil
}

// worth is how often as much as without channels of as many multiplications the outputs may change without a branch. Training makes up for more of a
// branch, and more time goes with it: see docs/results.md, section 10.
const worth = 4

// takeBranches takes residual branches out, those first without which the outputs change least for the multiplications that go. It ends where
// another would leave too few multiplications, or where channels are missed that much less, and returns the share of the multiplications there are
// then that may be left.
func (c Channels) takeBranches(ctx context.Context, w *Work, refits bool) (share float64, err error) {
	all, err := multiplications(w.network.model)
	if err != nil {
		return 0, err
	}
	wanted, missed := c.Multiplications*float64(all), map[int]float64{}
	for now, first := all, true; ; first = false {
		branches, notes, err := c.branches(w.network.model)
		if err != nil {
			return 0, err
		}
		end := w.Note
		if first {
			w.notes, end = append(w.notes, notes...), w.Warn
		}
		share := wanted / float64(now)
		fit := fitting(branches, float64(now), wanted)
		if len(fit) == 0 {
			switch {
			case first && len(branches) == 0:
				w.Warn("no residual branch is taken out: none of those that are left can go")
			case first:
				w.Warn("no residual branch is taken out: without any of the %d that could go less than %v of the multiplications would be left", len(branches), c.Multiplications)
			}
			return share, c.reaches(w.network.model, share)
		}
		j, err := w.newJudge(ctx)
		if err != nil {
			return 0, err
		}
		b, err := j.least(ctx, fit, missed)
		if err != nil {
			return 0, err
		}
		rest := c
		rest.Multiplications = 1 - float64(b.Multiplications)/float64(now)
		if rest.reaches(w.network.model, rest.Multiplications) == nil {
			other, err := j.channels(ctx, rest)
			if err != nil {
				return 0, err
			}
			if change := missed[b.Sum] * float64(b.Multiplications); change > worth*other && c.reaches(w.network.model, share) == nil {
				end("%s, stays: without it outputs change by %.2g of their squares, without channels of as many multiplications by %.2g", b, change, other)
				return share, nil
			}
			w.Note("without channels of as many multiplications as the branch of addition %q outputs change by %.2g", b.Name, other)
		}
		if err := w.takeOut(ctx, b, refits); err != nil {
			return 0, err
		}
		before := now
		if now, err = multiplications(w.network.model); err != nil {
			return 0, err
		}
		w.Once(fmt.Sprintf("%s, is taken out; multiplications: %d, now %d", b, before, now))
	}
}

// judge says how much the outputs of a network change.
type judge struct {
	work           *Work
	whole          *Network
	drawn, outputs []int
	wanted         [][]float32 // by sample
	energy         float64
}

// newJudge returns that of the network as it is now.
func (w *Work) newJudge(ctx context.Context) (*judge, error) {
	whole, err := w.Done()
	if err != nil {
		return nil, err
	}
	j := &judge{work: w, whole: whole, drawn: w.run.draw(reconstructSamples), outputs: answer.LossTensors(w.run.outputs(whole), w.net.Graph)}
	if j.wanted, err = j.answers(ctx, whole.model); err != nil {
		return nil, err
	}
	for _, list := range j.wanted {
		for _, v := range list {
			j.energy += float64(v) * float64(v)
		}
	}
	return j, nil
}

func (j *judge) answers(ctx context.Context, m *tflite.Model) ([][]float32, error) {
	net, err := float.Compile(m, 1)
	if err != nil {
		return nil, err
	}
	return j.work.run.answers(ctx, j.whole, net, j.outputs, j.drawn)
}

// change is the squared distance of a model's outputs from the network's, as a share of their squares.
func (j *judge) change(ctx context.Context, m *tflite.Model) (float64, error) {
	answers, err := j.answers(ctx, m)
	return squaredDistance(answers, j.wanted) / max(j.energy, 1e-30), err
}

// least is the branch without which the outputs change least for the multiplications that go, once the layers behind it are refitted: what these
// make up for does not count. missed is the change for each multiplication by what the addition makes, of branches that were judged; it stays for the
// next call where judging takes long.
func (j *judge) least(ctx context.Context, branches []channel.Branch, missed map[int]float64) (*channel.Branch, error) {
	if j.work.judging(branches) <= autoWork {
		clear(missed)
	}
	for i := range branches {
		b := &branches[i]
		if _, judged := missed[b.Sum]; judged {
			continue
		}
		_, n, err := j.work.run.refitWithout(ctx, j.whole, b)
		if err != nil {
			return nil, err
		}
		change, err := j.change(ctx, n.model)
		if err != nil {
			return nil, err
		}
		missed[b.Sum] = change / float64(b.Multiplications)
		j.work.Note("without %s, outputs change by %.2g of their squares, with %d multiplications less", b, change, b.Multiplications)
	}
	least := slices.MinFunc(branches, func(a, b channel.Branch) int { return cmp.Compare(missed[a.Sum], missed[b.Sum]) })
	return &least, nil
}

// channels is the change without channels that are chosen, and made up for, as ever.
func (j *judge) channels(ctx context.Context, c Channels) (float64, error) {
	w, err := j.work.run.open(j.whole)
	if err != nil {
		return 0, err
	}
	if err := c.narrow(ctx, w, true); err != nil {
		return 0, err
	}
	n, err := w.Done()
	if err != nil {
		return 0, err
	}
	return j.change(ctx, n.model)
}

// judging is about how many multiplications of a solver it takes to judge branches.
func (w *Work) judging(branches []channel.Branch) (work float64) {
	for i := range branches {
		layers, _ := reconstruct.Layers(w.net.Graph)
		layers = behind(w.net.Graph, branches[i].Add).of(layers)
		work += reconstruct.Observing(w.net.Graph, layers, min(reconstruct.Samples(w.net.Graph, layers, reconstructSamples), w.run.Data.Train.Len())) / observed
		for _, l := range layers {
			work += cutting(l)
		}
	}
	return work
}

// refitWithout is a network with zeros in the place of a branch and the layers behind refitted, and the work that it was.
func (r *Run) refitWithout(ctx context.Context, whole *Network, b *channel.Branch) (*Work, *Network, error) {
	m := b.Zeroed(whole.model)
	w, err := r.open(whole.next(m, identityIDs(len(m.Subgraph().Tensors)), whole.States()))
	if err != nil {
		return nil, nil, err
	}
	w.meets, w.layers = whole.model, behind(w.net.Graph, b.Add)
	w.notes = nil // what opening notes of the network is known; that the branch does not train says nothing
	if err := w.reconstruct(ctx, nil, func(r *reconstruction, t *weight.Tensor) error { return r.refit(t) }); err != nil {
		return nil, nil, err
	}
	n, err := w.Done()
	return w, n, err
}

// takeOut goes on with the network without a branch, of refits with the layers behind refitted.
func (w *Work) takeOut(ctx context.Context, b *channel.Branch, refits bool) error {
	n, err := w.Done()
	if err != nil {
		return err
	}
	if refits {
		refitted, without, err := w.run.refitWithout(ctx, n, b)
		if err != nil {
			return err
		}
		w.notes, w.fitted, n = append(w.notes, refitted.notes...), true, without
	}
	m, operators, err := b.Without(n.model)
	if err != nil {
		return err
	}
	states := n.States()
	maps.DeleteFunc(states, func(t int, _ weight.State) bool { return !m.IsConst(m.Subgraph().Tensors[t]) })
	if err := weight.WriteState(m, states); err != nil {
		return err
	}
	made := n.next(m, identityIDs(len(m.Subgraph().Tensors)), states)
	made.gone = channel.Gone(n.gone, operators)
	if err := channel.Write(m, made.cuts, made.gone); err != nil {
		return err
	}
	return w.reopen(made)
}

// operators are some of a graph's.
type operators map[int]bool

// behind are the operators that read, at whatever distance, what one makes.
func behind(g *ir.Graph, operator int) operators {
	all := operators{}
	for i := range g.Nodes {
		all[i] = slices.ContainsFunc(g.Nodes[i].Inputs, func(t int) bool {
			return t >= 0 && g.Tensors[t].Producer >= 0 && (g.Tensors[t].Producer == operator || all[g.Tensors[t].Producer])
		})
	}
	return all
}

// of are the layers of which one of the operators is.
func (o operators) of(layers []*reconstruct.Layer) []*reconstruct.Layer {
	return slices.DeleteFunc(layers, func(l *reconstruct.Layer) bool {
		return !slices.ContainsFunc(l.Nodes, func(n int) bool { return o[n] })
	})
}
