package stage

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/optimizer/sensitivity"
)

const second = time.Second

// searching is a search that waits for its first trial, with so many helpers, whose notes the test writes.
func searching(t *testing.T, helpers int32) (*crew, *artifact.Notes) {
	t.Helper()
	store, err := artifact.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	notes, err := store.Notes(artifact.Digest(nil))
	if err != nil {
		t.Fatal(err)
	}
	spec := goalSpec()
	c := newCrew(&Runner{Spec: spec, Store: store, notes: notes, helpers: helpers, rhythm: rhythmOf(second), Pinned: &v1alpha1.Baseline{ModelDigest: artifact.Digest([]byte("model"))}})
	in := search.Input{Spec: spec, Layers: []sensitivity.Layer{{Name: "dense", Weights: 100, Cluster: []sensitivity.Level{{Level: 32, Error: 1}}}}}
	plan := search.Next(in)
	c.follow(in, &plan, nil)
	return c, notes
}

// goalSpec is that of a search as an order has it.
func goalSpec() *v1alpha1.OptimizationPipelineSpec {
	most := v1alpha1.Decimal("0.01")
	s := &v1alpha1.OptimizationPipelineSpec{
		Search: &v1alpha1.Search{Minimize: v1alpha1.CompressedBytes}, Constraints: []v1alpha1.Constraint{{Metric: v1alpha1.AccuracyDrop, Max: &most}},
	}
	s.Model.URI, s.Dataset.URI = "s3://models/m.tflite", "s3://data/d.npz"
	whole := search.Whole(s)
	return &whole
}

func says(t *testing.T, notes *artifact.Notes, helper int32, note helperSays) {
	t.Helper()
	if err := writeNote(t.Context(), notes, helperNote(helper), note); err != nil {
		t.Fatal(err)
	}
}

func hashes(tasks []task) string {
	var out []string
	for _, t := range tasks {
		out = append(out, t.Hash)
	}
	return strings.Join(out, " ")
}

func TestHelpersThatAreThereGetOneTrialEach(t *testing.T) {
	c, notes := searching(t, 3)
	now := time.Now()
	if tasks := c.step(t.Context(), now); tasks != nil {
		t.Errorf("nobody is there, and gets %+v", tasks)
	}
	says(t, notes, 1, helperSays{Beat: "a"})
	says(t, notes, 3, helperSays{Beat: "a"})
	tasks := c.step(t.Context(), now)
	if len(tasks) != 2 || tasks[0].Helper != 1 || tasks[1].Helper != 3 || tasks[0].Hash == tasks[1].Hash {
		t.Fatalf("%+v", tasks)
	}
	if again := c.step(t.Context(), now.Add(second)); hashes(again) != hashes(tasks) {
		t.Errorf("they get others a moment later: %s, %s", hashes(tasks), hashes(again))
	}
	// 1 is silent, 3 says that it works
	says(t, notes, 3, helperSays{Beat: "b", Hash: tasks[1].Hash})
	if later := c.step(t.Context(), now.Add(50*second)); len(later) != 2 {
		t.Errorf("%+v", later)
	}
	later := c.step(t.Context(), now.Add(70*second))
	if len(later) != 1 || later[0].Helper != 3 || later[0].Hash != tasks[1].Hash {
		t.Errorf("helper 1 is not heard of, and this is wanted: %+v", later)
	}
	if c.makes(tasks[0].Hash, 0) || !c.makes(tasks[1].Hash, 0) {
		t.Error("it is waited for who is not there, or not for who is")
	}
	if c.makes(tasks[1].Hash, 61*second) {
		t.Error("a helper that never comes to an end is waited for")
	}
}

func TestWhatAHelperFailedAtIsNotAskedOfHelpersAgain(t *testing.T) {
	for name, note := range map[string]func(hash string) helperSays{
		"it failed":                      func(hash string) helperSays { return helperSays{Beat: "b", Hash: hash, Failed: true} },
		"it says that it is, but is not": func(hash string) helperSays { return helperSays{Beat: "b", Hash: hash, Done: true} },
	} {
		c, notes := searching(t, 1)
		now := time.Now()
		says(t, notes, 1, helperSays{Beat: "a"})
		first := c.step(t.Context(), now)
		says(t, notes, 1, note(first[0].Hash))
		for range 10 {
			now = now.Add(second)
			if next := c.step(t.Context(), now); len(next) != 1 || next[0].Hash == first[0].Hash {
				t.Fatalf("%s: %+v", name, next)
			}
		}
		if c.isFresh(first[0].Hash) || c.await(t.Context(), first[0].Hash) {
			t.Errorf("%s: it counts as made", name)
		}
	}
}

