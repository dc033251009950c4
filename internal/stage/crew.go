package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"espalier.dev/espalier/api/v1alpha1"
	"espalier.dev/espalier/internal/artifact"
	"espalier.dev/espalier/internal/fault"
	"espalier.dev/espalier/internal/search"
	"espalier.dev/espalier/internal/walk"
	"espalier.dev/espalier/optimizer"
)

// Helpers are Jobs that make trials which a search may want next, beside the Job that searches. These tell each other what there is to tell by
// notes in the store: the search, which trial each helper is to make; a helper, how far it is. Nothing depends on them: a trial that no helper
// made, or says to make, is made by the search itself, and what it wants next does not depend on what was made ahead.

const leaderNote = "search.json"

func helperNote(number int32) string { return fmt.Sprintf("helper-%d.json", number) }

// leaderSays is the note of the search.
type leaderSays struct {
	Beat  string `json:"beat"` // another one every now and then
	Tasks []task `json:"tasks,omitempty"`
}

// task is a trial that a helper is to make.
type task struct {
	Helper int32            `json:"helper"`
	Hash   string           `json:"hash"`   // names the result
	Parent string           `json:"parent"` // digest of the model that it works on
	Stages []v1alpha1.Stage `json:"stages"` // the trial, last, and those that it builds on
}

// helperSays is the note of a helper.
type helperSays struct {
	Beat   string `json:"beat"`
	Hash   string `json:"hash,omitempty"` // of its task
	Done   bool   `json:"done,omitempty"`
	Failed bool   `json:"failed,omitempty"`
	Reused bool   `json:"reused,omitempty"` // the store had it
}

// rhythm is how often notes are read and written, and after how long without another one nobody is there any more: a file system that many
// nodes mount may show a note a minute late.
type rhythm struct{ poll, beat, silent time.Duration }

const pollEvery = 2 * time.Second

func rhythmOf(poll time.Duration) rhythm { return rhythm{poll, 8 * poll, 60 * poll} }

// crew is how the search sees its helpers.
type crew struct {
	rhythm
	notes  *artifact.Notes
	store  *artifact.Store
	spec   *v1alpha1.OptimizationPipelineSpec
	pinned v1alpha1.Baseline
	warn   func(error)
	say    func(text string, attrs ...any)

	mu      sync.Mutex
	helpers []helping
	input   *search.Input // nil: before the first plan
	pending string        // ID of the trial that is waited for
	ahead   []search.Likely
	models  map[string]string        // digests of what trials made, by ID
	made    map[string]search.Result // ahead, by ID
	failed  map[string]bool          // IDs that helpers do not get again
	fresh   map[string]bool          // hashes of results that helpers made and did not find
	stale   bool                     // ahead is to be asked again
	longest time.Duration            // of the trials so far
}

// helping is what is known of a helper.
type helping struct {
	says  helperSays
	seen  time.Time // when its note last was another; zero: never
	task  *task     // nil: none
	id    string    // of the task's trial
	since time.Time // it has the task
}

func newCrew(r *Runner) *crew {
	return &crew{
		rhythm: r.rhythm, notes: r.notes, store: r.Store, spec: r.Spec, pinned: r.digests(), warn: func(err error) { r.warn(walk.Search, err) }, say: r.say,
		helpers: make([]helping, r.helpers), models: map[string]string{}, made: map[string]search.Result{}, failed: map[string]bool{}, fresh: map[string]bool{},
	}
}

// lead tells helpers what to make, until it is told to stop.
func (c *crew) lead(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		own, said, wrote, beats := strconv.FormatInt(time.Now().UnixNano(), 36), []byte(nil), time.Time{}, 0
		for ctx.Err() == nil {
			now := time.Now()
			tasks := c.step(ctx, now)
			text, err := json.Marshal(tasks)
			if err == nil && (!bytes.Equal(text, said) || now.Sub(wrote) >= c.beat) {
				beats++
				if err = writeNote(ctx, c.notes, leaderNote, leaderSays{fmt.Sprintf("%s-%d", own, beats), tasks}); err == nil {
					said, wrote = text, now
				}
			}
			if err != nil && ctx.Err() == nil {
				c.warn(fmt.Errorf("helpers are not told what to make: %w", err))
			}
			wait(ctx, c.poll)
		}
	}()
	return func() {
		cancel()
		<-done
		removeNote(ctx, c.notes, leaderNote)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func writeNote(ctx context.Context, notes *artifact.Notes, name string, note any) error {
	content, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return notes.Write(ctx, name, content)
}

// removeNote removes a note though the context is over. One that stays does no harm.
func removeNote(ctx context.Context, notes *artifact.Notes, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = notes.Remove(ctx, name)
}

// follow takes up what the search waits for now, and the results so far.
func (c *crew) follow(in search.Input, plan *search.Plan, results map[string]*Result) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.input, c.pending, c.stale = &in, "", true
	for i, l := range search.Course(plan) {
		name := plan.Trials[i].Stage.Name
		if r := results[name]; r != nil {
			c.models[l.ID()] = r.Model
		}
		r, over := in.Results[name]
		if !over {
			c.pending = l.ID()
		}
		c.longest = max(c.longest, time.Duration(r.Seconds*float64(time.Second)))
	}
}

