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
	"slices"

	"espalier.dev/espalier/optimizer/kernel"
	"espalier.dev/espalier/optimizer/quantize"
)

// checkpointMagic begins a checkpoint; its last byte is the version. After it come the length of the header, saved as gob encodes it, and the
// numbers that it counts, each with its length: a copy of all of them at once would be several times the network. A checksum ends it.
const checkpointMagic = "espalier checkpoint 3\n"

// saved is the header of a checkpoint.
type saved struct {
	Fingerprint string
	Step        int
	FirstLoss   float64
	EpochSum    savedTally
	LastEpoch   Score
	History     []Score
	Validation  *savedKept
	SinceBest   int
	Stopped     bool
	Params      []savedParam
	Ranges      []quantize.Range
	HasRanges   bool
	Best        *savedKept
	Initial     *savedKept
	Test        *RangeTest
	Floor       float64
	Good        *savedSnapshot
	GoodEpochs  int
	Sought      *Sought
	Timed       int
	Mark        float64
}

type savedTally struct {
	Loss           float64
	Right, Samples int
}

// savedParam is followed by the parameter's state and by the first and the second moments of its groups.
type savedParam struct {
	Name   string
	Groups int
}

// savedSnapshot is followed by the parameters' states, if there are any.
type savedSnapshot struct {
	Params int
	Ranges []quantize.Range
}

// savedKept is followed by what its snapshot is followed by.
type savedKept struct {
	Epoch  int
	Score  Score
	Losses []float32
	State  *savedSnapshot
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
		LastEpoch: t.lastEpoch, History: t.history, Validation: t.validation.header(), SinceBest: t.sinceBest,
		Stopped: t.stopped, Best: t.best.header(), Initial: t.initial.header(), Test: t.test, Floor: t.floor, Good: t.good.header(), GoodEpochs: t.goodEpochs,
		Sought: t.sought, Timed: t.timed, Mark: t.mark,
	}
	for _, p := range t.params {
		s.Params = append(s.Params, savedParam{p.param.Name, len(p.first)})
	}
	if r := t.task.Ranges; r != nil {
		s.Ranges, s.HasRanges = r.Range, true
	}
	var header bytes.Buffer
	if err := gob.NewEncoder(&header).Encode(&s); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	sum := sha256.New()
	out := &pieceWriter{to: io.MultiWriter(w, sum)}
	out.write([]byte(checkpointMagic))
	out.bytes(header.Bytes())
	for _, p := range t.params {
		out.bytes(p.state())
		for k := range p.first {
			out.floats(p.first[k])
			out.floats(p.second[k])
		}
	}
	if r := t.task.Ranges; r != nil {
		out.floats(r.value)
		out.floats(r.first)
		out.floats(r.second)
	}
	for _, s := range []*snapshot{t.best.snapshot(), t.initial.snapshot(), t.good} {
		if s != nil {
			for _, state := range s.Params {
				out.bytes(state)
			}
		}
	}
	out.to = w
	out.write(sum.Sum(nil))
	if out.err != nil {
		return fmt.Errorf("checkpoint: %w", out.err)
	}
	return nil
}

// pieceWriter writes numbers with their lengths; the first error stays.
type pieceWriter struct {
	to   io.Writer
	part []byte
	err  error
}

func (w *pieceWriter) write(data []byte) {
	if w.err == nil {
		_, w.err = w.to.Write(data)
	}
}

func (w *pieceWriter) bytes(data []byte) {
	w.write(binary.LittleEndian.AppendUint64(nil, uint64(len(data))))
	w.write(data)
}

// floats writes values part by part: their bytes are not held at once.
func (w *pieceWriter) floats(values []float32) {
	w.write(binary.LittleEndian.AppendUint64(nil, uint64(4*len(values))))
	for part := range slices.Chunk(values, 1<<16) {
		w.part = appendFloats(w.part[:0], part)
		w.write(w.part)
	}
}

// pieces are what a pieceWriter wrote.
type pieces struct {
	rest []byte
	err  error
}