func TestATrialThatWillNotBeWantedIsTakenBack(t *testing.T) {
	c, notes := searching(t, 3)
	now := time.Now()
	for helper := range int32(3) {
		says(t, notes, helper+1, helperSays{Beat: "a"})
	}
	before := c.step(t.Context(), now)
	leaf := &v1alpha1.Leaf{Metrics: []v1alpha1.MetricValue{{Name: "CompressedBytes", Value: "1000"}, {Name: "AccuracyDrop", Value: "0"}}}
	in := *c.input
	in.Results = map[string]search.Result{"trial-01": {Leaf: leaf}} // it holds
	plan := search.Next(in)
	c.follow(in, &plan, map[string]*Result{"trial-01": {Model: artifact.Digest([]byte("first"))}})
	after := c.step(t.Context(), now.Add(second))
	price := func(of *v1alpha1.Stage) float64 {
		price, err := of.Cluster.Entropy.Float(1)
		if err != nil {
			t.Fatal(err)
		}
		return price
	}
	var gone, wanted int
	for _, first := range before {
		stays := slices.ContainsFunc(after, func(t task) bool { return t.Hash == first.Hash })
		switch of := price(&first.Stages[0]); {
		case of == price(&plan.Trials[1].Stage):
			if wanted++; !stays {
				t.Errorf("price %v is wanted now, and was taken back: %s", of, hashes(after))
			}
		case of != 1 && of < price(&plan.Trials[0].Stage): // below one that holds
			if gone++; stays {
				t.Errorf("price %v is not wanted any more: %s", of, hashes(after))
			}
		}
	}
	if gone != 1 || wanted != 1 {
		t.Errorf("%d trials below and %d that is next among %s", gone, wanted, hashes(before))
	}
}

// A note is anybody's who may write to the store.
func TestAHelperChecksWhatItIsToldAsAManifest(t *testing.T) {
	h := &helper{rhythm: rhythmOf(time.Millisecond), number: 1, name: "p", runner: &Runner{Spec: goalSpec()}}
	for name, stages := range map[string][]v1alpha1.Stage{
		"no trial":         nil,
		"no technique":     {{Name: "trial-01"}},
		"endless training": {{Name: "trial-01", Prune: &v1alpha1.Prune{Sparsity: "0.5"}, Training: v1alpha1.Training{Epochs: new(int32(1 << 30))}}},
		"no such layers":   {{Name: "trial-01", Cluster: &v1alpha1.Cluster{Clusters: -1}}},
	} {
		h.take(t.Context(), &leaderSays{Tasks: []task{{Helper: 2}, {Helper: 1, Hash: name, Stages: stages}}})
		if h.over != nil || !h.says.Failed || h.says.Hash != name {
			t.Errorf("%s: %+v", name, h.says)
		}
	}
	c, notes := searching(t, 1)
	says(t, notes, 1, helperSays{Beat: "a"})
	if tasks := c.step(t.Context(), time.Now()); len(tasks) != 1 {
		t.Error(tasks)
	} else if _, err := h.specOf(&tasks[0]); err != nil {
		t.Errorf("a trial of a search: %v", err)
	}
	for _, text := range []string{"", "{", "[]", `{"beat":1}`, `{"tasks":[{"helper":"x"}]}`, strings.Repeat(" ", 2<<20)} {
		if err := notes.Write(t.Context(), leaderNote, []byte(text)); err != nil {
			t.Fatal(err)
		}
		h.notes = notes
		if _, err := h.listen(t.Context()); err == nil {
			t.Errorf("%.20q is a note", text)
		}
	}
}

func TestAHelperGoesWhereNobodyLeads(t *testing.T) {
	for name, tt := range map[string]struct {
		note bool // that stays as it is, or is removed
		gone bool
	}{
		"never heard of": {false, false}, "silent": {true, false}, "over": {true, true},
	} {
		_, notes := searching(t, 1)
		h := &helper{rhythm: rhythmOf(time.Millisecond), number: 1, notes: notes, name: "p", runner: &Runner{Spec: goalSpec()}}
		if tt.note {
			if err := writeNote(t.Context(), notes, leaderNote, leaderSays{Beat: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		if tt.gone {
			h.silent = time.Hour
			time.AfterFunc(50*time.Millisecond, func() { _ = notes.Remove(context.Background(), leaderNote) })
		}
		if err := h.run(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := notes.Read(t.Context(), helperNote(1)); !errors.Is(err, artifact.ErrNotFound) {
			t.Errorf("%s: its note stays: %v", name, err)
		}
	}
}

func FuzzNotes(f *testing.F) {
	f.Add([]byte(`{"beat":"a","tasks":[{"helper":1,"hash":"h","stages":[{"name":"trial-01","prune":{"sparsity":"0.5"}}]}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		says := &leaderSays{}
		if json.Unmarshal(content, says) != nil {
			return
		}
		h := &helper{number: 1, name: "p", runner: &Runner{Spec: goalSpec()}}
		for i := range says.Tasks {
			_, _ = h.specOf(&says.Tasks[i])
		}
	})
}