// step hears what helpers say, and returns what they are to do.
func (c *crew) step(ctx context.Context, now time.Time) []task {
	said := make([]*helperSays, len(c.helpers))
	for i := range said {
		content, err := c.notes.Read(ctx, helperNote(int32(i+1)))
		var says helperSays
		if err == nil && json.Unmarshal(content, &says) == nil {
			said[i] = &says
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.helpers {
		c.helpers[i].hear(said[i], now)
		c.settle(ctx, &c.helpers[i], now)
	}
	if c.input == nil {
		return nil
	}
	if c.stale {
		c.ahead, c.stale = search.Ahead(*c.input, c.made), false
	}
	var tasks []task
	for i := range c.helpers {
		h := &c.helpers[i]
		if h.task != nil && h.id != c.pending && !slices.ContainsFunc(c.ahead, func(l search.Likely) bool { return l.ID() == h.id }) {
			h.task = nil // it will not be wanted
		}
	}
	for i := range c.helpers {
		h := &c.helpers[i]
		if h.task == nil && h.there(now, c.silent) {
			h.task, h.id = c.next(int32(i + 1))
			h.since = now
		}
		if h.task != nil {
			tasks = append(tasks, *h.task)
		}
	}
	return tasks
}

func (h *helping) hear(says *helperSays, now time.Time) {
	if says != nil && *says != h.says {
		h.says, h.seen = *says, now
	}
}

func (h *helping) there(now time.Time, silent time.Duration) bool {
	return !h.seen.IsZero() && now.Sub(h.seen) < silent
}

// settle takes a task from a helper that is done, has failed, or is not heard of.
func (c *crew) settle(ctx context.Context, h *helping, now time.Time) {
	if h.task == nil {
		return
	}
	took := h.says.Hash == h.task.Hash
	switch {
	case took && h.says.Done:
		result, err := artifact.GetResult[Result](ctx, c.store, h.task.Hash)
		if err != nil {
			c.failed[h.id] = true
			break
		}
		seconds, _ := strconv.ParseFloat(result.Seconds, 64)
		c.made[h.id], c.models[h.id], c.stale = search.Result{Leaf: result.Status(), Undone: result.Undone, Seconds: seconds}, result.Model, true
		c.fresh[h.task.Hash] = !h.says.Reused
		c.say("trial made ahead", "helper", h.task.Helper, "hash", h.task.Hash, "seconds", seconds)
		c.longest = max(c.longest, time.Duration(seconds*float64(time.Second)))
	case took && h.says.Failed, !took && now.Sub(h.since) >= c.silent:
		c.failed[h.id] = true
	case !h.there(now, c.silent):
	default:
		return
	}
	h.task = nil
}

// next is the likeliest trial that nobody makes, nil where there is none.
func (c *crew) next(helper int32) (*task, string) {
	for _, l := range c.ahead {
		id := l.ID()
		parent := c.pinned.ModelDigest
		if n := len(l.IDs); n > 1 {
			parent = c.models[l.IDs[n-2]]
		}
		if parent == "" || id == c.pending || c.failed[id] || slices.ContainsFunc(c.helpers, func(h helping) bool { return h.task != nil && h.id == id }) {
			continue
		}
		spec := search.Run(c.spec, l.Stages)
		hash := walk.StageHash(&spec, l.Stages[len(l.Stages)-1].Name, walk.Versions{Algorithm: optimizer.AlgorithmVersion}, c.pinned, parent)
		return &task{helper, hash, parent, l.Stages}, id
	}
	return nil, ""
}

// await waits as long as a helper that is there makes a result, but not much longer than a trial takes. It returns false where none did.
func (c *crew) await(ctx context.Context, hash string) (waited bool) {
	if c == nil {
		return false
	}
	for start := time.Now(); c.makes(hash, time.Since(start)) && ctx.Err() == nil; waited = true {
		wait(ctx, c.poll)
	}
	return waited || c.isFresh(hash)
}

func (c *crew) makes(hash string, waited time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return waited < max(c.silent, 2*c.longest) && slices.ContainsFunc(c.helpers, func(h helping) bool { return h.task != nil && h.task.Hash == hash })
}

// isFresh reports whether a helper made a result, and did not find it.
func (c *crew) isFresh(hash string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fresh[hash]
}

// help makes trials for the Job that searches.
func help(ctx context.Context, r *Runner, order *Order) error {
	if r.notes == nil {
		return fault.As(fault.Spec, fmt.Errorf("%s: helper %d is of no search", OrderEnv, order.Helper))
	}
	h := &helper{rhythm: r.rhythm, number: order.Helper, notes: r.notes, runner: r, name: order.Pipeline}
	return h.run(ctx)
}

// helper makes what the search says.
type helper struct {
	rhythm
	number int32
	notes  *artifact.Notes
	runner *Runner
	name   string // of the pipeline

	task   *task // nil: none
	cancel context.CancelFunc
	over   chan ran // of the task; nil while none is made
	says   helperSays
}

// run makes trials until the search is over, or not heard of for a while.
func (h *helper) run(ctx context.Context) error {
	defer removeNote(ctx, h.notes, helperNote(h.number))
	defer h.drop(ctx)
	own, beats, wrote, said := strconv.FormatInt(time.Now().UnixNano(), 36), 0, time.Time{}, helperSays{}
	heard, seen := "", time.Now()
	for {
		says, err := h.listen(ctx)
		switch {
		case err == nil && says.Beat != heard:
			heard, seen = says.Beat, time.Now()
		case errors.Is(err, artifact.ErrNotFound) && heard != "":
			h.runner.say("the search is over")
			return nil
		case time.Since(seen) >= h.silent:
			h.runner.say("the search is not heard of")
			return nil
		}
		if err == nil {
			h.take(ctx, says)
		}
		if h.says != said || time.Since(wrote) >= h.beat {
			beats++
			note := h.says
			note.Beat = fmt.Sprintf("%s-%d", own, beats)
			if err := writeNote(ctx, h.notes, helperNote(h.number), note); err != nil {
				h.runner.warn(walk.Search, fmt.Errorf("the search is not told: %w", err))
			} else {
				said, wrote = h.says, time.Now()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-h.over:
			h.finish(r)
		case <-time.After(h.poll):
		}
	}
}

// listen reads the search's note.
func (h *helper) listen(ctx context.Context) (*leaderSays, error) {
	content, err := h.notes.Read(ctx, leaderNote)
	if err != nil {
		return nil, err
	}
	says := &leaderSays{}
	return says, json.Unmarshal(content, says)
}

// take begins what the search wants now, and leaves what it does not want any more.
func (h *helper) take(ctx context.Context, says *leaderSays) {
	i := slices.IndexFunc(says.Tasks, func(t task) bool { return t.Helper == h.number })
	if i < 0 {
		h.drop(ctx)
		return
	}
	t := &says.Tasks[i]
	if h.task != nil && h.task.Hash == t.Hash {
		return
	}
	h.drop(ctx)
	h.task, h.says = t, helperSays{Hash: t.Hash}
	spec, err := h.specOf(t)
	if err != nil {
		h.finish(ran{err: err})
		return
	}
	ctx, h.cancel = context.WithCancel(ctx)
	over := make(chan ran, 1)
	h.over = over
	own := *h.runner
	own.Spec = spec
	name := t.Stages[len(t.Stages)-1].Name
	own.say("trial started", "trial", name, "hash", t.Hash)
	go func() {
		r := ran{name: name}
		r.err = own.guarded(func() (err error) {
			r.result, r.hash, r.reused, err = own.Run(ctx, name, t.Parent)
			return err
		})
		over <- r
	}()
}

// specOf is the pipeline that a task is of. A note is anybody's who may write to the store: it is checked as a manifest is.
func (h *helper) specOf(t *task) (*v1alpha1.OptimizationPipelineSpec, error) {
	if len(t.Stages) == 0 {
		return nil, errors.New("the task names no trial")
	}
	spec := search.Run(h.runner.Spec, t.Stages)
	spec.Search, spec.RunPolicy = nil, v1alpha1.RunPolicy{}
	p := &v1alpha1.OptimizationPipeline{Spec: spec}
	p.Name = h.name
	return &spec, p.Check()
}

// finish says what came of the task.
func (h *helper) finish(r ran) {
	if h.cancel != nil {
		h.cancel()
	}
	h.over, h.cancel = nil, nil
	if r.err == nil && r.hash != h.task.Hash {
		r.err = fmt.Errorf("the search names the result %s, this image %s", h.task.Hash, r.hash)
	}
	h.says.Done, h.says.Failed, h.says.Reused = r.err == nil, r.err != nil, r.reused
	if r.err != nil {
		h.runner.warn(walk.Search, fmt.Errorf("trial %s failed: %w", r.name, r.err))
		return
	}
	h.runner.say("trial completed", "trial", r.name, "reused", r.reused, "leaf", r.result.Leaf, "metrics", metricAttrs(r.result.Metrics))
}

// drop leaves the task. What was saved of a training that is not wanted any more goes; of one that is interrupted it stays.
func (h *helper) drop(ctx context.Context) {
	if h.over != nil {
		h.cancel()
		r := <-h.over
		h.runner.say("trial stopped", "trial", r.name)
		if r.err != nil && ctx.Err() == nil {
			if err := h.runner.Store.DeleteCheckpoint(ctx, h.task.Hash); err != nil {
				h.runner.warn(walk.Search, fmt.Errorf("delete the checkpoint: %w", err))
			}
		}
	}
	h.task, h.over, h.cancel, h.says = nil, nil, nil, helperSays{}
}