// next returns the piece that follows, a part of the whole.
func (p *pieces) next() []byte {
	if p.err != nil || len(p.rest) < 8 || binary.LittleEndian.Uint64(p.rest) > uint64(len(p.rest)-8) {
		p.err = errors.New("it ends too early")
		return nil
	}
	n := binary.LittleEndian.Uint64(p.rest)
	piece := p.rest[8 : 8+n]
	p.rest = p.rest[8+n:]
	return piece
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
	end := len(data) - sha256.Size
	if sum := sha256.Sum256(data[:end]); !bytes.Equal(sum[:], data[end:]) {
		return errors.New("checkpoint: damaged, its checksum differs")
	}
	in := &pieces{rest: body[:len(body)-sha256.Size]}
	var s saved
	if err := gob.NewDecoder(bytes.NewReader(in.next())).Decode(&s); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if s.Fingerprint != t.fingerprint() || len(s.Params) != len(t.params) || s.HasRanges != (t.task.Ranges != nil) {
		return fmt.Errorf("checkpoint: %w", ErrOtherTraining)
	}
	if err := t.loadParams(s.Params, in); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if s.HasRanges {
		if err := t.task.Ranges.restore(s.Ranges, in); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	best, initial, good, last := s.Best.read(in), s.Initial.read(in), s.Good.read(in), s.Validation.read(in)
	if in.err != nil {
		return fmt.Errorf("checkpoint: %w", in.err)
	}
	for _, k := range []*kept{best, initial, last} {
		if k != nil && (t.task.Validation == nil || len(k.Losses) != t.task.Validation.Len()) {
			return fmt.Errorf("checkpoint: its validation losses are of other samples: %w", ErrOtherTraining)
		}
	}
	if best != nil && best.state == nil || initial != nil && initial.state == nil {
		return errors.New("checkpoint: it lacks the weights that it kept")
	}
	for _, state := range []*snapshot{best.snapshot(), initial.snapshot(), good} {
		if state != nil && (len(state.Params) != len(t.params) || s.HasRanges && len(state.Ranges) != len(t.task.Ranges.Range)) {
			return errors.New("checkpoint: weights that it kept are of another network")
		}
	}
	if err := t.follows(&s); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	t.position = position{
		step: s.Step, resumed: s.Step, firstLoss: s.FirstLoss, begun: s.Step > 0, epochSum: tally{s.EpochSum.Loss, s.EpochSum.Right, s.EpochSum.Samples}, best: best, initial: initial,
		sinceBest: s.SinceBest, lastEpoch: s.LastEpoch, history: s.History, validation: last, stopped: s.Stopped,
		test: s.Test, floor: s.Floor, good: good, goodEpochs: s.GoodEpochs,
		sought: s.Sought, timed: s.Timed, mark: s.Mark,
	}
	return nil
}

// follows reports a position that no training of the configuration comes to.
func (t *Trainer) follows(s *saved) error {
	within := func(n, most int) bool { return n >= 0 && n <= most }
	c, epochs := t.config, s.Step/t.stepsPerEpoch()
	wrong := !within(s.Step, c.Epochs*t.stepsPerEpoch()) || !within(len(s.History), epochs) || !within(s.GoodEpochs, len(s.History)) || !within(s.Timed, c.Epochs) ||
		!within(s.SinceBest, epochs) || s.SinceBest > 0 && s.Best == nil ||
		s.Best != nil && !within(s.Best.Epoch, epochs-1) || s.Validation != nil && !within(s.Validation.Epoch, epochs-1) || s.Initial != nil && s.Initial.Epoch != -1
	if w := s.Sought; w != nil {
		wrong = wrong || !c.Seek || !within(w.All, c.Epochs) || !within(w.Full, min(w.All, epochs)) || !within(w.Best, w.Full)
	}
	if w := s.Test; w != nil {
		wrong = wrong || !c.FindRate || len(w.Trials) == 0 || len(w.Backs) > mostBacks || !(w.Rate > 0) || !isFinite(w.Rate)
	}
	if wrong {
		return errors.New("it is where no training of this configuration comes to")
	}
	return nil
}

func (t *Trainer) loadParams(list []savedParam, in *pieces) error {
	for i, q := range list {
		p := t.params[i]
		if err := errors.Join(p.restore(in.next()), in.err); err != nil {
			return err
		}
		p.first, p.second = nil, nil
		p.regroup(nil)
		if q.Groups == 0 { // saved before the first step
			continue
		}
		if q.Groups != len(p.groups) {
			return fmt.Errorf("%q has moments of %d groups, not %d", q.Name, q.Groups, len(p.groups))
		}
		for k := range p.groups {
			if err := errors.Join(readFloats(p.first[k], in.next()), readFloats(p.second[k], in.next())); err != nil {
				return fmt.Errorf("moments of %q: %w", q.Name, err)
			}
		}
	}
	return nil
}

func (r *Ranges) restore(ranges []quantize.Range, in *pieces) error {
	if len(ranges) != len(r.Range) {
		return fmt.Errorf("%d ranges, not %d", len(ranges), len(r.Range))
	}
	copy(r.Range, ranges)
	if err := errors.Join(readFloats(r.value, in.next()), readFloats(r.first, in.next()), readFloats(r.second, in.next())); err != nil {
		return fmt.Errorf("ranges: %w", err)
	}
	if r.Mode != Frozen {
		r.apply()
	}
	return nil
}

// header is what goes before a snapshot's states.
func (s *snapshot) header() *savedSnapshot {
	if s == nil {
		return nil
	}
	return &savedSnapshot{len(s.Params), s.Ranges}
}

// read makes the snapshot again. Its states are copies: the checkpoint is not held.
func (s *savedSnapshot) read(in *pieces) *snapshot {
	if s == nil {
		return nil
	}
	out := &snapshot{Ranges: s.Ranges}
	for range s.Params {
		if in.err == nil {
			out.Params = append(out.Params, bytes.Clone(in.next()))
		}
	}
	return out
}

func (k *kept) snapshot() *snapshot {
	if k == nil {
		return nil
	}
	return k.state
}

func (k *kept) header() *savedKept {
	if k == nil {
		return nil
	}
	return &savedKept{k.Epoch, k.Score, k.Losses, k.state.header()}
}

func (s *savedKept) read(in *pieces) *kept {
	if s == nil {
		return nil
	}
	return &kept{s.Epoch, s.Score, s.Losses, s.State.read(in)}
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

func bytesOf(values []float32) []byte { return appendFloats(make([]byte, 0, 4*len(values)), values) }

func appendFloats(data []byte, values []float32) []byte {
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
