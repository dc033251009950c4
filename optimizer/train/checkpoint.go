package train

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"

	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/quantize"
)

// checkpointMagic begins a checkpoint; its last byte is the version.
const checkpointMagic = "espalier checkpoint 1\n"

// saved is what a checkpoint holds, as encoded.
type saved struct {
	Fingerprint string
	Step        int
	FirstLoss   float64
	EpochSum    savedTally
	LastEpoch   Score
	History     []Score
	Validation  Score
	BestScore   Score
	BestEpoch   int
	SinceBest   int
	Stopped     bool
	Params      []savedParam
	Ranges      *savedRanges
	Best        *snapshot
	Test        *RangeTest
	Floor       float64
	Good        *snapshot
	GoodEpochs  int
	Sought      *Sought
	Timed       int
	Mark        float64
}

type savedTally struct {
	Loss           float64
	Right, Samples int
}

type savedParam struct {
	Name          string
	Data          []byte
	First, Second [][]byte
}

type savedRanges struct {
	Range         []quantize.Range
	Value         []byte
	First, Second []byte
}

// snapshot is a copy of what the result depends on.
type snapshot struct {
	Params [][]byte // by parameter
	Ranges []quantize.Range
}

// ErrOtherTraining is returned by Load for the checkpoint of another task or configuration.
var ErrOtherTraining = errors.New("the checkpoint is of another training: the model, data, configuration or processor's kernel class differ")

