package train

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"espalier.dev/espalier/optimizer/answer"
	"espalier.dev/espalier/optimizer/tflite/tflitetest"
)

func TestDivergenceIsSaidInOneLine(t *testing.T) {
	const advice = "; try a lower learning rate (learningRate left out finds one), a warm-up or clipping gradients"
	for want, e := range map[string]DivergedError{
		"the network came to answer all samples alike, at a loss of 1.386":       {Loss: 1.38629, What: same},
		"the loss rose from 0.5 to 900, and the bias \"b\" grew most, 1.2 times": {Loss: 900, From: 0.5, Grown: 1.2, Layer: `bias "b"`, What: "loss"},
		"the loss rose from 0.5 to 900":                                          {Loss: 900, From: 0.5, Grown: 1.1, Layer: `bias "b"`, What: "loss"},
		"the gradient of operator 3 CONV_2D \"c\" is not finite (loss 2)":        {Loss: 2, Layer: `operator 3 CONV_2D "c"`, What: "gradient"},
		"the loss is not finite (loss NaN)":                                      {Loss: math.NaN(), What: "loss"},
	} {
		if got := e.Error(); got != "training diverged: "+want+advice {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A loss of a thousand times the first batch's is a divergence, one below it is not; nor is any before the first batch.
func TestALossIsComparedWithTheFirstBatch(t *testing.T) {
	for name, c := range map[string]struct {
		begun  bool
		loss   float64
		failed bool
	}{"just as far": {true, 500, false}, "beyond": {true, 501, true}, "before the first": {false, 501, false}} {
		trainer := newTrainer(t, quantizedTask(t, Frozen, 1), fastConfig())
		trainer.begun, trainer.firstLoss = c.begun, 0.5
		if err := trainer.compare(c.loss); (err != nil) != c.failed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A loss as good as none is a hundredth of one unit, of numbers a hundredth of their mean square in units of the targets' spread.
func TestANegligibleLossIsInTheUnitsOfTheAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		o    objective
		z    []float32
		want float64
	}{
		"numbers":                     {objective{}, []float32{3, -4, 0, 5}, 12.5},
		"in units of targets' spread": {objective{precision: []float64{4, 0.25}}, []float32{1, 2, 3, 4}, (4 + 1 + 36 + 4) / 4.0},
		"none":                        {objective{}, nil, 0},
	} {
		if got := c.o.size(c.z); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := rms([]float32{3, -4, 0, 5}); math.Abs(got-math.Sqrt(12.5)) > 1e-12 {
		t.Errorf("a root mean square of %v", got)
	}
	if got := rms(nil); got != 0 {
		t.Errorf("a root mean square of nothing of %v", got)
	}
}

// Nine of ten samples that are answered as the one before are a network that answers alike, eight are not. Only the first samples count.
func TestANetworkAnswersAlikeFromNineInTen(t *testing.T) {
	repeating := func(n int, others ...int) *memory { // n samples, all the same but for others
		src := blobs(3, n, 4)
		first := src.x[0]
		for i := range src.x {
			alike := true
			for _, k := range others {
				alike = alike && k != i
			}
			if alike {
				src.x[i] = first
			}
		}
		return src
	}
	late := make([]int, 20)
	for i := range late {
		late[i] = lookedAt + i
	}
	for name, c := range map[string]struct {
		src  *memory
		want bool
	}{
		"ten of ten":                {repeating(11), true},
		"nine of ten":               {repeating(11, 10), true},
		"eight of ten":              {repeating(11, 5), false},
		"two samples":               {repeating(2), true},
		"one sample":                {repeating(1), false},
		"others than are looked at": {repeating(lookedAt+20, late...), true},
		"seven others within those": {repeating(lookedAt, 1, 3, 5, 7), false},
	} {
		task := Task{Train: c.src, Workers: 1}
		task.Network, task.Weights = compile(t, deep(2, 1))
		trainer := newTrainer(t, task, fastConfig())
		trainer.start()
		dismiss := trainer.hire()
		got, err := trainer.alike(c.src, seq(c.src.Len()))
		dismiss()
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestTheTestOfRatesSaysWhatBecameOfIt(t *testing.T) {
	test := RangeTest{
		Rate: 0.0005, Clip: 2, Steps: 16, Samples: 512, Seconds: 1.25, Trials: []Trial{{Rate: 1e-5}, {Rate: 3e-5}, {Rate: 0.1}},
		Backs: []Back{{Epoch: 2, Rate: 0.002, Cause: "the loss rose"}, {Epoch: 0, Rate: 0.0005, Cause: "it died"}},
	}
	want := "learning rate 0.008, found by 3 trials of 16 steps from 1e-05 to 0.1, 512 samples in 1.2 s; gradients clipped at norm 2" +
		"; epoch 3 diverged (the loss rose) and was repeated with 0.002; epoch 1 diverged (it died) and was repeated with 0.0005"
	if got := test.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// What is left is the samples of the epochs to come, at the speed so far.
func TestProgressTellsWhatIsLeft(t *testing.T) {
	const samples, batch, epochs = 300, 32, 5
	task := quantizedTask(t, Frozen, 1)
	steps, ends := 0, 0
	task.Hooks.Progress = func(p Progress) {
		steps++
		if p.Step != steps || p.Steps != 50 || p.Epochs != epochs || p.Epoch != steps/10 || p.Resumed != 0 {
			t.Errorf("step %d: %+v", steps, p)
		}
		want := (epochs-steps/10)*samples - steps%10*batch // the last batch of an epoch is smaller
		if left := p.Remaining.Seconds() * p.SamplesPerSecond; math.Abs(left-float64(want)) > 1 {
			t.Errorf("step %d: %v at %v samples/s, of %d left", steps, p.Remaining, p.SamplesPerSecond, want)
		}
		if (p.Validation != nil) != (steps%10 == 0) {
			t.Errorf("step %d: validation %v", steps, p.Validation)
		}
		if p.Validation != nil {
			ends++
		}
	}
	mustRun(t, newTrainer(t, task, fastConfig()))
	if steps != 50 || ends != epochs {
		t.Errorf("%d reports, %d of ends of epochs", steps, ends)
	}
}

// Reports and checkpoints that are not due are left out; the end of an epoch always reports.
func TestHooksWaitUntilTheyAreDue(t *testing.T) {
	task := quantizedTask(t, Frozen, 1)
	reports, saved := 0, 0
	task.Hooks.Progress, task.Hooks.ProgressEvery = func(Progress) { reports++ }, time.Hour
	task.Hooks.Checkpoint, task.Hooks.CheckpointEvery = func() error { saved++; return nil }, time.Hour
	mustRun(t, newTrainer(t, task, fastConfig()))
	if reports != 5 || saved != 0 {
		t.Errorf("%d reports, want one an epoch; %d checkpoints, want none within the hour", reports, saved)
	}
	task = quantizedTask(t, Frozen, 1)
	task.Hooks.Checkpoint = func() error { saved++; return nil }
	if mustRun(t, newTrainer(t, task, fastConfig())); saved != 50 {
		t.Errorf("%d checkpoints of 50 steps", saved)
	}
}

// By the time of the first epoch as many epochs fit as what is left of the time allows, within bounds.
func TestEpochsThatFitTheTime(t *testing.T) {
	for name, c := range map[string]struct {
		most, from int
		total      time.Duration
		want       int
	}{
		"some":                            {100, 0, 65 * time.Second, 5}, // one done, 45 of 65 seconds left for epochs of 10
		"more than allowed":               {3, 0, 65 * time.Second, 3},
		"none":                            {100, 0, time.Second, leastTimed},
		"fewer than masks need to settle": {100, 7, 65 * time.Second, 8},
		"more than masks need to settle":  {100, 3, 65 * time.Second, 5},
	} {
		config := seekingConfig(c.most)
		config.MaxTime, config.EarlyStop.From = c.total, c.from
		r := &run{Trainer: newTrainer(t, seekingTask(t, 1), config)}
		r.trained, r.began = time.Now().Add(-10*time.Second), time.Now().Add(-20*time.Second)
		r.samples, r.step = r.task.Train.Len(), r.stepsPerEpoch()
		if r.clock(); r.timed != c.want {
			t.Errorf("%s: %d epochs, want %d", name, r.timed, c.want)
		}
	}
}

// The first step of Adam moves every value by the rate, whatever the gradient's size; AdamW besides takes a share of what decays, which
// biases do not.
func TestOneStepMovesByTheRate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		decay  float64
	}{
		"Adam":                {func(*Config) {}, 0},
		"AdamW":               {func(c *Config) { c.Optimizer, c.WeightDecay = AdamW, 8 }, 8},
		"Adam, other moments": {func(c *Config) { c.Beta1, c.Beta2 = 0.5, 0.25 }, 0},
	} {
		task := Task{Train: blobs(1, 16, 4), Workers: 1}
		task.Network, _ = compile(t, classifier(softmaxEnd))
		config := fastConfig()
		config.Epochs, config.BatchSize, config.LearningRate, config.Schedule = 1, 16, 1.0/64, Constant
		c.change(&config)
		trainer := newTrainer(t, task, config)
		var before [][]byte
		for _, p := range trainer.params {
			before = append(before, p.state())
		}
		mustRun(t, trainer)
		moves := 0
		for i, p := range trainer.params {
			was := make([]float32, len(p.param.Value))
			if err := readFloats(was, before[i]); err != nil {
				t.Fatal(err)
			}
			decay := c.decay * config.LearningRate
			if p.groups[0].Decay == (was[0] == 0) { // biases begin as zeros
				t.Errorf("%s: %q decays: %t", name, p.param.Name, p.groups[0].Decay)
			}
			for k, v := range p.param.Value {
				step := math.Abs(float64(v) - float64(was[k])*(1-decay))
				if step > 1e-4 { // where a unit was not active there is no gradient, or hardly any
					moves++
					if math.Abs(step-config.LearningRate) > 0.02*config.LearningRate {
						t.Errorf("%s: %q: %v became %v, a step of %v", name, p.param.Name, was[k], v, step)
					}
				}
			}
		}
		if moves < 100 {
			t.Errorf("%s: %d values moved", name, moves)
		}
	}
}

// Positions at the edges of a training are taken, those one beyond are refused.
func TestPositionsOfATraining(t *testing.T) {
	const perEpoch, epochs = 10, 9
	scores := func(n int) []Score { return make([]Score, n) }
	at := func(step int, change func(s *saved)) saved {
		s := saved{Step: step, History: scores(step / perEpoch)}
		change(&s)
		return s
	}
	trial := []Trial{{}}
	for name, c := range map[string]struct {
		find  bool
		s     saved
		taken bool
	}{
		"the start":                      {false, at(0, func(*saved) {}), true},
		"the end":                        {false, at(90, func(s *saved) { s.GoodEpochs, s.Timed = 9, 9 }), true},
		"a step beyond":                  {false, at(91, func(*saved) {}), false},
		"an epoch's loss too many":       {false, at(59, func(s *saved) { s.History = scores(6) }), false},
		"a good epoch too many":          {false, at(50, func(s *saved) { s.GoodEpochs = 6 }), false},
		"never better":                   {false, at(50, func(s *saved) { s.SinceBest, s.Best = 5, &savedKept{} }), true},
		"never better for too long":      {false, at(50, func(s *saved) { s.SinceBest, s.Best = 6, &savedKept{} }), false},
		"the last epoch the best":        {false, at(50, func(s *saved) { s.Best, s.Validation = &savedKept{Epoch: 4}, &savedKept{Epoch: 4} }), true},
		"the best to come":               {false, at(50, func(s *saved) { s.Best = &savedKept{Epoch: 5} }), false},
		"a validation to come":           {false, at(50, func(s *saved) { s.Validation = &savedKept{Epoch: 5} }), false},
		"what it began with":             {false, at(50, func(s *saved) { s.Initial = &savedKept{Epoch: -1} }), true},
		"a beginning after an epoch":     {false, at(50, func(s *saved) { s.Initial = &savedKept{Epoch: 1} }), false},
		"the rate falls from the last":   {false, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 5, Best: 5} }), true},
		"and ends there":                 {false, at(50, func(s *saved) { s.Sought = &Sought{All: 5, Full: 5} }), true},
		"epochs beyond the most":         {false, at(50, func(s *saved) { s.Sought = &Sought{All: 10, Full: 5} }), false},
		"it falls before it is there":    {false, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 6} }), false},
		"it falls after the end":         {false, at(50, func(s *saved) { s.Sought = &Sought{All: 4, Full: 5} }), false},
		"from weights after it fell":     {false, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 5, Best: 6} }), false},
		"sought where they are given":    {true, at(50, func(s *saved) { s.Sought = &Sought{All: 9, Full: 5} }), false},
		"as many ways back as there are": {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: 1, Trials: trial, Backs: make([]Back, mostBacks)} }), true},
		"one more":                       {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: 1, Trials: trial, Backs: make([]Back, mostBacks+1)} }), false},
		"no rate":                        {true, at(50, func(s *saved) { s.Test = &RangeTest{Trials: trial} }), false},
		"a rate that is no number":       {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: math.NaN(), Trials: trial} }), false},
		"a rate beyond all":              {true, at(50, func(s *saved) { s.Test = &RangeTest{Rate: math.Inf(1), Trials: trial} }), false},
	} {
		config := seekingConfig(epochs)
		if c.find {
			config = findingConfig()
			config.Epochs = epochs
		}
		trainer := newTrainer(t, seekingTask(t, 1), config)
		if trainer.stepsPerEpoch() != perEpoch {
			t.Fatalf("%d steps an epoch", trainer.stepsPerEpoch())
		}
		if err := trainer.follows(&c.s); (err == nil) != c.taken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A training that has ended is loaded as one that has.
func TestAnEndedTrainingIsLoaded(t *testing.T) {
	config := seekingConfig(9)
	config.FindRate = true
	whole := newTrainer(t, seekingTask(t, 1), config)
	mustRun(t, whole)
	again := newTrainer(t, seekingTask(t, 1), config)
	if err := again.Load(bytes.NewReader(outcome(t, whole))); err != nil {
		t.Fatal(err)
	}
	if result := mustRun(t, again); result.Samples != 0 {
		t.Errorf("it trained on %d samples more", result.Samples)
	}
	if err := again.Load(bytes.NewReader(outcome(t, whole))); err == nil {
		t.Error("loaded once training had begun")
	}
}

// Two answers are one where they differ by a hundred-thousandth of their size, whatever that is.
func TestAnswersAreOneWithinTheirSize(t *testing.T) {
	for name, c := range map[string]struct {
		a, b []float32
		want bool
	}{
		"the same":          {[]float32{1, 2}, []float32{1, 2}, true},
		"of zeros":          {[]float32{0, 0}, []float32{0, 0}, true},
		"of large numbers":  {[]float32{1 << 20, 1 << 20}, []float32{1<<20 + 1, 1 << 20}, true},
		"of small numbers":  {[]float32{1e-6, 0}, []float32{2e-6, 0}, false},
		"of other numbers":  {[]float32{1, 2}, []float32{1.001, 2}, false},
		"of opposite signs": {[]float32{1, -1}, []float32{-1, 1}, false},
	} {
		if got := isOne(c.a, c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A loss of classes as good as none is a hundredth, of numbers a hundredth of the answers' mean square, whether targets or the original
// network say what they ought to be.
func TestANegligibleLossOfATask(t *testing.T) {
	classes := blobs(1, 64, 4)
	numbers := blobs(1, 64, 4)
	numbers.classes, numbers.labels = 0, nil
	for range numbers.x {
		numbers.targets = append(numbers.targets, []float32{1, 2})
	}
	bare := *numbers
	bare.targets = nil
	network, _ := compile(t, classifier(dense(2)))
	answers := network.NewExec(false)
	for i, x := range numbers.x[:network.MicroBatch] {
		copy(sampleOf(answers.Input(0), i, network.MicroBatch), x)
	}
	answers.Forward()
	size := rms(answers.Tensor(network.LossTensor(0)))
	for name, c := range map[string]struct {
		end   func(b *tflitetest.Builder, x int32) int32
		train *memory
		want  float64
	}{
		"classes":                {softmaxEnd, classes, leastLoss},
		"numbers":                {dense(2), numbers, leastLoss * size * size},
		"numbers of the teacher": {dense(2), &bare, leastLoss * size * size},
	} {
		task := Task{Train: c.train, Workers: 1}
		task.Network, task.Weights = compile(t, classifier(c.end))
		task.Teacher, _ = compile(t, classifier(c.end))
		trainer := newTrainer(t, task, fastConfig())
		trainer.start()
		dismiss := trainer.hire()
		got, err := trainer.negligible(c.train, seq(64))
		dismiss()
		if want := c.want * trainer.heads[0].scale; err != nil || math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s: %v, want %v (%v)", name, got, want, err)
		}
	}
}

// twoEnds is a classifier with an output of two numbers before its classes.
func twoEnds(b *tflitetest.Builder, x int32) int32 {
	b.Output(b.Dense("other", x, numbers(4, 2*72, 0.1), make([]float32, 2), 2, tflitetest.None))
	return softmaxEnd(b, x)
}

// Weights that only an output without a loss is made of do not train, and have the form that their tensor gives them.
func TestWeightsThatDoNotTrainHaveTheirForm(t *testing.T) {
	task := Task{Train: blobs(1, 64, 4)}
	task.Network, task.Weights = compile(t, classifier(twoEnds))
	targets, err := answer.Survey(task.Train)
	if err != nil {
		t.Fatal(err)
	}
	if task.Outputs, err = answer.Describe(task.Network.Graph, targets, nil, nil); err != nil {
		t.Fatal(err)
	}
	task.Outputs[0].Weight = 0
	for _, p := range task.Network.Params {
		w := task.Weights[p.Tensor]
		if w == nil || w.Len() != 2*72 {
			continue
		}
		if err := w.SetMask(slices.Repeat([]uint8{0, 1}, 72)); err != nil {
			t.Fatal(err)
		}
		want := make([]float32, w.Len())
		w.Materialize(want)
		mustRun(t, newTrainer(t, task, fastConfig()))
		if diff := cmp.Diff(want, p.Value); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		return
	}
	t.Error("no such weights")
}

// The accuracy that is shown is that of the output that has a target, wherever it stands.
func TestTheOutputWithATargetComesFirst(t *testing.T) {
	m := classifier(twoEnds)
	task := Task{Train: blobs(1, 64, 4)}
	task.Network, task.Weights = compile(t, m)
	task.Teacher, _ = compile(t, m)
	trainer := newTrainer(t, task, fastConfig())
	if len(trainer.heads) != 2 || trainer.heads[0].output != 1 || trainer.heads[1].output != 0 {
		t.Errorf("%d outputs, the first is number %d", len(trainer.heads), trainer.heads[0].output)
	}
}

// The first step of a training moves ends of ranges by the rate times the widths that they had, or not at all.
func TestTheFirstStepMovesRangesByTheRate(t *testing.T) {
	task := quantizedTask(t, Learned, 1)
	config := fastConfig()
	config.Epochs, config.BatchSize, config.LearningRate, config.Schedule = 1, 300, 1.0/64, Constant
	before := slices.Clone(task.Ranges.Range)
	mustRun(t, newTrainer(t, task, config))
	ends := 0
	for g, was := range before {
		now, step := task.Ranges.Range[g], float64(was.Max-was.Min)/64
		for _, d := range []float64{float64(now.Min - was.Min), float64(now.Max - was.Max)} {
			if d == 0 {
				continue
			}
			if ends++; math.Abs(math.Abs(d)-step) > 0.02*step {
				t.Errorf("group %d: %v became %v, want steps of %v", g, was, now, step)
			}
		}
	}
	if ends < 3 {
		t.Errorf("%d ends moved", ends)
	}
}