// fingerprint identifies what must be the same for a checkpoint to make sense.
func (t *Trainer) fingerprint() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %+v %d %d %v\n", kernel.Class(), t.config, t.task.Network.MicroBatch, t.task.Train.Len(), t.task.Teacher != nil)
	for _, p := range t.params {
		fmt.Fprintf(h, "%s %v %v\n", p.param.Name, p.param.Shape, p.tensor != nil)
	}
	if r := t.task.Ranges; r != nil {
		fmt.Fprintf(h, "%s %v\n", r.Mode, r.start)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Save writes a checkpoint. It may be called between steps, from Hooks, and after Run.
func (t *Trainer) Save(w io.Writer) error {
	s := saved{
		Fingerprint: t.fingerprint(), Step: t.step, FirstLoss: t.firstLoss, EpochSum: savedTally{t.epochSum.loss, t.epochSum.right, t.epochSum.samples},
		LastEpoch: t.lastEpoch, History: t.history, Validation: t.validation, BestScore: t.bestScore, BestEpoch: t.bestEpoch, SinceBest: t.sinceBest,
		Stopped: t.stopped, Best: t.best, Test: t.test, Floor: t.floor, Good: t.good, GoodEpochs: t.goodEpochs,
		Sought: t.sought, Timed: t.timed, Mark: t.mark,
	}
	for _, p := range t.params {
		q := savedParam{Name: p.param.Name, Data: p.state()}
		for k := range p.first {
			q.First, q.Second = append(q.First, bytesOf(p.first[k])), append(q.Second, bytesOf(p.second[k]))
		}
		s.Params = append(s.Params, q)
	}
	if r := t.task.Ranges; r != nil {
		s.Ranges = &savedRanges{Range: r.Range, Value: bytesOf(r.value), First: bytesOf(r.first), Second: bytesOf(r.second)}
	}
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(&s); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	sum := sha256.Sum256(body.Bytes())
	for _, part := range [][]byte{[]byte(checkpointMagic), sum[:], body.Bytes()} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

// state is what training changes of the parameter itself.
func (p *parameter) state() []byte {
	if p.tensor == nil {
		return bytesOf(p.param.Value)
	}
	data, _ := p.tensor.AppendBinary(nil) // never fails
	return data
}

func (p *parameter) restore(data []byte) error {
	if p.tensor != nil {
		return p.tensor.UnmarshalBinary(data)
	}
	return readFloats(p.param.Value, data)
}

// Load continues from a checkpoint. It must come before Run. A damaged checkpoint is an error, one of another training
// ErrOtherTraining; after an error make a new Trainer.
func (t *Trainer) Load(r io.Reader) error {
	if t.ready {
		return errors.New("checkpoint: training has begun already")
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	body, ok := bytes.CutPrefix(data, []byte(checkpointMagic))
	if !ok || len(body) < sha256.Size {
		return errors.New("checkpoint: not a checkpoint of this version")
	}
	if sum := sha256.Sum256(body[sha256.Size:]); !bytes.Equal(sum[:], body[:sha256.Size]) {
		return errors.New("checkpoint: damaged, its checksum differs")
	}
	var s saved
	if err := gob.NewDecoder(bytes.NewReader(body[sha256.Size:])).Decode(&s); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if s.Fingerprint != t.fingerprint() || len(s.Params) != len(t.params) || (s.Ranges != nil) != (t.task.Ranges != nil) {
		return fmt.Errorf("checkpoint: %w", ErrOtherTraining)
	}
	if err := t.loadParams(s.Params); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if s.Ranges != nil {
		if err := t.task.Ranges.restore(s.Ranges); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	t.position = position{
		step: s.Step, resumed: s.Step, firstLoss: s.FirstLoss, begun: s.Step > 0, epochSum: tally{s.EpochSum.Loss, s.EpochSum.Right, s.EpochSum.Samples}, bestScore: s.BestScore, bestEpoch: s.BestEpoch,
		sinceBest: s.SinceBest, lastEpoch: s.LastEpoch, history: s.History, validation: s.Validation, stopped: s.Stopped,
		test: s.Test, floor: s.Floor, good: s.Good, goodEpochs: s.GoodEpochs,
		sought: s.Sought, timed: s.Timed, mark: s.Mark,
	}
	t.best = s.Best
	return nil
}

func (t *Trainer) loadParams(list []savedParam) error {
	for i, q := range list {
		p := t.params[i]
		if err := p.restore(q.Data); err != nil {
			return err
		}
		p.first, p.second = nil, nil
		p.regroup(nil)
		if len(q.First) == 0 { // saved before the first step
			continue
		}
		if len(q.First) != len(p.groups) || len(q.Second) != len(p.groups) {
			return fmt.Errorf("%q has moments of %d groups, not %d", q.Name, len(q.First), len(p.groups))
		}
		for k := range p.groups {
			if err := errors.Join(readFloats(p.first[k], q.First[k]), readFloats(p.second[k], q.Second[k])); err != nil {
				return fmt.Errorf("moments of %q: %w", q.Name, err)
			}
		}
	}
	return nil
}

func (r *Ranges) restore(s *savedRanges) error {
	if len(s.Range) != len(r.Range) {
		return fmt.Errorf("%d ranges, not %d", len(s.Range), len(r.Range))
	}
	copy(r.Range, s.Range)
	if err := errors.Join(readFloats(r.value, s.Value), readFloats(r.first, s.First), readFloats(r.second, s.Second)); err != nil {
		return fmt.Errorf("ranges: %w", err)
	}
	if r.Mode != Frozen {
		r.apply()
	}
	return nil
}

// snapshot copies the parameters and ranges.
func (t *Trainer) snapshot() *snapshot {
	s := &snapshot{}
	for _, p := range t.params {
		s.Params = append(s.Params, p.state())
	}
	if t.task.Ranges != nil {
		s.Ranges = append(s.Ranges, t.task.Ranges.Range...)
	}
	return s
}

// restoreBest goes back to the best epoch, if it is not the last.
func (t *Trainer) restoreBest() error {
	if t.best == nil || t.bestEpoch == t.step/t.stepsPerEpoch()-1 {
		return nil
	}
	for i, p := range t.params {
		if err := p.restore(t.best.Params[i]); err != nil {
			return err
		}
	}
	if r := t.task.Ranges; r != nil && r.Mode != Frozen {
		copy(r.Range, t.best.Ranges)
		r.apply()
	}
	return nil
}

func bytesOf(values []float32) []byte {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return data
}

func readFloats(dst []float32, data []byte) error {
	if len(data) != 4*len(dst) {
		return fmt.Errorf("%d bytes for %d values", len(data), len(dst))
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return nil
}
